"""The metrics of our table (manifests/metrics.py) as Ray's, which every node serves to Prometheus.

Ray puts `ray_` before each name and `_total` after those of counters, and adds labels of its own. Where a node serves
them is in `ray.nodes()`, as NodeManagerAddress and MetricsExportPort; only the node of the process that tells has them.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from manifests.metrics import METRICS

_MOST_VALUES = 100
"""How many values a label may have: reasons of somebody's own operators may be too many for Prometheus."""

OTHER = "other"
"""The value of a label beyond the first _MOST_VALUES."""


class RayMetrics:
    """Metrics by the names of the table; each is made when it is first told. Ray is to be connected by then."""

    def __init__(self) -> None:
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        self._values: dict[tuple[str, str], set[str]] = {}
        self._told: dict[tuple[str, ...], float] = {}

    def add(self, name: str, more: float, **labels: str) -> None:
        """Let a counter grow; by nothing, it does not come to be."""
        counter = self._of(name, labels)
        assert isinstance(counter, Counter)
        if more > 0:
            counter.inc(more, self._few(name, labels))

    def grow(self, name: str, to: float, **labels: str) -> None:
        """Let a counter grow to what it is for the run so far."""
        told = (name, *labels.values())
        self.add(name, to - self._told.get(told, 0.0), **labels)
        self._told[told] = max(to, self._told.get(told, 0.0))

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._of(name, labels)
        assert isinstance(gauge, Gauge)
        gauge.set(value, self._few(name, labels))

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Count a value in a histogram."""
        histogram = self._of(name, labels)
        assert isinstance(histogram, Histogram)
        histogram.observe(value, self._few(name, labels))

    def _of(self, name: str, labels: dict[str, str]) -> Counter | Gauge | Histogram:
        metric = METRICS[name]
        assert set(labels) == set(metric.labels), (name, labels)
        if name not in self._made:
            if metric.kind == "counter":
                self._made[name] = Counter(name.removesuffix("_total"), metric.text, metric.labels)
            elif metric.kind == "gauge":
                self._made[name] = Gauge(name, metric.text, metric.labels)
            else:
                self._made[name] = Histogram(name, metric.text, [*metric.buckets], metric.labels)
        return self._made[name]

    def _few(self, name: str, labels: dict[str, str]) -> dict[str, str]:
        few = {}
        for label, value in labels.items():
            values = self._values.setdefault((name, label), set())
            if len(values) < _MOST_VALUES:
                values.add(value)
            few[label] = value if value in values else OTHER
        return few
