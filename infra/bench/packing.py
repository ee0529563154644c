"""What packing and the mask save on the recipe's mix of documents: `python -m infra.bench.packing`.

Documents are drawn from Tab. 6 and Tab. 7 by their numbers of examples, with an in-context example wherever the engine
gives one (an example with an input image) and it fits the window. Printed: the share of tokens that are not padding for
three ways to pack, and how many 128 x 128 tiles of attention each mask leaves, with what that saves of a step's FLOPs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.recipe import FULL_8M, Entry
from train.data.packing import best_fit
from train.run.config import PAPER_7B
from train.run.cost import dense_flops, pair_flops
from train.run.estimate import IMAGE_BLOCK_TOKENS, meta_model
from xprompt_model.layout import WINDOW_TOKENS, XP_TOKENS

TILE = 128
"""flex_attention's block size, tokens."""

_INPUTS = {"text2img": 0, "composition": 2, "tryon": 2, "mimicbrush": 2, "pose": 2, "style": 2}
"""Input images of a generate example; one in all other tasks."""
_CAPTION, _INSTRUCTION, _DESCRIPTION = (30, 120), (8, 30), (15, 90)
"""Tokens of texts, from and to: assumed, an image being a thousand."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """A document's segments, tokens."""

    context: int
    xp: int
    todo: int

    @property
    def total(self) -> int:
        return self.context + self.xp + self.todo


def documents(seed: int, window: int = WINDOW_TOKENS) -> Iterator[Lengths]:
    """Documents of the recipe's mix in a window, without end."""
    random = np.random.default_rng(seed)
    weights = np.array([entry.examples for entry in FULL_8M], float)
    while True:
        entry = FULL_8M[random.choice(len(FULL_8M), p=weights / weights.sum())]
        describe = entry.factor > 1 and random.random() < 0.5
        images = _images(entry, describe)
        todo, context = (_turn(entry, describe, images, random) for _ in range(2))
        needs_context = images > (0 if describe else 1)
        if needs_context and todo + context + XP_TOKENS <= window:
            yield Lengths(context=context, xp=XP_TOKENS, todo=todo)
        else:
            yield Lengths(context=0, xp=0, todo=todo)


def one_a_window(mix: Iterator[Lengths], count: int, window: int = WINDOW_TOKENS) -> float:
    return float(np.mean([next(mix).total for _ in range(count)])) / window


def first_fit(mix: Iterator[Lengths], count: int, window: int = WINDOW_TOKENS) -> float:
    """Each document into the first single window that has room for it, all windows staying open."""
    rooms: list[int] = []
    total = 0
    for _ in range(count):
        length = next(mix).total
        total += length
        index = next((index for index, room in enumerate(rooms) if room >= length), None)
        if index is None:
            rooms.append(window - length)
        else:
            rooms[index] -= length
    return total / (len(rooms) * window)


def packed(
    mix: Iterator[Lengths], windows: int, buffer_windows: int, window: int = WINDOW_TOKENS
) -> Iterator[list[Lengths]]:
    """The trainer's micro-batches, without end."""
    waiting: list[Lengths] = []
    while True:
        while sum(document.total for document in waiting) < buffer_windows * window:
            waiting.append(next(mix))
        chosen = set(best_fit([document.total for document in waiting], windows * window))
        yield [document for index, document in enumerate(waiting) if index in chosen]
        waiting = [document for index, document in enumerate(waiting) if index not in chosen]


def fill(batches: Sequence[list[Lengths]], windows: int, window: int = WINDOW_TOKENS) -> float:
    """The share of tokens that are not padding."""
    tokens = sum(document.total for batch in batches for document in batch)
    return tokens / (len(batches) * windows * window)


def tiles(batch: Sequence[Lengths], length: int, *, compress: bool = True, by_document: bool = True) -> int:
    """Tiles in which a query may attend to a key. Padding attends to padding."""
    marked: NDArray[np.bool_] = np.zeros((-(-length // TILE), -(-length // TILE)), np.bool_)
    if not by_document:
        _mark(marked, 0, length, 0)
        return int(marked.sum())
    start = 0
    for document in [*batch, Lengths(context=0, xp=0, todo=length - sum(document.total for document in batch))]:
        cut = start + document.context
        todo, end = cut + document.xp, start + document.total
        _mark(marked, start, todo, start)
        _mark(marked, todo, end, cut if compress else start)
        start = end
    return int(marked.sum())


def _mark(marked: NDArray[np.bool_], start: int, end: int, first_key: int) -> None:
    """Queries start .. end - 1 see the keys from first_key to themselves."""
    for row in range(start // TILE, -(-end // TILE)):
        marked[row, first_key // TILE : (min(end, (row + 1) * TILE) - 1) // TILE + 1] |= end > start


def _images(entry: Entry, describe: bool) -> int:
    """Images of a turn. A description of text-to-image has one, that of a pair has both."""
    inputs = _INPUTS.get(entry.task, 1)
    return max(1, 2 * inputs) if describe else inputs + 1


def _turn(entry: Entry, describe: bool, images: int, random: np.random.Generator) -> int:
    """Tokens of one side of a document, with its separator and its begin- or end-text."""
    texts = [_INSTRUCTION if describe or _INPUTS.get(entry.task, 1) else _CAPTION]
    if describe:
        texts.append(_DESCRIPTION)
    return images * IMAGE_BLOCK_TOKENS + sum(int(random.integers(*text)) for text in texts) + 2


def main() -> int:
    options = _parser().parse_args()
    count, windows, buffer = options.documents, PAPER_7B.windows, PAPER_7B.buffer_windows
    window = options.window_tokens
    drawn = [next(mix) for mix in [documents(0, window)] for _ in range(count)]
    long = sum(document.total > 4_000 for document in drawn) / count
    print(f"{count:,} documents: {np.mean([d.total for d in drawn]):,.0f} tokens on average, {long:.0%} above 4,000")
    print(f"one a window of {window:,}            fill {one_a_window(documents(0, window), count, window):.1%}")
    print(f"first fit into single windows     fill {first_fit(documents(0, window), count, window):.1%}")
    for size in sorted({2, 4, windows}):
        source = packed(documents(0, window), size, buffer, window)
        batches = [next(source) for _ in range(max(1, count // (2 * size)))]
        print(f"ours, {size} windows                   fill {fill(batches, size, window):.1%}")
    document = next(document for document in drawn if document.context and document.total > 4_000)
    _print_tiles(f"one document of {document.total:,} in {window:,}", [[document]], window)
    _print_tiles(f"the recipe, {windows} x {window:,} (mean)", batches[:16], windows * window)
    return 0


def _print_tiles(name: str, batches: Sequence[list[Lengths]], length: int) -> None:
    model = meta_model("7b-paper")
    dense = dense_flops(model) * length
    print(f"{name}: tiles of {TILE} x {TILE}, and attention's share of a step's FLOPs")
    counted: list[tuple[str, Callable[[list[Lengths]], int]]] = [
        ("causal", lambda batch: tiles(batch, length, by_document=False)),
        ("causal by document", lambda batch: tiles(batch, length, compress=False)),
        ("X-Prompt", lambda batch: tiles(batch, length)),
    ]
    before = None
    for label, count in counted:
        mean = float(np.mean([count(batch) for batch in batches]))
        attention = mean * TILE * TILE * pair_flops(model)
        saved = (
            "" if before is None else f"  saves {1 - (dense + attention) / before:.1%} of the FLOPs of the line above"
        )
        print(f"  {label:<20} {mean:8,.0f} tiles  {attention / (dense + attention):5.1%}{saved}")
        before = dense + attention


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.bench.packing", description="Padding, and what the mask saves."
    )
    parser.add_argument("--documents", type=int, default=4_000, help="to draw (default: %(default)s)")
    parser.add_argument("--window-tokens", type=int, default=WINDOW_TOKENS, help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
