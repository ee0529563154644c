"""What a preset's training costs before it is run: memory of a GPU, FLOPs of a step, hours.

    python -m train.run.estimate --preset 7b-paper
    python -m train.run.estimate --preset 34b --gpus 256 --gpu H100 --mfu 0.4
    python -m train.run.estimate --recipe recipe.json         # which examples lose their context, or are left out

Counted on a model on the meta device. The documents are the recipe's commonest: an in-context example of two images,
XP, and a pair of two images, one a window.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import ChameleonConfig, ChameleonVQVAEConfig

from train.data.corpus import Corpus
from train.run.config import PRESETS, Config
from train.run.cost import PEAK_FLOPS, dense_flops, flops_per_token, pair_flops, parameters
from train.run.dropped import Window, dropped, table
from xprompt_model.checkpoint import read_config
from xprompt_model.model import CHUNK_TARGETS, XPromptChameleon
from xprompt_model.text import TextTokenizer
from xprompt_model.vocabulary import BEGIN_IMAGE, BEGIN_TEXT, END_IMAGE, END_TEXT, PAD, SEPARATOR, Vocabulary, code_name

CODES = 8_192
_NAMES = (BEGIN_TEXT, PAD, END_TEXT, "<unk>", *map(code_name, range(CODES)), END_IMAGE, BEGIN_IMAGE, SEPARATOR)

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "7b-paper": {},
    "34b": {
        "hidden_size": 8_192,
        "intermediate_size": 22_016,
        "num_hidden_layers": 48,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "swin_norm": True,
    },
}
"""How the presets' models differ from transformers' ChameleonConfig, which is the 7B's. 34B: inferred from its weights'
sizes (facebook/chameleon-30b); its checkpoint's config.json decides."""

IMAGE_BLOCK_TOKENS = 1_026
"""A 512 px image: 32 x 32 codes, begin and end."""

SIDE_TOKENS = 2 * IMAGE_BLOCK_TOKENS + 48
"""IE or TD: two images, and about 48 tokens of instruction, separator, begin- or end-text."""

_PARAMETER_BYTES, _ADAM_BYTES, _GRADIENT_BYTES, _WORKING_BYTES = 4, 8, 4, 2
"""Bytes for each parameter: itself and its Adam moments in float32, its gradient, its bfloat16 copy while in use."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one GPU."""

    state: float
    """Float32 parameters, Adam moments and gradients: this rank's shard."""
    gathered: float
    """Two blocks, embeddings and head, as FSDP gathers them in bfloat16, with the gradients of as many."""
    activations: float
    """Each block's input, kept, and all that one block needs on its way back."""
    logits: float
    """The logits of one chunk of targets, in float32, with their gradient."""

    @property
    def total(self) -> float:
        return self.state + self.gathered + self.activations + self.logits


def meta_model(preset: str) -> XPromptChameleon:
    """A preset's model without weights. Raises ValueError for a preset whose size is in its checkpoint only."""
    if preset not in SHAPES:
        raise ValueError(f"the size of preset {preset} is in its checkpoint; these are known: {', '.join(SHAPES)}")
    config = ChameleonConfig(
        vocabulary_map={name: index for index, name in enumerate(_NAMES)},
        vq_config={"num_embeddings": CODES},
        **SHAPES[preset],
    )
    with torch.device("meta"):
        return XPromptChameleon(config, xp_tokens=PRESETS[preset].xp_tokens)


def attended_pairs(side_tokens: int, xp_tokens: int, *, compress: bool) -> int:
    """Pairs of query and key in one document of two sides with XP between them."""
    tokens = 2 * side_tokens + xp_tokens
    return tokens * (tokens + 1) // 2 - (side_tokens * side_tokens if compress else 0)


def token_flops(model: XPromptChameleon, config: Config) -> dict[str, float]:
    """FLOPs a token of a window, forward and backward, by what is counted as attention."""
    window = config.window_tokens
    pairs = attended_pairs(SIDE_TOKENS, config.xp_tokens, compress=True)
    return {
        "causal, the whole window": dense_flops(model) + pair_flops(model) * (window + 1) / 2,
        "X-Prompt mask": dense_flops(model) + pair_flops(model) * pairs / window,
        "torchtitan's formula": flops_per_token(model, window),
    }


def memory(model: XPromptChameleon, config: Config, gpus: int) -> Memory:
    """An estimate for one GPU, without the allocator's fragments and NCCL's buffers (some GB)."""
    shards = config.shard_ranks or gpus
    count = parameters(model)
    width, inner = model.config.hidden_size, model.config.intermediate_size
    block = sum(parameter.numel() for parameter in model.blocks[0].parameters())
    root = count - block * len(model.blocks)
    # One block, in bfloat16: its norms' in- and outputs, queries, keys, values, attention's output and projection, and
    # the gate, its activation, the other half and their product.
    within = config.capacity * (9 * width + 4 * inner) * _WORKING_BYTES
    kept = config.capacity * width * _WORKING_BYTES * len(model.blocks)
    return Memory(
        state=count * (_PARAMETER_BYTES + _ADAM_BYTES + _GRADIENT_BYTES) / shards,
        gathered=2 * (2 * block + root) * _WORKING_BYTES,
        activations=kept + within if config.recompute else within * len(model.blocks),
        logits=3 * CHUNK_TARGETS * model.config.vocab_size * 4,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.recipe or options.data:
            _print_dropped(options)
            return 0
        _print(PRESETS[options.preset], meta_model(options.preset), options.gpus, options.gpu, options.mfu)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _print_dropped(options: argparse.Namespace) -> None:
    """What of a recipe's examples fits into the window."""
    set_over = ("model", "window_tokens", "xp_tokens", "examples", "context_pixels")
    given = {name: value for name in set_over if (value := getattr(options, name)) is not None}
    config = replace(PRESETS[options.preset], **given)
    known = read_config(config.model)
    side = Vocabulary.from_config(known).image_side_tokens
    assert isinstance(known.vq_config, ChameleonVQVAEConfig)
    small = side * config.context_pixels // known.vq_config.resolution if config.context_pixels else side
    window = Window(
        tokens=config.window_tokens,
        xp_tokens=config.xp_tokens,
        image_tokens=side**2,
        context_image_tokens=small**2,
        examples=config.examples,
    )
    corpus = Corpus.open(options.data or [], options.recipe)
    for line in table(dropped(corpus, TextTokenizer(config.model), window), window):
        print(line)


def _print(config: Config, model: XPromptChameleon, gpus: int, gpu: str, mfu: float) -> None:
    count = parameters(model)
    tokens = config.global_windows * config.window_tokens
    held = memory(model, config, gpus)
    state = count * (_PARAMETER_BYTES + _ADAM_BYTES)
    print(f"{config.preset}: {count / 1e9:.3f}B parameters; micro-batches of {config.capacity:,} tokens")
    print(f"float32 parameters and Adam state, over all GPUs: {state / 1e9:,.0f} GB")
    print(f"memory of one of {gpus} GPUs: {held.total / 1e9:.1f} GB")
    for name, value in vars(held).items():
        print(f"  {name:<12} {value / 1e9:6.1f} GB")
    print(f"tokens: {tokens:,} a step, {tokens * config.steps:.3g} in {config.steps:,} steps")
    print(f"{'':<26} {'GFLOP a token':>14} {'EFLOP a step':>13} {f'hours on {gpus} {gpu} at {mfu:.0%}':>30}")
    for name, flops in token_flops(model, config).items():
        hours = flops * tokens * config.steps / (gpus * PEAK_FLOPS[gpu] * mfu) / 3_600
        print(f"{name:<26} {flops / 1e9:14.1f} {flops * tokens / 1e18:13.3f} {hours:30.0f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.run.estimate", description="What a preset's training costs.")
    parser.add_argument("--preset", choices=PRESETS, default="7b-paper", help="(default: %(default)s)")
    parser.add_argument("--recipe", default="", help="instead: what of its examples fits into the window")
    parser.add_argument("--data", nargs="*", help="the same of these dataset directories")
    parser.add_argument("--model", help="with --recipe: the directory with the tokenizer (default: the preset's)")
    for name, what in (
        ("window-tokens", "context window"),
        ("xp-tokens", "X-Prompt tokens"),
        ("examples", "in-context examples of a document, at most"),
        ("context-pixels", "side of in-context images, px"),
    ):
        parser.add_argument(f"--{name}", type=int, help=f"with --recipe: {what} (default: the preset's)")
    parser.add_argument("--gpus", type=int, default=128, help="(default: 128, the paper's section 4)")
    parser.add_argument("--gpu", choices=PEAK_FLOPS, default="A100", help="(default: %(default)s)")
    parser.add_argument("--mfu", type=float, default=0.45, help="share of the peak that is reached (default: 0.45)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
