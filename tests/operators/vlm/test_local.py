"""The small Qwen2-VL in this process, loaded as the real one is, and what it has been fitted to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infra.tiny import qwen2_vl as tiny_qwen2_vl
from infra.tiny.qwen2_vl import ANSWERS
from manifests.schema import Pair
from operators.account import accounting
from operators.models.checkpoints import identity
from operators.vlm import local as vlm_local
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer
from operators.word.instruct import Instruct
from tests.datasets import sha256_by_file
from tests.operators.asking import ASKING, PROMPT_SETS, all_requests, pair_with
from tests.sources import jpeg

pytest.importorskip("qwen_vl_utils")


@pytest.fixture
def vlm(tiny_models: Path, tmp_path: Path) -> Vlm:
    return replace(Vlm.of("local", None, str(tiny_models)), responses=str(tmp_path / "responses"))


def test_it_is_on_disk_as_the_real_one_is(tiny_models: Path) -> None:
    from transformers import AutoConfig, AutoProcessor

    folder = tiny_models / "qwen2-vl"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert AutoConfig.from_pretrained(folder).model_type == "qwen2_vl"
    processor = AutoProcessor.from_pretrained(folder)
    tokens = "<|im_start|><|vision_start|><|image_pad|><|vision_end|><|im_end|>"
    assert len(processor.tokenizer(tokens)["input_ids"]) == 5
    assert processor.tokenizer.decode(processor.tokenizer("Grüße, 図")["input_ids"]) == "Grüße, 図"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4 * 2**20


def test_it_is_written_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted for two steps only, which take the same way as all."""
    monkeypatch.setattr(tiny_qwen2_vl, "_STEPS", 2)
    monkeypatch.setattr(tiny_qwen2_vl, "_BATCHES", 2)
    for name in ("one", "other"):
        tiny_qwen2_vl.write_qwen2_vl(tmp_path / name)
    assert sha256_by_file(tmp_path / "one") == sha256_by_file(tmp_path / "other")


def test_every_operator_gets_an_answer_in_form(vlm: Vlm) -> None:
    with accounting() as account:
        for operator, roles in ASKING[:-1]:  # the last one's prompt is for a model of texts
            pair = Instruct(forward=("Take the rain off this photo.",))(pair_with(*roles), 1)
            (made,) = operator.asking(vlm, None).many([pair], [2])
            assert isinstance(made, Pair), (operator.name, made.message)
            assert made.steps[-1].model_revision == identity(vlm.url_or_folder, "qwen2-vl")[1]
    assert account.usage.calls == len(ANSWERS) and account.usage.tokens_out > 50


@pytest.mark.parametrize("prompts", PROMPT_SETS)
def test_each_prompt_has_its_images_where_it_says(prompts: str | None, vlm: Vlm) -> None:
    """As many images between <|vision_start|> and <|vision_end|> as it asks about, each of its own size."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(vlm.url_or_folder)
    start, pad, end = (
        processor.tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "image_pad", "vision_end")
    )
    for request in all_requests(vlm, prompts):
        inputs = vlm_local._inputs(processor, request)
        tokens = inputs["input_ids"][0].tolist()
        begins = [place for place, token in enumerate(tokens) if token == start]
        lengths = [tokens.index(end, begin) - begin - 1 for begin in begins]
        grids = inputs["image_grid_thw"].prod(1).tolist() if request.images else []
        assert len(lengths) == len(request.images), request.prompt
        assert lengths == [patches // 4 for patches in grids]  # four patches of 14 px are a token
        assert tokens.count(pad) == sum(lengths)
        assert "<image>" not in processor.tokenizer.decode(tokens)


def test_it_runs_on_one_thread(tiny_models: Path) -> None:
    import torch

    torch.set_num_threads(2)
    vlm_local._loaded.cache_clear()
    request = Request.of(Prompt(id="p", text="What is it? <image>", max_tokens=2), [jpeg(1)])
    vlm_local.generate(str(tiny_models / "qwen2-vl"), "m", request)
    assert torch.get_num_threads() == 1


def test_an_answer_does_not_depend_on_what_else_is_asked_and_stops_where_told(vlm: Vlm, tmp_path: Path) -> None:
    prompt = Prompt(id="p", text="What is {this}? <image>", max_tokens=12)
    requests = [Request.of(prompt, [jpeg(number)], this="x" * number) for number in range(1, 5)]
    together = vlm.ask(requests)
    alone = [answer for one in requests for answer in replace(vlm, responses=str(tmp_path / "other")).ask([one])]
    assert [vars(answer) for answer in together] == [vars(answer) for answer in alone]
    assert all(answer.tokens_out <= 12 for answer in together if isinstance(answer, Answer))
