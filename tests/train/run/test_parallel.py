"""The model that is trained has the window, the scaling and the examples that were asked for, and so has its export."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import ChameleonConfig
from transformers.models.chameleon.modeling_chameleon import ChameleonRotaryEmbedding

from manifests.dataset import Dataset
from manifests.write.contexts import write_contexts
from tests.datasets import contexts_of, examples
from tests.train.make import add_small_tokens, record
from tests.train.ranks import records
from train.run.config import Config
from train.run.trainer import train
from xprompt_model.checkpoint import read_config, read_context_pixels
from xprompt_model.model import XPromptChameleon
from xprompt_model.rope import inverse_frequencies


def test_a_longer_window_with_scaled_positions_and_several_small_examples(config: Config, tmp_path: Path) -> None:
    config = _made_for_64_positions(config, tmp_path)
    data = shutil.copytree(config.data[0], tmp_path / "derain")
    dataset, half = Dataset(str(data)), record()["resolution_px"] // 2
    for name, _ in dataset.commits():
        rows = [row for row in examples(dataset) if row["shard"] == f"{name}.tar"]
        keys = list(dict.fromkeys(row["pair"] for row in rows))
        write_contexts(
            dataset, name, contexts_of(*([(key, None, None) for key in keys if key != row["pair"]] for row in rows))
        )
    config = replace(config, data=(str(data),), steps=2, checkpoint_every=1, prompt_weight=0.5)
    config = replace(config, rope="yarn", examples=2, context_pixels=half)
    with pytest.raises(ValueError, match=f"no tokens at {half} px"):
        train(config)
    add_small_tokens(dataset, half)
    train(config)
    (first, second) = records(config)
    assert 0 < second["loss"] < 20 and "no_context" not in first
    assert first["loss_text"] > 0 and first["loss_image"] > 0
    exported = Path(config.out) / "model"
    known = read_config(exported)
    assert known.rope_parameters == {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 2.0,
        "original_max_position_embeddings": 64,
    }
    assert known.max_position_embeddings == config.window_tokens == 128
    assert read_context_pixels(exported) == half
    frequencies, scale = inverse_frequencies(known, torch.device("cpu"))
    theirs = ChameleonRotaryEmbedding(ChameleonConfig.from_pretrained(exported))
    assert torch.equal(frequencies, theirs.inv_freq) and scale == theirs.attention_scaling > 1
    assert XPromptChameleon.from_pretrained(exported).config.rope_parameters == known.rope_parameters
    _refused(replace(config, rope="linear", steps=3), "made with rope 'yarn', not 'linear': choose another --out")
    _refused(replace(config, examples=1, steps=3), "made with examples 2, not 1: choose another --out")
    onward = replace(config, model=str(exported), out=str(tmp_path / "onward"))
    _refused(replace(onward, rope="linear"), "already scaled, yarn to 128: leave --rope out")
    _refused(replace(onward, rope="", window_tokens=256), r"scaled to 128 \(yarn\): stay within")
    train(replace(onward, rope="", steps=1))
    assert read_config(tmp_path / "onward/model").rope_parameters == known.rope_parameters


def _refused(config: Config, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        train(config)
    assert "\n" not in str(error.value)


def _made_for_64_positions(config: Config, folder: Path) -> Config:
    model = shutil.copytree(config.model, folder / "short")
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_position_embeddings": 64}))
    return replace(config, model=str(model))
