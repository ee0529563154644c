"""Runs a model over batches of one size, and takes pairs to it and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from manifests.schema import Pair, Reject

Given = TypeVar("Given")
Result = TypeVar("Result")

PAIRS = 64
"""How many pairs an operator that runs a model is given: more than a batch, which fills though earlier steps reject."""

_fill: Counter[str] = Counter()


def take_fill() -> tuple[int, int]:
    """Places in batches, of more than one, that models were given since last asked; and those that held no copy."""
    places, own = _fill["places"], _fill["own"]
    _fill.clear()
    return places, own


def each_pair(
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    asked: Callable[[Pair, int], Sequence[Given]],
    run: Callable[[list[Given]], Sequence[Result | Reject]],
    done: Callable[[Pair, int, Sequence[Result]], Pair],
) -> list[Pair | Reject]:
    """What `done` makes of each pair and the results of what is asked for it; all pairs' are run together, if any.

    A Reject, raised by `asked` or `done` or in place of a result, is the pair's result.
    """
    wanted = [_or_reject(asked, pair, seed) for pair, seed in zip(pairs, seeds, strict=True)]
    together = [one for of_pair in wanted if not isinstance(of_pair, Reject) for one in of_pair]
    found = iter(run(together) if together else ())
    made: list[Pair | Reject] = []
    for pair, seed, of_pair in zip(pairs, seeds, wanted, strict=True):
        if isinstance(of_pair, Reject):
            made.append(of_pair)
            continue
        results = [next(found) for _ in of_pair]
        rejects = [result for result in results if isinstance(result, Reject)]
        whole = [result for result in results if not isinstance(result, Reject)]
        made.append(rejects[0] if rejects else _or_reject(done, pair, seed, whole))
    return made


def in_batches(
    run: Callable[[Sequence[Given]], Sequence[Result | Reject]],
    given: Sequence[Given],
    size: int,
    *,
    alike: Callable[[Given], Hashable] = lambda one: None,
) -> list[Result | Reject]:
    """`run` over `given`, `size` at a time: one result for each, in order. Only what is `alike` shares a batch.

    Every batch has that size, the last one filled up with copies: a network's last bits depend on the shape of what it
    is given, and not on what else is in there (measured: tests/operators/models/test_diffusion.py), so the same thing
    becomes the same bytes, whatever is made beside it. Where a GPU runs out of memory that batch is run in halves,
    whose last bits may differ; what does not fit alone is a Reject: out_of_memory. Any other exception passes through.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, one in enumerate(given):
        groups.setdefault(alike(one), []).append(place)
    found: dict[int, Result | Reject] = {}
    for places in groups.values():
        for start in range(0, len(places), size):
            batch = places[start : start + size]
            found.update(zip(batch, _filled(run, [given[place] for place in batch], size), strict=True))
    return [found[place] for place in range(len(given))]


def _filled(
    run: Callable[[Sequence[Given]], Sequence[Result | Reject]], batch: Sequence[Given], size: int
) -> Sequence[Result | Reject]:
    import torch

    try:
        results = run([*batch, *[batch[-1]] * (size - len(batch))])
        if size > 1:
            _fill.update(places=size, own=len(batch))
        assert len(results) == size, f"{len(results)} results for {size}"
        return results[: len(batch)]
    except torch.cuda.OutOfMemoryError:
        pass  # outside of this block, so that the traceback no longer holds what is to be freed
    torch.cuda.empty_cache()  # does nothing without a GPU
    if size == 1:
        return [Reject("out_of_memory", "the GPU's memory is too small for it alone")]
    return in_batches(run, batch, size // 2)


def _or_reject(function: Callable[..., Result], *arguments: Any) -> Result | Reject:
    try:
        return function(*arguments)
    except Reject as reject:
        return reject
