"""The simulated cluster: times that are known by hand, and the rule that the whole recipe depends on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra.bench import simulate
from infra.bench.simulate import ANSWER_S, KEEP_S, PAIR_CPU_S, RECIPE, START_S, Line, Simulation, Site, before, in_turn
from operators.base import ModelOperator
from operators.models.catvton import RELEASED
from operators.paint.try_on import TryOn
from pipelines.tasks.catalogue import OUR_TASKS


@pytest.fixture
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair takes what it is said to take."""
    monkeypatch.setattr(simulate, "SPREAD", 0.0)


@pytest.mark.usefixtures("_exact")
def test_four_pairs_on_two_gpus_take_two_pairs_time() -> None:
    line = Line(task="style", pairs=4, per_unit=4, pair_s=100.0, load_s=20.0, after=2)
    course = Simulation([line], Site(gpus=2, answers=8), 0).run()
    painted_s = START_S + 20.0 + 2 * 100.0 + KEEP_S
    # Eight questions, eight in the air, of which a pair's two follow one another.
    assert course.end_s == pytest.approx(painted_s + 2 * ANSWER_S + 4 * PAIR_CPU_S)
    assert course.busy(2, course.end_s) == pytest.approx(400.0 / 2 / course.end_s)
    # One of the two painters is busy from the end of loading on: half of the cluster would be 50%.
    assert course.busy(2, START_S + 20.0 + 100.0) == pytest.approx(200.0 / 2 / (START_S + 20.0 + 100.0))
    assert course.spent_s == {"starting": 2 * START_S, "loading": 40.0}
    assert course.ended_s == {"style": course.end_s}


@pytest.mark.usefixtures("_exact")
def test_a_server_is_a_limit() -> None:
    """A hundred units are painted in no time; 10,000 answers of 3 s, 10 at a time, take 3,000 s."""
    line = Line(task="style", pairs=10_000, per_unit=100, pair_s=0.61, load_s=0.0, after=1)
    course = Simulation([line], Site(gpus=64, answers=10), 0).run()
    assert course.end_s == pytest.approx(3_000.0, rel=0.1)


@pytest.mark.usefixtures("_exact")
def test_what_is_asked_about_afterwards_begins_early() -> None:
    """A dataset that takes a GPU two minutes and the server half an hour: it may not wait for one of half an hour."""
    long = Line(task="composition", pairs=2_000, per_unit=64, pair_s=14.0, load_s=60.0)
    asked = Line(task="hed2img", pairs=4_000, per_unit=512, pair_s=0.03, load_s=5.0, gpus=0.25, after=1)
    site = Site(gpus=8, answers=8)
    painting_s, answers_s = 2_000 * 14.0 / 8, 4_000 * ANSWER_S / 8
    assert answers_s < painting_s
    course = Simulation([long, asked], site, 0).run()
    assert course.end_s < 1.15 * painting_s
    assert course.ended_s["hed2img"] < course.ended_s["composition"]


@pytest.mark.usefixtures("_exact")
def test_a_server_may_take_painters_questions_first() -> None:
    """A hundred answers are owed; one more takes what is before it, or nothing but itself."""
    for urgent, answered_s in ((False, 101 * ANSWER_S), (True, ANSWER_S)):
        server = simulate._Server(Site(answers=1, urgent=urgent))
        assert server.answered_s(0.0, 1, 100) == pytest.approx(100 * ANSWER_S)
        assert server.answered_s(0.0, 1, 1, to_paint=True) == pytest.approx(answered_s)
        assert server.answered_s(0.0, 1, 1) == pytest.approx(102 * ANSWER_S)


@pytest.mark.usefixtures("_exact")
def test_in_turn_adds_up() -> None:
    lines = [Line(task=task, pairs=64, per_unit=64, pair_s=10.0, load_s=30.0) for task in ("a", "b")]
    each = [Simulation([line], Site(gpus=4), 0).run().end_s for line in lines]
    course = in_turn(lines, Site(gpus=4), 0)
    assert course.end_s == pytest.approx(sum(each))
    assert course.ended_s == {"a": pytest.approx(each[0]), "b": pytest.approx(sum(each))}
    assert course.starts == {"a": 4, "b": 4}


@pytest.mark.usefixtures("_exact")
def test_before_a_unit_was_one_workers() -> None:
    """Three units on two GPUs: two rounds, in each of which the GPU waits for its pairs' answers, two at a time."""
    line = Line(task="style", pairs=30, per_unit=10, pair_s=5.0, load_s=60.0, after=1)
    course = before([line], Site(gpus=2, answers=4), 0)
    unit_s = 10 * 5.0 + 10 / 2 * ANSWER_S + 10 * PAIR_CPU_S
    assert course.end_s == pytest.approx(START_S + 60.0 + 2 * unit_s)
    assert course.busy(2, course.end_s) == pytest.approx(150.0 / 2 / course.end_s)


def test_the_recipe_takes_what_its_operators_say() -> None:
    """With FLUX where there is a choice, and with CatVTON's released attention."""
    for line in RECIPE:
        task = OUR_TASKS[line.task]
        chain = task.with_options({"generator": "flux"} if "generator" in task.options else {}).chain
        painting = [replace(link, trained=RELEASED) if isinstance(link, TryOn) else link for link in chain]
        links = [link for link in painting if isinstance(link, ModelOperator)]
        assert line.pair_s == pytest.approx(sum(link.gpu_s for link in links)), line.task
    assert {line.task: line.pairs for line in RECIPE} == {
        "style": 10_000,
        "composition": 50_000,
        "tryon": 120_000,
        "pose": 10_000,
        "mimicbrush": 50_000,
        "editing": 10_000,
        "depth2img": 100_000,
        "seg2img": 100_000,
        "hed2img": 100_000,
        "mlsd2img": 100_000,
    }
