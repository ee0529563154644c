"""Whole runs against a real `transformers serve`, through a server that makes faults in between."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from infra.command import main
from infra.tiny.qwen2_vl import ANSWERS
from manifests.dataset import DatasetError
from manifests.schema import Direction, Kind
from manifests.verify.dataset import verify
from manifests.write.finish import Totals, finish
from operators.account import accounting
from operators.base import StopRun
from operators.vlm import openai as vlm_openai
from operators.vlm.client import Vlm
from operators.vlm.request import Usage
from operators.vlm.responses import Responses
from pipelines.prepare import prepare
from pipelines.run import engine
from pipelines.run.plan import Job, make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.run.watch import Watch
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.low_level import DERAIN
from tests.commands import Running, run, shards_command
from tests.datasets import examples, plan_job, reader_of, sha256_by_file
from tests.fixtures import FIXTURES
from tests.sources import write_files, write_photos, write_rain13k
from tests.vlm import HARMFUL, KEY, Fault, Server, running

pytest.importorskip("openai")
PAIRS = 8
ALL_FOUR = {"forward generate", "reverse generate", "forward describe", "reverse describe"}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A dataset of derain, made through faults, and what it took."""

    data: Path
    folder: Path
    server: Server
    usage: Usage
    model: str


@pytest.fixture(scope="module")
def through_faults(tiny_models: Path, tiny_server: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Each request meets one of the faults first, every other one a second fault too; one hangs."""
    folder = tmp_path_factory.mktemp("faults")
    data, model = write_rain13k(folder / "data", PAIRS), str(tiny_models / "qwen2-vl")

    def plan(request: int, attempt: int) -> Fault | None:
        faults = [fault for fault in HARMFUL if fault != "hang" or request < len(HARMFUL)]
        return faults[(request + attempt) % len(faults)] if attempt <= request % 2 else None

    with running(tiny_server) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setattr(vlm_openai, "BACKOFF_S", 0.05)
        server.plan = plan
        vlm = Vlm.of(server.url, model, None, concurrency=4, timeout_s=30.0)
        job = plan_job(folder / "out", data, task=DERAIN.asking(vlm))
        with accounting() as account:
            _make(job)
        yield Made(data=data, folder=folder / "out/derain", server=server, usage=account.usage, model=model)


def test_all_answers_arrive_and_none_is_paid_twice(through_faults: Made) -> None:
    server, usage = through_faults.server, through_faults.usage
    assert set(server.faults) == set(HARMFUL)
    assert len(server.paid) == PAIRS and set(server.paid.values()) == {1}
    assert (usage.calls, usage.replayed, usage.retries) == (PAIRS, 0, server.faults.total())
    assert usage.tokens_in > 100 * PAIRS and usage.tokens_out > 20 * PAIRS
    assert len(Responses(str(through_faults.folder / "responses"))) == PAIRS
    assert [finding.message for finding in verify(str(through_faults.folder))] == []
    job = plan_job(through_faults.folder.parent, through_faults.data, task=DERAIN.asking(_vlm(through_faults)))
    rows = examples(job.dataset)
    assert {f"{row['direction']} {row['kind']}" for row in rows} == ALL_FOUR
    assert len(rows) == 4 * PAIRS
    texts = {row["text"] for row in rows if row["kind"] == "describe"}
    assert texts == {"The output is brighter.", "The input is darker."}
    step = rows[0]["steps"][-1]
    assert (step["operator"], step["model"], step["prompt"][:13]) == (
        "difference",
        through_faults.model,
        "difference-1@",
    )


@pytest.mark.chaos
def test_a_run_that_is_killed_goes_on_and_nothing_is_paid_twice(
    through_faults: Made, tiny_server: int, tmp_path: Path
) -> None:
    """By kill -9, with requests in the air that have not reached the model. The bytes are those of the run above."""
    out, env = tmp_path / "out", {"OPENAI_API_KEY": KEY}
    with running(tiny_server) as server:
        command = shards_command(through_faults.data, out, "--cpus", "1", "--vlm", server.url)
        command += ["--vlm-model", through_faults.model, "--vlm-concurrency", "2"]
        server.plan = lambda request, attempt: "hang" if request >= 3 else None
        with Running(command, env) as killed:
            killed.until(lambda: len(Responses(str(out / "derain/responses"))) == 3)
        # Ray's worker outlives its driver by a moment, with its requests in the air.
        wait_until(lambda: server.faults["hang"] > 0 and server.at_once == 0)
        assert not list((out / "derain").glob("manifest/*"))
        server.plan = lambda request, attempt: None
        done = run(command, env)
        assert done.returncode == 0, done.stderr
        assert len(server.paid) == PAIRS and set(server.paid.values()) == {1}
        assert server.keys == {KEY}
    assert f"{PAIRS - 3} to {through_faults.model}, 0 retries" in done.stdout
    assert "3 more answered from" in done.stdout
    assert _files(out / "derain") == _files(through_faults.folder)
    assert _answers(out / "derain") == _answers(through_faults.folder)
    said = [done.stdout.encode(), done.stderr.encode()]
    said += [path.read_bytes() for path in (*out.rglob("*"), *through_faults.folder.rglob("*")) if path.is_file()]
    assert len(said) > 12 and not any(KEY.encode() in text for text in said)


def test_a_bad_key_fails_at_once_with_one_line(through_faults: Made, tmp_path: Path) -> None:
    with running() as server:
        command = shards_command(through_faults.data, tmp_path, "--vlm", server.url, "--vlm-model", "m")
        done = run(command, {"OPENAI_API_KEY": "sk-wrong-key-of-this-test"})
        assert server.paid.total() == len(server.requests) == 0
    assert done.returncode == 1
    assert done.stderr == f"xprompt shards: {server.url} refuses the key in OPENAI_API_KEY (status 401)\n"
    assert "sk-wrong" not in done.stdout + done.stderr
    assert not any(path.suffix == ".tar" for path in tmp_path.rglob("*"))


@pytest.mark.usefixtures("local_ray")
def test_a_key_that_is_revoked_ends_a_run_on_ray(tmp_path: Path) -> None:
    """At once: the other units are not tried, and it is not taken for a failed unit."""
    data = write_rain13k(tmp_path / "data", 70)  # three units
    with running() as server:
        server.plan = lambda request, attempt: "401"
        job = plan_job(tmp_path / "out", data, task=DERAIN.asking(Vlm.of(server.url, "m", None, concurrency=1)))
        with pytest.raises(StopRun, match=r"refuses the key in OPENAI_API_KEY \(status 401\)"):
            engine.run([job], Watch())
        assert 1 <= len(server.requests) <= 3
    assert job.dataset.committed() == set()


@pytest.mark.parametrize(
    ("name", "layout"),
    [("derain", "rain13k"), ("ultraedit", "ultraedit"), ("depth2img", "nyu_sync"), ("text2img", "laion")],
)
def test_nothing_waits_any_more(name: str, layout: str, tmp_path: Path) -> None:
    written = FIXTURES[layout][1](tmp_path / "source")
    with running() as server:
        server.answer = _answer
        task = replace(OUR_TASKS[name], pairs_per_shard=4).asking(Vlm.of(server.url, "m", None))
        reader = reader_of(task, str(tmp_path / "source"))
        totals = _make(make_job(task, reader, str(tmp_path / "out" / name), 0))
        assert totals.pairs == written.pairs and totals.rejects == written.rejects
        assert not totals.missing
        assert totals.examples.total() == len(task.examples) * written.pairs
        assert 0 < server.paid.total() <= written.pairs


def test_synthesised_pairs_cost_nothing_and_what_is_held_out_is_not_asked_for(tmp_path: Path) -> None:
    vlm = Vlm.of("http://127.0.0.1:9/v1", "m", None)  # nobody is there
    photos = write_photos(tmp_path / "photos", 3)
    job = plan_job(tmp_path / "out", photos, task=DERAIN.asking(vlm))
    assert not _make(job).missing
    held: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"),)
    data = str(write_rain13k(tmp_path / "pairs", 2))
    prepared = prepare(DERAIN, {"data": data, "hold_out": ["derain"], "vlm": "http://127.0.0.1:9/v1", "vlm_model": "m"})
    chain, task = prepared.task.operators(prepared.reader), DERAIN
    assert [link.name for link in chain[-2:]] == ["hold_out_examples", "difference"]
    assert set(chain[-1].examples) == set(task.examples) - set(held)  # type: ignore[union-attr]


def test_another_model_or_prompt_is_another_dataset(tmp_path: Path) -> None:
    data = write_rain13k(tmp_path / "data", 3)
    first = Vlm.of("https://here/v1", "m", None)
    plan_job(tmp_path / "out", data, task=DERAIN.asking(first))
    plan_job(
        tmp_path / "out", data, task=DERAIN.asking(replace(first, url_or_folder="https://there/v1", concurrency=1))
    )
    text = 'id = "mine-1"\nmax_tokens = 9\ntext = "<image> <image> {instruction}"'
    write_files(tmp_path / "prompts", {"difference.toml": text.encode()})
    others = DERAIN, DERAIN.asking(replace(first, model="n")), DERAIN.asking(first, str(tmp_path / "prompts"))
    for other in others:
        with pytest.raises(DatasetError, match="another configuration"):
            plan_job(tmp_path / "out", data, task=other)


def test_the_plan_says_calls_tokens_and_cost_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rain13k(tmp_path / "data", 20)
    command = ["xprompt", "plan", "derain", "--data", str(data), "--vlm", "http://127.0.0.1:9/v1", "--vlm-model", "m"]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    printed = capsys.readouterr().out
    assert "at most 20 to m" in printed and "tokens of the model" not in printed
    assert f"at most {20 * 512:,} out" in printed
    assert "about 80" in printed  # examples
    monkeypatch.setattr(sys, "argv", [*command, "--price-in", "2", "--price-out", "10"])
    assert main() == 0
    tokens_in = int(next(line for line in printed.splitlines() if "tokens" in line).split()[2].replace(",", ""))
    assert f"{(2 * tokens_in + 10 * 20 * 512) / 1e6:,.2f} tokens of the model" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command, "--price-in", "2"])
    assert main() == 2
    assert "needs both prices" in capsys.readouterr().err


def test_a_task_that_needs_a_model_says_so() -> None:
    with pytest.raises(ValueError, match="editing needs a vision-language model: set VLM and VLM_MODEL"):
        OUR_TASKS["editing"].asking(None)
    assert DERAIN.asking(None) is DERAIN


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.05)


def _files(folder: Path) -> dict[str, str]:
    """The sha256 of a dataset's files. Answers lie in the order in which they arrived."""
    return {name: sha for name, sha in sha256_by_file(folder).items() if not name.startswith("responses/")}


def _answers(folder: Path) -> list[str]:
    return sorted(line for path in (folder / "responses").iterdir() for line in path.read_text().splitlines())


def _vlm(made: Made) -> Vlm:
    return Vlm.of(made.server.url, made.model, None)


def _answer(text: str) -> str:
    return ANSWERS["recaption"] if "Its caption says" in text else ANSWERS["difference"]


def _make(job: Job) -> Totals:
    """Make and finish a dataset in this process."""
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    totals: Totals = finish(
        job.dataset, job.plan, versions=versions(job.task), licences={job.reader.source: job.reader.licence}
    )
    return totals
