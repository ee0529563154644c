"""What painters do, as metrics of Ray, which every node serves to Prometheus: xprompt_* by dataset and by its models.

Ray puts `ray_` before each name and `_total` after those that only grow. Where a node serves them is in `ray.nodes()`,
as NodeManagerAddress and MetricsExportPort; only the driver's node has these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from ray.util.metrics import Counter, Gauge

from pipelines.run.watch import Painting, Watch

_TAGS = ("dataset", "models")

_GROWING: Mapping[str, str] = {
    "pairs": "Pairs that painters have done.",
    "pictures": "Pictures that were painted.",
    "lost": "Pairs that painters had in hand when they died, and that were begun again.",
    "places": "Places in the batches that models were given.",
    "own": "Places in the batches that held something of their own, and not a copy.",
}
_NOW: Mapping[str, str] = {
    "pairs_left": "Pairs that are left.",
    "painters": "Painters that are at work.",
}
_SECONDS: Mapping[str, str] = {
    "painting": "gpu_s",
    "starting": "starting_s",
    "loading": "loading_s",
    "answers": "answers_s",
    "disk": "disk_s",
    "idle": "idle_s",
}
"""What a painter does -> the field of Painting that says for how long."""


def exported(watch: Watch) -> Watch:
    """The watch, whose ticks become metrics too, where there are painters. Ray is to be connected by then."""
    metrics = cache(_Metrics)

    def on_tick(paintings: Sequence[Painting]) -> None:
        watch.on_tick(paintings)
        if paintings:
            metrics().update(paintings)

    return replace(watch, on_tick=on_tick)


class _Metrics:
    def __init__(self) -> None:
        self._growing = {name: Counter(f"xprompt_{name}", says, _TAGS) for name, says in _GROWING.items()}
        self._now = {name: Gauge(f"xprompt_{name}", says, _TAGS) for name, says in _NOW.items()}
        self._busy = Gauge("xprompt_gpu_busy", "Share of painters' time so far in which their models worked.", _TAGS)
        self._fill = Gauge("xprompt_batch_fill", "Share of places in batches that held something of their own.", _TAGS)
        self._seconds = Counter(
            "xprompt_painter_seconds", "Seconds of painters, by what they did or waited for.", (*_TAGS, "what")
        )
        self._told: defaultdict[tuple[str, ...], float] = defaultdict(float)
        """How much each counter has been told so far."""

    def update(self, paintings: Sequence[Painting]) -> None:
        """Tell Ray how far the painters are."""
        for painting in paintings:
            tags = {"dataset": painting.job.task.name, "models": "+".join(painting.operators)}
            for name, counter in self._growing.items():
                self._grow(counter, tags, getattr(painting, name))
            for name, gauge in self._now.items():
                gauge.set(getattr(painting, name), tags)
            for what, name in _SECONDS.items():
                self._grow(self._seconds, {**tags, "what": what}, getattr(painting, name))
            if painting.held_s:
                self._busy.set(painting.gpu_s / painting.held_s, tags)
            if painting.places:
                self._fill.set(painting.own / painting.places, tags)

    def _grow(self, counter: Counter, tags: Mapping[str, str], to: float) -> None:
        told = (counter.info["name"], *tags.values())
        more = to - self._told[told]
        if more > 0:
            counter.inc(more, dict(tags))
            self._told[told] = to
