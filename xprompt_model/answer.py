"""Answers an instruction with trained weights: what the options of `generate.py` ask for. It imports torch."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from operators.shared.pixels import read_image
from operators.shared.texts import ClipText, MiniLM
from xprompt_model.arm import Arm
from xprompt_model.checkpoint import XP_FILE, read_arm, read_context_pixels
from xprompt_model.generator import Generator, Request
from xprompt_model.layout import Turn
from xprompt_model.library import Library, model_identity
from xprompt_model.model import XPromptChameleon
from xprompt_model.retrieve import ContextDatabase, Example
from xprompt_model.same_tokenizers import refuse_untrained_tokenizers
from xprompt_model.sampling import IMAGE, TEXT
from xprompt_model.text import NoTokens, TextTokenizer
from xprompt_model.vocabulary import Ids
from xprompt_model.vqgan import VQGAN

Pixels = NDArray[np.uint8]


def answer(options: argparse.Namespace) -> None:
    """Write or print an answer for each seed. Raises ValueError, one line, for what a user can put right."""
    # What is asked for is read before the model, which may take minutes to load.
    trained = read_arm(options.model)
    arm: Arm = options.arm or trained
    if arm != trained:
        _say(f"{options.model} was trained in the arm {trained}, and answers in the arm {arm}")
    examples, pictures = _examples(options), [_read(path) for path in options.input]
    if arm == "none" and examples:
        _say("the arm none has no in-context example: what was given is left out")
        examples = []
    if not options.describe:
        _refuse_unwritable(options.out)
    names = ("temperature", "top_k", "top_p", "guidance", "image_guidance")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    sampling = replace(TEXT if options.describe else IMAGE, **given)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # of a build that has no such device
        raise ValueError(f"--device {device} cannot be used: {error}") from None
    model = XPromptChameleon.from_pretrained(options.model, dtype=getattr(torch, options.dtype), device=device)
    vqgan = VQGAN.load(options.model, device=device)
    if not options.describe:
        vqgan.needed_decoder()
    tokenizer = TextTokenizer(options.model)
    refuse_untrained_tokenizers(options.model, tokenizer, vqgan)
    if not (options.model / XP_FILE).is_file():
        _say(f"{options.model} has no {XP_FILE}: its X-Prompt embeddings are untrained")

    def ids(text: str) -> Ids:
        try:
            return tokenizer.ids(text)
        except NoTokens as error:
            raise ValueError(f"{text[:40]!a} cannot be made into tokens: {error}") from None

    generator = Generator(model, compiled=options.compile)
    library = Library(options.library, model_identity(model)) if options.library and examples else None
    compress = partial(library.compressed, generator) if library else generator.compress
    side_px = read_context_pixels(options.model) or None
    contexts = []
    for example in examples:
        output = example.output
        turn = Turn(
            instruction=ids(example.instruction) if example.instruction else np.array([], np.int64),
            inputs=tuple(vqgan.tokenize(image, side_px) for image in example.inputs),
            output=ids(output) if isinstance(output, str) else vqgan.tokenize(output, side_px),
        )
        compressed = compress(turn, keep_example=arm == "causal")
        contexts.append(compressed)
        took = f"in {compressed.seconds:.2f} s" if compressed.seconds else "from the library"
        _say(
            f"in-context example: {compressed.tokens:,} tokens {took}; keys and values "
            f"{compressed.bytes_before / 1e6:.2f} MB, {compressed.bytes_after / 1e6:.2f} MB kept"
        )
    if library and library.damaged:
        is_one = library.damaged == 1
        _say(
            f"{options.library}: {library.damaged} damaged file{' in it was' if is_one else 's in it were'} made again"
        )
    inputs = [*map(vqgan.tokenize, pictures)]
    asked = ids(options.instruction)
    for start in range(0, len(options.seed), options.batch):
        seeds = options.seed[start : start + options.batch]
        requests = [Request(instruction=asked, inputs=inputs, contexts=contexts, seed=seed) for seed in seeds]
        started_s = time.perf_counter()
        if options.describe:
            texts = generator.texts(requests, sampling, options.max_tokens)
            made = sum(len(text) for text in texts)
            for text in texts:
                print(tokenizer.text(text))
        else:
            grids = generator.images(requests, sampling)
            made = grids.size
            for seed, grid in zip(seeds, grids, strict=True):
                out = options.out if len(options.seed) == 1 else options.out.with_stem(f"{options.out.stem}-{seed}")
                Image.fromarray(vqgan.picture(grid)).save(out)
        seconds = time.perf_counter() - started_s
        _say(f"seed {', '.join(map(str, seeds))}: {made:,} tokens in {seconds:.2f} s, {made / seconds:.0f} tokens/s")


def _refuse_unwritable(out: Path) -> None:
    """Raises ValueError for a file that no image can be written to: the images would be lost once they are made."""
    if out.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"--out {out}: its ending says no format that can be written, such as .png")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ValueError(f"--out {out}: it is a folder, or there is no folder {out.absolute().parent}")


def _examples(options: argparse.Namespace) -> list[Example]:
    if options.contexts_from:
        embed = ClipText(checkpoint=str(options.clip)) if options.clip else MiniLM()
        nearest = ContextDatabase(options.contexts_from, embed).nearest(
            options.instruction, inputs=len(options.input), describe=options.describe, count=options.examples
        )
        for one in nearest:
            _say(f"example: pair {one.pair}, similarity {one.score:.3f}: {one.instruction}")
        return nearest
    if not options.context:
        return []
    images = [_read(path) for path in options.context]
    output = options.context_answer if options.describe else images.pop()
    return [Example(instruction=options.context_instruction, inputs=tuple(images), output=output)]


def _read(path: Path) -> Pixels:
    try:
        return read_image(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr)
