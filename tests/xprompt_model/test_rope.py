"""Scaled rotary embeddings: transformers' model of the same config is the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.xprompt_model.small import batch_of, changed, document, picture, small_config, small_model, text
from tests.xprompt_model.test_model import theirs
from xprompt_model.checkpoint import read_config
from xprompt_model.generator import Generator, Request
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon
from xprompt_model.rope import SCALINGS, with_window

WINDOW = 6_000
"""Above the 4,096 positions of the tiny config, and above the paper's 5,120."""


def _scaled(window: int, rope: str = "") -> XPromptChameleon:
    config = with_window(small_config(), window, rope)
    return small_model(rope_parameters=config.rope_parameters, max_position_embeddings=config.max_position_embeddings)


@torch.no_grad()
@pytest.mark.parametrize("rope", SCALINGS)
def test_a_scaled_model_is_transformers_model_and_is_so_again_when_it_is_read(rope: str, tmp_path: Path) -> None:
    model = _scaled(WINDOW, rope)
    batch = batch_of(document(0, context=False))
    far = changed(batch, position=batch.position + WINDOW - len(batch))
    hidden = model(far, dense_mask(far))
    other = theirs(model).model(input_ids=batch.ids[None], position_ids=far.position[None]).last_hidden_state[0]
    assert (hidden - other).abs().max() < 1e-5
    plain = small_model()
    assert (plain(far, dense_mask(far)) - hidden).abs().max() > 0.01
    model.save_pretrained(tmp_path / "model")
    again = XPromptChameleon.from_pretrained(tmp_path / "model")
    assert torch.equal(again(far, dense_mask(far)), hidden)
    assert again.window_tokens == WINDOW
    written: Any = read_config(tmp_path / "model").rope_parameters
    assert written["rope_type"] == rope


@torch.no_grad()
def test_linear_scaling_divides_the_positions() -> None:
    batch = batch_of(document(0, context=False))
    even = changed(batch, position=2 * batch.position)
    linear, plain = _scaled(8_192, "linear"), small_model()
    assert (linear(even, dense_mask(even)) - plain(batch, dense_mask(batch))).abs().max() < 1e-6


def test_a_generator_writes_as_far_as_the_models_window() -> None:
    asked = text(0, 5_200)
    with pytest.raises(ValueError, match=r"tokens with the answer: the context window has 5,120"):
        Generator(small_model()).images([Request(instruction=asked, inputs=[picture(0)])])
    wide = _scaled(WINDOW)
    assert wide.window_tokens == WINDOW
    with pytest.raises(ValueError, match="the context window has 6,000"):
        Generator(wide).images([Request(instruction=text(0, 5_970), inputs=[picture(0)])])


def test_a_window_within_the_checkpoints_changes_nothing() -> None:
    config = small_config()
    assert with_window(config, 512).to_dict() == with_window(config, 4_096).to_dict() == config.to_dict()


def test_another_scaling_than_the_checkpoints_is_refused_in_one_line() -> None:
    yarn = with_window(small_config(), 8_192, "yarn")
    for window, rope in ((8_192, "yarn"), (8_192, ""), (5_120, "")):
        assert with_window(yarn, window, rope).to_dict() == yarn.to_dict()
    refused = [
        (yarn, 8_192, "linear", "already scaled, yarn to 8,192: leave --rope out"),
        (yarn, 9_000, "yarn", "already scaled, yarn to 8,192"),
        (yarn, 9_000, "", r"scaled to 8,192 \(yarn\): stay within"),
        (small_config(), 4_096, "yarn", "has 4,096 positions, --window-tokens is 4096"),
        (small_config(), 8_192, "dynamic", "--rope dynamic: it is linear or yarn"),
    ]
    for config, window, rope, message in refused:
        with pytest.raises(ValueError, match=message) as error:
            with_window(config, window, rope)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="only Chameleon's own, or linear or yarn, are known"):
        XPromptChameleon(small_config(rope_parameters={"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}))
