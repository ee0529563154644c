"""A process that paints: it has the models of one stage loaded, and takes pairs through that stage."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import ray

from manifests.images.pixels import remembering
from manifests.schema import Item
from operators.account import accounting
from operators.base import Limited, Link
from operators.pictures import keeping
from operators.timeouts import disk
from operators.vlm.client import asks
from operators.vlm.request import Usage
from pipelines.run.chain import Rejected, go_on, read_items
from pipelines.run.hanging import watched
from pipelines.run.made import Made, made_unit
from pipelines.run.nothing import Trial
from pipelines.run.painted import Painted
from pipelines.run.plan import Job
from pipelines.run.schedule import IN_HAND
from pipelines.run.spent import Spent
from pipelines.run.stages import on_gpu
from pipelines.run.waits import WaitClock, Waits


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What a painter says of a group of pairs that it has done."""

    ended: tuple[int, ...]
    """Places of the pairs that were rejected."""
    waits: Waits
    """What the painter's GPU waited for since it has delivered last."""
    usage: Usage
    spent: Spent
    trial: Trial
    """What has become of the pairs."""


class Painter:
    """An actor. It is given several groups at once: one has the GPU while others are read, asked about and stored."""

    def __init__(self) -> None:
        self._gpu = threading.Lock()
        self._clock = WaitClock()
        self._units: dict[tuple[str, str, int], tuple[Item, ...]] = {}

    def up(self) -> tuple[str, int]:
        """The node that the painter is on, and its process there."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def paint(self, job: Job, links: int, unit: int, positions: Sequence[int]) -> Delivered:
        """Take pairs of a unit through the chain's first `links`, as far as they have not gone, and keep them.

        Raises OSError, MemoryError or StopRun, which are no pair's fault: what was done before is kept.
        """
        spent = Spent()
        plan = job.plan
        on_their_way = Painted(job.dataset, plan.name(unit))
        items = self._items(job, unit)
        task = job.task.with_vlm(lambda vlm: replace(vlm, urgent=True))
        operators = task.operators(job.reader)[:links]
        began_s = time.perf_counter()
        keep = keeping(f"{job.out}/{on_their_way.folder}")
        with self._clock.at("disk"), accounting() as account, remembering(), keep:
            with watched(disk(len(positions))):
                progress = on_their_way.progress()
                kept = {
                    position: state
                    for position in positions
                    if (state := on_their_way.get(position, progress)) is not None
                }
                new = [position for position in positions if position not in kept]
                read = read_items(job.reader, job.task.name, [items[position] for position in new], spent)
                job.watched(unit, items).refuse_vanished(new, [state.made for state in read])
            states = {**kept, **dict(zip(new, read, strict=True))}
            done = go_on(
                [states[position] for position in positions],
                operators,
                job.seed,
                spent,
                partial(self._using, spent),
                pictures=task.reject_pictures,
            )
            with watched(disk(len(positions))):
                for position, state in zip(positions, done, strict=True):
                    if state is not kept.get(position):
                        on_their_way.put(position, state.made, links)
        spent.units_s += time.perf_counter() - began_s
        ended = (position for position, state in zip(positions, done, strict=True) if isinstance(state.made, Rejected))
        return Delivered(
            ended=tuple(ended),
            waits=self._clock.taken(),
            usage=account.usage,
            spent=spent,
            trial=Trial.of(state.made for state in done),
        )

    def make(self, job: Job, unit: int, unproven: bool) -> Made:
        """Make and commit a whole unit: for stages that take a GPU some seconds a unit."""
        with self._gpu:
            return made_unit(job, unit, unproven=unproven)

    @contextmanager
    def _using(self, spent: Spent, link: Link | Limited, pairs: int) -> Iterator[None]:
        if on_gpu(link):
            asked_s = time.perf_counter()
            with self._gpu, self._clock.at("gpu"), watched(link, pairs):
                spent.units_s -= time.perf_counter() - asked_s  # while another group had the GPU nothing was done
                yield
        elif asks(link):  # whose requests wait for their turn: the client ends those that hang
            with self._clock.at("answers"):
                yield
        else:
            with watched(link, pairs):
                yield

    def _items(self, job: Job, unit: int) -> tuple[Item, ...]:
        """The items of a unit. The last ones are kept: a painter is given a few of them at a time."""
        which = job.out, job.plan.fingerprint, unit
        if which not in self._units:
            while len(self._units) >= 2 * IN_HAND:
                self._units.pop(next(iter(self._units)), None)
            self._units[which] = job.dataset.unit(job.plan, unit).items
        return self._units[which]
