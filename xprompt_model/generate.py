"""Answers an instruction from the command line:

    python -m xprompt_model.generate --model DIR --context a.png b.png --context-instruction "Remove the rain." \\
        --input c.png --instruction "Remove the rain." --out d.png

Without --input an image is made from the text alone; --describe answers in words. In place of --context,
--contexts-from DATASET takes the pair whose instruction is nearest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from operators.shared.extras import MissingExtra
from operators.shared.texts import ClipText, MiniLM
from xprompt_model.checkpoint import XP_FILE
from xprompt_model.generator import Generator
from xprompt_model.layout import Turn
from xprompt_model.model import XPromptChameleon
from xprompt_model.retrieve import ContextDatabase, Example, read_image
from xprompt_model.sampling import Sampling
from xprompt_model.vocabulary import Ids
from xprompt_model.vqgan import VQGAN

Pixels = NDArray[np.uint8]


def main(arguments: Sequence[str] | None = None) -> None:
    """Exits with one line for what a user can put right."""
    try:
        _run(_parse(arguments))
    except (ValueError, MissingExtra) as error:
        sys.exit(f"error: {error}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m xprompt_model.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, type=Path, help="model directory, with its tokenizers")
    parser.add_argument("--instruction", required=True)
    parser.add_argument("--input", nargs="*", type=Path, default=[], help="images that the instruction is about")
    parser.add_argument("--out", type=Path, help="image to write; with several seeds, -SEED is added to its name")
    parser.add_argument("--describe", action="store_true", help="answer with a text")
    parser.add_argument("--context", nargs="*", type=Path, default=[], help="the example's images, its answer last")
    parser.add_argument("--context-instruction", default="")
    parser.add_argument("--context-answer", help="the example's answer with --describe, after whose images it comes")
    parser.add_argument("--contexts-from", type=Path, help="dataset directory to take the example from")
    parser.add_argument("--clip", type=Path, help="CLIP weights to compare instructions by, instead of MiniLM")
    parser.add_argument("--temperature", type=float, default=1.0, help="0: the likeliest (default 1)")
    parser.add_argument("--top-k", type=int, default=0, help="draw from so many likeliest (default 0: all)")
    parser.add_argument("--top-p", type=float, default=1.0, help="draw from so much probability (default 1)")
    parser.add_argument("--guidance", type=float, default=1.0, help="classifier-free guidance (default 1: none)")
    parser.add_argument("--max-tokens", type=int, default=256, help="longest text answer (default 256)")
    parser.add_argument("--seed", nargs="+", type=int, default=[0], help="one answer each")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args(arguments)
    if options.context and options.contexts_from:
        parser.error("--context and --contexts-from exclude each other")
    if options.describe and options.context and options.context_answer is None:
        parser.error("--describe with --context needs --context-answer")
    if not options.describe and options.out is None:
        parser.error("--out is needed, or --describe")
    return options


def _run(options: argparse.Namespace) -> None:
    model = XPromptChameleon.from_pretrained(options.model, dtype=getattr(torch, options.dtype), device=options.device)
    vqgan = VQGAN.load(options.model, device=options.device)
    tokenizer = _tokenizer(options.model)
    if not (options.model / XP_FILE).is_file():
        _say(f"{options.model} has no {XP_FILE}: its X-Prompt embeddings are untrained")

    def ids(text: str) -> Ids:
        return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    example = _example(options)
    context = None
    if example:
        output = example.output
        context = Turn(
            instruction=ids(example.instruction),
            inputs=tuple(map(vqgan.tokenize, example.inputs)),
            output=ids(output) if isinstance(output, str) else vqgan.tokenize(output),
        )
    generator = Generator(model)
    compressed = generator.compress(context)
    if context:
        _say(
            f"in-context example: {compressed.tokens:,} tokens in {compressed.seconds:.2f} s; keys and values "
            f"{compressed.bytes_before / 1e6:.2f} MB, {compressed.bytes_after / 1e6:.2f} MB kept"
        )
    inputs = [vqgan.tokenize(_read(path)) for path in options.input]
    for seed in options.seed:
        sampling = Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            guidance=options.guidance,
            seed=seed,
        )
        start = time.perf_counter()
        if options.describe:
            answer = generator.text(
                ids(options.instruction), inputs, compressed, sampling, max_tokens=options.max_tokens
            )
            print(tokenizer.decode(answer.tolist()))
        else:
            answer = generator.image(ids(options.instruction), inputs, compressed, sampling)
            out = options.out if len(options.seed) == 1 else options.out.with_stem(f"{options.out.stem}-{seed}")
            Image.fromarray(vqgan.picture(answer)).save(out)
        seconds = time.perf_counter() - start
        _say(f"seed {seed}: {answer.size:,} tokens in {seconds:.2f} s, {answer.size / seconds:.0f} tokens/s")


def _example(options: argparse.Namespace) -> Example | None:
    if options.contexts_from:
        embed = ClipText(checkpoint=str(options.clip)) if options.clip else MiniLM()
        found = ContextDatabase(options.contexts_from, embed).nearest(
            options.instruction, inputs=len(options.input), describe=options.describe
        )
        _say(f"example: pair {found.pair}, similarity {found.score:.3f}: {found.instruction}")
        return found
    if not options.context:
        return None
    images = [_read(path) for path in options.context]
    output = options.context_answer if options.describe else images.pop()
    return Example(instruction=options.context_instruction, inputs=tuple(images), output=output)


def _tokenizer(folder: Path) -> Tokenizer:
    """A text tokenizer to which names of special tokens are words like any other. Raises ValueError."""
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # its own type is a bare Exception
        raise ValueError(f"{path} cannot be read: {error}") from None
    tokenizer.encode_special_tokens = True
    return tokenizer


def _read(path: Path) -> Pixels:
    try:
        return read_image(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
