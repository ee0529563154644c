"""A training step on one GPU under three kinds of attention: `python -m infra.bench.gpu_step`.

Layers of the 7B's shape, as many as fit, in bfloat16, on one packed micro-batch of the recipe's documents; forward and
backward with each block recomputed, without the optimizer, whose share is small where a GPU holds a shard only. Arms:

    flex      flex_attention with the block mask of the X-Prompt mask, which skips empty tiles
    dense     scaled_dot_product_attention with the same mask as booleans
    causal    scaled_dot_product_attention, causal over the whole micro-batch: what masks are compared with

MFU is torchtitan's: all arms are credited with the same FLOPs, those of full windows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from transformers import ChameleonConfig

from infra.bench.packing import Lengths, documents, packed
from train.run.config import PAPER_7B
from train.run.cost import flops_per_token, peak_flops
from train.run.estimate import IMAGE_BLOCK_TOKENS, meta_model
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


def make_model(layers: int, device: torch.device) -> XPromptChameleon:
    """A 7B of fewer layers with random weights, each block recomputed on the way back."""
    shape = meta_model("7b-paper").config.to_dict() | {"num_hidden_layers": layers}
    with torch.device("meta"):
        model = XPromptChameleon(ChameleonConfig.from_dict(shape)).to(torch.bfloat16)
    model = model.to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                parameter.normal_(std=0.02)
    for index, block in enumerate(model.blocks):
        model.blocks[index] = checkpoint_wrapper(block, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
    return model.train()


def step(model: XPromptChameleon, batch: MicroBatch, arm: str) -> float:
    """Mask, forward and backward; the loss, nats a token."""
    mask = ARMS[arm](batch)
    parts = model.loss(batch, mask)
    loss = (parts.text_nll + parts.image_nll) / parts.weight
    torch.autograd.backward(loss)
    model.zero_grad()
    return float(loss.detach())


def main() -> int:
    options = _parser().parse_args()
    if not torch.cuda.is_available():
        print("gpu_step: PyTorch sees no CUDA device on this machine", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    name = torch.cuda.get_device_name(device)
    tokens = options.windows * WINDOW_TOKENS
    layers = options.layers or layers_that_fit(torch.cuda.mem_get_info(device)[0], tokens)
    if layers < 1:
        print(f"gpu_step: no layer fits beside {tokens:,} tokens on {name}: try --windows 1", file=sys.stderr)
        return 2
    model = make_model(layers, device)
    batch = recipe_batch(options.windows, model.config.vocab_size).to(device)
    peak = peak_flops(name)
    flops = flops_per_token(model, PAPER_7B.window_tokens)
    print(f"{name}, torch {torch.__version__}: {layers} of 32 layers, a micro-batch of {tokens:,} tokens, bfloat16")
    for arm in ARMS:
        torch.cuda.reset_peak_memory_stats()
        step(model, batch, arm)  # compiles
        times_s = []
        for _ in range(options.steps):
            torch.cuda.synchronize()
            started_s = time.perf_counter()
            loss = step(model, batch, arm)
            torch.cuda.synchronize()
            times_s.append(time.perf_counter() - started_s)
        seconds = statistics.median(times_s)
        mfu = f"{tokens / seconds * flops / peak:6.1%}" if peak else "unknown peak"
        print(
            f"{arm:<8} {1_000 * seconds:8.1f} ms ({1_000 * min(times_s):.1f} - {1_000 * max(times_s):.1f})"
            f"  {tokens / seconds:10,.0f} tokens/s  MFU {mfu}"
            f"  peak {torch.cuda.max_memory_allocated() / 1e9:5.1f} GB  loss {loss:.3f}",
            flush=True,
        )
    return 0


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
    parser.add_argument("--steps", type=int, default=10, help="timed ones of each arm (default: 10)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
