"""The recipe's painted datasets on a cluster that is not there: a virtual clock, the engine's own schedule.

Every decision, which painter is started for whom and what it is given, is taken by pipelines/run/schedule.py, asked as
pipelines/run/engine.py asks it; what is simulated is how long things take. The arms:

overlapped     one schedule for all datasets, as `xprompt recipe` runs them
as they come   the same, if questions without which a painter cannot paint waited behind the others
in turn        the same engine, one dataset after the other, each with its start, its models and its tail
before         the engine of before, one dataset after the other: a worker a GPU makes whole units, and the GPU waits
               while the worker asks

Assumed, and not measured: what a pair takes (the operators' own figures for an A100; FLUX wherever a task lets one
choose), what starting a process, loading models, an answer, and a unit's CPU work take. Times of pairs vary by chance.
A GPU counts as busy for the share that a painter has of it, and while it paints: not while it loads models.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from operators.batching import PAIRS
from operators.models.diffusion import PICTURE_GPU_S
from operators.paint.rb_modulation import RbModulation
from pipelines.recipe import FULL_8M
from pipelines.run.engine import GROUP_GPU_S, WHOLE_UNIT_GPU_S
from pipelines.run.schedule import IN_HAND, Group, Key, Schedule, Terms
from pipelines.tasks.catalogue import OUR_TASKS

START_S = 15.0
"""A painter's process: Ray's worker, and the import of torch and diffusers."""

LOAD_S: Mapping[str, float] = {"flux": 60.0, "rb": 20.0, "sd15": 10.0, "small": 5.0}
"""To load a family's pipeline from the page cache: 34 GiB of FLUX.1 at some 0.6 GB/s, which is a first touch of it."""

ANSWER_S = 3.0
"""Of a vision-language model of 7B parameters on a server."""

PAIR_CPU_S = 0.3
"""To read, encode, hash and write a pair's images."""

KEEP_S = 0.1
"""To keep a pair on a shared disk when it has been painted, beside the GPU."""

SPREAD = 0.2
"""Standard deviation of the logarithm of what a pair takes: photos have many sizes, and neighbours share a node."""

CPUS_A_GPU = 12

_FLUX_S, _SD15_S = PICTURE_GPU_S["flux"], PICTURE_GPU_S["sd15"]
_SCORES_S, _POSE_S = 0.1, 0.05  # as operators/judge/scores.py and models/pose say
_EDGES_S, _DEPTH_S, _LABELS_S = 0.03, 0.03, 0.1  # as those of operators/degrade/ say
_UNCOUNTED = 10_000
"""Pairs of `editing`, which the paper does not have."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A dataset of the recipe, as far as it matters how long it takes."""

    task: str
    pair_s: float
    """Seconds of a GPU that a pair takes."""
    load_s: float
    pairs: int = 0
    per_unit: int = 0
    gpus: float = 1.0
    at_once: int = 1
    before: int = 0
    """Questions to a vision-language model that a painter asks before it paints."""
    after: int = 0
    """Questions that are asked of a pair that is painted."""


def _counted(line: Line) -> Line:
    """A line with as many pairs as the recipe has of it, in units of the task's size."""
    pairs = next((entry.pairs for entry in FULL_8M if entry.task == line.task), _UNCOUNTED)
    return replace(line, pairs=pairs, per_unit=OUR_TASKS[line.task].pairs_per_shard)


_FLUX_LOAD_S, _SD15_LOAD_S, _SMALL_LOAD_S = LOAD_S["flux"], LOAD_S["sd15"], LOAD_S["small"]

RECIPE: Sequence[Line] = tuple(
    map(
        _counted,
        (
            Line(
                task="style",
                pair_s=2 * _FLUX_S + RbModulation.gpu_s + _SCORES_S,
                load_s=_FLUX_LOAD_S + LOAD_S["rb"],
                after=2,
            ),
            Line(task="composition", pair_s=2 * 0.6 * _FLUX_S + 2 * _SCORES_S, load_s=_FLUX_LOAD_S, after=1),
            Line(task="tryon", pair_s=6 * _SD15_S, load_s=_SD15_LOAD_S),
            Line(task="pose", pair_s=2 * (_FLUX_S + _POSE_S), load_s=_FLUX_LOAD_S),
            Line(task="mimicbrush", pair_s=2 * _FLUX_S * 50 / 28, load_s=_FLUX_LOAD_S),
            Line(task="editing", pair_s=4 * _FLUX_S * (28 + 50) / 28, load_s=2 * _FLUX_LOAD_S, before=1, after=1),
            Line(task="depth2img", pair_s=_DEPTH_S, load_s=_SMALL_LOAD_S, gpus=0.25, after=1),
            Line(task="seg2img", pair_s=_LABELS_S, load_s=_SMALL_LOAD_S, gpus=0.25, after=1),
            Line(task="hed2img", pair_s=_EDGES_S, load_s=_SMALL_LOAD_S, gpus=0.25, after=1),
            Line(task="mlsd2img", pair_s=_EDGES_S, load_s=_SMALL_LOAD_S, gpus=0.25, after=1),
        ),
    )
)
"""All of Tab. 6 and Tab. 7 that keeps a GPU busy, and `editing`. Without checkpoints of its own `tryon` is not painted;
here it is, at the size of CatVTON's."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A cluster, and the server that is asked."""

    gpus: int = 128
    answers: int = 128
    """How many questions are in the air at the same time, at most."""
    urgent: bool = True
    """Whether questions without which a painter cannot paint are taken first, and not as they come."""

    @property
    def cpus(self) -> int:
        """Those that painters leave to units."""
        return max(1, self.gpus * CPUS_A_GPU // 2)


@dataclass
class Course:
    """How GPUs were used: intervals in which a share of one painted, and sums of what else it was held for."""

    painted: list[tuple[float, float, float]] = field(default_factory=list)
    """Beginning, end, and the share of a GPU."""
    spent_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """GPU seconds by what they went into: starting, loading, asking. What is left of the whole was idle."""
    starts: Counter[str] = field(default_factory=Counter)
    """Painters that were started, by task."""
    ended_s: dict[str, float] = field(default_factory=dict)
    """Task -> when its last unit was committed."""
    end_s: float = 0.0

    def busy(self, gpus: int, until_s: float) -> float:
        """Share of the GPUs' time up to a moment in which they painted."""
        return self._painted_s(until_s) / (gpus * until_s)

    def _painted_s(self, until_s: float) -> float:
        return math.fsum(
            share * (min(end_s, until_s) - begin_s) for begin_s, end_s, share in self.painted if begin_s < until_s
        )

    def add(self, later: Course) -> None:
        """What happened from this one's end on."""
        moved = [(self.end_s + begin_s, self.end_s + end_s, share) for begin_s, end_s, share in later.painted]
        self.painted += moved
        for what, seconds in later.spent_s.items():
            self.spent_s[what] += seconds
        self.starts.update(later.starts)
        self.ended_s |= {task: self.end_s + at_s for task, at_s in later.ended_s.items()}
        self.end_s += later.end_s


@dataclass
class _Painter:
    line: Line
    gpu: int | None
    """Which GPU it shares; None while it waits for one."""
    loaded: bool = False
    free_s: float = 0.0
    """When its GPU has done what it was given."""
    since_s: float = 0.0
    """When it was up, or delivered last."""


class _Server:
    """Answers as they come, so many at a time. A unit's questions are taken as a stream that shares the server."""

    def __init__(self, site: Site) -> None:
        self._each_s = ANSWER_S / site.answers
        self._urgent = site.urgent
        self._free_s = self._free_for_urgent_s = 0.0

    def answered_s(self, now_s: float, rounds: int, questions: int, *, to_paint: bool = False) -> float:
        """When as many questions are answered, that are asked now, of which `rounds` follow one another."""
        if not questions:
            return now_s
        self._free_s = free_s = max(self._free_s, now_s) + questions * self._each_s
        if to_paint and self._urgent:
            self._free_for_urgent_s = free_s = max(self._free_for_urgent_s, now_s) + questions * self._each_s
        return max(free_s, now_s + rounds * ANSWER_S)


class Simulation:
    """One run of the engine over some datasets."""

    def __init__(self, lines: Sequence[Line], site: Site, seed: int) -> None:
        """Before its first moment."""
        self.course = Course()
        self._lines = lines
        self._site = site
        self._chance = random.Random(seed)
        self._schedule = Schedule(lambda key, unit: {0: range(self._pairs(key.job, unit))})
        self._server = _Server(site)
        self._free_gpus = [1.0] * site.gpus
        self._promised = float(site.gpus)
        self._painters: dict[int, _Painter] = {}
        self._resting: set[int] = set()
        """Painters that may be given something, or ended."""
        self._waiting: deque[int] = deque()
        """Painters whose GPU is not free yet, in Ray's queue."""
        self._units: deque[tuple[int, int]] = deque()
        self._units_running = 0
        self._left = Counter({job: self._count(job) for job in range(len(lines))})
        self._events: list[tuple[float, int, str, tuple[int, ...], Group | None]] = []
        self._numbers = iter(range(2**62))
        self._now_s = 0.0
        for job, line in enumerate(lines):
            # As pipelines/run/engine.py reckons them.
            whole = line.pair_s * line.per_unit <= WHOLE_UNIT_GPU_S
            group = 0 if whole else max(1, line.at_once, round(GROUP_GPU_S / line.pair_s))
            terms = Terms(gpus=line.gpus, pair_s=line.pair_s, group=group, pairs_per_unit=line.per_unit)
            self._schedule.add_queue(Key(job=job, stage=0), terms)
            self._schedule.add_units(Key(job=job, stage=0), range(self._count(job)))

    def run(self) -> Course:
        """Let it go on to its end."""
        while any(self._left.values()):
            self._start_painters()
            self._hand_out()
            self._start_units()
            self._now_s, _, what, which, group = heapq.heappop(self._events)
            if what == "up":
                self._schedule.is_up(*which)
                self._painters[which[0]].since_s = self._now_s
                self._resting.update(which)
            elif what == "delivered":
                assert group
                self._delivered(which[0], group)
            else:
                self._units_running -= 1
                self._committed(which[0])
            self._end_painters()
        self.course.end_s = self._now_s
        return self.course

    def _count(self, job: int) -> int:
        return -(-self._lines[job].pairs // self._lines[job].per_unit)

    def _pairs(self, job: int, unit: int) -> int:
        line = self._lines[job]
        return min(line.per_unit, line.pairs - unit * line.per_unit)

    def _at(self, time_s: float, what: str, which: tuple[int, ...], group: Group | None = None) -> None:
        heapq.heappush(self._events, (time_s, next(self._numbers), what, which, group))

    def _start_painters(self) -> None:
        while (key := self._schedule.wanted(self._promised, 0)) is not None:
            number, line = next(self._numbers), self._lines[key.job]
            self._promised -= line.gpus
            self._painters[number] = _Painter(line=line, gpu=None)
            self._schedule.start(number, key)
            self._waiting.append(number)
            self.course.starts[line.task] += 1
        for number in list(self._waiting):
            painter = self._painters[number]
            fitting = [gpu for gpu, free in enumerate(self._free_gpus) if free >= painter.line.gpus - 1e-9]
            if fitting:  # the fullest, so that others stay whole
                painter.gpu = min(fitting, key=self._free_gpus.__getitem__)
                self._free_gpus[painter.gpu] -= painter.line.gpus
                self._waiting.remove(number)
                self.course.spent_s["starting"] += painter.line.gpus * START_S
                self._at(self._now_s + START_S, "up", (number,))

    def _hand_out(self) -> None:
        for number in list(self._resting):
            while group := self._schedule.take(number):
                self._work(number, group)
            if len(self._schedule.in_hand(number)) == IN_HAND:
                self._resting.discard(number)  # until it delivers
        self._units.extend(self._schedule.through())

    def _work(self, number: int, group: Group) -> None:
        """See when a painter will have done what it is given now."""
        painter, line = self._painters[number], self._painters[number].line
        pairs = len(group.positions) or self._pairs(group.key.job, group.unit)
        asked_s = self._server.answered_s(self._now_s, line.before, line.before * pairs, to_paint=True)
        begin_s = max(painter.free_s, asked_s)
        if not painter.loaded:
            painter.loaded = True
            begin_s += line.load_s
            self.course.spent_s["loading"] += line.load_s * line.gpus
        painter.free_s = begin_s + line.pair_s * pairs * self._chance.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        self.course.painted.append((begin_s, painter.free_s, line.gpus))
        if not group.positions:  # the unit is asked about and committed by the painter itself
            # Its questions join the line now, and not when it is painted: a fluid server would stand still till then.
            asked_s = self._server.answered_s(self._now_s, 0, line.after * pairs)
            answered_s = max(asked_s, painter.free_s + _rounds(line.after, pairs) * ANSWER_S)
            self.course.spent_s["asking"] += (answered_s - painter.free_s) * line.gpus
            painter.free_s = answered_s
        self._at(painter.free_s + KEEP_S, "delivered", (number,), group)

    def _delivered(self, number: int, group: Group) -> None:
        painter = self._painters[number]
        self._schedule.deliver(number, group, seconds=self._now_s - painter.since_s)
        painter.since_s = self._now_s
        self._resting.add(number)
        if not group.positions:
            self._committed(group.key.job)

    def _start_units(self) -> None:
        while self._units and self._units_running < self._site.cpus:
            job, unit = self._units.popleft()
            line, pairs = self._lines[job], self._pairs(job, unit)
            self._units_running += 1
            answered_s = self._server.answered_s(self._now_s, _rounds(line.after, pairs), line.after * pairs)
            self._at(answered_s + PAIR_CPU_S * pairs, "unit", (job,))

    def _committed(self, job: int) -> None:
        self._left[job] -= 1
        if not self._left[job]:
            self.course.ended_s[self._lines[job].task] = self._now_s

    def _end_painters(self) -> None:
        for number in [*self._resting, *self._waiting]:
            if self._schedule.superfluous(number):
                painter = self._painters.pop(number)
                self._schedule.end(number)
                self._resting.discard(number)
                self._promised += painter.line.gpus
                if painter.gpu is None:
                    self._waiting.remove(number)
                else:
                    self._free_gpus[painter.gpu] += painter.line.gpus


def _rounds(questions: int, pairs: int) -> int:
    """How many answers a unit waits for one after the other: it is asked about PAIRS of its pairs at a time."""
    return questions * math.ceil(pairs / PAIRS)


def overlapped(lines: Sequence[Line], site: Site, seed: int) -> Course:
    """All datasets on one schedule."""
    return Simulation(lines, site, seed).run()


def as_they_come(lines: Sequence[Line], site: Site, seed: int) -> Course:
    """All datasets on one schedule, and no question before another."""
    return overlapped(lines, replace(site, urgent=False), seed)


def in_turn(lines: Sequence[Line], site: Site, seed: int) -> Course:
    """The same engine, a dataset at a time."""
    course = Course()
    for number, line in enumerate(lines):
        course.add(Simulation([line], site, seed + number).run())
    return course


def before(lines: Sequence[Line], site: Site, seed: int) -> Course:
    """The engine of before: as many workers as there are GPUs and questions in the air, which make whole units.

    A worker has the GPU while it asks, its share of the questions at a time. Ray Data's start of some seconds and its
    giving two units to the first workers are left out.
    """
    course = Course()
    for number, line in enumerate(lines):
        chance, one = random.Random(seed + number), Course()
        asks = line.before + line.after > 0
        units = -(-line.pairs // line.per_unit)
        workers = min(units, int(site.gpus / line.gpus), site.answers if asks else units)
        free_s = [START_S + line.load_s] * workers
        for unit in range(units):
            begin_s = heapq.heappop(free_s)
            pairs = min(line.per_unit, line.pairs - unit * line.per_unit)
            painted_s = line.pair_s * math.fsum(chance.lognormvariate(-(SPREAD**2) / 2, SPREAD) for _ in range(pairs))
            rounds = math.ceil(pairs / max(1, site.answers // workers))
            asked_s = rounds * (line.before + line.after) * ANSWER_S
            one.painted.append((begin_s, begin_s + painted_s, line.gpus))
            one.spent_s["asking"] += asked_s * line.gpus
            heapq.heappush(free_s, begin_s + painted_s + asked_s + PAIR_CPU_S * pairs)
        one.spent_s |= {"starting": workers * line.gpus * START_S, "loading": workers * line.gpus * line.load_s}
        one.starts[line.task], one.end_s = workers, max(free_s)
        one.ended_s[line.task] = one.end_s
        course.add(one)
    return course


ARMS: Mapping[str, Callable[[Sequence[Line], Site, int], Course]] = {
    "overlapped": overlapped,
    "as they come": as_they_come,
    "in turn": in_turn,
    "before": before,
}


def table(lines: Sequence[Line], site: Site, seed: int, arms: Sequence[str]) -> Iterator[str]:
    """What arms come to, a line each."""
    work_s = math.fsum(line.pairs * line.pair_s * line.gpus for line in lines)
    yield (
        f"{len(lines)} datasets, {sum(line.pairs for line in lines):,} pairs, {work_s / 3600:,.0f} GPU hours on "
        f"{site.gpus} GPUs, {site.answers} questions in the air: at best {work_s / site.gpus / 3600:.2f} h"
    )
    for name in arms:
        course = ARMS[name](lines, site, seed)
        spent = ", ".join(f"{what} {seconds / 3600:,.1f}" for what, seconds in sorted(course.spent_s.items()))
        yield (
            f"  {name:<13}{course.end_s / 3600:6.2f} h; GPUs busy {course.busy(site.gpus, course.end_s):.1%} over the "
            f"whole, {course.busy(site.gpus, 0.95 * course.end_s):.1%} until the last 5%; "
            f"{course.starts.total():,} painters; GPU hours: {spent}"
        )
        if name == "overlapped":
            ended = sorted(course.ended_s.items(), key=lambda one: one[1])
            yield "    finished after h: " + ", ".join(f"{task} {at_s / 3600:.2f}" for task, at_s in ended)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, default=Site.gpus, help="(default: %(default)s)")
    parser.add_argument("--answers", type=int, default=Site.answers, help="VLM_CONCURRENCY (default: %(default)s)")
    parser.add_argument("--part", type=float, default=1.0, help="share of each dataset's pairs (default: 1)")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="(default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of what pairs take (default: 0)")
    asked = parser.parse_args()
    lines = [replace(line, pairs=max(1, round(asked.part * line.pairs))) for line in RECIPE]
    for text in table(lines, Site(gpus=asked.gpus, answers=asked.answers), asked.seed, asked.arms):
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
