"""Makes the units of datasets on Ray: one loop in the driver, which hands out work and looks at what comes back.

What needs no GPU is made unit by unit, each by a task on a CPU (pipelines/run/unit.py). Where models paint, the picture
is the unit of work: painters (pipelines/run/painter.py) take pairs through the stages that need a GPU, and a unit whose
pairs are painted is assembled by a task on a CPU. The ledger, which units are committed, is the only truth of what is
done; workers write shards themselves and return statistics, so no image passes through the object store.

A worker that dies is replaced, and what it had in hand is done again by another. A unit that kills its worker again and
again is taken apart: its pairs are tried one by one, and one that still kills is rejected.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError

from manifests.schema import Reject
from operators.base import Link, ModelOperator, StopRun
from operators.batching import PAIRS
from operators.timeouts import timeout_s
from operators.vlm.request import Usage
from pipelines.run.asking import asking
from pipelines.run.chain import Rejected
from pipelines.run.cluster import Cluster
from pipelines.run.made import Made
from pipelines.run.nothing import Failure, KeepsNothing, NothingKept, Trial, given_up
from pipelines.run.painted import FOLDER, Painted
from pipelines.run.painter import Delivered
from pipelines.run.plan import Job
from pipelines.run.schedule import UNIT_DEATHS, Group, Key, Schedule, Terms
from pipelines.run.spent import Spent
from pipelines.run.stages import Stage, as_fits, gpu_stages, on_gpu
from pipelines.run.stalls import Stall, look, named
from pipelines.run.unit import NotPainted
from pipelines.run.waits import Waits
from pipelines.run.watch import Painting, Units, Watch

ATTEMPTS = 3
"""How often a unit or a group of pairs is tried that fails by what is no pair's fault, such as a full disk."""

IN_A_ROW = 24
"""How often units, groups and starts of painters may fail in a row, whichever they are, before the run ends. A pair
that is rejected because its workers died counts too."""

GROUP_GPU_S = 4.0
"""Seconds of a GPU for which a painter is given pairs at once. Pairs that take less are handed out in groups, so that
to hand them out costs little; a group that is lost is done again."""

WHOLE_UNIT_GPU_S = 60.0
"""Seconds of a GPU up to which a whole unit is made by a painter in one go: less than the start of another."""

LOCAL_CALL_S = 3.0
"""Seconds of a GPU for an answer of Qwen2-VL-7B in a worker's own process: assumed, not measured."""

_ALONE = -1
"""The stage in whose queue pairs are tried alone: those of units that have killed workers."""

_TICK_S = 1.0
_LAST_WORDS_S = 30.0  # for what is to come to its end
_TAKEN_IN_S = 0.2  # by when Ray has taken in an answer that has arrived
_MOST_PAUSE_S = 60.0  # before painters are started again
_QUEUED_TASKS = 2  # beyond those that run, so that no CPU waits for the driver


class UnitFailed(Exception):
    """A unit could not be made, for a reason that is not one of its pairs. The message says which and why."""


def run(jobs: Sequence[Job], watch: Watch, gpu_gib: float | None = None, gpus: int = 0) -> None:
    """Make every unit of the datasets that is not committed, on one pool of workers.

    `gpu_gib` is the memory of a GPU, by which chains are cut into stages; None where anything fits. `gpus` is how many
    GPUs the cluster will come to have, where an autoscaler adds them; those that it has are known.

    Raises UnitFailed for the first unit that cannot be made; all others are tried before. Raises NothingKept for the
    first dataset that was given up, since a step of it fails at every pair; the other datasets are made before. Raises
    StopRun at once where no other unit can fare better, and ValueError, before anything is loaded, where models do not
    fit a GPU.
    """
    pending = [sorted(set(range(job.plan.units)) - job.dataset.committed()) for job in jobs]
    if not any(pending):
        return
    with asking([_fitting(job, gpu_gib) for job in jobs]) as jobs:
        loop = _Run(jobs, pending, watch, gpu_gib, gpus)
        try:
            loop.work()
        finally:
            loop.end()


@dataclass(kw_only=True)
class _Call:
    """A call that is in the air."""

    ref: Any
    kind: str
    """"up", "group" or "unit"; "look" for one at stopped processes."""
    job: int = 0
    unit: int = 0
    group: Group | None = None
    painter: int = 0
    lane: _Lane | None = None


@dataclass(kw_only=True)
class _Lane:
    """Units that tasks are to make, and how many tasks are at them. Lanes do not hold each other up."""

    assembled: bool
    """Whether they are assembled of painted pairs."""
    asks: int
    """How many requests to a server may be in the air for them; 0 if they ask none."""
    units: deque[tuple[int, int]] = field(default_factory=deque)
    running: int = 0

    def most(self, cpus: int) -> int:
        """How many tasks may be at work or wait for a CPU.

        One that waits for answers leaves its CPU to another, and of those there are enough to keep the server busy.
        """
        return cpus + _QUEUED_TASKS + -(-2 * self.asks // PAIRS)


@dataclass(kw_only=True)
class _Worker:
    """A painter, as the driver knows it."""

    actor: Any
    key: Key
    began_s: float
    node: str = ""
    up_s: float | None = None
    """When it could begin."""
    since_s: float = 0.0
    """When it began with what it has in hand: when it was up, or delivered last."""
    idle_since_s: float | None = None
    idle_s: float = 0.0
    """How long it had nothing in hand, up to `idle_since_s`."""

    def rest(self, now_s: float) -> None:
        """It has nothing in hand from now on."""
        self.idle_since_s = now_s

    def resume(self, now_s: float) -> None:
        """It has something in hand."""
        if self.idle_since_s is not None:
            self.idle_s += now_s - self.idle_since_s
            self.idle_since_s, self.since_s = None, now_s

    def seconds(self, now_s: float) -> Counter[str]:
        """How long it has been there, and of that, how long it was being started and how long it had nothing in hand.

        By the names of Painting's fields.
        """
        idle_s = self.idle_s + (0.0 if self.idle_since_s is None else now_s - self.idle_since_s)
        starting_s = (now_s if self.up_s is None else self.up_s) - self.began_s
        return Counter({"held_s": now_s - self.began_s, "starting_s": starting_s, "idle_s": idle_s})


class _Run:
    def __init__(
        self, jobs: Sequence[Job], pending: Sequence[Sequence[int]], watch: Watch, gpu_gib: float | None, gpus: int
    ) -> None:
        self._jobs = jobs
        self._gpu_gib = gpu_gib
        self._watch = watch
        self._refs = [ray.put(job) for job in jobs]
        self._cluster = Cluster(gpus)
        self._cluster.refuse_unshared(jobs)
        self._schedule = Schedule(self._unfinished)
        self._calls: dict[Any, _Call] = {}
        self._workers: dict[int, _Worker] = {}
        self._numbers = iter(range(2**62))
        self._lanes: dict[tuple[bool, int], _Lane] = {}
        self._painted: dict[int, int] = {}
        """Dataset -> how many links of its chain painters take each pair through."""
        self._blamed: list[tuple[float, str, Group]] = []
        """Pairs that painters died with again and again: when it is certain that their node was not lost, and which."""
        self._taken_apart: set[tuple[int, int]] = set()
        self._deaths: Counter[tuple[int, int]] = Counter()
        self._in_a_row = 0
        self._start_after_s = 0.0
        """When painters may be started again, after one did not start."""
        self._in_doubt: list[tuple[Painted, int]] = []
        """Pairs rejected for the deaths of their workers since something succeeded last."""
        self._failures: Counter[tuple[int, int]] = Counter()
        self._failed: dict[tuple[int, int], str] = {}
        self._proven = {
            number
            for number, job in enumerate(jobs)
            if pending[number] and any(commit.pairs for _, commit in job.dataset.commits())
        }
        """Datasets in which a pair is kept, or in which each is to be rejected for a reason of its own."""
        self._suspects: defaultdict[int, list[tuple[_Lane | None, int]]] = defaultdict(list)
        """Dataset -> its units that are set aside until it is proven, each with its lane; None for a painter's."""
        self._trials: defaultdict[int | Key, Trial] = defaultdict(Trial)
        """By dataset, what became of the pairs of its suspects; by stage, of the pairs that its painters delivered."""
        self._given_up: dict[int, NothingKept] = {}
        self._left = {number: set(units) for number, units in enumerate(pending) if units}
        """Dataset -> its units that are neither made nor given up."""
        self._begun: defaultdict[int, dict[int, float]] = defaultdict(dict)
        """Dataset -> its units that are at work, and since when, in seconds since 1970."""
        self.paintings: dict[Key, Painting] = {}
        self._gone: dict[Key, Counter[str]] = {}
        """What `_Worker.seconds` said of painters that are no more."""
        self._stages: dict[Key, Stage] = {}
        self._timeouts: dict[Key, float] = {}
        self._ticked_s = time.monotonic()
        self._stall = Stall(watch.on_stall)
        for number, units in enumerate(pending):
            self._add(number, units)

    # -- what there is to do ---------------------------------------------------------------------------------------

    def _add(self, number: int, units: Sequence[int]) -> None:
        """Queue the units of a dataset up where they begin."""
        job = self._jobs[number]
        operators = job.task.operators(job.reader)
        stages = gpu_stages(operators, self._gpu_gib)
        per_unit = job.plan.items / job.plan.units
        if not stages:
            self._lane(number, assembled=False).units.extend((number, unit) for unit in units)
            return
        gpu_s = [sum(map(_gpu_s, operators[stage.start : stage.stop])) for stage in stages]
        asks = job.task.vlm is not None and not job.task.vlm.is_local  # a painter is not to wait for answers
        whole = len(stages) == 1 and gpu_s[0] * per_unit <= WHOLE_UNIT_GPU_S and not asks
        self._painted[number] = 0 if whole else stages[-1].stop
        for place, (stage, pair_s) in enumerate(zip(stages, gpu_s, strict=True)):
            links = operators[stage.start : stage.stop]
            at_once = max((getattr(link, "at_once", 1) for link in links if _gpu_s(link) >= 1), default=1)
            group = 0 if whole else max(1, at_once, round(GROUP_GPU_S / max(pair_s, 0.01)))
            self._queue(Key(job=number, stage=place), stage, operators, pair_s, group, per_unit)
        self._schedule.add_units(Key(job=number, stage=0), units)

    def _queue(
        self, key: Key, stage: Stage, operators: Sequence[Link], pair_s: float, group: int, per_unit: float
    ) -> None:
        if key in self._stages:
            return
        gpus = self._cluster.share(stage.gpus)
        self._stages[key] = stage
        links = operators[stage.start : stage.stop]
        pairs = group or per_unit
        self._timeouts[key] = pairs * sum(map(timeout_s, links))
        self._schedule.add_queue(
            key, Terms(gpus=gpus, pair_s=pair_s, group=group, pairs_per_unit=per_unit, alone=key.stage == _ALONE)
        )
        names = tuple(dict.fromkeys(link.name for link in links if _gpu_s(link)))
        self.paintings[key] = Painting(job=self._jobs[key.job], operators=names, gpus=gpus)

    def _take_apart(self, number: int, unit: int) -> None:
        """Have the pairs of a unit tried one by one."""
        job = self._jobs[number]
        operators = job.task.operators(job.reader)
        stages = gpu_stages(operators, self._gpu_gib)
        # A unit whose pairs are painted has its models behind it.
        gpus = stages[-1].gpus if stages and not self._painted[number] else 0.0
        self._taken_apart.add((number, unit))
        key = Key(job=number, stage=_ALONE)
        self._queue(key, Stage(start=0, stop=len(operators), gpus=gpus), operators, 1.0, 1, 1.0)
        self._schedule.add_units(key, [unit])

    def _unfinished(self, key: Key, unit: int) -> Mapping[int, Sequence[int]]:
        """By stage, the pairs of a unit that have to go through it next: what was kept of an earlier run is not."""
        job = self._jobs[key.job]
        progress = Painted(job.dataset, job.plan.name(unit)).progress()
        stages = [one for one in self._stages if one.job == key.job and (one.stage == _ALONE) == (key.stage == _ALONE)]
        found: dict[int, list[int]] = {}
        for position in range(len(job.dataset.unit(job.plan, unit).items)):
            links = progress.get(position, 0)
            if links is None:
                continue
            stage = next((one.stage for one in sorted(stages) if self._stages[one].stop > links), None)
            if stage is not None:
                found.setdefault(stage, []).append(position)
        return found

    # -- the loop --------------------------------------------------------------------------------------------------

    def work(self) -> None:
        self._watch.on_start(self._workers_at_most())
        while self._left:
            self._cluster.look()
            self._start_painters()
            self._hand_out()
            self._start_tasks()
            self._collect()
            self._judge_suspects()
            self._end_painters()
            self._tick()
        for _, nothing in sorted(self._given_up.items()):
            raise nothing
        if self._failed:
            (number, unit), message = next(iter(sorted(self._failed.items())))
            raise UnitFailed(f"shard {self._jobs[number].plan.name(unit)}: {message}")

    def end(self) -> None:
        """End all that was started. A Ray that is the user's stays."""
        for worker in self._workers.values():
            ray.kill(worker.actor)
        self._cancel([call.ref for call in self._calls.values() if call.kind == "unit"])

    def _cancel(self, refs: Sequence[Any]) -> None:
        """End tasks, and wait for their end.

        One whose answer Ray is taking in at that moment must not be cancelled: Ray would abort this process (seen in
        2.60: "Tried to complete task that was not pending"). So answers that have arrived are waited for before. On a
        machine that is far overloaded one may still come between; what is finished is kept then too.
        """
        _, at_work = _waited(refs, _TAKEN_IN_S)
        for ref in at_work:
            with suppress(RayError, ValueError):
                ray.cancel(ref, force=True)
        _waited(at_work, _LAST_WORDS_S)

    def _workers_at_most(self) -> int:
        """How many painters and units can be at work at the same time, as the cluster is now."""
        whole = sum(len(lane.units) for lane in self._lanes.values())
        tasks = min(self._cluster.cpus, whole) if whole else 0
        shares = [painting.gpus for painting in self.paintings.values()]
        if not shares:
            return tasks
        pairs = sum(self._schedule.pairs_left(key) for key in self.paintings)
        painters = self._cluster.gpus / min(shares) if self._cluster.has_gpus else self._cluster.painters
        return tasks + max(1, min(int(painters), pairs))

    def _start_painters(self) -> None:
        if time.monotonic() < self._start_after_s:
            return
        while (key := self._schedule.wanted(*self._free())) is not None:
            number = next(self._numbers)
            worker = _Worker(actor=self._cluster.painter(self._gpus_of(key)), key=key, began_s=time.monotonic())
            self._workers[number] = worker
            self._schedule.start(number, key)
            self._call(_Call(ref=worker.actor.up.remote(), kind="up", painter=number))

    def _free(self) -> tuple[float, int]:
        """How many GPUs no painter has, and how many painters without a GPU may be started."""
        shares = [self._gpus_of(worker.key) for worker in self._workers.values()]
        return self._cluster.gpus - sum(shares), self._cluster.painters - shares.count(0.0)

    def _gpus_of(self, key: Key) -> float:
        return self.paintings[key].gpus

    def _hand_out(self) -> None:
        for number, worker in self._workers.items():
            while group := self._schedule.take(number):
                worker.resume(time.monotonic())
                job, links = self._refs[group.key.job], self._stages[group.key].stop
                if group.positions:
                    ref = worker.actor.paint.remote(job, links, group.unit, group.positions)
                else:
                    ref = worker.actor.make.remote(job, group.unit, group.key.job not in self._proven)
                self._begun[group.key.job].setdefault(group.unit, time.time())
                self._call(_Call(ref=ref, kind="group", group=group, painter=number))
        for number, unit in self._schedule.through():
            self._lane(number, assembled=True).units.append((number, unit))

    def _start_tasks(self) -> None:
        for lane in self._lanes.values():
            while lane.units and lane.running < lane.most(self._cluster.cpus):
                number, unit = lane.units.popleft()
                painted = self._painted_links(number, unit)
                unit_task = self._cluster.unit(lane.assembled)
                ref = unit_task.remote(self._refs[number], unit, painted=painted, unproven=number not in self._proven)
                lane.running += 1
                self._begun[number].setdefault(unit, time.time())
                self._call(_Call(ref=ref, kind="unit", job=number, unit=unit, lane=lane))

    def _lane(self, number: int, *, assembled: bool) -> _Lane:
        vlm = self._jobs[number].task.vlm
        asks = vlm.concurrency if vlm and not vlm.is_local else 0
        return self._lanes.setdefault((assembled, asks), _Lane(assembled=assembled, asks=asks))

    def _painted_links(self, number: int, unit: int) -> int:
        if (number, unit) in self._taken_apart:
            return self._stages[Key(job=number, stage=_ALONE)].stop
        return self._painted.get(number, 0)

    def _call(self, call: _Call) -> None:
        self._calls[call.ref] = call

    def _collect(self) -> None:
        """Wait until something has come back, and take up all that has."""
        if not self._calls:
            time.sleep(_TICK_S / 10)
            return
        refs = list(self._calls)
        ready, _ = ray.wait(refs, num_returns=1, timeout=_TICK_S)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            call = self._calls.pop(ref, None)
            if call is None:  # of a painter that has died meanwhile
                continue
            if call.kind == "look":
                self._looked(call)
                continue
            self._stall.heard()
            if call.kind == "unit":
                assert call.lane
                call.lane.running -= 1
                self._unit_came(call)
            elif call.kind == "group":
                self._group_came(call)
            else:
                self._painter_came(call)

    # -- what comes back -------------------------------------------------------------------------------------------

    def _painter_came(self, call: _Call) -> None:
        worker = self._workers[call.painter]
        try:
            worker.node, _ = ray.get(call.ref)
        except RayError as error:
            self._painter_died(call.painter)
            self._start_after_s = time.monotonic() + min(_MOST_PAUSE_S, 2.0**self._in_a_row)
            self._count_failure(f"a painter does not start: {' '.join(str(error).split())[:400]}")
            return
        worker.up_s = time.monotonic()
        worker.rest(worker.up_s)
        self._schedule.is_up(call.painter)

    def _group_came(self, call: _Call) -> None:
        worker, group = self._workers[call.painter], call.group
        assert group
        painting, now_s = self.paintings[worker.key], time.monotonic()
        try:
            came: Delivered | Made = ray.get(call.ref)
        except RayTaskError as error:
            self._stop_if_told(error)
            if isinstance(error.cause, KeepsNothing):
                self._schedule.drop(call.painter, group)
                if not self._schedule.in_hand(call.painter):
                    worker.rest(now_s)
                self._suspect(group.key.job, group.unit, error.cause.trial, None)
                return
            self._group_failed(call.painter, group, error.cause)
            return
        except RayError:
            self._painter_died(call.painter)
            return
        seconds, worker.since_s = now_s - worker.since_s, now_s
        self._succeeded()
        ended = came.ended if isinstance(came, Delivered) else ()
        self._schedule.deliver(call.painter, group, seconds=seconds, ended=ended)
        if not self._schedule.in_hand(call.painter):
            worker.rest(now_s)
        painting.add(came.spent, came.waits if isinstance(came, Delivered) else Waits())
        if isinstance(came, Delivered):
            painting.pairs += len(group.positions)
            self._watch.on_delivered(painting.job, came)
            trial = self._trials[group.key]
            trial.merge(came.trial)
            if (failure := trial.hopeless) and group.key.job not in self._proven:
                self._give_up(group.key.job, failure)
        else:
            painting.pairs += came.commit.pairs + sum(came.commit.rejects.values())
            self._made(group.key.job, came)

    def _group_failed(self, number: int, group: Group, cause: Exception) -> None:
        """A disk is full, a GPU is lost, a connection is: another try, by a painter that starts anew."""
        tried = (group.key.job, group.unit)
        self._count_failure(f"shard {self._jobs[group.key.job].plan.name(group.unit)}: {cause}")
        self._failures[tried] += 1
        if self._failures[tried] < ATTEMPTS:
            self._schedule.put_back(number, group)
        else:
            self._schedule.drop(number, group)
            self._fail(*tried, str(cause))
        for other in list(self._schedule.in_hand(number)):
            self._schedule.put_back(number, other)
        self._forget_painter(number)
        self._schedule.end(number)

    def _painter_died(self, number: int) -> None:
        """By itself, with its node, or by our hand because it took too long."""
        worker = self._workers[number]
        self._forget_painter(number)
        for group in self._schedule.die(number, worker.node, self._cluster.lost_nodes()):
            if not group.positions:
                self._schedule.give_up(group)
                self._take_apart(group.key.job, group.unit)
                continue
            self._blamed.append((time.monotonic() + self._cluster.lost_after_s, worker.node, group))

    def _reject_the_blamed(self, now_s: float) -> None:
        """Reject pairs that kill their painters, unless it turns out now that the node was lost with the painter."""
        due = [one for one in self._blamed if one[0] <= now_s]
        self._blamed = [one for one in self._blamed if one[0] > now_s]
        lost = self._cluster.lost_nodes() if due else ()
        for _, node, group in due:
            if node in lost:
                self._schedule.acquit(group)
                continue
            job = self._jobs[group.key.job]
            said = "its worker process died, or was ended since it took too long, each time the item was tried"
            killed = Rejected(step="worker", reject=Reject("killed_worker", said))
            name = job.plan.name(group.unit)
            on_their_way = Painted(job.dataset, name)
            for position in group.positions:
                on_their_way.put(position, killed, 0)
                self._in_doubt.append((on_their_way, position))
                self._count_failure(
                    f"shard {name}: workers died at whatever they tried, or were ended since it took too long; "
                    "main memory that is too small is a common reason"
                )
            self._schedule.give_up(group)

    def _forget_painter(self, number: int) -> None:
        worker = self._workers.pop(number)
        self._gone.setdefault(worker.key, Counter()).update(worker.seconds(time.monotonic()))
        for call in [one for one in self._calls.values() if one.painter == number and one.kind in ("up", "group")]:
            del self._calls[call.ref]
        ray.kill(worker.actor)

    def _unit_came(self, call: _Call) -> None:
        which = call.job, call.unit
        try:
            self._made(call.job, ray.get(call.ref))
        except RayTaskError as error:
            self._stop_if_told(error)
            if isinstance(error.cause, KeepsNothing):
                self._suspect(*which, error.cause.trial, call.lane)
                return
            self._failures[which] += 1
            if self._failures[which] >= ATTEMPTS:
                self._fail(*which, str(error.cause))
            elif isinstance(error.cause, NotPainted):  # a file was damaged or removed: what is missing is painted again
                stage = _ALONE if which in self._taken_apart else 0
                self._schedule.add_units(Key(job=call.job, stage=stage), [call.unit])
            else:
                self._count_failure(f"shard {self._jobs[call.job].plan.name(call.unit)}: {error.cause}")
                self._again(call)
        except RayError as error:  # the worker or its node died
            if call.unit in self._jobs[call.job].dataset.committed():  # and its report was lost with it
                dataset, name = self._jobs[call.job].dataset, self._jobs[call.job].plan.name(call.unit)
                self._made(call.job, Made(commit=dataset.commit(name), usage=Usage(), spent=Spent()))
                return
            if isinstance(error, NodeDiedError):
                self._again(call)
            else:
                self._unit_died(call)

    def _unit_died(self, call: _Call) -> None:
        """A worker has died at a unit, and its node has not."""
        which = call.job, call.unit
        self._deaths[which] += 1
        if self._deaths[which] < UNIT_DEATHS or which in self._taken_apart:
            self._again(call)
            if self._deaths[which] > UNIT_DEATHS + ATTEMPTS:
                self._fail(*which, "its worker died each time it was tried")
        else:
            self._take_apart(*which)

    def _again(self, call: _Call) -> None:
        """Make a unit again, after those that wait."""
        assert call.lane
        call.lane.units.append((call.job, call.unit))

    def _made(self, number: int, made: Made) -> None:
        if made.commit.pairs:
            self._succeeded()
            self._proven.add(number)
        self._watch.on_made(self._jobs[number], made)
        self._no_more(number, made.commit.unit)

    def _succeeded(self) -> None:
        """Take note that a pair was made: what failed before was not the fault of all."""
        self._in_a_row = 0
        self._in_doubt.clear()

    def _count_failure(self, message: str) -> None:
        """Raises UnitFailed if nothing has succeeded for so long that nothing else will.

        Pairs whose workers have died meanwhile are then not to blame: they are tried again when the run goes on.
        """
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            for on_their_way, position in self._in_doubt:
                on_their_way.forgive(position)
            raise UnitFailed(message)

    def _fail(self, number: int, unit: int, message: str) -> None:
        self._failed[number, unit] = message
        self._no_more(number, unit)
        for lane in self._lanes.values():
            with suppress(ValueError):
                lane.units.remove((number, unit))

    def _no_more(self, number: int, unit: int) -> None:
        """A unit is made or given up. What was on its way is gone with a dataset's last one."""
        left = self._left.get(number, set())
        left.discard(unit)
        self._begun[number].pop(unit, None)
        if not left:
            self._left.pop(number, None)
            if not any(failed == number for failed, _ in self._failed):
                self._jobs[number].dataset.store.remove_folder(FOLDER)

    def _stop_if_told(self, error: RayTaskError) -> None:
        if isinstance(error.cause, StopRun):
            raise StopRun(str(error.cause)) from None

    # -- datasets of which nothing is kept -------------------------------------------------------------------------

    def _suspect(self, number: int, unit: int, trial: Trial, lane: _Lane | None) -> None:
        """Set a unit aside of which nothing would be kept. It is committed once the dataset is proven."""
        self._begun[number].pop(unit, None)
        self._suspects[number].append((lane, unit))
        self._trials[number].merge(trial)

    def _judge_suspects(self) -> None:
        """Give up datasets of which enough has been seen, and have the suspects of others made after all.

        A dataset that looks hopeless gets no further task, and is given up when those at work have brought no pair.
        """
        for number, suspects in list(self._suspects.items()):
            trial, at_work = (
                self._trials[number],
                any(call.kind == "unit" and call.job == number for call in self._calls.values()),
            )
            if number in self._proven:
                self._make_suspects(number)
            elif failure := trial.hopeless:
                for lane in self._lanes.values():
                    suspects += [(lane, unit) for of, unit in lane.units if of == number]
                    lane.units = deque(one for one in lane.units if one[0] != number)
                if not at_work:
                    self._give_up(number, failure)
            elif self._left.get(number, set()) <= {unit for _, unit in suspects}:
                if trial.only and not self._jobs[number].dataset.committed():
                    self._give_up(number, trial.only)
                else:
                    self._proven.add(number)
                    self._make_suspects(number)

    def _make_suspects(self, number: int) -> None:
        for lane, unit in self._suspects.pop(number):
            if lane:
                lane.units.append((number, unit))
            else:
                self._schedule.add_units(Key(job=number, stage=0), [unit])

    def _give_up(self, number: int, failure: Failure) -> None:
        """Make no more of a dataset, and forget which of its pairs that are on their way were rejected."""
        job = self._jobs[number]
        self._given_up[number] = given_up(job, failure)
        self._left.pop(number, None)
        self._begun.pop(number, None)
        self._suspects.pop(number, None)
        for lane in self._lanes.values():
            lane.units = deque(one for one in lane.units if one[0] != number)
        cancelled = []
        for call in [call for call in self._calls.values() if call.kind == "unit" and call.job == number]:
            assert call.lane
            call.lane.running -= 1
            self._calls.pop(call.ref)
            cancelled.append(call.ref)
        self._cancel(cancelled)
        # What painters have in hand comes to its end first: what they store of it later could not be forgotten.
        _waited(
            [call.ref for call in self._calls.values() if call.group and call.group.key.job == number], _LAST_WORDS_S
        )
        self._schedule.drop_job(number)
        for painter in [painter for painter, worker in self._workers.items() if worker.key.job == number]:
            self._forget_painter(painter)
            self._schedule.end(painter)
        self._blamed = [one for one in self._blamed if one[2].key.job != number]
        for unit in job.dataset.store.names(FOLDER):
            on_their_way = Painted(job.dataset, unit)
            for position, links in on_their_way.progress().items():
                if links is None:
                    on_their_way.forgive(position)

    # -- time passes -----------------------------------------------------------------------------------------------

    def _end_painters(self) -> None:
        gpus, cpus = self._free()
        short = gpus < -1e-9 or cpus < 0  # nodes are gone: who waits for one is not to wait for it for ever
        for number in [number for number in self._workers if self._schedule.superfluous(number, short)]:
            self._forget_painter(number)
            self._schedule.end(number)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._ticked_s < _TICK_S and self._left:
            return
        self._ticked_s = now_s
        self._end_hanging(now_s)
        self._reject_the_blamed(now_s)
        if (
            self._calls
            and self._stall.is_due(self._at_work)
            and not any(call.kind == "look" for call in self._calls.values())
        ):
            for ref in look():
                self._call(_Call(ref=ref, kind="look"))
        self._report(now_s)

    def _at_work(self) -> str:
        """What is in the air, in words."""
        calls = [call for call in self._calls.values() if call.kind in ("unit", "group")]
        units = [(call.group.key.job, call.group.unit) if call.group else (call.job, call.unit) for call in calls]
        return named([self._jobs[number].plan.name(unit) for number, unit in dict.fromkeys(units)])

    def _looked(self, call: _Call) -> None:
        with suppress(RayError):  # its node is gone
            for ended in ray.get(call.ref):
                self._watch.on_stall(ended)

    def _end_hanging(self, now_s: float) -> None:
        for number, worker in list(self._workers.items()):
            in_hand = self._schedule.in_hand(number)
            if in_hand and now_s - worker.since_s > self._timeouts[worker.key]:
                self._painter_died(number)

    def _report(self, now_s: float) -> None:
        for key, painting in self.paintings.items():
            mine = [worker for worker in self._workers.values() if worker.key == key]
            painting.painters = sum(bool(worker.node) for worker in mine)
            painting.starting = len(mine) - painting.painters
            seconds = Counter(self._gone.get(key, {}))
            for worker in mine:
                seconds.update(worker.seconds(now_s))
            painting.held_s, painting.starting_s = seconds["held_s"], seconds["starting_s"]
            painting.idle_s = seconds["idle_s"]
            painting.pairs_left = self._schedule.pairs_left(key)
            painting.lost = self._schedule.lost[key]
        self._watch.on_tick([*self.paintings.values()])
        self._watch.on_units([*map(self._units, range(len(self._jobs)))], self._cluster.gpus)

    def _units(self, number: int) -> Units:
        """How far a dataset is. Units of one that was given up count as failed, but for those committed before."""
        job, left, begun = self._jobs[number], len(self._left.get(number, ())), self._begun[number]
        failed = sum(of == number for of, _ in self._failed)
        if number in self._given_up:
            failed = job.plan.units - len(job.dataset.committed())
        return Units(
            job=job,
            done=job.plan.units - left - failed,
            running=len(begun),
            queued=left - len(begun),
            failed=failed,
            oldest_start_s=min(begun.values(), default=0.0),
        )


def _fitting(job: Job, gpu_gib: float | None) -> Job:
    """The job with links that have one model on a GPU at a time, where it is too small for all of them."""
    return replace(job, task=job.task.changed(lambda link: as_fits(link, gpu_gib)))


def _gpu_s(link: Link) -> float:
    """Seconds of a GPU that a pair takes at an operator, as it assumes."""
    if not on_gpu(link):
        return 0.0
    return link.gpu_s if isinstance(link, ModelOperator) else LOCAL_CALL_S * getattr(link, "calls", 1)


def _waited(refs: Sequence[Any], most_s: float) -> tuple[list[Any], list[Any]]:
    """Those that have come to their end, and those that have not after so many seconds."""
    if not refs:
        return [], []
    ended, at_work = ray.wait([*refs], num_returns=len(refs), timeout=most_s, fetch_local=False)
    return list(ended), list(at_work)
