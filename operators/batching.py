"""Asks a model about many pairs at once: a request, an answer, and what is made of it; and batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from manifests.schema import Pair, Reject
from operators.account import open_account

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Result = TypeVar("Result")

PAIRS = 64
"""How many pairs an operator that runs a model is given: more than a batch, which fills though earlier steps reject."""


def each_pair(
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    requests: Callable[[Pair, int], Sequence[Request]],
    answer: Callable[[list[Request]], Sequence[Answer | Reject]],
    finished: Callable[[Pair, int, Sequence[Answer]], Pair],
) -> list[Pair | Reject]:
    """Every pair, finished with the answers to its own requests; the requests of all pairs are answered together.

    `requests` gives those of a pair and its seed, `answer` one answer a request, in order; it is not called where there
    is no request. `finished` is given a pair, its seed and its answers. A Reject, raised by `requests` or `finished` or
    in the place of an answer, becomes the pair's result.
    """
    asked = [_or_reject(requests, pair, seed) for pair, seed in zip(pairs, seeds, strict=True)]
    together = [request for of_pair in asked if not isinstance(of_pair, Reject) for request in of_pair]
    answers = iter(answer(together) if together else ())
    results: list[Pair | Reject] = []
    for pair, seed, of_pair in zip(pairs, seeds, asked, strict=True):
        if isinstance(of_pair, Reject):
            results.append(of_pair)
            continue
        own = [next(answers) for _ in of_pair]
        rejects = [one for one in own if isinstance(one, Reject)]
        whole = [one for one in own if not isinstance(one, Reject)]
        results.append(rejects[0] if rejects else _or_reject(finished, pair, seed, whole))
    return results


def in_batches(
    run: Callable[[Sequence[Request]], Sequence[Answer | Reject]],
    requests: Sequence[Request],
    size: int,
    *,
    alike: Callable[[Request], Hashable] = lambda request: None,
) -> list[Answer | Reject]:
    """Run a network over requests, `size` at a time: one answer for each, in order. Only those `alike` share a batch.

    Every batch has that size, the last one filled up with copies: a network's last bits depend on the shape of what it
    is given, and not on what else is in there (measured: tests/operators/models/test_diffusion.py), so the same thing
    becomes the same bytes, whatever is made beside it. Where a GPU runs out of memory that batch is run in halves,
    whose last bits may differ; what does not fit alone is a Reject: out_of_memory. Any other exception passes through.

    How full the batches were is written into the open account (operators/account.py).
    """
    groups: dict[Hashable, list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(alike(request), []).append(place)
    answers: dict[int, Answer | Reject] = {}
    for places in groups.values():
        for start in range(0, len(places), size):
            batch = places[start : start + size]
            answers.update(zip(batch, _full_batch(run, [requests[place] for place in batch], size), strict=True))
    return [answers[place] for place in range(len(requests))]


def _full_batch(
    run: Callable[[Sequence[Request]], Sequence[Answer | Reject]], batch: Sequence[Request], size: int
) -> Sequence[Answer | Reject]:
    """The answers to at most `size` requests, which are filled up to it with copies of the last one."""
    import torch

    try:
        answers = run([*batch, *[batch[-1]] * (size - len(batch))])
        if size > 1:
            open_account().add_batch(places=size, own=len(batch))
        assert len(answers) == size, f"{len(answers)} answers for {size}"
        return answers[: len(batch)]
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
