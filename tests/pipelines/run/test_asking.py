"""One actor asks for all workers of a run: exact limits, nothing paid twice, whoever dies."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from operators.account import accounting
from operators.base import StopRun
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request, Usage
from operators.vlm.responses import Answer, Responses
from pipelines.run import asking as run_asking
from pipelines.run.asking import ThroughActor, asking
from pipelines.run.plan import Job
from pipelines.tasks.low_level import DERAIN
from tests.datasets import plan_job
from tests.sources import jpeg, write_rain13k
from tests.vlm import Server, running

pytest.importorskip("openai")
pytestmark = pytest.mark.usefixtures("local_ray")
PROMPT = Prompt(id="p-1", text="<image> {number}", max_tokens=7)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.answer = lambda text: f"it is {text.split()[-1]}"
        yield server


def _job(server: Server, folder: Path, **limits: Any) -> Job:
    data = write_rain13k(folder / "data", 3)
    return plan_job(folder / "out", data, task=DERAIN.asking(Vlm.of(server.url, "m", None, **limits)))


def _ask(vlm: Vlm, numbers: range) -> tuple[list[str], Usage]:
    with accounting() as account:
        requests = [Request.of(PROMPT, [jpeg(1)], number=str(number)) for number in numbers]
        answers = vlm.ask(requests)
    return [answer.text if isinstance(answer, Answer) else answer.reason for answer in answers], account.usage


def _vlm(job: Job) -> Vlm:
    assert job.task.vlm
    return job.task.vlm


def test_limits_hold_over_all_workers_and_nothing_is_paid_twice(server: Server, tmp_path: Path) -> None:
    three, answer = threading.Barrier(3, timeout=20), server.answer
    server.answer = lambda text: answer(text) if three.wait() >= 0 else ""
    before = _job(server, tmp_path, concurrency=3)
    with asking([before]) as (job,):
        assert isinstance(_vlm(job).through, ThroughActor) and job.plan == before.plan
        ask: Any = ray.remote(num_cpus=0.5)(_ask)
        ranges = [range(0, 12), range(6, 18), range(12, 24), range(0, 12)]
        said = ray.get([ask.remote(_vlm(job), numbers) for numbers in ranges])
        assert [texts for texts, _ in said] == [[f"it is {number}" for number in numbers] for numbers in ranges]
        assert sum(usage.calls for _, usage in said) == server.paid.total() == len(server.paid) == 24
        assert sum(usage.replayed for _, usage in said) == 24
        assert server.most_at_once == 3
        assert _ask(_vlm(job), range(24))[1] == Usage(replayed=24)
    assert len(Responses(_vlm(job).responses)) == 24
    assert len(os.listdir(_vlm(job).responses)) == 1


def test_every_dataset_has_its_own_answers_and_one_without_a_model_is_left_as_it_is(
    server: Server, tmp_path: Path
) -> None:
    jobs = [_job(server, tmp_path / name) for name in ("a", "b")]
    plain = replace(jobs[0], task=DERAIN)
    with asking([jobs[0], plain, jobs[1]]) as (first, without, second):
        assert without is plain
        assert _ask(_vlm(first), range(2))[1].calls == _ask(_vlm(second), range(2))[1].calls == 2
    assert [len(Responses(_vlm(job).responses)) for job in jobs] == [2, 2]


def test_no_actor_is_started_where_no_server_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = plan_job(tmp_path / "out", write_rain13k(tmp_path / "data", 3), task=DERAIN)
    monkeypatch.setattr(ray, "remote", None)
    with asking([job]) as jobs:
        assert jobs == [job]


def test_the_actor_is_gone_after_the_run(server: Server, tmp_path: Path) -> None:
    with asking([_job(server, tmp_path)]) as (job,):
        _ask(_vlm(job), range(1))
        through = _vlm(job).through
    assert isinstance(through, ThroughActor)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(through.actor.stored.remote("", []), timeout=20)


def test_an_actor_that_dies_is_asked_again_and_what_it_stored_is_replayed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = threading.Event()
    server.plan = lambda request, attempt: "hang" if request >= 4 and not killed.is_set() else None
    with asking([_job(server, tmp_path, concurrency=4)]) as (job,):
        through = _vlm(job).through
        assert isinstance(through, ThroughActor)

        def kill() -> None:
            while server.faults["hang"] < 4:
                killed.wait(0.05)
            ray.kill(through.actor, no_restart=False)
            killed.set()

        thread = threading.Thread(target=kill)
        thread.start()
        texts, usage = _ask(_vlm(job), range(10))
        thread.join()
    assert texts == [f"it is {number}" for number in range(10)]
    assert server.paid.total() == len(server.paid) == 10
    assert usage.calls + usage.replayed == 10 and usage.calls >= 6


def test_an_actor_that_dies_for_good_is_a_lost_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_asking, "_FIRST_WAIT_S", 0.01)
    with asking([_job(server, tmp_path)]) as (job,):
        pass
    with pytest.raises(ConnectionError, match=r"the actor that asks http.* died 6 times"):
        _ask(_vlm(job), range(3))


def test_a_refused_key_comes_as_what_it_is(server: Server, tmp_path: Path) -> None:
    server.plan = lambda request, attempt: "401"
    with asking([_job(server, tmp_path, concurrency=2)]) as (job,), pytest.raises(StopRun, match="refuses the key"):
        _ask(_vlm(job), range(30))
    assert len(server.requests) <= 2


def test_a_reject_keeps_its_reason(server: Server, tmp_path: Path) -> None:
    server.plan = lambda request, attempt: "refused" if request == 0 else None
    with asking([_job(server, tmp_path, concurrency=1)]) as (job,):
        texts, _ = _ask(_vlm(job), range(3))
    refused = texts.index("refused")  # whichever came to the server first
    assert texts == ["refused" if number == refused else f"it is {number}" for number in range(3)]


def test_more_bytes_than_may_be_on_their_way_go_one_after_the_other(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(jpeg(1))
    monkeypatch.setattr(run_asking, "_way", run_asking._Way(2 * size + 1))
    two, answer = threading.Barrier(2, timeout=20), server.answer
    server.answer = lambda text: answer(text) if two.wait() >= 0 else ""
    with asking([_job(server, tmp_path, concurrency=8)]) as (job,):
        texts, _ = _ask(_vlm(job), range(10))
    assert texts == [f"it is {number}" for number in range(10)]
    assert server.most_at_once == 2
