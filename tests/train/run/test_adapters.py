"""Adapters begin as nothing, train alone, and come out as peft's files and as merged weights that compute the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from peft import PeftModel
from safetensors.torch import load_file
from transformers import ChameleonForConditionalGeneration

from tests.train.make import CONFIG, WORDS, record
from train.run.adapters import add_adapters, fingerprint
from train.run.config import LINEAR_LAYERS, Config
from train.run.int8 import Int8Linear
from train.run.parallel import export, export_adapter, load_pretrained, shard, start
from xprompt_model.batch import MicroBatch
from xprompt_model.layout import NO_EXAMPLE, TD
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process alone."""
    start()
    yield
    dist.destroy_process_group()


def _batch() -> MicroBatch:
    ids = torch.from_numpy(np.random.default_rng(0).choice(WORDS, 12).astype(np.int64))
    return MicroBatch(
        ids=ids,
        segment=torch.full((12,), TD, dtype=torch.int8),
        document=torch.zeros(12, dtype=torch.int32),
        example=torch.full((12,), NO_EXAMPLE, dtype=torch.int8),
        position=torch.arange(12),
        weight=torch.ones(12),
    )


def _logits(folder: Path) -> torch.Tensor:
    """Ours, of a model directory, for the words of `_batch`."""
    model = XPromptChameleon.from_pretrained(folder)
    with torch.no_grad():
        return model.logits(model(_batch(), dense_mask(_batch())))


@pytest.mark.usefixtures("alone")
def test_merged_and_peft_loaded_models_compute_the_same(config: Config, tmp_path: Path) -> None:
    config = replace(config, lora_rank=3, lora_alpha=5, lora_whole=("lm_head",), frozen_bits=8)
    model = shard(config, torch.device("cpu"))
    load_pretrained(model, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and ("lora_B" in name or name == "lm_head.weight"):
                parameter.add_(0.05 * torch.randn_like(parameter))
    export(model, config, tmp_path / "merged", record())
    export_adapter(model, config, tmp_path / "adapter")
    base, merged = (
        ChameleonForConditionalGeneration.from_pretrained(each) for each in (config.model, tmp_path / "merged")
    )
    ids = _batch().ids[None]
    with torch.no_grad():
        plain, expected = base(input_ids=ids).logits, merged(input_ids=ids).logits
        found = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))(input_ids=ids).logits
    words = slice(WORDS.start, None)  # transformers hides those of image codes
    torch.testing.assert_close(found[..., words], expected[..., words], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(_logits(tmp_path / "merged")[:, words], expected[0, :, words], atol=1e-4, rtol=1e-4)
    assert float((expected - plain)[..., words].abs().max()) > 0.01
    described = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert (described["r"], described["lora_alpha"]) == (3, 5)
    assert load_file(tmp_path / "adapter/xprompt.safetensors")["xp"].shape == (config.xp_tokens, CONFIG.hidden_size)


def test_new_adapters_change_nothing_and_all_but_them_and_xp_is_frozen(config: Config) -> None:
    plain = XPromptChameleon.from_pretrained(config.model, xp_tokens=4)
    model = XPromptChameleon.from_pretrained(config.model, xp_tokens=4)
    add_adapters(model, replace(config, lora_rank=2), torch.float32)
    batch = _batch()
    with torch.no_grad():
        assert torch.equal(model(batch, dense_mask(batch)), plain(batch, dense_mask(batch)))
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "xp" in names and all("lora_" in name for name in names - {"xp"})
    assert len(names) == 1 + 2 * len(LINEAR_LAYERS) * CONFIG.num_hidden_layers
    add_adapters(plain, replace(config, lora_rank=2, lora_targets=("q_proj",), frozen_bits=8), torch.bfloat16)
    rounded = [name for name, module in plain.named_modules() if isinstance(module, Int8Linear)]
    assert len(rounded) == len(LINEAR_LAYERS) * CONFIG.num_hidden_layers
    assert plain.lm_head.weight.dtype == torch.bfloat16 and plain.xp.dtype == torch.float32


def test_a_target_that_is_none_is_refused_with_those_that_are(config: Config) -> None:
    with torch.device("meta"):
        model = XPromptChameleon(CONFIG)
    with pytest.raises(ValueError, match="--lora-targets query: the model's linear layers are down_proj, gate_proj"):
        add_adapters(model, replace(config, lora_rank=2, lora_targets=("query",)), torch.float32)


def test_fingerprints_tell_values_and_names() -> None:
    state = {"a": torch.ones(3), "b": torch.ones(3, dtype=torch.bfloat16)}
    assert fingerprint(state) == fingerprint(dict(reversed(state.items())))
    assert fingerprint(state) != fingerprint({**state, "b": torch.zeros(3, dtype=torch.bfloat16)})
    assert fingerprint({"a": state["a"]}) != fingerprint({"c": state["a"]})
