"""What a run does, as metrics of the table (manifests/metrics.py): its units, pairs, painters and model calls."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from operators.vlm.request import Usage
from pipelines.report.prices import Prices
from pipelines.report.ray_metrics import RayMetrics
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.watch import Painting, Units, Watch

if TYPE_CHECKING:
    from pipelines.run.made import Made
    from pipelines.run.painter import Delivered

_DISK_EVERY_S = 15.0

_SECONDS: Mapping[str, str] = {
    "painting": "gpu_s",
    "starting": "starting_s",
    "loading": "loading_s",
    "answers": "answers_s",
    "disk": "disk_s",
    "idle": "idle_s",
}
"""What a painter does -> the field of Painting that says for how long."""


def exported(watch: Watch, prices: Mapping[str, Prices | None]) -> Watch:
    """The watch, of which all that it is told becomes metrics too. Ray is to be connected by then.

    `prices` are those of the models that are asked for each dataset, by its OUT.
    """
    metrics = _Metrics(prices)

    def on_start(workers: int) -> None:
        watch.on_start(workers)
        metrics.start()

    def on_made(job: Job, made: Made) -> None:
        metrics.made(job, made)
        watch.on_made(job, made)

    def on_delivered(job: Job, delivered: Delivered) -> None:
        metrics.worked(job, delivered.spent, delivered.usage)
        watch.on_delivered(job, delivered)

    def on_tick(paintings: Sequence[Painting]) -> None:
        metrics.painted(paintings)
        watch.on_tick(paintings)

    def on_units(units: Sequence[Units], gpus: float) -> None:
        metrics.units(units, gpus)
        watch.on_units(units, gpus)

    return replace(
        watch, on_start=on_start, on_made=on_made, on_delivered=on_delivered, on_tick=on_tick, on_units=on_units
    )


class _Metrics:
    def __init__(self, prices: Mapping[str, Prices | None]) -> None:
        self._prices = prices
        self._ray = RayMetrics()
        self._heard_s = 0.0
        """When something last came back, in seconds since 1970."""
        self._looked_s = -math.inf
        self._disk: tuple[int, int] | None = None
        """Free bytes and all bytes of the file system where OUT is, as they were when it was looked at."""

    def start(self) -> None:
        self._heard_s = time.time()

    def made(self, job: Job, made: Made) -> None:
        """Count a unit, and what was done for it beside painting."""
        task, commit = job.task.name, made.commit
        self._ray.add("xprompt_pairs_total", commit.pairs, task=task)
        for reason, count in commit.rejects.items():
            self._ray.add("xprompt_rejects_total", count, task=task, reason=reason)
        self._ray.add("xprompt_written_bytes_total", commit.shard_bytes, task=task)
        self.worked(job, made.spent, made.usage)

    def worked(self, job: Job, spent: Spent, usage: Usage) -> None:
        """Count what operators and models did for some pairs."""
        self._heard_s = time.time()
        task = job.task.name
        for step, seconds in spent.seconds.items():
            self._ray.add("xprompt_operator_items_total", spent.items[step], task=task, operator=step)
            self._ray.add("xprompt_operator_seconds_total", seconds, task=task, operator=step)
            loading_s = spent.loading_s.get(step, 0.0)
            self._ray.add("xprompt_operator_loading_seconds_total", loading_s, task=task, operator=step)
            self._ray.add("xprompt_pictures_total", spent.pictures[step], task=task, operator=step)
            self._ray.add("xprompt_batch_places_total", spent.places[step], task=task, operator=step)
            self._ray.add("xprompt_batch_own_places_total", spent.own[step], task=task, operator=step)
        if job.task.vlm:
            self._asked(job.task.vlm.model, usage, self._prices.get(job.out), local=job.task.vlm.is_local)

    def _asked(self, model: str, usage: Usage, prices: Prices | None, *, local: bool) -> None:
        self._ray.add("xprompt_vlm_replayed_requests_total", usage.replayed, model=model)
        if prices:
            self._ray.add("xprompt_vlm_cost_total", prices.cost(usage.tokens_in, usage.tokens_out), model=model)
        if local:  # of a server, who asks it tells as it asks (pipelines/report/vlm_metrics.py)
            self._ray.add("xprompt_vlm_requests_total", usage.calls, model=model)
            self._ray.add("xprompt_vlm_tokens_total", usage.tokens_in, model=model, direction="in")
            self._ray.add("xprompt_vlm_tokens_total", usage.tokens_out, model=model, direction="out")

    def units(self, units: Sequence[Units], gpus: float) -> None:
        """Say how far all datasets are. All gauges are set each time: Ray forgets those that are not for a while."""
        for one in units:
            task = one.job.task.name
            for state in ("done", "running", "queued", "failed"):
                self._ray.set("xprompt_units", getattr(one, state), task=task, state=state)
            self._ray.set("xprompt_unit_oldest_start_timestamp_seconds", one.oldest_start_s, task=task)
        self._ray.set("xprompt_last_result_timestamp_seconds", self._heard_s)
        self._ray.set("xprompt_gpus", gpus)
        self._look_at_disk(next((one.job.out for one in units if one.job.dataset.store.is_local), None))
        if self._disk:
            self._ray.set("xprompt_disk_free_bytes", self._disk[0])
            self._ray.set("xprompt_disk_size_bytes", self._disk[1])

    def painted(self, paintings: Sequence[Painting]) -> None:
        """Say how far the painters are."""
        for painting in paintings:
            task, model = painting.job.task.name, "+".join(painting.operators)
            self._ray.set("xprompt_painters", painting.painters, task=task, model=model)
            self._ray.set("xprompt_painting_pairs_left", painting.pairs_left, task=task, model=model)
            self._ray.grow("xprompt_painted_pairs_total", painting.pairs, task=task, model=model)
            self._ray.grow("xprompt_lost_pairs_total", painting.lost, task=task, model=model)
            for state, name in _SECONDS.items():
                seconds = getattr(painting, name)
                self._ray.grow("xprompt_painter_seconds_total", seconds, task=task, model=model, state=state)
            for state, seconds in (("held", painting.held_s), ("busy", painting.gpu_s)):
                gpu_s = seconds * painting.gpus
                self._ray.grow("xprompt_gpu_seconds_total", gpu_s, task=task, model=model, state=state)

    def _look_at_disk(self, out: str | None) -> None:
        if out and time.monotonic() - self._looked_s >= _DISK_EVERY_S:
            self._looked_s = time.monotonic()
            with suppress(OSError):
                usage = shutil.disk_usage(out)
                self._disk = usage.free, usage.total
