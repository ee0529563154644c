"""Tasks over real pictures. Which one is meant only an in-context example tells, a picture before and after.

Four families are trained on, each on seven tenths of its tasks; the rest, "parameters", is examined. Four more families
are never trained on, and examined whole. Low light and rain are those of the paper's Tab. 4.

    tone        a monotone curve for each channel: 342 tasks
    channels    an order of the channels, each of them as it is or negated: 47
    colours     each of the 27 colours becomes another: 1,000 of the permutations
    geometry    turned and mirrored, and rolled along both axes: 8 x side x side - 1

    solarise    a curve that is not monotone, the same for all channels: 10
    both        an order of the channels that training has held out, and mirrored
    low light   what is too dark is made light
    rain        bright streaks are removed
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from train.icl.pictures import COLOURS, LEVELS, Levels, crops, to_codes, to_levels

Examined = Literal["trained", "parameters", "families"]
EXAMINED: tuple[Examined, ...] = ("trained", "parameters", "families")
"""Sets of tasks, over pictures from the test photos: trained on; held out of a trained family; of a held-out family."""

HELD_OUT = 0.3
"""Share of a trained family's tasks that are never trained on."""

_SPLIT_SEED = 0  # one split for all runs: what is held out is the same for all arms and seeds
_COLOUR_MAPS = 1_000

Parameters = tuple[Any, ...]
Change = Callable[[Levels, Parameters, np.random.Generator], tuple[Levels, Levels]]
"""A picture, a task's parameters and chance -> the picture before and after the task."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """n examples with their contexts, in codes, [n, side, side] each."""

    context_input: NDArray[np.int64]
    context_output: NDArray[np.int64]
    query: NDArray[np.int64]
    answer: NDArray[np.int64]
    family: tuple[str, ...]


def _tone(picture: Levels, curves: Parameters, _: np.random.Generator) -> tuple[Levels, Levels]:
    return picture, np.stack([np.array(curve)[picture[..., channel]] for channel, curve in enumerate(curves)], -1)


def _channels(picture: Levels, task: Parameters, _: np.random.Generator) -> tuple[Levels, Levels]:
    order, negated = task
    swapped = picture[..., list(order)]
    return picture, np.where(negated, LEVELS - 1 - swapped, swapped)


def _colours(picture: Levels, task: Parameters, _: np.random.Generator) -> tuple[Levels, Levels]:
    return picture, to_levels(np.array(task)[to_codes(picture)])


def _geometry(picture: Levels, task: Parameters, _: np.random.Generator) -> tuple[Levels, Levels]:
    turns, mirrored, down, right = task
    turned = np.rot90(picture[:, ::-1] if mirrored else picture, turns)
    return picture, np.roll(turned, (down, right), (0, 1))


def _both(picture: Levels, task: Parameters, random: np.random.Generator) -> tuple[Levels, Levels]:
    return picture, _channels(picture[:, ::-1], task, random)[1]


def _low_light(picture: Levels, task: Parameters, _: np.random.Generator) -> tuple[Levels, Levels]:
    return np.array(task)[picture], picture


def _rain(picture: Levels, task: Parameters, random: np.random.Generator) -> tuple[Levels, Levels]:
    """White streaks, two thirds of the picture high, in a share of its columns."""
    (share,) = task
    side = len(picture)
    length = round(2 * side / 3)
    spoiled = picture.copy()
    for column in random.permutation(side)[: round(share * side)]:
        top = random.integers(side - length + 1)
        spoiled[top : top + length, column] = LEVELS - 1
    return spoiled, picture


@dataclass(frozen=True, kw_only=True)
class Family:
    change: Change
    tasks: Callable[[int], Sequence[Parameters]]
    """All tasks, for pictures of so many pixels a side."""


def _tones(side: int) -> Sequence[Parameters]:
    as_it_is = tuple(range(LEVELS))
    rising = [c for c in itertools.combinations_with_replacement(range(LEVELS), LEVELS) if len(set(c)) > 1]
    return [curves for curves in itertools.product(rising, repeat=3) if curves != (as_it_is,) * 3]


def _orders(side: int) -> Sequence[Parameters]:
    every = itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3))
    return [task for task in every if task != ((0, 1, 2), (False,) * 3)]


def _colour_maps(side: int) -> Sequence[Parameters]:
    random = np.random.default_rng(_SPLIT_SEED)
    return [tuple(random.permutation(COLOURS).tolist()) for _ in range(_COLOUR_MAPS)]


def _placements(side: int) -> Sequence[Parameters]:
    every = itertools.product(range(4), (False, True), range(side), range(side))
    return [task for task in every if task != (0, False, 0, 0)]


def _wavy(side: int) -> Sequence[Parameters]:
    """A curve that goes up and down, three times."""
    every = itertools.product(range(LEVELS), repeat=LEVELS)
    return [(c,) * 3 for c in every if list(c) != sorted(c) and list(c) != sorted(c, reverse=True)]


TRAINED: Mapping[str, Family] = {
    "tone": Family(change=_tone, tasks=_tones),
    "channels": Family(change=_channels, tasks=_orders),
    "colours": Family(change=_colours, tasks=_colour_maps),
    "geometry": Family(change=_geometry, tasks=_placements),
}
NEW: Mapping[str, Family] = {
    "solarise": Family(change=_tone, tasks=_wavy),
    "both": Family(change=_both, tasks=lambda side: split_tasks("channels", side)[1]),
    "low light": Family(change=_low_light, tasks=lambda side: [(0, 0, 1), (0, 1, 1)]),
    "rain": Family(change=_rain, tasks=lambda side: [(1 / 3,), (2 / 3,)]),
}


def split_tasks(family: str, side: int) -> tuple[list[Parameters], list[Parameters]]:
    """The tasks of a trained family that are trained on, and those that are held out."""
    every = TRAINED[family].tasks(side)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(every))
    held_out = round(HELD_OUT * len(every))
    return [every[place] for place in order[held_out:]], [every[place] for place in order[:held_out]]


@functools.cache
def _tasks(family: str, examined: Examined | None, side: int) -> Sequence[Parameters]:
    if examined == "families":
        return NEW[family].tasks(side)
    return split_tasks(family, side)[examined == "parameters"]


def draw(examined: Examined | None, count: int, side: int, random: np.random.Generator) -> Examples:
    """So many examples from a set that is examined, or to train on; as many of each family as can be."""
    pictures = crops("test" if examined else "train", side)
    families = NEW if examined == "families" else TRAINED
    names = [*itertools.islice(itertools.cycle(families), count)]
    if not examined:
        names = [str(name) for name in random.choice([*families], count)]
    found: list[tuple[Levels, ...]] = []
    for name in names:
        tasks = _tasks(name, examined, side)
        task = tasks[int(random.integers(len(tasks)))]
        pair = (families[name].change(pictures[random.integers(len(pictures))], task, random) for _ in range(2))
        found.append(tuple(itertools.chain.from_iterable(pair)))
    before, after, query, answer = (to_codes(np.stack(images)) for images in zip(*found, strict=True))
    return Examples(context_input=before, context_output=after, query=query, answer=answer, family=tuple(names))
