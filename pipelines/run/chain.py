"""Takes items through a task's chain of operators: one by one, or in batches where an operator wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import cast

from manifests.images.small import small
from manifests.schema import MASK, Image, Item, Pair, Reject, seed_for
from operators.base import Limited, Link, Operator, Reader, StopRun
from operators.models.device import gpu_failed, memory_ran_out
from pipelines.run.spent import Spent

NOT_THE_PAIRS_FAULT = (OSError, MemoryError, StopRun)
"""A full disk, a lost connection, a refused key, a model that does not load: the unit fails, the pair is not blamed."""

_Many = Callable[[Sequence[Pair], Sequence[int]], Sequence[Pair | Reject]]


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """An item that was not kept, and at which step."""

    step: str
    reject: Reject
    pictures: tuple[Image, ...] = ()
    """Small ones of its input and output, if a gate rejected it and they are to be kept."""


def batch_size(operators: Iterable[Link]) -> int:
    """How many items to take through a chain together: what its largest batch holds."""
    return max(map(_size, operators), default=1)


Using = Callable[[Link | Limited, int], AbstractContextManager[None]]
"""What is to be held while a link, or a disk, works on so many pairs: a lock, or a watch."""


def freely(link: Link | Limited, pairs: int) -> AbstractContextManager[None]:
    """Holds nothing."""
    return nullcontext()


def make_pairs(
    reader: Reader, task: str, run_seed: int, items: Sequence[Item], operators: Sequence[Link], spent: Spent
) -> list[Pair | Rejected]:
    """What becomes of items, in order. Raises OSError, MemoryError and StopRun, which are no item's fault."""
    states = read_items(reader, task, items, spent)
    return [state.made for state in go_on(states, operators, run_seed, spent)]


@dataclass(frozen=True, kw_only=True)
class State:
    """How far an item has come."""

    made: Pair | Rejected
    links: int = 0
    """How many links of the chain the pair has gone through."""


def read_items(reader: Reader, task: str, items: Sequence[Item], spent: Spent) -> list[State]:
    """Items as they are read, in order."""
    with spent.on("read", len(items)):
        return [State(made=_read(reader, item, task)) for item in items]


def go_on(
    states: Sequence[State],
    operators: Sequence[Link],
    run_seed: int,
    spent: Spent,
    using: Using = freely,
    *,
    pictures: bool = False,
) -> list[State]:
    """The states of items after `operators`, the first links of their chain, less those that they have gone through.

    With `pictures`, what a gate rejects has small pictures of what the gate has seen.
    """
    states = list(states)
    for number, operator in enumerate(operators):
        places = [place for place, state in enumerate(states) if isinstance(state.made, Pair) and state.links <= number]
        pairs = [cast(Pair, states[place].made) for place in places]
        seeds = [seed_for(run_seed, _drawn_by(operator, pair), operator.name) for pair in pairs]
        for place, pair, result in zip(places, pairs, _run(operator, pairs, seeds, spent, using), strict=True):
            made: Pair | Rejected
            if isinstance(result, Reject):
                seen = _pictures(pair, result) if pictures and _is_gate(operator, result) else ()
                made = Rejected(step=operator.name, reject=result, pictures=seen)
            else:
                made = result
            states[place] = State(made=made, links=number + 1)
    return states


def _is_gate(operator: Link, reject: Reject) -> bool:
    """Whether an operator rejects for what pictures show (operators.base.ShowsRejects), or has scored the pair."""
    return getattr(operator, "shows_rejects", bool(reject.scores))


def _pictures(pair: Pair, reject: Reject) -> tuple[Image, ...]:
    """Small pictures of a pair's input and of its output; none if one of the two cannot be decoded."""
    output = reject.output or pair.image("target")
    inputs = [image for image in pair.images if image.role not in ("target", MASK)]
    named = (next((image for image in inputs if image.role == role), None) for role in ("input", "person"))
    before = next((image for image in (*named, *inputs) if image), None)
    sides = {"input": before, "output": output}
    try:
        return tuple(small(side, image.data) for side, image in sides.items() if image)
    except Reject:
        return ()


def _drawn_by(operator: Link, pair: Pair) -> str:
    """By whose name an operator draws for a pair: the pair's own, or that of its context group (SeededByGroup)."""
    return pair.context_group or pair.key if getattr(operator, "seeded_by_group", False) else pair.key


def as_reject(error: BaseException) -> Reject:
    """Whatever one pair does to an operator must not stop the unit."""
    if memory_ran_out(error):
        return Reject("out_of_memory", " ".join(str(error).split()))
    return error if isinstance(error, Reject) else Reject("error", f"{type(error).__name__}: {error}")


def _read(reader: Reader, item: Item, task: str) -> Pair | Rejected:
    try:
        return reader.read(item, task)
    except NOT_THE_PAIRS_FAULT:
        raise
    except (Exception, SystemExit) as error:
        _end_if_told(error)
        return Rejected(step="read", reject=as_reject(error))


def _end_if_told(error: BaseException) -> None:
    """Ray ends a worker by an exit that it marks. What else exits is a program that was written for a command line."""
    if hasattr(error, "ray_terminate_msg"):
        raise error


def _run(
    operator: Link, pairs: Sequence[Pair], seeds: Sequence[int], spent: Spent, using: Using
) -> Iterator[Pair | Reject]:
    size = _size(operator)
    many: _Many = getattr(operator, "many", None) or partial(_one_by_one, cast(Operator, operator))
    for start in range(0, len(pairs), size):
        batch = slice(start, start + size)
        with using(operator, len(pairs[batch])), spent.on(operator.name, len(pairs[batch])):
            results = _batch(operator.name, many, pairs[batch], seeds[batch])
        yield from results


def _size(operator: Link) -> int:
    # By attribute, as is `many`: a protocol takes 20 us to ask, and is asked for every step of every pair.
    size: int = getattr(operator, "batch_size", 1)
    return size


def _one_by_one(operator: Operator, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair]:
    return [operator(pair, seed) for pair, seed in zip(pairs, seeds, strict=True)]


def _batch(name: str, many: _Many, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
    try:
        results = many(pairs, seeds)
        assert len(results) == len(pairs), f"{name}: {len(results)} results for {len(pairs)} pairs"
        for result in results:
            if not isinstance(result, Pair | Reject):  # a forgotten `return`
                raise TypeError(f"{name} gave {result!r:.80}, where a pair or a Reject is wanted")
        return results
    except NOT_THE_PAIRS_FAULT:
        raise
    except (Exception, SystemExit) as error:
        _end_if_told(error)
        if gpu_failed(error):
            raise OSError(f"the GPU has failed: {error}") from error
        if len(pairs) == 1:
            return [as_reject(error)]
    return [result for pair, seed in zip(pairs, seeds, strict=True) for result in _batch(name, many, [pair], [seed])]
