"""The trainer's metrics as Prometheus reads them, over HTTP."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.slurm.ports import free_port
from manifests.metrics import METRICS
from train.run.exporter import Exporter

RECORD: dict[str, Any] = {
    "step": 4,
    "loss": 3.5,
    "loss_by": {"derain/forward/generate": 4.5},
    "fill": 0.75,
    "tokens": 1_000,
    "gradient_norm": 2.5,
    "lr": 0.001,
    "seconds": 2.0,
    "data_wait": 0.25,
    "memory_gb": 1.5,
    "skipped": 3,
}


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    exporter = Exporter(free_port(), steps=9, done=3, skipped=3, out=str(tmp_path))
    yield exporter
    exporter.close()


def _read(exporter: Exporter) -> dict[str, float]:
    """The samples by name and labels, all of metrics of the table and with its labels and kinds."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=10).read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        metric = METRICS[name]
        assert (metric.kind, metric.text) == (family.type, family.documentation)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
            if "le" in sample.labels:
                continue
            found[" ".join([sample.name, *(sample.labels[label] for label in metric.labels)])] = sample.value
    return found


def test_before_the_first_step_it_says_where_the_run_stands(exporter: Exporter) -> None:
    found = _read(exporter)
    assert (found["xprompt_train_step"], found["xprompt_train_steps"]) == (3, 9)
    assert (
        found["xprompt_train_skipped_steps_total spike"] == found["xprompt_train_skipped_steps_total not_finite"] == 0
    )
    assert 0 < found["xprompt_disk_free_bytes"] < found["xprompt_disk_size_bytes"]
    assert "xprompt_train_loss" not in found


def test_a_step_is_told_in_base_units(exporter: Exporter) -> None:
    exporter.step(RECORD)
    exporter.step({**RECORD, "step": 5, "loss_by": {"depth/reverse/describe": 0.5}, "mfu": 0.4})
    found = _read(exporter)
    assert {name: found[name] for name in found if name.startswith("xprompt_train")} == {
        "xprompt_train_step": 5,
        "xprompt_train_steps": 9,
        "xprompt_train_last_step_timestamp_seconds": found["xprompt_train_last_step_timestamp_seconds"],
        "xprompt_train_step_seconds_count": 2,
        "xprompt_train_step_seconds_sum": 4.0,
        "xprompt_train_loss": 3.5,
        "xprompt_train_task_loss derain forward generate": 4.5,
        "xprompt_train_task_loss depth reverse describe": 0.5,
        "xprompt_train_tokens_total": 2_000,
        "xprompt_train_window_fill_ratio": 0.75,
        "xprompt_train_gradient_norm": 2.5,
        "xprompt_train_learning_rate": 0.001,
        "xprompt_train_mfu_ratio": 0.4,
        "xprompt_train_skipped_steps_total spike": 0,
        "xprompt_train_skipped_steps_total not_finite": 0,
        "xprompt_train_data_wait_seconds_total": 1.0,
        "xprompt_train_peak_memory_bytes": 1.5e9,
    }


def test_skipped_steps_are_told_apart(exporter: Exporter) -> None:
    """A spike is a loss that is finite, with a finite gradient; steps that earlier runs skipped do not count."""
    exporter.step(RECORD)
    exporter.step({**RECORD, "skipped": 4})
    exporter.step({**RECORD, "skipped": 5, "gradient_norm": float("inf")})
    exporter.step({**RECORD, "skipped": 6, "loss": float("nan")})
    exporter.step({**RECORD, "skipped": 6})
    found = _read(exporter)
    assert found["xprompt_train_skipped_steps_total spike"] == 1
    assert found["xprompt_train_skipped_steps_total not_finite"] == 2


def test_validations_and_checkpoints(exporter: Exporter) -> None:
    exporter.step({**RECORD, "validation": {"loss": 2.0, "loss_text": 1.0, "derain/forward/generate": 2.5}})
    exporter.checkpoint(4, 30.0)
    found = _read(exporter)
    assert found["xprompt_train_validation_loss"] == 2.0
    assert found["xprompt_train_validation_task_loss derain forward generate"] == 2.5
    assert sum(name.startswith("xprompt_train_validation_task_loss") for name in found) == 1
    assert (found["xprompt_train_checkpoint_step"], found["xprompt_train_checkpoint_seconds_sum"]) == (4, 30.0)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"--metrics-port {port}: .*in use; choose another, or 0 for none"
        ) as error:
            Exporter(port, steps=1, done=0, skipped=0, out=str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_closed_one_serves_no_more(tmp_path: Path) -> None:
    exporter = Exporter(free_port(), steps=1, done=0, skipped=0, out=str(tmp_path))
    exporter.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=10)
