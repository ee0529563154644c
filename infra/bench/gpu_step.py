"""A training step under three kinds of attention, on one GPU or several: `python -m infra.bench.gpu_step`.

Layers of the 7B's shape, as many as fit, in bfloat16, on one packed micro-batch of the recipe's documents; forward and
backward with each block recomputed, without the optimizer, whose share is small where a GPU holds a shard only. Arms:

    flex      flex_attention with the block mask of the X-Prompt mask, which skips empty tiles
    dense     scaled_dot_product_attention with the same mask as booleans
    causal    scaled_dot_product_attention, causal over the whole micro-batch: what masks are compared with

    torchrun --nproc-per-node 8 -m infra.bench.gpu_step --fsdp --compile    # float32 shards, as training proper has

MFU is torchtitan's: all arms are credited with the same FLOPs, those of full windows, the head on every token, nothing
for what is computed twice. `--device cpu` runs two narrow layers, to see that all of it works and that flex and dense
have the same loss; flex without a backward pass, which it has on a GPU only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from transformers import ChameleonConfig

from infra.bench.packing import Lengths, documents, packed
from train.run.config import PAPER_7B
from train.run.cost import flops_per_token, peak_flops
from train.run.estimate import IMAGE_BLOCK_TOKENS, meta_model
from train.run.parallel import start
from xprompt_model.batch import MicroBatch, collate
from xprompt_model.layout import IE, NO_EXAMPLE, TD, WINDOW_TOKENS, XP, Document
from xprompt_model.mask import Mask, block_mask, dense_mask
from xprompt_model.model import XPromptChameleon

ARMS: Mapping[str, Callable[[MicroBatch], Mask | None]] = {
    "flex": block_mask,
    "dense": dense_mask,
    "causal": lambda batch: None,
}

_SPARE = 0.85
"""Share of the GPU's free memory that weights, gradients and activations may take by our count."""


def recipe_batch(windows: int, vocabulary_size: int) -> MicroBatch:
    """A packed micro-batch of the recipe's documents, with random tokens."""
    random = np.random.default_rng(0)
    (chosen,) = islice(packed(documents(0), windows, 2 * windows + 2), 1)
    built = [_document(lengths, vocabulary_size, random) for lengths in chosen]
    return collate(built, windows * WINDOW_TOKENS)


NARROW = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
"""The shape of a layer on a CPU, instead of the 7B's."""


def layers_that_fit(free_bytes: float, tokens: int) -> int:
    """Layers of the 7B: weights and gradients in bfloat16, each block's input, and one block's inner activations."""
    model = meta_model("7b-paper")
    config = model.config
    block = sum(parameter.numel() for parameter in model.blocks[0].parameters())
    root = sum(parameter.numel() for parameter in model.parameters()) - block * len(model.blocks)
    within = 2 * tokens * (12 * config.hidden_size + 6 * config.intermediate_size)
    masks = 3 * tokens * tokens  # of the arm "dense": booleans, and the same as bfloat16
    each = 4 * block + 2 * tokens * config.hidden_size
    return int(min(len(model.blocks), (_SPARE * free_bytes - 4 * root - within - masks) // each))


def make_model(
    layers: int, device: torch.device, *, narrow: bool = False, compiled: bool = False, sharded: bool = False
) -> XPromptChameleon:
    """A 7B of fewer layers with random weights, each block recomputed on the way back, put together as for training.

    Sharded: float32 over all ranks of the process group, computing in bfloat16. Otherwise bfloat16 on this rank alone,
    of narrow layers float32.
    """
    shape = meta_model("7b-paper").config.to_dict() | {"num_hidden_layers": layers} | (NARROW if narrow else {})
    with torch.device("meta"):
        model = XPromptChameleon(ChameleonConfig.from_dict(shape))
        model = model if narrow or sharded else model.to(torch.bfloat16)
    policy = MixedPrecisionPolicy(
        param_dtype=torch.float32 if narrow else torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for index, block in enumerate(model.blocks):
        block = model.blocks[index] = checkpoint_wrapper(block, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
        if compiled:
            block.compile()
        if sharded:
            fully_shard(block, mp_policy=policy)
    if sharded:
        fully_shard(model, mp_policy=policy)
        register_fsdp_forward_method(model, "loss")
    model = model.to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                parameter.normal_(std=0.02)
    return model.train()


def step(model: XPromptChameleon, batch: MicroBatch, arm: str) -> float:
    """Mask, forward and backward; the loss, nats a token."""
    has_backward = batch.ids.is_cuda or arm != "flex"
    with torch.set_grad_enabled(has_backward):
        parts = model.loss(batch, ARMS[arm](batch))
        loss = (parts.text_nll + parts.image_nll) / parts.weight
    if has_backward:
        torch.autograd.backward(loss)
        model.zero_grad()
    return float(loss.detach())


def main() -> int:
    options = _parser().parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu_step: PyTorch sees no CUDA device on this machine", file=sys.stderr)
        return 2
    narrow = options.device == "cpu"
    device = torch.device("cpu") if narrow else torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if options.fsdp or "RANK" in os.environ:
        device = start()
    try:
        return _measure(options, device, narrow)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _measure(options: argparse.Namespace, device: torch.device, narrow: bool) -> int:
    name = "CPU" if narrow else torch.cuda.get_device_name(device)
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    tokens = options.windows * WINDOW_TOKENS
    layers = options.layers or (2 if narrow else layers_that_fit(torch.cuda.mem_get_info(device)[0], tokens))
    if layers < 1:
        print(f"gpu_step: no layer fits beside {tokens:,} tokens on {name}: try --windows 1", file=sys.stderr)
        return 2
    model = make_model(layers, device, narrow=narrow, compiled=options.compile, sharded=options.fsdp)
    batch = recipe_batch(options.windows, model.config.vocab_size).to(device)
    peak = peak_flops(name)
    flops = flops_per_token(model, PAPER_7B.window_tokens)
    how = [word for word, is_so in (("FSDP2", options.fsdp), ("compiled", options.compile)) if is_so]
    if _is_first():
        print(
            f"{ranks} x {name}, torch {torch.__version__}: {layers} of 32 layers, a micro-batch of {tokens:,} tokens a "
            f"rank, {'float32' if narrow else 'bfloat16'}{''.join(f', {word}' for word in how)}"
        )
    for arm in ARMS:
        _reset_peak(device)
        step(model, batch, arm)  # compiles
        times_s = []
        for _ in range(options.steps):
            _synchronize(device)
            started_s = time.perf_counter()
            loss = step(model, batch, arm)
            _synchronize(device)
            times_s.append(time.perf_counter() - started_s)
        seconds = statistics.median(times_s)
        mfu = f"{tokens / seconds * flops / peak:6.1%}" if peak else "unknown peak"
        memory = f"{torch.cuda.max_memory_allocated(device) / 1e9:5.1f} GB" if device.type == "cuda" else "not told"
        if _is_first():
            print(
                f"{arm:<8} {1_000 * seconds:8.1f} ms ({1_000 * min(times_s):.1f} - {1_000 * max(times_s):.1f})"
                f"  {tokens / seconds:10,.0f} tokens/s a rank  MFU {mfu}  peak {memory}  loss {loss:.5f}",
                flush=True,
            )
    return 0


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _document(lengths: Lengths, vocabulary_size: int, random: np.random.Generator) -> Document:
    """Random tokens, of which the last image block is to be predicted."""
    ids = random.integers(0, vocabulary_size, lengths.total)
    ids[lengths.context : lengths.context + lengths.xp] = np.arange(lengths.xp)
    segment = np.repeat(np.array([IE, XP, TD], np.int8), list(vars(lengths).values()))
    weight = (np.arange(lengths.total) >= lengths.total - IMAGE_BLOCK_TOKENS).astype(np.float32)
    example = np.where(segment == TD, NO_EXAMPLE, 0).astype(np.int8)
    return Document(ids=ids, segment=segment, example=example, weight=weight)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.gpu_step", description="A 7B step by attention.")
    parser.add_argument("--windows", type=int, default=4, help="of 5,120 tokens in the micro-batch (default: 4)")
    parser.add_argument("--layers", type=int, help="(default: as many of 32 as fit)")
    parser.add_argument("--fsdp", action="store_true", help="float32 shards over all ranks, as in training")
    parser.add_argument("--compile", action="store_true", help="torch.compile each block")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: narrow layers (default: cuda)")
    parser.add_argument("--steps", type=int, default=10, help="timed ones of each arm (default: 10)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
