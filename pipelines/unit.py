"""What a worker does with one work unit: read, run the operators, choose contexts, write, commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from manifests.dataset import Commit
from manifests.schema import Item, Pair, Reject, seed_for
from manifests.writer import UnitWriter
from operators.base import Operator
from operators.context import choose_contexts
from pipelines.plan import Job

WAITS = "waits for a vision-language model"
"""Why an example that a task has is not made of a pair. It is absent rather than invented."""

NOT_THE_PAIRS_FAULT = (OSError, MemoryError)
"""A full disk, a lost connection: the unit fails and is tried again, the pair is not blamed."""


def make_unit(
    job: Job,
    index: int,
    *,
    culprits: Collection[int] = (),
    at_item: Callable[[int], None] = lambda position: None,
) -> Commit:
    """Make and commit one unit, unless it is committed already.

    `culprits` are positions of items that have killed workers; they are rejected untried. `at_item` is told the
    position of each item before it is read. Raises OSError or MemoryError if the machine, not a pair, fails.
    """
    dataset, name = job.dataset, job.plan.name(index)
    if dataset.store.exists(f"manifest/{name}.parquet"):
        return dataset.commit(name)
    unit = dataset.unit(job.plan, index)
    operators = job.task.operators(job.reader)
    with UnitWriter.open(
        dataset, job.plan, index, prototype_task=job.task.prototype_task, suffixes=job.suffixes
    ) as writer:
        for position, item in enumerate(unit.items):
            at_item(position)
            if position in culprits:
                killed = Reject("killed_worker", "its worker process died each time it was tried")
                writer.reject(item, job.reader.source, "worker", killed)
            else:
                _make_pair(job, item, operators, writer)
    pairs = [stored.pair for stored in writer.stored]
    contexts, needing = choose_contexts(pairs, job.seed)
    missing: Counter[str] = Counter()
    for pair in pairs:
        missing.update(f"{direction} {kind} ({WAITS})" for direction, kind in job.task.missing(pair))
    return writer.commit(contexts, needing, missing)


def _make_pair(job: Job, item: Item, operators: tuple[Operator, ...], writer: UnitWriter) -> None:
    """Take one item through the chain, into the shard or into the rejects."""
    step = "read"
    try:
        pair: Pair = job.reader.read(item, job.task.name)
        for operator in operators:
            step = operator.name
            pair = operator(pair, seed_for(job.seed, pair.key, operator.name))
        step = "store"
        writer.add(pair)
    except Reject as reject:
        writer.reject(item, job.reader.source, step, reject)
    except NOT_THE_PAIRS_FAULT:
        raise
    except Exception as error:  # whatever one pair does to an operator must not stop the unit
        writer.reject(item, job.reader.source, step, Reject("error", f"{type(error).__name__}: {error}"))
