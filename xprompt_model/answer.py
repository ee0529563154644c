"""Answers an instruction with trained weights: what the options of `generate.py` ask for. It imports torch."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from operators.shared.texts import ClipText, MiniLM
from xprompt_model.arm import Arm
from xprompt_model.checkpoint import XP_FILE, read_arm
from xprompt_model.generator import Generator
from xprompt_model.layout import Turn
from xprompt_model.model import XPromptChameleon
from xprompt_model.retrieve import ContextDatabase, Example, read_image
from xprompt_model.sampling import Sampling
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
    example, pictures = _example(options), [_read(path) for path in options.input]
    if arm == "none" and example:
        _say("the arm none has no in-context example: the one that was given is left out")
        example = None
    samplings = [
        Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            guidance=options.guidance,
            seed=seed,
        )
        for seed in options.seed
    ]
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = XPromptChameleon.from_pretrained(options.model, dtype=getattr(torch, options.dtype), device=device)
    vqgan = VQGAN.load(options.model, device=device)
    tokenizer = _tokenizer(options.model)
    if not (options.model / XP_FILE).is_file():
        _say(f"{options.model} has no {XP_FILE}: its X-Prompt embeddings are untrained")

    def ids(text: str) -> Ids:
        return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    context = None
    if example:
        output = example.output
        context = Turn(
            instruction=ids(example.instruction),
            inputs=tuple(map(vqgan.tokenize, example.inputs)),
            output=ids(output) if isinstance(output, str) else vqgan.tokenize(output),
        )
    generator = Generator(model)
    compressed = generator.compress(context, keep_example=arm == "causal")
    if context:
        _say(
            f"in-context example: {compressed.tokens:,} tokens in {compressed.seconds:.2f} s; keys and values "
            f"{compressed.bytes_before / 1e6:.2f} MB, {compressed.bytes_after / 1e6:.2f} MB kept"
        )
    inputs = [*map(vqgan.tokenize, pictures)]
    for seed, sampling in zip(options.seed, samplings, strict=True):
        start = time.perf_counter()
        if options.describe:
            tokens = generator.text(
                ids(options.instruction), inputs, compressed, sampling, max_tokens=options.max_tokens
            )
            print(tokenizer.decode(tokens.tolist()))
        else:
            tokens = generator.image(ids(options.instruction), inputs, compressed, sampling)
            out = options.out if len(options.seed) == 1 else options.out.with_stem(f"{options.out.stem}-{seed}")
            Image.fromarray(vqgan.picture(tokens)).save(out)
        seconds = time.perf_counter() - start
        _say(f"seed {seed}: {tokens.size:,} tokens in {seconds:.2f} s, {tokens.size / seconds:.0f} tokens/s")


def _example(options: argparse.Namespace) -> Example | None:
    if options.contexts_from:
        embed = ClipText(checkpoint=str(options.clip)) if options.clip else MiniLM()
        nearest = ContextDatabase(options.contexts_from, embed).nearest(
            options.instruction, inputs=len(options.input), describe=options.describe
        )
        _say(f"example: pair {nearest.pair}, similarity {nearest.score:.3f}: {nearest.instruction}")
        return nearest
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
