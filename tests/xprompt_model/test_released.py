"""Our models against the tensors of released checkpoints, whose names and shapes data/released.json lists with their
sources. Their weights are not needed: everything here is on the meta device, or tiny."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ChameleonConfig, ChameleonVQVAEConfig

from infra.tiny.chameleon import special_tokens
from xprompt_model.model import XPromptChameleon
from xprompt_model.vqgan import VQGAN

RELEASED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data/released.json").read_text())
MODELS = [name for name in RELEASED if name != "vqgan.ckpt"]

Shapes = dict[str, tuple[int, ...]]


def expanded(pattern: str) -> Iterator[str]:
    """The names of a pattern: "down.{0-1}" is down.0 and down.1."""
    parts = re.split(r"\{(\d+)-(\d+)\}", pattern)
    ranges = [range(int(first), int(last) + 1) for first, last in zip(parts[1::3], parts[2::3], strict=True)]
    for numbers in itertools.product(*ranges):
        yield "".join(itertools.chain.from_iterable(zip(parts[::3], [*map(str, numbers), ""], strict=True)))


def layer(kind: str, size: Any) -> Shapes:
    """The tensors of one of taming-transformers' modules, by what comes behind its name."""
    if kind == "norm":
        return {"weight": (size,), "bias": (size,)}
    if kind == "attention":
        norm = {f"norm.{name}": shape for name, shape in layer("norm", size).items()}
        projections = {
            f"{part}.{name}": shape
            for part in ("q", "k", "v", "proj_out")
            for name, shape in layer("conv1", (size, size)).items()
        }
        return norm | projections
    inputs, outputs = size
    if kind in ("conv1", "conv3"):
        side = int(kind[-1])
        return {"weight": (outputs, inputs, side, side), "bias": (outputs,)}
    assert kind == "residual"
    parts: dict[str, Shapes] = {
        "norm1": layer("norm", inputs),
        "conv1": layer("conv3", (inputs, outputs)),
        "norm2": layer("norm", outputs),
        "conv2": layer("conv3", (outputs, outputs)),
    }
    if inputs != outputs:
        parts["nin_shortcut"] = layer("conv1", (inputs, outputs))
    return {f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}


def shapes_of(released: dict[str, Any]) -> Shapes:
    found: Shapes = {name: tuple(shape) for pattern, shape in released["tensors"].items() for name in expanded(pattern)}
    for kind in ("conv3", "conv1", "norm", "attention", "residual"):
        for pattern, size in released.get(kind, {}).items():
            for name, (part, shape) in itertools.product(expanded(pattern), layer(kind, size).items()):
                found[f"{name}.{part}"] = shape
    return found


def test_metas_vqgan() -> None:
    with torch.device("meta"):
        ours = VQGAN(ChameleonVQVAEConfig())
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes_of(RELEASED["vqgan.ckpt"])


@pytest.mark.parametrize("name", MODELS)
def test_released_transformers(name: str) -> None:
    """The config is transformers' default, which is chameleon-7b's, with a vocabulary of as many image codes."""
    with torch.device("meta"):
        model = XPromptChameleon(ChameleonConfig(vocabulary_map=special_tokens(8_192)))
    expected, ours = shapes_of(RELEASED[name]), model.state_dict()
    assert set(expected) == set(ours) - {"xp"}
    for tensor, shape in expected.items():
        if "_norm." in tensor and shape != (32, 128):
            rows = shape[0] if len(shape) == 2 else 1
            assert shape[-1] == 128 and 32 % rows == 0, "heads share it: the loader repeats it"
        else:
            assert tuple(ours[tensor].shape) == shape, tensor


@pytest.mark.parametrize("vqmodel", ["encoder", "all", "none"])
def test_a_vq_tokenizer_among_the_models_weights(vqmodel: str, checkpoint: Path, tmp_path: Path) -> None:
    """transformers' has no decoder, Anole's conversion has one, Lumina-mGPT's checkpoints may have neither."""
    assert vqmodel in {RELEASED[name]["vqmodel"] for name in MODELS}
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    whole = VQGAN.load(checkpoint)
    (folder / "vqgan.ckpt").unlink()
    state = load_file(folder / "model.safetensors")
    others = {name: value for name, value in state.items() if not name.startswith("model.vqmodel.")}
    kept = {
        f"model.vqmodel.{name}": value
        for name, value in whole.state_dict().items()
        if vqmodel == "all" or (vqmodel == "encoder" and not name.startswith("decoder."))
    }
    save_file(others | kept, folder / "model.safetensors", {"format": "pt"})
    XPromptChameleon.from_pretrained(folder)
    if vqmodel == "none":
        with pytest.raises(ValueError, match=r"has neither vqgan\.ckpt nor transformers' weights"):
            VQGAN.load(folder)
        return
    found = VQGAN.load(folder)
    assert found.fingerprint == whole.fingerprint and (found.decoder is not None) == (vqmodel == "all")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_norms_that_heads_share_are_repeated(rows: int, checkpoint: Path, tmp_path: Path) -> None:
    """Four heads: a norm for all of them without a dimension of heads (Anole's code), one (Lumina-mGPT at 7B), two."""
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    expected = {}
    for number, name in enumerate(sorted(state)):
        if "_norm." in name and "self_attn" in name:
            shared = torch.randn(max(rows, 1), 16, generator=torch.Generator().manual_seed(number))
            expected[name] = torch.stack([shared[head * len(shared) // 4] for head in range(4)])
            state[name] = shared[0] if rows == 0 else shared
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    found = XPromptChameleon.from_pretrained(folder).state_dict()
    assert len(expected) == 8
    assert all(torch.equal(found[name], value) for name, value in expected.items())
