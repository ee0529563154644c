"""What a worker does with one work unit: read, run the operators, choose contexts, write, commit."""

from __future__ import annotations

import time
from collections import Counter

from manifests.dataset import Commit
from manifests.images.pixels import remembering
from manifests.schema import Item, Pair
from manifests.write.writer import UnitWriter
from operators.retrieve.seeded import choose_contexts
from operators.timeouts import disk
from pipelines.run.chain import (
    NOT_THE_PAIRS_FAULT,
    Rejected,
    State,
    Using,
    as_reject,
    batch_size,
    freely,
    go_on,
    read_items,
)
from pipelines.run.groups import without_small_groups
from pipelines.run.nothing import KeepsNothing, Trial
from pipelines.run.painted import Painted
from pipelines.run.plan import Job
from pipelines.run.spent import Spent

WAITS = "waits for a vision-language model"
"""Why an example that a task has is not made of a pair. It is absent rather than invented."""


class NotPainted(LookupError):
    """Pairs of a unit that painters should have made are not there, or not whole."""


def make_unit(
    job: Job, index: int, spent: Spent, *, painted: int = 0, using: Using = freely, unproven: bool = False
) -> Commit:
    """Make and commit one unit, unless it is committed already. What it costs is added to `spent`.

    `painted` is the number of links, counted from the chain's first, that painters have taken every pair through: the
    pairs are then taken up where they are kept (pipelines/run/painted.py). `using` is held while an operator works.
    Raises NotPainted if one is not there, and OSError, MemoryError or StopRun if the machine or the source, not a pair,
    fails. With `unproven`, as long as no pair of the dataset is known to be kept, it raises KeepsNothing, and commits
    nothing, where one step fails in the same way at ENOUGH pairs or at all, and none is kept.
    """
    dataset, name = job.dataset, job.plan.name(index)
    on_their_way = Painted(dataset, name)
    if dataset.store.exists(f"manifest/{name}.parquet"):
        if painted:
            on_their_way.remove()
        return dataset.commit(name)
    started_s = time.perf_counter()
    unit = dataset.unit(job.plan, index)
    operators = job.task.operators(job.reader)
    least, pictures = job.task.least_group, job.task.reject_pictures
    size = len(unit.items) if least > 1 else batch_size(operators[painted:])  # a group is judged whole
    progress = on_their_way.progress() if painted else {}
    watched, kept, trial = job.watched(index, unit.items), list[bool](), Trial()
    with UnitWriter.open(
        dataset, job.plan, index, prototype_task=job.task.prototype_task, suffixes=job.suffixes
    ) as writer:
        for start in range(0, len(unit.items), size):
            items = unit.items[start : start + size]
            with remembering():  # what the chain decodes and encodes is hashed when it is stored
                with using(disk(len(items)), 1):
                    if painted:
                        places = range(start, start + len(items))
                        states = [_taken_up(on_their_way, place, progress, painted) for place in places]
                    else:
                        states = read_items(job.reader, job.task.name, items, spent)
                        watched.refuse_vanished(range(start, start + len(items)), [state.made for state in states])
                made = [state.made for state in go_on(states, operators, job.seed, spent, using, pictures=pictures)]
                kept += [isinstance(one, Pair) for one in made]
                with using(disk(len(items)), 1):
                    for item, one in zip(items, without_small_groups(made, least), strict=True):
                        trial.add(store(writer, job.reader.source, item, one))
            if unproven and trial.hopeless:
                raise KeepsNothing(trial)
        watched.refuse_changed(kept)
        if unproven and trial.only:
            raise KeepsNothing(trial)
    pairs = [stored.pair for stored in writer.stored]
    contexts, needing = choose_contexts(pairs, job.seed, job.task.in_context)
    missing: Counter[str] = Counter()
    for pair in pairs:
        missing.update(f"{direction} {kind} ({WAITS})" for direction, kind in job.task.missing(pair))
    with using(disk(len(pairs)), 1):
        commit = writer.commit(contexts, needing, missing)
    if painted:
        on_their_way.remove()
    spent.units_s += time.perf_counter() - started_s
    return commit


def _taken_up(on_their_way: Painted, position: int, progress: dict[int, int | None], painted: int) -> State:
    state = on_their_way.get(position, progress)
    if state is None or (isinstance(state.made, Pair) and state.links < painted):
        raise NotPainted(f"{on_their_way.folder} lacks item {position}")
    return state


def store(writer: UnitWriter, source: str, item: Item, made: Pair | Rejected) -> Pair | Rejected:
    """Put what an item became into the shard or into the rejects; what it is in the end."""
    if isinstance(made, Pair):
        try:
            writer.add(made)
            return made
        except NOT_THE_PAIRS_FAULT:
            raise
        except Exception as error:  # an image that cannot be decoded to its end
            made = Rejected(step="store", reject=as_reject(error))
    writer.reject(item, source, made.step, made.reject, made.pictures)
    return made
