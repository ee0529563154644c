"""Reads and writes model directories in the format of facebook/chameleon-7b: config.json, weights as safetensors in one
file or several with an index, and the tokenizers' files.

Ours have one file more, `xprompt.safetensors`, which transformers does not look at. Nothing is unpickled.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import ChameleonConfig

from xprompt_model.arm import ARMS, DEFAULT_ARM, Arm

XP_KEY = "xp"
XP_FILE = "xprompt.safetensors"
_TRAINING_KEY = "training"
"""The one key of that file's metadata: `arm` and `tokenizer` as JSON. Only one, as safetensors writes several in an
order that differs from process to process, and equal runs write equal files."""
VQ_PREFIX = "model.vqmodel."
"""What the names of the VQ tokenizer's weights begin with in transformers' conversion."""

CONFIG_FILE = "config.json"
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_MOST_JSON_BYTES = 64 * 2**20  # an index of 100,000 tensors has some 10 MB


def read_config(folder: Path | str) -> ChameleonConfig:
    """The config of a model directory. Raises ValueError if it has none, or another model's."""
    path = Path(folder) / CONFIG_FILE
    config = _read_json(path)
    if config.get("model_type") != ChameleonConfig.model_type:
        found = repr(config.get("model_type"))[:100]
        raise ValueError(f"{path} is of a model {found}, not {ChameleonConfig.model_type!r}")
    try:
        read: ChameleonConfig = ChameleonConfig.from_dict(config)
    except Exception as error:  # of a value of another type: the library's own
        raise ValueError(f"{path} is not that of a Chameleon: {' '.join(str(error).split())[:300]}") from None
    for name in _SIZES:
        if getattr(read, name) < 1:
            raise ValueError(f"{path} is not that of a Chameleon: {name} is {getattr(read, name)}")
    for whole, parts in (("hidden_size", "num_attention_heads"), ("num_attention_heads", "num_key_value_heads")):
        if getattr(read, whole) % getattr(read, parts):
            raise ValueError(
                f"{path} is not that of a Chameleon: {whole}, {getattr(read, whole)}, is no multiple of {parts}, "
                f"{getattr(read, parts)}"
            )
    return read


def read_checkpoint(folder: Path | str, *, dtype: torch.dtype, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The weights of a model directory by name, less the VQ tokenizer's, plus `xp` if it has one.

    Raises as `read_tensors`.
    """
    state = read_tensors(folder, lambda name: not name.startswith(VQ_PREFIX), device=device)
    xp = Path(folder) / XP_FILE
    if xp.is_file():
        state |= _read_file(xp, lambda name: name == XP_KEY, device)
        if XP_KEY not in state:
            raise ValueError(f"{xp} has no {XP_KEY}")
    return {name: tensor.to(dtype) for name, tensor in state.items()}


def read_arm(folder: Path | str) -> Arm:
    """The arm that a model directory says it was trained in; DEFAULT_ARM if it says nothing.

    Raises ValueError for a file that cannot be read, or an arm that there is not.
    """
    found = _recorded(folder).get("arm", DEFAULT_ARM)
    for arm in ARMS:
        if found == arm:
            return arm
    raise ValueError(f"{Path(folder) / XP_FILE} is of an arm {found!r}; there are {', '.join(ARMS)}")


def read_trained_tokenizer(folder: Path | str) -> dict[str, Any] | None:
    """What was recorded with the tokens that a model was trained on; None for a model that was not trained here.

    Raises ValueError if the file of its X-Prompt embeddings is broken.
    """
    tokenizer = _recorded(folder).get("tokenizer")
    return tokenizer if isinstance(tokenizer, dict) else None


def read_context_pixels(folder: Path | str) -> int:
    """The side of the in-context images that a model was trained with, px; 0 if they were as large as all images.

    Raises ValueError if the file of its X-Prompt embeddings is broken.
    """
    pixels = _recorded(folder).get("context_pixels", 0)
    if type(pixels) is not int or pixels < 0:
        raise ValueError(f"{Path(folder) / XP_FILE} is of in-context images of {pixels!r} px")
    return pixels


def read_steps(folder: Path | str) -> int:
    """The optimizer steps that a model directory was trained for; 0 if it says nothing. Raises as `read_arm`."""
    steps = _recorded(folder).get("steps", 0)
    return steps if type(steps) is int else 0


def _recorded(folder: Path | str) -> dict[str, Any]:
    """What a model directory records of its training, nothing where it was not trained here."""
    path = Path(folder) / XP_FILE
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            recorded = json.loads((file.metadata() or {}).get(_TRAINING_KEY, "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(recorded, dict):
        raise ValueError(f"{path} cannot be read: its metadata {_TRAINING_KEY!r} is no JSON object")
    return recorded


def read_tensors(
    folder: Path | str, wanted: Callable[[str], bool], *, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The tensors of a model directory whose names are wanted. Raises ValueError if a file is missing or broken."""
    folder = Path(folder)
    names = [_WEIGHTS]
    if not (folder / _WEIGHTS).is_file() and (folder / _INDEX).is_file():
        places = _read_json(folder / _INDEX).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise ValueError(f"{folder / _INDEX} is no index of weights: it has no weight_map of names of files")
        names = sorted(set(places.values()))
        if outside := [name for name in names if name in ("", "..") or Path(name).name != name]:
            raise ValueError(f"{folder / _INDEX} names {outside[0][:100]!r}, which is no file beside it")
    state: dict[str, Tensor] = {}
    for name in names:
        state |= _read_file(folder / name, wanted, device)
    return state


def write_checkpoint(
    folder: Path | str,
    state: dict[str, Tensor],
    config: ChameleonConfig,
    source: Path | str | None,
    *,
    arm: Arm,
    tokenizer: Mapping[str, Any] | None,
    context_pixels: int = 0,
    steps: int = 0,
) -> None:
    """Write a model directory; it appears under its name when it is complete.

    `state` has the names of `XPromptChameleon`. `arm`, and `tokenizer`, what was recorded with the tokens it was
    trained on, `context_pixels`, and `steps`, the optimizer steps it was trained for, go into the metadata of XP_FILE,
    where `read_arm`, `read_trained_tokenizer`, `read_context_pixels` and `read_steps` find them. From
    `source`, a model directory, come the VQ tokenizer's weights and all files that are neither config nor weights.
    Raises ValueError if the folder exists or a source's file is broken.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder} exists: remove it, or write to another folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    training: dict[str, Any] = {"arm": arm, "tokenizer": None if tokenizer is None else dict(tokenizer)}
    if context_pixels:
        training["context_pixels"] = context_pixels
    if steps:
        training["steps"] = steps
    recorded = {_TRAINING_KEY: json.dumps(training, sort_keys=True)}
    save_file({XP_KEY: state.pop(XP_KEY)}, partial / XP_FILE, recorded)
    if source is not None:
        for path in Path(source).iterdir():
            if path.is_file() and path.suffix != ".safetensors" and path.name not in (CONFIG_FILE, _INDEX):
                shutil.copy(path, partial / path.name)
        state |= read_tensors(source, lambda name: name.startswith(VQ_PREFIX))
    save_torch_state_dict(state, partial, metadata={"format": "pt"})
    described = {**config.to_dict(), "architectures": ["ChameleonForConditionalGeneration"]}
    (partial / CONFIG_FILE).write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")
    partial.rename(folder)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if (size := path.stat().st_size) > _MOST_JSON_BYTES:
            raise ValueError(f"it has {size:,} bytes, over {_MOST_JSON_BYTES:,}")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(
            f"{path}: {error.strerror}: not a model directory in the format of facebook/chameleon-7b"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} does not hold an object")
    return found


def _read_file(path: Path, wanted: Callable[[str], bool], device: torch.device | str) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            return {name: file.get_tensor(name) for name in file.keys() if wanted(name)}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
