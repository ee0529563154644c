"""LoRA: the model's weights frozen, small matrices trained beside them (Hu et al. 2021), by peft.

    OUT/adapter/    adapter_model.safetensors, adapter_config.json for peft.PeftModel, and xprompt.safetensors
    OUT/model/      the same merged into the weights that training started from, not into their 8-bit rounding

X-Prompt embeddings always train. Frozen weights are in no checkpoint: they come from the model directory each time.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from train.run.config import Config
from train.run.int8 import Int8Linear
from xprompt_model.checkpoint import XP_FILE, XP_KEY
from xprompt_model.model import XPromptChameleon

if TYPE_CHECKING:  # imported where it is used: runs without adapters need not wait for it
    from peft import LoraConfig

_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""peft's file, and what the names in it begin with."""

_MARK = "lora_"
"""What peft's parameters have in their names, and no other parameter."""


def add_adapters(model: XPromptChameleon, config: Config, dtype: torch.dtype) -> None:
    """Put adapters beside the linear layers that `lora_targets` names, and freeze all but them, XP and `lora_whole`.

    A's values are drawn by the seed, B's are 0: the model computes what it did. Frozen weights get `dtype`, that of
    computation; with `frozen_bits` 8 the blocks' matrices become `Int8Linear`. Raises ValueError for a target that is
    no linear layer.
    """
    from peft import inject_adapter_in_model

    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if wrong := [name for name in config.lora_targets if name not in linear]:
        raise ValueError(f"--lora-targets {wrong[0]}: the model's linear layers are {', '.join(sorted(linear))}")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        inject_adapter_in_model(_peft_config(config), model)
    whole = _whole(config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_MARK in name or name == XP_KEY or name in whole)
    if config.frozen_bits == 8:
        _round(model.blocks, dtype)
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def trained(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Of a state dict what a run with adapters trains: theirs, XP's and the modules that are trained whole."""
    whole = _whole(config)
    return {name: tensor for name, tensor in state.items() if _MARK in name or name == XP_KEY or name in whole}


def merged(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """The weights of the model directory, float32, with what was trained added: those of a model without adapters."""
    from peft import inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    model = XPromptChameleon.from_pretrained(config.model, xp_tokens=config.xp_tokens, seed=config.seed)
    inject_adapter_in_model(_peft_config(config), model)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    for name, layer in layers.items():
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    return model.state_dict()


def write_adapter(folder: Path, state: Mapping[str, Tensor], config: Config) -> None:
    """Write what was trained as peft does, with XP in a file beside it, over what an earlier run wrote."""
    partial = folder.with_name(f".{folder.name}.partial")
    for stale in (partial, folder):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir(parents=True)
    state = {name: tensor.float().contiguous() for name, tensor in state.items()}
    save_file({XP_KEY: state.pop(XP_KEY)}, partial / XP_FILE)
    # peft leaves the adapter's name, "default", out of its files.
    named = {f"{_PREFIX}{name.replace('.default.', '.')}": tensor for name, tensor in state.items()}
    save_file(named, partial / _WEIGHTS, {"format": "pt"})
    described = _peft_config(config)
    described.modules_to_save = list(config.lora_whole) or None  # for peft's reader only: here they are not copied
    described.inference_mode = True
    described.save_pretrained(str(partial))
    partial.rename(folder)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A hash of weights by name, shape, dtype and bytes: a gigabyte takes about a second."""
    found = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _peft_config(config: Config) -> LoraConfig:
    from peft import LoraConfig

    return LoraConfig(
        base_model_name_or_path=config.model,
        r=config.lora_rank,
        lora_alpha=config.lora_alpha or 2 * config.lora_rank,
        target_modules=sorted(config.lora_targets),
    )


def _whole(config: Config) -> set[str]:
    """Names of the parameters that are trained whole."""
    names = {"embed_tokens": "model.embed_tokens.weight", "lm_head": "lm_head.weight"}
    return {names[name] for name in config.lora_whole}


def _round(blocks: nn.ModuleList, dtype: torch.dtype) -> None:
    """Round the frozen matrices of blocks to 8 bits."""
    frozen = {
        name: module
        for name, module in blocks.named_modules()
        if isinstance(module, nn.Linear) and not module.weight.requires_grad
    }
    for name, module in frozen.items():
        blocks.set_submodule(name, Int8Linear(module, dtype))
