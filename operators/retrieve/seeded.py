"""Chooses in-context examples: every example that is to have one gets another pair of its task and direction.

Paper section 4: all tasks with an image in and an image out include an in-context example of the same task type. Which
examples are to have one, a task may say itself (pipelines/tasks/task.py). The other pair comes from the same shard, so
that a trainer finds both in one file, and a shard does not depend on others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from manifests.schema import Direction, Kind, Pair, needs_context, seed_for
from manifests.write.writer import Context

METHOD = "seeded"


def choose_contexts(
    pairs: Sequence[Pair], run_seed: int, listed: Collection[tuple[Direction, Kind]] | None = None
) -> tuple[dict[tuple[str, Direction, Kind], Context], int]:
    """(pair, direction, kind) -> its in-context example, and how many examples need one: see `needs_context`.

    Uniform over the pairs of its context group with an example of that direction and kind, from another original
    picture wherever there is one, never the pair itself, by the example's own seed. Where no other pair exists there is
    no entry.
    """
    pools: defaultdict[tuple[str, Direction, Kind], list[Pair]] = defaultdict(list)
    for pair in pairs:
        for example in pair.examples:
            if needs_context(listed, example.direction, example.kind, example.inputs):
                pools[pair.context_group, example.direction, example.kind].append(pair)
    contexts = {}
    for (_, direction, kind), pool in pools.items():
        # With a picture's pairs next to each other, "another picture" is the pool less one run of it.
        pool.sort(key=lambda pair: (pair.group, pair.key))
        runs: dict[str, tuple[int, int]] = {}
        for position, pair in enumerate(pool):
            runs[pair.group] = (runs.get(pair.group, (position, 0))[0], position + 1)
        for position, pair in enumerate(pool):
            start, stop = runs[pair.group]
            if stop - start == len(pool):  # one picture only: another pair of it
                start, stop = position, position + 1
            others = len(pool) - (stop - start)
            if others:
                chosen = seed_for(run_seed, pair.key, "context", direction, kind) % others
                other = pool[chosen if chosen < start else chosen + stop - start]
                contexts[pair.key, direction, kind] = Context(pair=other.key, method=METHOD)
    return contexts, sum(len(pool) for pool in pools.values())
