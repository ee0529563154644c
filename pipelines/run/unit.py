"""What a worker does with one work unit: read, run the operators, choose contexts, write, commit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection

from manifests.dataset import Commit
from manifests.images.pixels import remembering
from manifests.schema import Item, Pair, Reject
from manifests.write.writer import UnitWriter
from operators.retrieve.seeded import choose_contexts
from pipelines.run.chain import NOT_THE_PAIRS_FAULT, Rejected, as_reject, batch_size, make_pairs
from pipelines.run.plan import Job
from pipelines.run.spent import Spent

WAITS = "waits for a vision-language model"
"""Why an example that a task has is not made of a pair. It is absent rather than invented."""


def make_unit(
    job: Job,
    index: int,
    spent: Spent,
    *,
    culprits: Collection[int] = (),
    at_item: Callable[[int], None] | None = None,
) -> Commit:
    """Make and commit one unit, unless it is committed already. What it costs is added to `spent`.

    `culprits` are positions of items that have killed workers; they are rejected untried. `at_item` is told the
    position of each item before it is read, and makes items go through the chain one at a time, so that the one it was
    told last is the one at which a worker dies. Raises OSError, MemoryError or StopRun if the machine, not a pair,
    fails.
    """
    dataset, name = job.dataset, job.plan.name(index)
    if dataset.store.exists(f"manifest/{name}.parquet"):
        return dataset.commit(name)
    started_s = time.perf_counter()
    unit = dataset.unit(job.plan, index)
    operators = job.task.operators(job.reader)
    size = 1 if at_item else batch_size(operators)
    with UnitWriter.open(
        dataset, job.plan, index, prototype_task=job.task.prototype_task, suffixes=job.suffixes
    ) as writer:
        for start in range(0, len(unit.items), size):
            items = unit.items[start : start + size]
            if at_item:
                at_item(start)
            tried = [item for position, item in enumerate(items, start) if position not in culprits]
            with remembering():  # what the chain decodes and encodes is hashed when it is stored
                results = make_pairs(job.reader, job.task.name, job.seed, tried, operators, spent)
                made = dict(zip(tried, results, strict=True))
                for item in items:
                    _store(writer, job.reader.source, item, made.get(item, _KILLED))
    pairs = [stored.pair for stored in writer.stored]
    contexts, needing = choose_contexts(pairs, job.seed)
    missing: Counter[str] = Counter()
    for pair in pairs:
        missing.update(f"{direction} {kind} ({WAITS})" for direction, kind in job.task.missing(pair))
    commit = writer.commit(contexts, needing, missing)
    spent.units_s += time.perf_counter() - started_s
    return commit


_KILLED = Rejected(step="worker", reject=Reject("killed_worker", "its worker process died each time it was tried"))


def _store(writer: UnitWriter, source: str, item: Item, made: Pair | Rejected) -> None:
    """Put what an item became into the shard or into the rejects."""
    if isinstance(made, Pair):
        try:
            writer.add(made)
            return
        except NOT_THE_PAIRS_FAULT:
            raise
        except Exception as error:  # an image that cannot be decoded to its end
            made = Rejected(step="store", reject=as_reject(error))
    writer.reject(item, source, made.step, made.reject)
