"""Prometheus itself: it checks our files, and looks at real runs of the engine and of the trainer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.slurm.ports import free_port
from infra.tiny.qwen2_vl import ANSWERS
from manifests.metrics import METRICS
from operators.vlm.client import Vlm
from pipelines.tasks.low_level import DERAIN
from tests.commands import ROOT, Running, shards_command
from tests.datasets import make_dataset
from tests.infra.monitoring.queries import ALERTS, FOLDER, metrics_in, panel_queries
from tests.sources import write_rain13k
from tests.train.make import make_model, make_tokens
from tests.vlm import KEY, Fault, running
from train.run.stopping import STOPPED

pytestmark = pytest.mark.infra

PAIRS = 70
"""Three units of derain."""

EMPTY = {
    "MFU",  # of a GPU whose peak is known
}
"""Panels that show nothing of these runs, and why. What they ask has its own test with invented numbers."""

VARIABLES = {"job": ".*", "task": ".*", "__rate_interval": "30s"}


def test_promtool_takes_the_configuration_and_the_rules() -> None:
    for command in (["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"]):
        checked = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_when_it_should_and_not_otherwise() -> None:
    tested = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"], cwd=FOLDER, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert set(ALERTS) == {name for name in ALERTS if f'"{name}"' in (FOLDER / "alerts_test.yml").read_text()}


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A Prometheus that has looked at a run of each kind."""

    port: int
    began_s: float

    def api(self, path: str, **parameters: str) -> Any:
        """What its HTTP API answers. Fails with its words for an error."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{parameters}: {error.read().decode()}")
        assert body["status"] == "success" and not body.get("warnings"), body
        return body["data"]

    def values(self, expression: str) -> dict[str, list[float]]:
        """The values of an expression since the runs began, by the labels of its series."""
        found = self.api("query_range", query=expression, start=str(self.began_s), end=str(time.time()), step=str(1))[
            "result"
        ]
        return {
            json.dumps(one["metric"], sort_keys=True): [float(value) for _, value in one["values"]] for one in found
        }


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Our configuration, but that it looks each second; a run of derain that asks a server which makes faults, a run
    that paints, and one that trains."""
    folder = tmp_path_factory.mktemp("monitoring")
    ray = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a path that is short enough for Ray's sockets
    environment = {"RAY_TMPDIR": ray, "RAY_metrics_report_interval_ms": "1000", "OPENAI_API_KEY": KEY}
    ports = {name: free_port() for name in ("prometheus", "trainer")}
    _configure(folder / "config", ray, ports["trainer"])
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder}/config/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
        ],
        stdout=log,
        stderr=log,
    )
    found = Prometheus(port=ports["prometheus"], began_s=time.time())
    try:
        _until_ready(found.port, process, folder / "log")
        _shards(folder, environment)
        paints = [sys.executable, "-m", "tests.infra.monitoring.painting", str(folder / "painted")]
        # Ray's workers import the stand-in from the project's root.
        with Running(paints, {**environment, "PYTHONPATH": str(ROOT)}) as painting:
            ended = painting.wait()
            assert ended.returncode == 0, ended.stderr
        _train(folder, ports["trainer"], found)
        yield found
    finally:
        process.terminate()
        process.wait()
        log.close()
        shutil.rmtree(ray, ignore_errors=True)


def _configure(folder: Path, ray: str, trainer: int) -> None:
    shutil.copytree(FOLDER, folder)
    config = folder / "prometheus.yml"
    text = config.read_text()
    for old, new in (("/tmp/ray/", f"{ray}/ray/"), (" 15s", " 1s"), ("refresh_interval: 5s", "refresh_interval: 1s")):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    (folder / "targets/trainer.yml").write_text(f'- targets: ["127.0.0.1:{trainer}"]\n')
    (folder / "targets/vllm.yml").write_text("[]\n")


def _until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).read()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < until_s, log.read_text()
            time.sleep(0.1)


def _shards(folder: Path, environment: dict[str, str]) -> None:
    """Of ten distinct requests one is limited at first and one meets an error; one is answered with nonsense."""

    def plan(request: int, attempt: int) -> Fault | None:
        return "429" if request % 10 == 0 and attempt == 0 else "500" if request % 10 == 1 and attempt == 0 else None

    with running() as server:
        server.answer = lambda text: ANSWERS["difference"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY)
            few = write_rain13k(folder / "few", 5)
            asked = make_dataset(folder / "asked", few, task=DERAIN.asking(Vlm.of(server.url, "judge", None)))
        # What was asked for this dataset is replayed for the run's.
        shutil.copytree(f"{asked.url}/responses", folder / "out/derain/responses")
        server.plan = plan
        server.answer = lambda text: "nonsense" if len(server.paid) % 10 == 5 else ANSWERS["difference"]
        options = ["--vlm", server.url, "--vlm-model", "judge", "--vlm-concurrency", "4", "--cpus", "2"]
        prices = ["--price-in", "1000", "--price-out", "2000"]
        data = write_rain13k(folder / "rain", PAIRS)
        with Running(shards_command(data, folder / "out", *options, *prices), environment) as making:
            made = making.wait()
            assert made.returncode == 0, made.stderr


def _train(folder: Path, port: int, prometheus: Prometheus) -> None:
    """Train until Prometheus has seen some of it, and steps that were skipped; then stop, as a signal does."""
    make_tokens(str(folder / "tokens"), own_groups=True)
    options = {
        "data": folder / "tokens",
        "model": make_model(folder / "model"),
        "out": folder / "run",
        "xp-tokens": 4,
        "window-tokens": 128,
        "streams": 4,
        "global-windows": 4,
        "steps": 100_000,
        "spike-deviations": 0.01,  # about every second loss is so far above the median: steps are skipped
        "spike-window": 8,
        "max-skipped-in-row": 100_000,
        "max-skipped": 100_000,
        "checkpoint-every": 4,
        "validation-share": 0.3,
        "validate-every": 4,
        "sample-pictures": 0,
        "metrics-port": port,
    }
    command = [sys.executable, "-m", "infra.command", "train", "--no-export"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    seen = (
        "count_over_time(xprompt_train_validation_loss[10m]) >= 8 "
        "and on (instance) sum by (instance) (xprompt_train_skipped_steps_total) > 0 "
        "and on (instance) xprompt_train_checkpoint_seconds_count > 0"
    )
    with Running(command, {"OMP_NUM_THREADS": "1"}) as training:
        training.until(lambda: bool(prometheus.api("query", query=seen)["result"]))
        training.process.terminate()
        trained = training.wait()
        assert trained.returncode == STOPPED, trained.stderr


def test_all_queries_of_the_dashboard_are_answered_with_data(prometheus: Prometheus) -> None:
    empty = {title for title, query in panel_queries(VARIABLES) if not prometheus.values(query)}
    assert empty == EMPTY


def test_the_dashboards_variables_have_values(prometheus: Prometheus) -> None:
    match = '{__name__=~"xprompt_units|xprompt_train_step|xprompt_train_task_loss"}'
    assert set(prometheus.api("label/job/values", **{"match[]": match})) == {"xprompt-engine", "xprompt-trainer"}
    assert set(prometheus.api("label/task/values", **{"match[]": match})) == {"derain", "painted"}


def test_all_alerts_are_evaluated_and_ask_for_metrics_that_are_there(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: (rule["health"], rule.get("lastError")) for rule in rules} == dict.fromkeys(
        ALERTS, ("ok", None)
    )
    for alert in ALERTS.values():
        prometheus.api("query", query=alert["expr"])
        for metric in metrics_in(alert["expr"]):
            assert _has_samples(prometheus, metric), metric


def test_every_metric_of_the_table_is_told_by_a_run(prometheus: Prometheus) -> None:
    told = {name for name in METRICS if _has_samples(prometheus, name)}
    assert set(METRICS) - told == {"xprompt_train_mfu_ratio"}


def test_labels_are_those_of_the_table(prometheus: Prometheus) -> None:
    """Beside those of a scrape, Ray's id of the process that told, and the bounds of histograms."""
    for name, metric in METRICS.items():
        for series in _series(prometheus, name):
            assert set(series) - {"__name__", "job", "instance", "WorkerId", "le"} == set(metric.labels), series


def test_the_numbers_are_those_of_the_runs(prometheus: Prometheus) -> None:
    """What a run counted last, as far as Prometheus has looked at it before it ended."""

    def most(expression: str) -> float:
        return max(value for values in prometheus.values(expression).values() for value in values)

    assert most('sum(xprompt_units{task="derain"})') == 3
    assert 0 < most('xprompt_painted_pairs_total{task="painted"}') <= 11  # of 12, one killed its painters
    assert most('xprompt_lost_pairs_total{task="painted"}') > 0
    assert most("xprompt_gpus") == 2
    assert 0 < most('sum(rate(xprompt_gpu_seconds_total{state="busy"}[30s]))') <= 2.2
    assert 0 < most("xprompt_vlm_replayed_requests_total") <= 5
    assert most("xprompt_train_steps") == 100_000 > most("xprompt_train_step") > 0
    assert {one["kind"] for one in _series(prometheus, "xprompt_vlm_errors_total")} == {"rate_limit", "server"}


def _series(prometheus: Prometheus, metric: str) -> list[dict[str, str]]:
    ends = ["_bucket", "_sum", "_count"] if METRICS[metric].kind == "histogram" else [""]
    found: list[dict[str, str]] = prometheus.api(
        "series", **{"match[]": f'{{__name__=~"{metric}({"|".join(ends)})"}}', "start": str(prometheus.began_s)}
    )
    return found


def _has_samples(prometheus: Prometheus, metric: str) -> bool:
    return bool(_series(prometheus, metric))
