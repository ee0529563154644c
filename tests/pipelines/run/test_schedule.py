"""Who paints what next: the rules one by one, and random runs with deaths in which no pair is lost or done twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from pipelines.run.schedule import IN_HAND, PAIR_DEATHS, Group, Key, Schedule, Terms

ONE = Terms(gpus=1.0, pair_s=10.0, group=1, pairs_per_unit=4)
FLUX, RB = Key(job=0, stage=0), Key(job=0, stage=1)
OTHER = Key(job=1, stage=0)


def test_the_longest_queue_gets_the_painters_by_its_seconds_and_not_by_its_pairs() -> None:
    """4 pairs of 10 s against 12 pairs of 1 s: 40 s against 12 s."""
    schedule = _schedule({FLUX: ONE, OTHER: Terms(gpus=1.0, pair_s=1.0, group=1, pairs_per_unit=12)})
    schedule.add_units(OTHER, [0])
    schedule.add_units(FLUX, [0])
    assert schedule.wanted(free_gpus=1.0) == FLUX


def test_painters_are_spread_until_all_queues_take_equally_long() -> None:
    """By hand, of 80 s and 44 s: 80 > 44, 80/2 < 44, 80/2 > 44/2, 80/3 > 44/2, 80/4 < 44/2."""
    schedule = _schedule({FLUX: ONE, OTHER: replace(ONE, pair_s=11.0)})
    schedule.add_units(FLUX, [0, 1])
    schedule.add_units(OTHER, [0])
    started = []
    for painter in range(5):
        key = schedule.wanted(free_gpus=1.0)
        assert key
        schedule.start(painter, key)
        started.append(key)
    assert started == [FLUX, OTHER, FLUX, FLUX, OTHER]


def test_a_queue_that_has_no_painter_comes_first() -> None:
    """However short it is: what follows its pairs on CPUs is to begin early. Of two such queues the longer one."""
    third = Key(job=2, stage=0)
    schedule = _schedule({FLUX: ONE, OTHER: replace(ONE, pair_s=0.01), third: replace(ONE, pair_s=0.02)})
    schedule.add_units(FLUX, range(100))
    schedule.add_units(OTHER, [0])
    schedule.add_units(third, [0])
    started = []
    for painter in range(4):
        key = schedule.wanted(free_gpus=1.0)
        assert key
        schedule.start(painter, key)
        started.append(key)
    assert started == [FLUX, third, OTHER, FLUX]


def test_no_painter_is_started_that_does_not_fit_or_has_nothing_to_take() -> None:
    small = Terms(gpus=0.25, pair_s=1.0, group=1, pairs_per_unit=1)
    schedule = _schedule({FLUX: ONE, OTHER: small})
    assert schedule.wanted(free_gpus=8.0) is None
    schedule.add_units(FLUX, [0])
    schedule.add_units(OTHER, [0])
    assert schedule.wanted(free_gpus=0.5) == OTHER
    assert schedule.wanted(free_gpus=0.1) is None
    schedule.start(0, OTHER)
    assert schedule.wanted(free_gpus=0.75) is None  # the one pair is as good as taken


def test_where_there_is_no_gpu_painters_need_a_cpu() -> None:
    schedule = _schedule({FLUX: Terms(gpus=0.0, pair_s=1.0, group=1, pairs_per_unit=4)})
    schedule.add_units(FLUX, [0])
    assert schedule.wanted(free_gpus=0.0, free_cpus=0) is None
    assert schedule.wanted(free_gpus=0.0, free_cpus=1) == FLUX


def test_as_many_painters_as_pairs_and_no_more() -> None:
    """One unit is spread over all GPUs: the picture is the unit of work."""
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0])
    assert _start(schedule, FLUX, 8) == 4


def test_a_painter_has_nothing_before_it_is_up_and_two_groups_after() -> None:
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0])
    schedule.start(0, FLUX)
    assert schedule.take(0) is None
    schedule.is_up(0)
    assert _take_all(schedule, 0) == [_pair(0, 0), _pair(0, 1)] and IN_HAND == 2
    assert schedule.in_hand(0) == [_pair(0, 0), _pair(0, 1)]


def test_nobody_has_two_while_another_who_has_none_could_have_one() -> None:
    """Of four pairs, four painters that come up one after the other have one each: the first does not take two."""
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0])
    assert _start(schedule, FLUX, 8) == 4
    for painter in range(4):
        schedule.is_up(painter)
        assert _take_all(schedule, painter) == [_pair(0, painter)]


def test_pairs_are_handed_out_in_groups_of_the_stated_size() -> None:
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=3, pairs_per_unit=4)})
    schedule.add_units(FLUX, [5])
    _up(schedule, 0, FLUX)
    assert _take_all(schedule, 0) == [
        Group(key=FLUX, unit=5, positions=(0, 1, 2)),
        Group(key=FLUX, unit=5, positions=(3,)),
    ]


def test_a_painter_stays_until_its_queue_is_empty() -> None:
    """However long another queue is: what is loaded stays loaded."""
    schedule = _schedule({FLUX: ONE, OTHER: ONE})
    schedule.add_units(FLUX, [0])
    _up(schedule, 0, FLUX)
    schedule.add_units(OTHER, range(100))
    for _ in range(4):
        assert not schedule.superfluous(0)
        group = _take_all(schedule, 0)[0] if not schedule.in_hand(0) else schedule.in_hand(0)[0]
        assert group.key == FLUX
        schedule.deliver(0, group, seconds=1.0)
        _take_all(schedule, 0)
    assert schedule.superfluous(0)
    schedule.end(0)
    assert schedule.wanted(free_gpus=1.0) == OTHER


def test_what_a_dead_painter_had_in_hand_goes_to_the_front_and_to_whoever_is_free() -> None:
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0, 1])
    for painter in (0, 1):
        _up(schedule, painter, FLUX)
        _take_all(schedule, painter)
    assert schedule.die(0, "a", ()) == []
    assert schedule.lost[FLUX] == 2
    for group in (_pair(0, 2), _pair(0, 3)):
        schedule.deliver(1, group, seconds=1.0)
    assert schedule.take(1) == _pair(0, 0)


def test_suspects_are_tried_alone() -> None:
    """Whoever has one in hand has nothing beside it, and whoever had something before gets one when it is done."""
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0, 1])
    for painter in (0, 1):
        _up(schedule, painter, FLUX)
        _take_all(schedule, painter)
    schedule.die(0, "a", ())
    schedule.deliver(1, _pair(0, 2), seconds=1.0)
    assert schedule.take(1) is None  # its hands are emptied for the suspect
    schedule.deliver(1, _pair(0, 3), seconds=1.0)
    assert schedule.take(1) == _pair(0, 0)
    assert schedule.take(1) is None
    schedule.deliver(1, _pair(0, 0), seconds=1.0)
    assert schedule.take(1) == _pair(0, 1) and schedule.take(1) is None


def test_groups_whose_painter_died_are_tried_pair_by_pair() -> None:
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=2, pairs_per_unit=4)})
    schedule.add_units(FLUX, [0])
    _up(schedule, 0, FLUX)
    _take_all(schedule, 0)
    schedule.die(0, "a", ())
    _up(schedule, 1, FLUX)
    for position in range(4):
        assert schedule.take(1) == _pair(0, position)
        schedule.deliver(1, _pair(0, position), seconds=1.0)
    assert schedule.through() == [(0, 0)]


def test_a_pair_that_kills_is_given_up_after_so_many_deaths_of_painters_that_had_it_alone() -> None:
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0])
    _up(schedule, 0, FLUX)
    _take_all(schedule, 0)
    assert schedule.die(0, "a", ()) == []  # it had two in hand: neither is blamed
    for death in range(1, PAIR_DEATHS + 1):
        _up(schedule, death, FLUX)
        assert schedule.take(death) == _pair(0, 0)
        blamed = schedule.die(death, "a", ())
        assert blamed == ([_pair(0, 0)] if death == PAIR_DEATHS else [])
    schedule.give_up(_pair(0, 0))
    _up(schedule, 99, FLUX)
    assert _deliver_all(schedule, 99) == [_pair(0, 1), _pair(0, 2), _pair(0, 3)]
    assert schedule.through() == [(0, 0)] and schedule.pairs_left(FLUX) == 0


def test_deaths_with_a_node_are_nobodys_fault() -> None:
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=1, pairs_per_unit=1)})
    schedule.add_units(FLUX, [0])
    for death in range(5 * PAIR_DEATHS):
        _up(schedule, death, FLUX)
        assert schedule.take(death) == _pair(0, 0)
        assert schedule.die(death, f"node {death}", {f"node {death}"}) == []


def test_deaths_on_a_node_that_turns_out_to_be_lost_do_not_count_any_more() -> None:
    """A node counts as dead some 12 s after its processes are: they seem to have died by themselves until then."""
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=1, pairs_per_unit=1)})
    schedule.add_units(FLUX, [0])
    deaths = [("gone", ())] * (PAIR_DEATHS - 1) + [("here", ("gone",))] * PAIR_DEATHS
    blamed = []
    for death, (node, lost) in enumerate(deaths):
        _up(schedule, death, FLUX)
        schedule.take(death)
        blamed.append(schedule.die(death, node, lost))
    assert [len(one) for one in blamed] == [0] * (len(deaths) - 1) + [1]


def test_pairs_pass_from_stage_to_stage_and_painters_follow_them_in_waves() -> None:
    """On one GPU: all of the first stage, then, the first stage's models given back, all of the second."""
    schedule = _schedule({FLUX: ONE, RB: ONE})
    schedule.add_units(FLUX, [0])
    assert schedule.wanted(free_gpus=1.0) == FLUX
    _up(schedule, 0, FLUX)
    first = _deliver_all(schedule, 0, ended={1})
    assert first == [_pair(0, position) for position in range(4)]
    assert schedule.through() == []
    assert schedule.superfluous(0)
    schedule.end(0)
    assert schedule.wanted(free_gpus=1.0) == RB
    _up(schedule, 1, RB)
    assert _deliver_all(schedule, 1) == [_pair(0, position, RB) for position in (0, 2, 3)]  # 1 was rejected
    assert schedule.through() == [(0, 0)] and schedule.is_done


def test_a_unit_of_which_all_pairs_end_in_the_first_stage_is_through() -> None:
    schedule = _schedule({FLUX: ONE, RB: ONE})
    schedule.add_units(FLUX, [0])
    _up(schedule, 0, FLUX)
    _deliver_all(schedule, 0, ended=range(4))
    assert schedule.through() == [(0, 0)] and schedule.is_done
    assert schedule.wanted(free_gpus=8.0) is None


def test_a_unit_begins_where_an_earlier_run_has_left_it() -> None:
    left = {FLUX: [3], RB: [0, 2]}
    schedule = Schedule(lambda key, unit: {stage.stage: pairs for stage, pairs in left.items()} if unit == 0 else {})
    for key in (FLUX, RB):
        schedule.add_queue(key, ONE)
    schedule.add_units(FLUX, [0, 1])
    _up(schedule, 0, FLUX)
    assert _deliver_all(schedule, 0) == [_pair(0, 3)]
    assert schedule.through() == [(0, 1)]  # of which all is there
    _up(schedule, 1, RB)
    assert _deliver_all(schedule, 1) == [_pair(0, position, RB) for position in (0, 2, 3)]
    assert schedule.through() == [(0, 0)]
    assert schedule.pairs_left(FLUX) == schedule.pairs_left(RB) == 0


def test_whole_units_are_done_in_one_go() -> None:
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=0, pairs_per_unit=4)})
    schedule.add_units(FLUX, [0, 1, 2])
    assert _start(schedule, FLUX, 8) == 3
    schedule.is_up(0)
    assert _deliver_all(schedule, 0) == [Group(key=FLUX, unit=unit, positions=()) for unit in range(3)]
    assert schedule.through() == [] and schedule.pairs_left(FLUX) == 0  # who makes a whole unit commits it


def test_a_whole_unit_that_kills_is_not_tried_for_ever() -> None:
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=0, pairs_per_unit=4)})
    schedule.add_units(FLUX, [0])
    whole = Group(key=FLUX, unit=0, positions=())
    given_up: list[Group] = []
    for death in range(10):
        _up(schedule, death, FLUX)
        assert schedule.take(death) == whole
        given_up = schedule.die(death, "a", ())
        if given_up:
            break
    assert given_up == [whole] and death < 5
    schedule.give_up(whole)
    assert schedule.is_done and schedule.pairs_left(FLUX) == 0
    assert schedule.through() == []


def test_whole_units_that_die_with_their_node_are_tried_again() -> None:
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=0, pairs_per_unit=4)})
    schedule.add_units(FLUX, [0])
    for death in range(10):
        _up(schedule, death, FLUX)
        assert schedule.take(death) == Group(key=FLUX, unit=0, positions=())
        assert schedule.die(death, "gone", {"gone"}) == []


def test_what_failed_goes_to_the_front_again() -> None:
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0])
    _up(schedule, 0, FLUX)
    first, second = _take_all(schedule, 0)
    schedule.put_back(0, second)
    schedule.put_back(0, first)
    schedule.end(0)
    _up(schedule, 1, FLUX)
    assert _take_all(schedule, 1) == [first, second]


def test_a_dropped_unit_leaves_all_queues_and_its_neighbours_stay() -> None:
    schedule = _schedule({FLUX: ONE, RB: ONE})
    schedule.add_units(FLUX, [0, 1])
    _up(schedule, 0, FLUX)
    done, failed, other = *_take_all(schedule, 0), _pair(0, 2)
    schedule.deliver(0, done, seconds=1.0)  # and waits for the second stage
    assert schedule.take(0) == other
    schedule.drop(0, failed)
    schedule.deliver(0, other, seconds=1.0)
    _up(schedule, 1, RB)
    assert schedule.take(1) is None
    assert {group.unit for group in _deliver_all(schedule, 0)} == {1}
    assert {group.unit for group in _deliver_all(schedule, 1)} == {1}
    assert schedule.through() == [(0, 1)]
    assert schedule.pairs_left(FLUX) == schedule.pairs_left(RB) == 0


def test_a_painter_that_cannot_start_for_want_of_room_is_superfluous() -> None:
    """The node that it was to be on is gone: it would wait for another for ever."""
    schedule = _schedule({FLUX: ONE})
    schedule.add_units(FLUX, [0])
    schedule.start(0, FLUX)
    assert not schedule.superfluous(0)
    assert schedule.superfluous(0, short=True)


def test_the_last_painters_wait_for_what_others_may_lose() -> None:
    """Unless they are needed elsewhere."""
    schedule = _schedule({FLUX: Terms(gpus=1.0, pair_s=1.0, group=1, pairs_per_unit=2), OTHER: ONE})
    schedule.add_units(FLUX, [0])
    for painter in (0, 1):
        _up(schedule, painter, FLUX)
    first, second = schedule.take(0), schedule.take(1)
    assert first and second
    schedule.deliver(0, first, seconds=1.0)
    assert not schedule.superfluous(0)
    schedule.add_units(OTHER, [0])
    assert schedule.superfluous(0)
    assert not schedule.superfluous(1)


def test_the_seconds_of_a_pair_are_those_that_were_measured() -> None:
    """Assumed 1 s, measured 100 s: the queue that was thought to be short is the longest."""
    schedule = _schedule({FLUX: ONE, OTHER: Terms(gpus=1.0, pair_s=1.0, group=1, pairs_per_unit=4)})
    schedule.add_units(FLUX, [0])
    schedule.add_units(OTHER, [0])
    assert schedule.wanted(free_gpus=1.0) == FLUX
    _up(schedule, 0, OTHER)
    group = schedule.take(0)
    assert group
    _up(schedule, 1, FLUX)
    schedule.deliver(0, group, seconds=100.0)
    assert schedule.wanted(free_gpus=1.0) == OTHER


# -- random runs -------------------------------------------------------------------------------------------------------


@dataclass
class _Simulation:
    """Carries out what a Schedule says, as an engine does, with deaths of painters and of nodes at random."""

    chance: random.Random
    gpus: float
    jobs: Sequence[tuple[int, int, int, int]]
    """Of each dataset: units, pairs a unit, stages, pairs in a group (0 for whole units)."""
    killers: frozenset[tuple[int, int, int]] = frozenset()
    """Pairs that kill whoever takes them."""
    dies: float = 0.0
    """With which chance a painter dies of something else at each step."""
    lost_nodes: set[str] = field(default_factory=set)
    done: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Pair -> stages that it went through; a negative number: it was rejected."""
    passed: Counter[tuple[Key, int, int]] = field(default_factory=Counter)
    through: Counter[tuple[int, int]] = field(default_factory=Counter)
    deaths: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    given_up: set[tuple[int, int, int]] = field(default_factory=set)
    up: dict[int, tuple[Key, str]] = field(default_factory=dict)
    kills: int = 0

    def unfinished(self, key: Key, unit: int) -> Mapping[int, Sequence[int]]:
        _, pairs, stages, _ = self.jobs[key.job]
        found: dict[int, list[int]] = {}
        for position in range(pairs):
            stage = self.done.get((key.job, unit, position), 0)
            if 0 <= stage < stages:
                found.setdefault(stage, []).append(position)
        return found

    def run(self) -> Schedule:
        schedule = Schedule(self.unfinished)
        for job, (units, pairs, stages, group) in enumerate(self.jobs):
            for stage in range(stages):
                terms = Terms(gpus=self.chance.choice((0.5, 1.0)), pair_s=1 + stage, group=group, pairs_per_unit=pairs)
                schedule.add_queue(Key(job=job, stage=stage), terms)
            schedule.add_units(Key(job=job, stage=0), range(units))
        names, steps = iter(range(10**9)), 0
        shares = {key: queue.terms.gpus for key, queue in schedule._queues.items()}
        while not schedule.is_done:
            steps += 1
            assert steps < 100_000, "it does not end"
            free = self.gpus - sum(shares[key] for key, _ in self.up.values())
            while (key := schedule.wanted(free)) is not None:
                assert shares[key] <= free + 1e-9
                painter = next(names)
                schedule.start(painter, key)
                self.up[painter] = key, f"node {self.chance.randrange(4)}-{len(self.lost_nodes)}"
                free -= shares[key]
            for painter in list(self.up):
                if self.chance.random() < 0.8:
                    schedule.is_up(painter)
                _take_all(schedule, painter)
            self.through.update(schedule.through())
            self._nobody_is_idle(schedule)
            painter = self.chance.choice(list(self.up))
            self._act(schedule, painter)
            for painter in list(self.up):
                if schedule.superfluous(painter):
                    schedule.end(painter)
                    del self.up[painter]
        self.through.update(schedule.through())
        return schedule

    def _act(self, schedule: Schedule, painter: int) -> None:
        key, node = self.up[painter]
        in_hand = list(schedule.in_hand(painter))
        kills = in_hand and any((key.job, in_hand[0].unit, one) in self.killers for one in in_hand[0].positions)
        if kills or self.chance.random() < self.dies:
            if not kills and self.chance.random() < 0.3:  # it is a node that dies, and all who are on it
                self.lost_nodes.add(node)
                dead = [one for one, (_, at) in self.up.items() if at == node]
            else:
                dead = [painter]
                self.deaths.update((key.job, group.unit, one) for group in in_hand for one in group.positions)
            for one in dead:
                self.kills += 1
                for group in schedule.die(one, self.up.pop(one)[1], self.lost_nodes):
                    for position in group.positions:
                        self.given_up.add((group.key.job, group.unit, position))
                        self.done[group.key.job, group.unit, position] = -1
                    schedule.give_up(group)
        elif in_hand:
            group = in_hand[0]
            _, pairs, _, _ = self.jobs[key.job]
            positions = group.positions or tuple(range(pairs))
            ended = {one for one in group.positions if self.chance.random() < 0.1}
            for position in positions:
                pair = key.job, group.unit, position
                assert self.done.get(pair, 0) == key.stage, "in turn, and not once it was rejected"
                self.passed[key, group.unit, position] += 1
                self.done[pair] = -1 if position in ended else key.stage + 1
            schedule.deliver(painter, group, seconds=1.0, ended=ended)

    def _nobody_is_idle(self, schedule: Schedule) -> None:
        """Who is up and has nothing in hand has nothing waiting in its queue; and who would fit in is being started."""
        for painter, (key, _) in self.up.items():
            mine = schedule._painters[painter]
            if mine.started and not mine.in_hand:
                assert not schedule._queues[key].waiting, "a painter is idle while its queue has work"


@pytest.mark.parametrize("seed", range(40))
def test_in_random_runs_every_pair_goes_through_each_stage_once_or_is_given_up(seed: int) -> None:
    chance = random.Random(seed)
    jobs = []
    for _ in range(chance.randrange(1, 4)):
        stages = chance.randrange(1, 4)
        jobs.append((chance.randrange(1, 6), chance.randrange(1, 9), stages, chance.choice((1, 1, 2, 5))))
    killers = frozenset((0, unit, 0) for unit in range(jobs[0][0]) if chance.random() < 0.2)
    simulation = _Simulation(
        chance, gpus=chance.choice((1.0, 2.0, 5.5)), jobs=jobs, killers=killers, dies=chance.choice((0.0, 0.02, 0.1))
    )
    schedule = simulation.run()
    assert set(simulation.passed.values()) <= {1}
    for job, (units, pairs, stages, _) in enumerate(jobs):
        for unit in range(units):
            assert simulation.through[job, unit] == 1
            for position in range(pairs):
                pair = job, unit, position
                assert simulation.done[pair] in (-1, stages), pair
                if pair in simulation.given_up:
                    assert simulation.deaths[pair] >= PAIR_DEATHS
    reached = {pair for pair in killers if pair in simulation.given_up}
    assert reached == set(killers), "a pair that always kills is given up"
    assert all(simulation.deaths[pair] <= 1 + PAIR_DEATHS + simulation.kills for pair in killers)
    assert all(schedule.pairs_left(key) == 0 for key in schedule._queues)


def test_in_a_random_run_without_deaths_nothing_is_given_up_and_nothing_done_twice() -> None:
    simulation = _Simulation(random.Random(1), gpus=4.0, jobs=[(7, 5, 2, 1), (3, 4, 1, 0), (2, 9, 1, 4)])
    simulation.run()
    assert simulation.kills == 0 and not simulation.given_up
    assert set(simulation.passed.values()) == {1}
    assert len(simulation.done) == 7 * 5 + 3 * 4 + 2 * 9


def _schedule(queues: Mapping[Key, Terms]) -> Schedule:
    """Queues of units of which nothing is done yet."""
    schedule = Schedule(lambda key, unit: {0: range(round(queues[key].pairs_per_unit))})
    for key, terms in queues.items():
        schedule.add_queue(key, terms)
    return schedule


def _pair(unit: int, position: int, key: Key = FLUX) -> Group:
    return Group(key=key, unit=unit, positions=(position,))


def _up(schedule: Schedule, painter: int, key: Key) -> None:
    schedule.start(painter, key)
    schedule.is_up(painter)


def _start(schedule: Schedule, key: Key, gpus: int) -> int:
    """Start painters as long as one is wanted and a GPU is free; how many that were."""
    for started in range(gpus):
        if schedule.wanted(free_gpus=gpus - started) != key:
            return started
        schedule.start(started, key)
    return gpus


def _take_all(schedule: Schedule, painter: int) -> list[Group]:
    taken = []
    while group := schedule.take(painter):
        taken.append(group)
    return taken


def _deliver_all(schedule: Schedule, painter: int, ended: Sequence[int] | set[int] | range = ()) -> list[Group]:
    """Have a painter do all that it can get, in the order in which it gets it."""
    delivered = []
    while _take_all(schedule, painter) or schedule.in_hand(painter):
        group = schedule.in_hand(painter)[0]
        schedule.deliver(painter, group, seconds=1.0, ended=[one for one in group.positions if one in ended])
        delivered.append(group)
    return delivered
