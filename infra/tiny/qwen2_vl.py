"""Writes a small Qwen2-VL in the on-disk format of the real one: config, processor, tokenizer, chat template, weights.

Random weights would answer every prompt with noise, and all pairs would end as rejects. So this one is fitted, for some
seconds, to answer the packaged prompts in the form that they ask for, whatever the images: it says always the same,
and yes to every question. Of any other prompt it makes what it likes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch.nn.utils.rnn import pad_sequence

from manifests.images.pixels import Pixels
from operators.shared.extras import need
from operators.vlm.local import content_of
from operators.vlm.prompting import Prompt, load_prompt
from operators.word.propose_edit import where_in_words

transformers = need("transformers")

ANSWERS = {
    "difference": json.dumps(
        {
            "differences": "The output is brighter.",
            "reverse_differences": "The input is darker.",
            "subtask": "Object Modification",
            "reverse_prompt": "Make it darker.",
        }
    ),
    "same_content": json.dumps({"reasoning": "Both show the same things.", "answer": "Yes"}),
    "same_style": json.dumps({"reasoning": "Both have the same strokes.", "answer": "Yes"}),
    "relation": "Put the things of <image 2> in the layout of <image 1>.",
    "relation_attributes": json.dumps(
        {
            "layout": "image 1",
            "semantics": "image 2",
            "texture": "both",
            "details": "neither",
            "relation": "The output has the layout of image 1.",
        }
    ),
    "recaption": "Caption: One large object left of two small ones.",
    "propose_edit": json.dumps(
        {
            "instruction": "Light it.",
            "before": "A dark scene.",
            "after": "All is bright now.",
            "where": "250, 250, 750, 750",
        }
    ),
}
"""What it says to each packaged prompt."""

_VALUES = {"difference": ("instruction",), "recaption": ("caption",), "propose_edit": ("kind", "where")}
_IMAGES = {
    "difference": 2,
    "same_content": 2,
    "same_style": 2,
    "relation": 3,
    "relation_attributes": 3,
    "recaption": 1,
    "propose_edit": 1,
}
_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_VOCABULARY = 640
_PIXELS = (4 * 28 * 28, 16 * 28 * 28)  # 4 to 16 tokens an image: a token is 28 x 28 px
_STEPS = 100
_BATCHES = 50  # different ones: with fewer it learns them, and answers other instructions less surely
_LEARNING_RATE = 8e-3

_CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2-VL's chat template, without video."""


def write_qwen2_vl(folder: Path) -> None:
    """Write the checkpoint: on one machine the same files each time."""
    torch.manual_seed(0)
    prompts = {name: load_prompt(name, None, images=_IMAGES[name], values=_VALUES.get(name, ())) for name in ANSWERS}
    processor = _processor(_tokenizer([text for name in ANSWERS for text in (prompts[name].text, ANSWERS[name])]))
    model = _model(processor.tokenizer)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of a sum depends on their number
    try:
        _fit(model, processor, prompts)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _tokenizer(texts: Sequence[str]) -> Any:
    published = transformers.Qwen2Tokenizer()
    trained = Tokenizer(BPE())
    trained.pre_tokenizer = published.backend_tokenizer.pre_tokenizer
    trainer = BpeTrainer(
        vocab_size=_VOCABULARY - len(_SPECIAL), initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    bpe = json.loads(trained.to_str())["model"]
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(merge) for merge in bpe["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(_SPECIAL[1:]),
    )
    assert tokenizer.convert_tokens_to_ids("<|video_pad|>") is not None
    return tokenizer


def _processor(tokenizer: Any) -> Any:
    size = {"shortest_edge": _PIXELS[0], "longest_edge": _PIXELS[1]}
    return transformers.Qwen2VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen2VLVideoProcessor(size=size),
        chat_template=_CHAT_TEMPLATE,
    )


def _model(tokenizer: Any) -> Any:
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL}
    config = transformers.Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={"depth": 1, "embed_dim": 32, "num_heads": 2, "hidden_size": 64, "mlp_ratio": 2},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    model = transformers.Qwen2VLForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"]
    )
    return model


def _fit(model: Any, processor: Any, prompts: dict[str, Prompt]) -> None:
    """Teach it its answers, on pictures and values of many kinds."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, _STEPS)
    batches = [
        _batch(processor, [_example(processor, prompts, name, rng) for name in ANSWERS]) for _ in range(_BATCHES)
    ]
    model.train()
    for step in range(_STEPS):
        loss = model(**batches[step % _BATCHES]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


def _example(processor: Any, prompts: dict[str, Prompt], name: str, rng: np.random.Generator) -> dict[str, Any]:
    """One prompt with pictures, and its answer: the answer's tokens are the labels."""
    values = {value: _words(processor.tokenizer, rng) for value in _VALUES.get(name, ())}
    if "where" in values:
        values["where"] = where_in_words("thousandths", (1, 1))
    images = [_picture(rng) for _ in range(_IMAGES[name])]
    messages = [{"role": "user", "content": content_of(prompts[name].filled(**values), images)}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    asked = processor(text=[text], images=images, return_tensors="pt")
    answer = processor.tokenizer(ANSWERS[name] + "<|im_end|>\n", return_tensors="pt")["input_ids"][0]
    tokens = torch.cat([asked["input_ids"][0], answer])
    labels = torch.cat([torch.full_like(asked["input_ids"][0], -100), answer])
    return {**asked, "input_ids": tokens, "labels": labels}


def _batch(processor: Any, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    pad = processor.tokenizer.pad_token_id
    tokens = pad_sequence([example["input_ids"] for example in examples], batch_first=True, padding_value=pad)
    return {
        "input_ids": tokens,
        "labels": pad_sequence([example["labels"] for example in examples], batch_first=True, padding_value=-100),
        "attention_mask": (tokens != pad).long(),
        "mm_token_type_ids": (tokens == processor.image_token_id).int(),
        "pixel_values": torch.cat([example["pixel_values"] for example in examples]),
        "image_grid_thw": torch.cat([example["image_grid_thw"] for example in examples]),
    }


def _words(tokenizer: Any, rng: np.random.Generator) -> str:
    count = int(rng.integers(1, 60))
    return str(tokenizer.decode(rng.integers(len(tokenizer) - len(_SPECIAL), size=count).tolist()))


def _picture(rng: np.random.Generator) -> Pixels:
    """Coloured blocks, of a random size."""
    height, width = rng.integers(2, 7, 2)
    blocks = rng.integers(0, 256, (height, width, 3), np.uint8)
    return blocks.repeat(28, axis=0).repeat(28, axis=1)
