"""Who paints what next: queues of pairs, painters, and what is made of a painter's death. Knows no Ray and no clock.

A queue holds the pairs of one stage of one dataset (pipelines/run/stages.py). A painter has the models of one stage
loaded, so it stays with that stage's queue for as long as there is work in it. pipelines/run/engine.py asks this module
for every decision and carries it out; infra/bench/simulate.py simulates a cluster with the same code.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

IN_HAND = 2
"""How many groups of pairs a painter is given at once: while it paints one, it reads and asks about the next."""

UNIT_DEATHS = 2
"""Deaths of workers at a whole unit after which it is taken apart: its pairs are tried one by one."""

PAIR_DEATHS = 3
"""Deaths of painters that had a pair alone in hand after which the pair is rejected. Painters die for other reasons
too, so a pair is tried alone after the first, and three are not bad luck: with a painter killed every 8 s and a second
a pair, that would befall one pair in a hundred thousand."""


@dataclass(frozen=True, kw_only=True, order=True)
class Key:
    """The name of a queue: the stage of a dataset, both by their places in the run's lists."""

    job: int
    stage: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pairs of one unit that a painter takes through one stage together."""

    key: Key
    unit: int
    positions: tuple[int, ...]
    """The pairs, by their items' places in the unit; () stands for the whole unit, which the painter then commits."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is known of a stage before it begins."""

    gpus: float
    """Share of a GPU that a painter of it needs."""
    pair_s: float
    """Seconds that a painter needs for a pair: assumed at first, then measured."""
    group: int
    """How many pairs a painter takes together; 0 for whole units."""
    pairs_per_unit: float
    alone: bool = False
    """Whether each pair is to be a painter's only one: these pairs are of units that have killed workers."""


_WHOLE = -1  # in the place of a pair's position
Unfinished = Callable[[Key, int], Mapping[int, Sequence[int]]]
"""Given a dataset's first queue and a unit: stage -> the pairs that have to go through it next."""


@dataclass
class _Queue:
    terms: Terms
    units: deque[int] = field(default_factory=deque)
    """Units that nobody has begun; their pairs are not listed yet."""
    groups: deque[Group] = field(default_factory=deque)
    suspects: deque[Group] = field(default_factory=deque)
    """Pairs that painters have died with: each is given alone."""
    pairs: float = 0.0
    """How many pairs are left, those in hand among them."""
    painters: set[int] = field(default_factory=set)
    measured: int = 0
    """Of how many pairs `terms.pair_s` has been measured; 0 while it is assumed."""
    pair_s: float = 0.0

    @property
    def waiting(self) -> bool:
        return bool(self.groups or self.suspects or self.units)


@dataclass
class _Painter:
    key: Key
    started: bool = False
    in_hand: list[Group] = field(default_factory=list)
    draining: bool = False
    """Whether it is given nothing until its hands are empty, and then a suspect."""


class Schedule:
    """All queues and painters of a run. Painters are named by numbers, which whoever starts them chooses."""

    def __init__(self, unfinished: Unfinished) -> None:
        """An empty schedule; `unfinished` is asked for a unit's pairs when they are needed."""
        self._unfinished = unfinished
        self._queues: dict[Key, _Queue] = {}
        self._painters: dict[int, _Painter] = {}
        self._left: dict[tuple[int, int], set[int]] = {}
        self._deaths: dict[tuple[Key, int, int], list[str]] = {}
        self._through: list[tuple[int, int]] = []
        self.lost: Counter[Key] = Counter()
        """By queue, how many pairs painters had in hand when they died."""

    def add_queue(self, key: Key, terms: Terms) -> None:
        """Add a stage's queue, empty, unless it is there."""
        self._queues.setdefault(key, _Queue(terms=terms, pair_s=terms.pair_s))

    def add_units(self, key: Key, units: Sequence[int]) -> None:
        """Have units go through the stages of a dataset, from its queue `key` on."""
        queue = self._queues[key]
        queue.units.extend(units)
        queue.pairs += len(units) * queue.terms.pairs_per_unit

    @property
    def is_done(self) -> bool:
        """Whether no queue has work, and no painter either."""
        return not any(queue.waiting for queue in self._queues.values()) and not any(
            painter.in_hand for painter in self._painters.values()
        )

    def pairs_left(self, key: Key) -> int:
        return max(0, round(self._queues[key].pairs))

    def in_hand(self, painter: int) -> Sequence[Group]:
        """What a painter has been given and has not delivered, the oldest first."""
        return self._painters[painter].in_hand

    # -- painters come and go --------------------------------------------------------------------------------------

    def wanted(self, free_gpus: float, free_cpus: int = 0) -> Key | None:
        """The queue that a further painter would help the most, among those whose painters fit into what is free.

        Painters of a queue whose share of a GPU is 0 need a CPU.

        That is a queue that has no painter: what follows its pairs on CPUs and at a vision-language model is to begin
        early, and may take far longer than the pairs do. Otherwise it is the queue which, by the painters that it has,
        would take the longest. None if no queue has work that no painter is about to take.
        """
        best: tuple[bool, float, Key] | None = None
        for key, queue in self._queues.items():
            fits = queue.terms.gpus <= free_gpus + 1e-9 if queue.terms.gpus else free_cpus >= 1
            if not fits or not self._lacks_painters(queue):
                continue
            left_s = queue.pairs * queue.pair_s * (queue.terms.gpus or 1.0) / (len(queue.painters) + 1)
            if best is None or (not queue.painters, left_s) > best[:2]:
                best = not queue.painters, left_s, key
        return best[2] if best else None

    def start(self, painter: int, key: Key) -> None:
        """Take note that a painter of a queue is being started."""
        self._painters[painter] = _Painter(key=key)
        self._queues[key].painters.add(painter)

    def is_up(self, painter: int) -> None:
        """Take note that a painter can be given work."""
        self._painters[painter].started = True

    def superfluous(self, painter: int, short: bool = False) -> bool:
        """Whether a painter has nothing in hand, and nothing to wait for in its queue.

        Where painters are `short` of room, one that is still being started is superfluous too.
        """
        mine = self._painters[painter]
        if not mine.started:
            return short or not self._queues[mine.key].waiting
        if mine.in_hand or self._queues[mine.key].waiting:
            return False
        # What others have in hand may come back; then this painter is there, unless it is needed elsewhere.
        others = any(one.in_hand for one in self._painters.values() if one.key.job == mine.key.job)
        return not others or self._needed_elsewhere(mine.key)

    def end(self, painter: int) -> None:
        """Take note that a painter has been ended."""
        mine = self._painters.pop(painter)
        assert not mine.in_hand, "a painter at work is lost, not ended"
        self._queues[mine.key].painters.discard(painter)

    # -- groups ----------------------------------------------------------------------------------------------------

    def take(self, painter: int) -> Group | None:
        """What a painter is to do next, taken from its queue; None if its hands are full or there is nothing."""
        mine = self._painters[painter]
        queue = self._queues[mine.key]
        alone = queue.terms.alone or any(self._is_suspect(group) for group in mine.in_hand)
        if not mine.started or len(mine.in_hand) >= (1 if alone else IN_HAND):
            return None
        if queue.suspects:
            if not mine.in_hand:
                mine.draining = False
                return self._given(mine, queue.suspects.popleft())
            # A painter at work gets its hands free for a suspect, as many painters as there are suspects.
            draining = sum(self._painters[one].draining for one in queue.painters)
            if mine.draining or draining < len(queue.suspects):
                mine.draining = True
                return None
        elif mine.draining:
            mine.draining = False
        empty = sum(not self._painters[one].in_hand for one in queue.painters) if mine.in_hand else 0
        if empty and not self._has_more_than(queue, empty):  # the last groups are for those who have none
            return None
        self._fill(mine.key, queue)
        return self._given(mine, queue.groups.popleft()) if queue.groups else None

    def through(self) -> list[tuple[int, int]]:
        """The units, by dataset and number, whose pairs are through all stages since this was asked last."""
        through, self._through = self._through, []
        return through

    def deliver(self, painter: int, group: Group, *, seconds: float, ended: Collection[int] = ()) -> None:
        """A painter has done a group, in so many seconds.

        `ended` are those of its pairs that need no further stage, since they were rejected.
        """
        self._painters[painter].in_hand.remove(group)
        queue = self._queues[group.key]
        pairs = len(group.positions) or queue.terms.pairs_per_unit
        queue.pairs -= pairs
        # A running mean over some hundred pairs: what loading a model took at first is soon forgotten.
        weight = 1 / min(queue.measured + 1, 100)
        queue.pair_s += weight * (seconds / pairs - queue.pair_s)
        queue.measured += 1
        self._pass(group, ended)

    def give_up(self, group: Group) -> None:
        """A group that `die` has returned is not to be done: a pair is rejected, a whole unit taken apart."""
        queue = self._queues[group.key]
        queue.pairs -= len(group.positions) or queue.terms.pairs_per_unit
        self._pass(group, group.positions)

    def acquit(self, group: Group) -> None:
        """A pair that `die` has returned is tried again, alone: its painter died with its node."""
        self._queues[group.key].suspects.append(group)

    def put_back(self, painter: int, group: Group) -> None:
        """A painter could not do a group for a reason that is not the pairs': it goes to the front again."""
        self._painters[painter].in_hand.remove(group)
        self._queues[group.key].groups.appendleft(group)

    def drop(self, painter: int, group: Group) -> None:
        """A painter could not do a group, and its unit is not tried again."""
        self._painters[painter].in_hand.remove(group)
        queue = self._queues[group.key]
        queue.pairs -= len(group.positions) or queue.terms.pairs_per_unit
        self._forget(group.key.job, group.unit)

    def drop_job(self, job: int) -> None:
        """Nothing more is to be done of a dataset: its queues are empty, and so are the hands of its painters."""
        for key, queue in self._queues.items():
            if key.job == job:
                for waiting in (queue.units, queue.groups, queue.suspects):
                    waiting.clear()
                queue.pairs = 0.0
        for painter in self._painters.values():
            if painter.key.job == job:
                painter.in_hand.clear()
        self._left = {unit: left for unit, left in self._left.items() if unit[0] != job}
        self._through = [unit for unit in self._through if unit[0] != job]

    def die(self, painter: int, node: str, lost_nodes: Collection[str]) -> list[Group]:
        """A painter has died. What it had in hand goes to the front; returned is what is to be given up.

        Only deaths on nodes that are not lost count, and for a pair only those of painters that had nothing else in
        hand.
        """
        mine = self._painters.pop(painter)
        queue = self._queues[mine.key]
        queue.painters.discard(painter)
        blamed: list[Group] = []
        alone = len(mine.in_hand) == 1 and len(mine.in_hand[0].positions) == 1
        for group in reversed(mine.in_hand):
            self.lost[mine.key] += len(group.positions) or round(queue.terms.pairs_per_unit)
            if node in lost_nodes:
                queue.groups.appendleft(group)
                continue
            if not group.positions:
                if self._deadly(group, _WHOLE, [node], lost_nodes, UNIT_DEATHS):
                    blamed.append(group)
                else:
                    queue.groups.appendleft(group)
                continue
            for position in reversed(group.positions):
                one = Group(key=group.key, unit=group.unit, positions=(position,))
                if self._deadly(group, position, [node] if alone else [], lost_nodes, PAIR_DEATHS):
                    blamed.append(one)
                else:
                    queue.suspects.appendleft(one)
        return blamed

    # -- inside ----------------------------------------------------------------------------------------------------

    def _deadly(self, group: Group, position: int, died: list[str], lost_nodes: Collection[str], most: int) -> bool:
        """Count deaths at a pair, or at a whole unit, by their nodes. Whether there are too many now."""
        nodes = self._deaths.setdefault((group.key, group.unit, position), [])
        nodes += died
        return sum(node not in lost_nodes for node in nodes) >= most

    def _given(self, painter: _Painter, group: Group) -> Group:
        painter.in_hand.append(group)
        return group

    def _is_suspect(self, group: Group) -> bool:
        return len(group.positions) == 1 and (group.key, group.unit, group.positions[0]) in self._deaths

    def _lacks_painters(self, queue: _Queue) -> bool:
        """Whether there is more work than the painters who are being started will take."""
        return self._has_more_than(queue, sum(not self._painters[painter].started for painter in queue.painters))

    def _has_more_than(self, queue: _Queue, groups: int) -> bool:
        """Whether more than so many groups wait in a queue."""
        waiting = len(queue.groups) + len(queue.suspects)
        for _ in queue.units:
            if waiting > groups:
                break
            waiting += max(1, round(queue.terms.pairs_per_unit / (queue.terms.group or queue.terms.pairs_per_unit)))
        return waiting > groups

    def _needed_elsewhere(self, key: Key) -> bool:
        return any(other != key and self._lacks_painters(queue) for other, queue in self._queues.items())

    def _fill(self, key: Key, queue: _Queue) -> None:
        """List the pairs of further units until there is a group."""
        while not queue.groups and queue.units:
            unit = queue.units.popleft()
            if not queue.terms.group:
                queue.groups.append(Group(key=key, unit=unit, positions=()))
                continue
            left = self._unfinished(key, unit)
            self._left[key.job, unit] = {position for positions in left.values() for position in positions}
            if not left:
                self._is_through(key.job, unit)
            queue.pairs -= queue.terms.pairs_per_unit
            for stage, positions in left.items():
                there = Key(job=key.job, stage=stage)
                self._queues[there].pairs += len(positions)
                self._queue_up(there, unit, positions)

    def _queue_up(self, key: Key, unit: int, positions: Sequence[int]) -> None:
        queue = self._queues[key]
        size = queue.terms.group
        for start in range(0, len(positions), size):
            queue.groups.append(Group(key=key, unit=unit, positions=tuple(positions[start : start + size])))

    def _pass(self, group: Group, ended: Collection[int]) -> None:
        """Queue a group up for the next stage, if there is one."""
        further = Key(job=group.key.job, stage=group.key.stage + 1)
        left = self._left.get((group.key.job, group.unit))
        if left is None:  # its unit was dropped, or is the group and committed
            return
        if further in self._queues and not self._queues[group.key].terms.alone:
            going_on = [position for position in group.positions if position not in ended]
            self._queues[further].pairs += len(going_on)
            self._queue_up(further, group.unit, going_on)
            left -= set(ended)
        else:
            left -= set(group.positions)
        if not left:
            self._is_through(group.key.job, group.unit)

    def _is_through(self, job: int, unit: int) -> None:
        del self._left[job, unit]
        self._through.append((job, unit))

    def _forget(self, job: int, unit: int) -> None:
        """Take what is left of a unit out of all queues."""
        self._left.pop((job, unit), None)
        for key, queue in self._queues.items():
            if key.job != job:
                continue
            for groups in (queue.groups, queue.suspects):
                for group in [one for one in groups if one.unit == unit]:
                    groups.remove(group)
                    queue.pairs -= len(group.positions)
