"""Qwen2-VL in this process, by transformers and qwen_vl_utils: loaded once, greedy, one request at a time.

One at a time, since padding to a common length changes a batch's last bits, and with them now and then a word: an
answer must not depend on what else was asked. For many requests a server is faster: see infra/vlm.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb
from manifests.schema import Reject
from operators.batching import in_batches
from operators.models.device import prepared_device
from operators.shared.extras import need
from operators.vlm.prompting import IMAGE
from operators.vlm.request import Request
from operators.vlm.responses import Answer

_one_at_a_time = threading.Lock()


def generate(folder: str, model: str, request: Request) -> Answer | Reject:
    """The answer of the checkpoint in a folder. A Reject, out_of_memory, if the GPU is too small for it."""
    with _one_at_a_time:
        (answer,) = in_batches(lambda batch: [_generate(folder, model, one) for one in batch], [request], 1)
    return answer


def content_of(text: str, images: Sequence[Any]) -> list[dict[str, Any]]:
    """A message's content in transformers' form: texts, and images where the text says <image>."""
    texts = text.split(IMAGE)
    content = [{"type": "text", "text": texts[0]}]
    for image, after in zip(images, texts[1:], strict=True):
        content += [{"type": "image", "image": image}, {"type": "text", "text": after}]
    return [part for part in content if part.get("text") != ""]


def _generate(folder: str, model: str, request: Request) -> Answer:
    import torch

    network, processor = _loaded(folder)
    inputs = _inputs(processor, request).to(network.device)
    with torch.inference_mode():
        tokens = network.generate(**inputs, max_new_tokens=request.max_tokens, do_sample=False)
    said = tokens[0, inputs["input_ids"].shape[1] :].tolist()
    stops = network.generation_config.eos_token_id
    stopped = bool(said) and said[-1] in (stops if isinstance(stops, list) else [stops])
    return Answer(
        text=str(processor.tokenizer.decode(said, skip_special_tokens=True)),
        model=model,
        finish_reason="stop" if stopped else "length",
        tokens_in=int(inputs["input_ids"].shape[1]),
        tokens_out=len(said),
    )


def _inputs(processor: Any, request: Request) -> Any:
    """A request as the network takes it: tokens, and patches of the images."""
    images = [PILImage.fromarray(decode_rgb(image)) for image in request.images]
    messages = [{"role": "user", "content": content_of(request.text, images)}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    seen, _ = need("qwen_vl_utils").process_vision_info(messages)
    return processor(text=[text], images=seen, return_tensors="pt")


@lru_cache(maxsize=1)
def _loaded(folder: str) -> tuple[Any, Any]:
    """Network and processor, on the GPU if there is one."""
    transformers = need("transformers")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # of sampling parameters that greedy decoding does not use
    network = transformers.Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype="auto", local_files_only=True)
    processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return network.eval().to(prepared_device()), processor
