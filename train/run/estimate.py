"""What a preset's training costs before it is run: memory of a GPU, FLOPs of a step, hours.

    python -m train.run.estimate --preset 7b-paper
    python -m train.run.estimate --preset 34b --gpus 256 --gpu H100 --mfu 0.4
    python -m train.run.estimate --gpus 8 --lora-rank 16 --windows 2     # the options of training change it
    python -m train.run.estimate --table                                 # what fits which GPU
    python -m train.run.estimate --recipe recipe.json         # which examples lose their context, or are left out

FLOPs are counted on a model on the meta device, memory is measured by `train.run.memory` (some seconds). The
documents are the recipe's commonest: an in-context example of two images,
XP, and a pair of two images, one a window.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import ChameleonConfig, ChameleonVQVAEConfig

from train.data.corpus import Corpus
from train.run.config import PRESETS, Config, parse
from train.run.cost import PEAK_FLOPS, dense_flops, flops_per_token, pair_flops, parameters
from train.run.dropped import Window, dropped, table
from train.run.fitting import print_table
from train.run.memory import Measured, extended
from xprompt_model.checkpoint import read_config
from xprompt_model.model import XPromptChameleon
from xprompt_model.rope import with_window
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

TARGETS = IMAGE_BLOCK_TOKENS + 1
"""Tokens with a loss weight in a window: an image and its end-text."""

SIDE_TOKENS = 2 * IMAGE_BLOCK_TOKENS + 48
"""IE or TD: two images, and about 48 tokens of instruction, separator, begin- or end-text."""

_STATE_BYTES = 12
"""Bytes of a parameter and its two Adam moments in float32."""


def described(preset: str) -> ChameleonConfig:
    """The size of a preset's model. Raises ValueError for a preset whose size is in its checkpoint only."""
    if preset not in SHAPES:
        raise ValueError(f"the size of preset {preset} is in its checkpoint; these are known: {', '.join(SHAPES)}")
    return ChameleonConfig(
        vocabulary_map={name: index for index, name in enumerate(_NAMES)},
        vq_config={"num_embeddings": CODES},
        **SHAPES[preset],
    )


def meta_model(preset: str) -> XPromptChameleon:
    """A preset's model without weights. Raises ValueError as `described`."""
    with torch.device("meta"):
        return XPromptChameleon(described(preset), xp_tokens=PRESETS[preset].xp_tokens)


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


def memory(config: Config, gpus: int) -> Measured:
    """A step measured on one of so many GPUs: see `train.run.memory`, which says what it leaves out.

    Raises ValueError if the ranks cannot be divided so.
    """
    known = with_window(described(config.preset), config.window_tokens, config.rope)
    return extended(config, known, gpus, config.windows * TARGETS)


def main(arguments: Sequence[str] | None = None) -> int:
    options, others = _parser().parse_known_args(arguments)
    try:
        config = parse(["--preset", options.preset, *others], prog="python -m train.run.estimate")
        if options.recipe or options.data:
            _print_dropped(config, options.data or [], options.recipe)
        elif options.table:
            print_table(config, described(config.preset), TARGETS)
        else:
            _print(config, options.gpus, options.gpu, options.mfu)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _print_dropped(config: Config, data: Sequence[str], recipe: str) -> None:
    """What of a recipe's examples fits into the window."""
    known = read_config(config.model)
    side = Vocabulary.from_config(known).image_side_tokens
    assert isinstance(known.vq_config, ChameleonVQVAEConfig)
    if config.context_pixels * side % known.vq_config.resolution:
        raise ValueError(
            f"--context-pixels {config.context_pixels}: an image of so many pixels is no whole number of tokens, "
            f"each of which is of {known.vq_config.resolution // side} x {known.vq_config.resolution // side} pixels"
        )
    small = side * config.context_pixels // known.vq_config.resolution if config.context_pixels else side
    window = Window(
        tokens=config.window_tokens,
        xp_tokens=config.xp_tokens,
        image_tokens=side**2,
        context_image_tokens=small**2,
        examples=config.examples,
    )
    corpus = Corpus.open(data, recipe)
    corpus = corpus if config.contexts else corpus.without_contexts()
    for line in table(dropped(corpus, TextTokenizer(config.model), window), window):
        print(line)


def _print(config: Config, gpus: int, gpu: str, mfu: float) -> None:
    model = meta_model(config.preset)
    count = parameters(model)
    tokens = config.global_windows * config.window_tokens
    held = memory(config, gpus)
    print(f"{config.preset}: {count / 1e9:.3f}B parameters; micro-batches of {config.capacity:,} tokens")
    print(f"float32 parameters and Adam state, over all GPUs: {count * _STATE_BYTES / 1e9:,.0f} GB")
    print(f"memory of one of {gpus} GPUs, measured on tensors without values: {held.peak / 1e9:.1f} GB")
    print(f"  between steps        {held.rest / 1e9:6.1f} GB")
    print(f"  forward and backward {held.passes / 1e9:6.1f} GB")
    print(f"  the update           {held.update / 1e9:6.1f} GB")
    if config.cpu_offload:
        print(f"  in main memory       {held.host / 1e9:6.1f} GB")
    print(f"tokens: {tokens:,} a step, {tokens * config.steps:.3g} in {config.steps:,} steps")
    print(f"{'':<26} {'GFLOP a token':>14} {'EFLOP a step':>13} {f'hours on {gpus} {gpu} at {mfu:.0%}':>30}")
    for name, flops in token_flops(model, config).items():
        hours = flops * tokens * config.steps / (gpus * PEAK_FLOPS[gpu] * mfu) / 3_600
        print(f"{name:<26} {flops / 1e9:14.1f} {flops * tokens / 1e18:13.3f} {hours:30.0f}")


def _gpus(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share above 0 and up to 1")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.run.estimate",
        description="What a preset's training costs. Takes the options of training as well, which change it.",
        allow_abbrev=False,
    )
    parser.add_argument("--preset", choices=PRESETS, default="7b-paper", help="(default: %(default)s)")
    parser.add_argument("--recipe", default="", help="instead: what of its examples fits into the window")
    parser.add_argument("--data", nargs="*", help="the same of these dataset directories")
    parser.add_argument("--gpus", type=_gpus, default=128, help="(default: 128, the paper's section 4)")
    parser.add_argument("--gpu", choices=PEAK_FLOPS, default="A100", help="(default: %(default)s)")
    parser.add_argument("--mfu", type=_share, default=0.45, help="share of the peak that is reached (default: 0.45)")
    parser.add_argument("--table", action="store_true", help="what fits GPUs of 24, 48 and 80 GB, by method (minutes)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
