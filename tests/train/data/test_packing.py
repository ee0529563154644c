"""Micro-batches are filled as well as their buffer allows, and no document waits for ever."""

from __future__ import annotations

import itertools
import random

import torch

from infra.bench.packing import Lengths, documents, fill, packed, tiles
from train.data.packing import best_fit
from train.run.config import PAPER_7B
from xprompt_model.batch import MicroBatch
from xprompt_model.layout import IE, NO_EXAMPLE, PADDING, TD, XP
from xprompt_model.mask import block_mask


def test_the_fullest_set_with_the_oldest_document() -> None:
    draw = random.Random(0)
    for _ in range(200):
        lengths = [draw.randint(1, 30) for _ in range(draw.randint(1, 9))]
        chosen = best_fit(lengths, 40)
        assert chosen == sorted(set(chosen)) and chosen[0] == 0
        others = range(1, len(lengths))
        subsets = itertools.chain.from_iterable(itertools.combinations(others, n) for n in range(len(lengths)))
        totals = [lengths[0] + sum(lengths[index] for index in subset) for subset in subsets]
        assert sum(lengths[index] for index in chosen) == max(total for total in totals if total <= 40)


def test_of_equally_full_sets_the_newest_document_stays() -> None:
    assert best_fit([5, 5, 5, 5], 10) == [0, 1]


def test_the_recipe_fills_97_percent() -> None:
    source = packed(documents(0), PAPER_7B.windows, PAPER_7B.buffer_windows)
    assert fill([next(source) for _ in range(150)], PAPER_7B.windows) > 0.97


def test_tiles_are_those_of_the_block_mask() -> None:
    batch = [
        Lengths(context=300, xp=64, todo=330),
        Lengths(context=0, xp=0, todo=140),
        Lengths(context=10, xp=4, todo=9),
    ]
    spans = [
        (length, code) for lengths in batch for length, code in zip(vars(lengths).values(), (IE, XP, TD), strict=True)
    ]
    padding = 1_024 - sum(length for length, _ in spans)
    numbers = [(lengths.total, number) for number, lengths in enumerate(batch)] + [(padding, -1)]
    unused = torch.zeros(1_024)
    segment = _tensor([*spans, (padding, PADDING)], torch.int8)
    micro = MicroBatch(
        ids=unused,
        segment=segment,
        example=torch.where(segment < TD, 0, NO_EXAMPLE).to(torch.int8),
        document=_tensor(numbers, torch.int32),
        position=unused,
        weight=unused,
    )
    for compress in (True, False):
        mask = block_mask(micro, causal=not compress)
        assert mask.full_kv_num_blocks is not None
        expected = int(mask.kv_num_blocks.sum() + mask.full_kv_num_blocks.sum())
        assert tiles(batch, 1_024, compress=compress) == expected
    assert tiles(batch, 1_024, by_document=False) == 36


def _tensor(spans: list[tuple[int, int]], dtype: torch.dtype) -> torch.Tensor:
    """Values, each as often as its span is long."""
    lengths, values = zip(*spans, strict=True)
    return torch.repeat_interleave(torch.tensor(values, dtype=dtype), torch.tensor(lengths))
