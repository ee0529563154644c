from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPVisionModelWithProjection,
    T5EncoderModel,
)

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair
from operators.models.checkpoints import identity
from operators.models.diffusion import Family
from operators.paint.compose import PROMPT, Compose
from operators.paint.inpaint import Inpaint
from tests.sources import lossless, pair_of, photo
from tests.tiny import few_steps, kept_as_painted, run_one, tiny_models, together_as_alone

ROLES: dict[Family, tuple[str, ...]] = {
    "sd15": ("sd15", "sd15-ip-adapter"),
    "flux": ("flux", "flux-ip-adapter", "flux-ip-adapter-image-encoder"),
}


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_both_images_and_the_seed_make_the_composite(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch, 4)
    models = tiny_models(*ROLES[family])
    operator = Compose(family=family).bound(models)
    one, two, three = (photo(index, 128, 96) for index in range(3))
    made = run_one(operator, _pair(one, two), 7)
    assert run_one(operator, _pair(one, two), 7) == made
    target = _target(made)
    assert target.shape == {"sd15": (64, 64, 3), "flux": (112, 144, 3)}[family]
    assert target.std() > 15
    for name, other in (
        ("layout", run_one(operator, _pair(three, two), 7)),
        ("semantics", run_one(operator, _pair(one, three), 7)),
        ("seed", run_one(operator, _pair(one, two), 8)),
    ):
        assert np.abs(_target(other).astype(float) - target).mean() > 0.5, name
    steps = made.steps[-len(ROLES[family]) :]
    assert [(step.model, step.model_revision) for step in steps] == [
        identity(f"{models}/{role}", role) for role in ROLES[family]
    ]
    assert (steps[0].prompt, steps[0].seed) == (PROMPT, 7)
    assert steps[0].params == {"part": "generator", **SAMPLING[family]}


SAMPLING: dict[Family, dict[str, Any]] = {
    "sd15": {
        "steps": 4,
        "guidance": 7.5,
        "negative_prompt": "monochrome, lowres, bad anatomy, worst quality, low quality",
        "strength": 0.7,
        "scale": 0.8,
    },
    "flux": {
        "steps": 4,
        "guidance": 4.0,
        "true_cfg_scale": 3.5,
        "negative_prompt": "",
        "strength": 0.6,
        "scale": 1.0,
    },
}


def test_true_guidance_of_flux_leads_away_from_an_empty_prompt_and_a_black_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As XLabs run their IP-Adapter: what the transformer is given, against CLIP and T5 by hand, and the formula."""
    few_steps(monkeypatch, 5)
    models = tiny_models(*ROLES["flux"])
    operator = Compose(family="flux").bound(models)
    pictures = [photo(1, 96, 96), photo(3, 96, 96)]
    pairs = [_pair(photo(0, 128, 96), picture) for picture in pictures]
    pipe = operator._pipeline()
    called = _calls(monkeypatch, pipe.transformer)
    steps: list[Any] = []
    step = pipe.scheduler.step

    def noted(noise: Any, *given: Any, **named: Any) -> Any:
        steps.append(noise)
        return step(noise, *given, **named)

    monkeypatch.setattr(pipe.scheduler, "step", noted)
    operator.many(pairs, [1, 2])
    assert len(steps) == 3 and len(called) == 6  # 0.6 of five steps, each with what it leads to and away from
    wanted, unwanted = called[::2], called[1::2]
    seen, black = _seen(models, pictures), _seen(models, [np.zeros((96, 96, 3), np.uint8)] * 2)
    assert (seen[0] - seen[1]).abs().max() > 0.1 and (seen - black).abs().max() > 0.1
    for calls, image, prompt in ((wanted, seen, PROMPT), (unwanted, black, "")):
        text = _t5(models, prompt)
        for given, _ in calls:
            (embeds,) = given["joint_attention_kwargs"]["ip_adapter_image_embeds"]
            torch.testing.assert_close(embeds[:, 0], image, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(given["encoder_hidden_states"], text.expand(2, -1, -1), atol=1e-4, rtol=1e-4)
            assert given["guidance"].tolist() == [4.0, 4.0]
    for guided, (_, towards), (_, away) in zip(steps, wanted, unwanted, strict=True):
        assert (towards - away).abs().max() > 1e-3
        torch.testing.assert_close(guided, away + 3.5 * (towards - away))
    scales = [one.scale for one in pipe.transformer.attn_processors.values() if hasattr(one, "scale")]
    assert scales == [[1.0]]


@pytest.mark.parametrize("painter", ["compose", "inpaint"])
def test_guidance_of_an_ip_adapter_for_sd15_leads_away_from_its_authors_negative_prompt(
    painter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps(monkeypatch, 3)
    role = {"compose": "sd15", "inpaint": "sd15-inpaint"}[painter]
    models = tiny_models(role, "sd15-ip-adapter")
    operator = (Compose if painter == "compose" else Inpaint)(family="sd15").bound(models)
    one, two = photo(0, 64, 64), photo(1, 64, 64)
    roles = {
        "input1": one,
        "input2": two,
        "input": one,
        "mask": np.full_like(one, 255),
        "reference": two,
        "target": one,
    }
    called = _calls(monkeypatch, operator._pipeline().unet)
    operator.many([pair_of(*(lossless(name, pixels) for name, pixels in roles.items()))], [1])
    negative = "monochrome, lowres, bad anatomy, worst quality, low quality"
    expected = torch.cat([_clip(f"{models}/{role}", prompt) for prompt in (negative, negative, PROMPT, PROMPT)])
    assert called
    for given, _ in called:
        torch.testing.assert_close(given["encoder_hidden_states"], expected, atol=1e-4, rtol=1e-4)
        (embeds,) = given["added_cond_kwargs"]["image_embeds"]
        assert not embeds[:2].any() and embeds[2:].abs().max() > 0.1


def _calls(monkeypatch: pytest.MonkeyPatch, network: Any) -> list[tuple[dict[str, Any], torch.Tensor]]:
    """Each call of a network from now on: what it is given by name, and what it makes of it."""
    calls: list[tuple[dict[str, Any], torch.Tensor]] = []
    forward = network.forward

    def noted(*given: Any, **named: Any) -> Any:
        kept = {name: dict(value) if isinstance(value, dict) else value for name, value in named.items()}
        made = forward(*given, **named)
        calls.append((kept, made[0]))
        return made

    monkeypatch.setattr(network, "forward", noted)
    return calls


def _seen(models: str, pictures: list[Pixels]) -> torch.Tensor:
    """What CLIP's vision tower says of pictures, each a row."""
    folder = f"{models}/flux-ip-adapter-image-encoder"
    encoder = CLIPVisionModelWithProjection.from_pretrained(folder)
    pixels = CLIPImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt").pixel_values
    with torch.no_grad():
        embeds: torch.Tensor = encoder(pixels).image_embeds
    return embeds


def _t5(models: str, prompt: str) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(f"{models}/flux/tokenizer_2")
    return _states(T5EncoderModel.from_pretrained(f"{models}/flux/text_encoder_2"), tokenizer, prompt)


def _clip(folder: str, prompt: str) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(f"{folder}/tokenizer")
    return _states(CLIPTextModel.from_pretrained(f"{folder}/text_encoder"), tokenizer, prompt)


def _states(encoder: Any, tokenizer: Any, prompt: str) -> torch.Tensor:
    """What a text encoder says of a prompt, padded to the longest."""
    length = tokenizer.model_max_length
    ids = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        states: torch.Tensor = encoder(ids)[0]
    return states


def test_what_a_composite_takes_is_counted() -> None:
    """By hand: 0.7 of 50 steps of Stable Diffusion 1.5; of FLUX.1 0.6 of 28, and each twice."""
    assert Compose(family="sd15").gpu_s == pytest.approx(0.7 * 2.5)
    assert Compose(family="flux").gpu_s == pytest.approx(2 * 0.6 * 14)


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_composites_are_made_together_as_each_alone(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = Compose(family=family).bound(tiny_models(*ROLES[family]))
    assert together_as_alone(operator, [_pair(photo(0, 128, 96), photo(second, 96, 96)) for second in (0, 1, 3)])


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_composites_are_kept_as_they_are_painted(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps(monkeypatch)
    operator = Compose(family=family).bound(tiny_models(*ROLES[family]))
    pairs = [_pair(photo(0, 128, 96), photo(second, 96, 96)) for second in (0, 1, 3)]
    assert kept_as_painted(operator, pairs, tmp_path, monkeypatch)


def _pair(layout: Pixels, semantics: Pixels) -> Pair:
    return pair_of(lossless("input1", layout), lossless("input2", semantics))


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)
