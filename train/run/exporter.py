"""Serves the trainer's metrics (manifests/metrics.py) to Prometheus, from rank 0: there is no Ray that would."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)

from manifests.metrics import METRICS

_NUMBERS: Mapping[str, str] = {
    "step": "xprompt_train_step",
    "loss": "xprompt_train_loss",
    "fill": "xprompt_train_window_fill_ratio",
    "gradient_norm": "xprompt_train_gradient_norm",
    "lr": "xprompt_train_learning_rate",
    "mfu": "xprompt_train_mfu_ratio",
}
"""What a step's record (train/evaluate/metrics.py) calls a number -> the gauge that has it."""

_DISK_EVERY_S = 15.0


class Exporter:
    """The metrics of one run, at http://HOST:PORT/metrics until it is closed. Counters begin at 0 with each process."""

    def __init__(self, port: int, *, steps: int, done: int, skipped: int, out: str) -> None:
        """`done` steps are made already, of `steps`, and of them `skipped` changed nothing.

        Raises ValueError, one line, if the port cannot be had.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]  # when each counter began is no metric of ours
        self._registry = CollectorRegistry()
        self._made: dict[str, Any] = {}
        self._skipped, self._out, self._disk_s = skipped, out, -math.inf
        self._gauge("xprompt_train_steps").set(steps)
        self._gauge("xprompt_train_step").set(done)
        self._gauge("xprompt_train_last_step_timestamp_seconds").set(time.time())
        for reason in ("spike", "not_finite"):
            self._counter("xprompt_train_skipped_steps_total", reason=reason).inc(0)
        self._look_at_disk()
        try:
            self._server, self._thread = start_http_server(port, registry=self._registry)
        except (OSError, OverflowError) as error:
            raise ValueError(f"--metrics-port {port}: {error}; choose another, or 0 for none") from None

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def step(self, record: Mapping[str, Any]) -> None:
        """Take note of a step, by its record."""
        self._gauge("xprompt_train_last_step_timestamp_seconds").set(time.time())
        for name, gauge in _NUMBERS.items():
            if name in record:
                self._gauge(gauge).set(record[name])
        self._histogram("xprompt_train_step_seconds").observe(record["seconds"])
        self._counter("xprompt_train_tokens_total").inc(record["tokens"])
        self._counter("xprompt_train_data_wait_seconds_total").inc(record["data_wait"] * record["seconds"])
        self._gauge("xprompt_train_peak_memory_bytes").set(record["memory_gb"] * 1e9)
        self._losses("xprompt_train_task_loss", record["loss_by"])
        if validation := record.get("validation"):
            if "loss" in validation:
                self._gauge("xprompt_train_validation_loss").set(validation["loss"])
            self._losses("xprompt_train_validation_task_loss", validation)
        if record["skipped"] > self._skipped:
            is_spike = math.isfinite(record["loss"]) and math.isfinite(record["gradient_norm"])
            reason = "spike" if is_spike else "not_finite"
            self._counter("xprompt_train_skipped_steps_total", reason=reason).inc(record["skipped"] - self._skipped)
            self._skipped = record["skipped"]
        self._look_at_disk()

    def checkpoint(self, step: int, seconds: float) -> None:
        """Take note of a checkpoint that is complete, and of how long it took."""
        self._gauge("xprompt_train_checkpoint_step").set(step)
        self._histogram("xprompt_train_checkpoint_seconds").observe(seconds)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _losses(self, name: str, losses: Mapping[str, float]) -> None:
        for label, loss in losses.items():
            if label.count("/") == 2:  # beside them a validation has the losses of all
                task, direction, kind = label.split("/")
                self._gauge(name, task=task, direction=direction, kind=kind).set(loss)

    def _look_at_disk(self) -> None:
        if time.monotonic() - self._disk_s >= _DISK_EVERY_S:
            self._disk_s = time.monotonic()
            with suppress(OSError):
                usage = shutil.disk_usage(self._out)
                self._gauge("xprompt_disk_free_bytes").set(usage.free)
                self._gauge("xprompt_disk_size_bytes").set(usage.total)

    def _gauge(self, name: str, **labels: str) -> Gauge:
        gauge: Gauge = self._of(name, Gauge, labels)
        return gauge

    def _counter(self, name: str, **labels: str) -> Counter:
        counter: Counter = self._of(name, Counter, labels)
        return counter

    def _histogram(self, name: str) -> Histogram:
        histogram: Histogram = self._of(name, Histogram, {}, buckets=METRICS[name].buckets)
        return histogram

    def _of(self, name: str, kind: Any, labels: Mapping[str, str], **more: Any) -> Any:
        metric = METRICS[name]
        assert metric.kind == kind.__name__.lower(), name
        if name not in self._made:
            self._made[name] = kind(name, metric.text, metric.labels, registry=self._registry, **more)
        return self._made[name].labels(**labels) if metric.labels else self._made[name]
