"""The process group, and the model sharded over it: FSDP2 a block, optionally HSDP.

Order matters: activation checkpointing is put around a block, the block is compiled, then sharded. Everything the loss
needs runs inside `model.loss`, which FSDP knows as a forward: outside of it parameters are shards.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from transformers import ChameleonConfig

from train.run.adapters import add_adapters, fingerprint, merged, trained, write_adapter
from train.run.config import Config
from xprompt_model.checkpoint import read_config, read_steps
from xprompt_model.model import XPromptChameleon
from xprompt_model.rope import with_window


def start() -> torch.device:
    """Join the process group that torchrun set up, or make one of this process alone; return this rank's device.

    Collectives on CPU tensors go through gloo even where GPUs use NCCL: asynchronous checkpoints need that.
    """
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    else:
        device, backend = torch.device("cpu"), "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    return device


def model_config(config: Config) -> ChameleonConfig:
    """The config of the model that is trained, with its window. Raises ValueError if the checkpoint cannot have it."""
    return with_window(read_config(config.model), config.window_tokens, config.rope)


def shard(config: Config, device: torch.device) -> XPromptChameleon:
    """The model of a config, sharded and without values: `load_pretrained` or a checkpoint gives them.

    Built on the meta device, so that no rank ever holds all of it. Raises ValueError if the ranks cannot be divided so.
    """
    model = shard_on_meta(config, model_config(config), device)
    return model.to_empty(device="cpu" if config.cpu_offload else device)


def shard_on_meta(config: Config, described: ChameleonConfig, device: torch.device) -> XPromptChameleon:
    """The model that `described` tells the size of, sharded for a kind of device but still on the meta device."""
    with torch.device("meta"):
        model = XPromptChameleon(described, xp_tokens=config.xp_tokens)
    model.train()
    dtype = _dtype(config)
    if config.lora_rank:
        add_adapters(model, config, dtype)
    # Inputs are not cast: FSDP looks into dataclasses, and would round a micro-batch's loss weights to bfloat16.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    offload = CPUOffloadPolicy(pin_memory=device.type == "cuda") if config.cpu_offload else OffloadPolicy()
    mesh = _mesh(config.shard_ranks, device.type)
    blocks = model.blocks
    for index, block in enumerate(blocks):
        if config.recompute:
            block = blocks[index] = checkpoint_wrapper(block, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
        if config.compile:
            block.compile()
        fully_shard(block, mesh=mesh, mp_policy=policy, offload_policy=offload)
    fully_shard(model, mesh=mesh, mp_policy=policy, offload_policy=offload)
    register_fsdp_forward_method(model, "loss")
    return model


def load_pretrained(model: XPromptChameleon, config: Config) -> str:
    """Fill a sharded model from the checkpoint directory: rank 0 reads it, the others get their shards from there.

    Returns a hash of what stays frozen, the empty string if nothing does.
    """
    full: dict[str, Any] = {}
    frozen = [""]
    if dist.get_rank() == 0:
        whole = XPromptChameleon.from_pretrained(config.model, xp_tokens=config.xp_tokens, seed=config.seed)
        if config.lora_rank:
            add_adapters(whole, config, _dtype(config))
        full = whole.state_dict()
        if config.lora_rank:
            learned = trained(full, config)
            frozen = [fingerprint({name: tensor for name, tensor in full.items() if name not in learned})]
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, full, options=options)
    dist.broadcast_object_list(frozen)
    return frozen[0]


def is_exported(folder: Path, steps: int) -> bool:
    """Whether a folder has the model of so many steps: a run that was made longer may have been killed before it
    exported, and then an earlier model is there."""
    try:
        return read_steps(folder) == steps
    except ValueError:  # it is damaged
        return False


def export(model: XPromptChameleon, config: Config, folder: Path, tokenizer: Mapping[str, Any]) -> None:
    """Write a directory that transformers loads, float32, with the tokenizers of the model that training started from.

    `tokenizer` is what the token shards record of them. All ranks call it; rank 0 gathers the weights in its main
    memory and writes, over what an earlier run exported. Adapters are merged into the weights they were trained beside.
    """
    # Of a model with adapters only what trains: the frozen weights are in the model directory, exacter than here.
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=config.lora_rank > 0)
    full: dict[str, Any] = get_model_state_dict(model, options=options)
    if dist.get_rank() == 0:
        if config.lora_rank:
            full = merged(full, config)
        with torch.device("meta"):
            whole = XPromptChameleon(model_config(config), xp_tokens=config.xp_tokens)
        whole.load_state_dict(full, assign=True)
        shutil.rmtree(folder, ignore_errors=True)
        whole.save_pretrained(
            folder,
            source=config.model,
            arm=config.arm,
            tokenizer=tokenizer,
            context_pixels=config.context_pixels,
            steps=config.steps,
        )
    dist.barrier()


def export_adapter(model: XPromptChameleon, config: Config, folder: Path) -> None:
    """Write the adapters as peft reads them, and XP. All ranks call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    full: dict[str, Any] = get_model_state_dict(model, options=options)
    if dist.get_rank() == 0:
        write_adapter(folder, full, config)
    dist.barrier()


def _dtype(config: Config) -> torch.dtype:
    """That of computation."""
    return torch.bfloat16 if config.dtype == "bf16" else torch.float32


def _mesh(shard_ranks: int, device_type: str) -> DeviceMesh:
    ranks = dist.get_world_size()
    if shard_ranks in (0, ranks):
        return init_device_mesh(device_type, (ranks,))
    if shard_ranks < 0 or ranks % shard_ranks:
        raise ValueError(f"--shard-ranks {shard_ranks} does not divide the {ranks} ranks")
    return init_device_mesh(device_type, (ranks // shard_ranks, shard_ranks), mesh_dim_names=("replicate", "shard"))
