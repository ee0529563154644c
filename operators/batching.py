"""Runs a model over a batch, in halves where the GPU's memory is too small for the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from manifests.schema import Reject

Given = TypeVar("Given")
Result = TypeVar("Result")


def in_halves(run: Callable[[Sequence[Given]], Sequence[Result]], batch: Sequence[Given]) -> list[Result | Reject]:
    """`run` over a batch: one result for each, in order. What does not fit alone is a Reject: out_of_memory.

    Only torch.cuda.OutOfMemoryError counts; any other exception passes through. A result must not depend on what else
    is in its batch: draw random numbers per item, before.
    """
    import torch

    if not batch:
        return []
    try:
        results = list(run(batch))
        assert len(results) == len(batch), f"{len(results)} results for {len(batch)}"
        return [*results]
    except torch.cuda.OutOfMemoryError:
        pass  # outside of this block, so that the traceback no longer holds what is to be freed
    torch.cuda.empty_cache()  # does nothing without a GPU
    if len(batch) == 1:
        return [Reject("out_of_memory", "the GPU's memory is too small for it alone")]
    middle = len(batch) // 2
    return [*in_halves(run, batch[:middle]), *in_halves(run, batch[middle:])]
