"""Two families of image tasks small enough to learn in minutes; of each, some tasks are held out.

An image is 2 x 2 cells, each a colour, each one token. Which task is meant is told by nothing but an in-context
example, an image before and after; the example is drawn so that it tells all that is needed.

    stencil    each cell is left as it is, or painted over in a colour: 7^4 tasks; a cell tells its own rule
    recolour   a permutation of the six colours: 720 tasks; the example has four different colours, and the query has
               these alone, so each cell must be looked up by its colour
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
"""Images: n x CELLS colours, 0 to COLOURS - 1, in reading order."""

Family = Literal["stencil", "recolour"]
FAMILIES: tuple[Family, ...] = ("stencil", "recolour")

SIDE = 2
CELLS = SIDE * SIDE
COLOURS = 6
_KEEP = COLOURS  # in a stencil, beside the colours

PALETTE = np.array(
    [(214, 40, 40), (247, 183, 49), (38, 166, 91), (34, 112, 214), (142, 68, 173), (245, 245, 245)], np.uint8
)
"""RGB of each colour, for pictures and for decibels."""

HELD_OUT = 0.3
"""Share of the tasks that are never trained on."""

_SPLIT_SEED = 0  # one split for all runs: what is held out is the same for all arms and seeds


@dataclass(frozen=True, kw_only=True)
class Batch:
    """n examples with their contexts."""

    context_input: Codes
    context_output: Codes
    query: Codes
    answer: Codes


def split_tasks(family: Family) -> tuple[Codes, Codes]:
    """Training and held-out tasks of a family, a row each.

    Stencils have a colour or _KEEP for each cell, permutations the new colour for each old one.
    """
    every = (
        itertools.product(range(COLOURS + 1), repeat=CELLS)
        if family == "stencil"
        else itertools.permutations(range(COLOURS))
    )
    tasks = np.array(list(every), np.int64)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(tasks))
    held_out = round(HELD_OUT * len(tasks))
    return tasks[order[held_out:]], tasks[order[:held_out]]


def draw(family: Family, tasks: Codes, count: int, random: np.random.Generator) -> Batch:
    """Examples of tasks drawn at random."""
    task = tasks[random.integers(len(tasks), size=count)]
    if family == "stencil":
        # Of the example's cells none has the colour that it is painted: that would look like being kept.
        context, query = random.integers(COLOURS, size=(2, count, CELLS))
        context = np.where(context == task, (context + random.integers(1, COLOURS, size=task.shape)) % COLOURS, context)
        outputs = [np.where(task == _KEEP, image, task) for image in (context, query)]
    else:
        context = random.permuted(np.tile(np.arange(COLOURS), (count, 1)), axis=1)[:, :CELLS]
        query = np.take_along_axis(context, random.integers(CELLS, size=(count, CELLS)), 1)
        outputs = [np.take_along_axis(task, image, 1) for image in (context, query)]
    return Batch(context_input=context, context_output=outputs[0], query=query, answer=outputs[1])


def picture(codes: Codes, cell_px: int) -> NDArray[np.uint8]:
    """One image, CELLS codes, as pixels."""
    cells = PALETTE[codes.reshape(SIDE, SIDE)]
    return cells.repeat(cell_px, axis=0).repeat(cell_px, axis=1)
