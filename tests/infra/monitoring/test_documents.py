"""Metrics are named by Prometheus' conventions, documented, and those that dashboard and alerts ask for."""

from __future__ import annotations

import re

from manifests.metrics import METRICS, PARTS, Metric
from tests.commands import ROOT
from tests.infra.monitoring.queries import ALERTS, DASHBOARD, PANELS, metrics_in, panel_queries

PAGE = (ROOT / "infra/docs/monitoring.md").read_text()
UNITS = {"seconds", "bytes", "ratio"}
OTHER_UNITS = {"milliseconds", "ms", "minutes", "hours", "s", "kb", "mb", "gb", "gib", "percent", "share"}
FEW = {"task", "operator", "model", "reason", "state", "kind", "direction"}
"""Labels whose values are few: of code, of a recipe, or of a command line."""


def test_names_follow_prometheus_conventions() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"xprompt(_[a-z]+)+", name), name
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert not OTHER_UNITS & set(name.split("_")), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_info", "_created")), name
        assert set(metric.labels) <= FEW, name
        assert bool(metric.buckets) == (metric.kind == "histogram"), name
        assert list(metric.buckets) == sorted(set(metric.buckets)), name
        told_units = {word.rstrip(".,;:") for word in metric.text.lower().split()} & {"seconds", "bytes"}
        for unit in told_units & UNITS:
            assert unit in name.split("_"), f"{name} says it is in {unit}, and its name does not"


def test_the_page_has_the_table_of_each_part_as_the_code_has_it() -> None:
    for part, title in PARTS.items():
        rows = "\n".join(_row(metric) for metric in METRICS.values() if metric.part == part)
        table = f"### {title}\n\n| metric | kind | labels | what it says |\n|---|---|---|---|\n{rows}\n"
        assert table in PAGE, f"write this into infra/docs/monitoring.md:\n\n{table}"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} |"


def test_dashboard_and_alerts_ask_for_metrics_of_the_table_and_the_dashboard_for_all_of_them() -> None:
    shown = set().union(
        *(metrics_in(query) for _, query in panel_queries({"job": "j", "task": "t", "__rate_interval": "5m"}))
    )
    watched = set().union(*(metrics_in(alert["expr"]) for alert in ALERTS.values()))
    assert shown == set(METRICS)
    assert watched < set(METRICS)


def test_labels_that_queries_name_are_those_of_their_metrics() -> None:
    """A matcher of a label that no metric has is answered with nothing, without an error."""
    expressions = [query for _, query in panel_queries({"job": "j", "task": "t", "__rate_interval": "5m"})]
    for expression in [*expressions, *(alert["expr"] for alert in ALERTS.values())]:
        has = {"job", "instance", "le", "__name__"}.union(*(METRICS[name].labels for name in metrics_in(expression)))
        asked = set(re.findall(r"[{,] ?([a-z_]+)(?:=|!=|=~)\"", expression))
        asked |= {label for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in group.split(", ")}
        assert asked <= has, expression


def test_each_alert_says_what_to_do_and_has_its_section_on_the_page() -> None:
    for name, alert in ALERTS.items():
        said = alert["annotations"]
        assert said["summary"] and len(said["description"].split()) > 15, name
        assert said["runbook"] == f"infra/docs/monitoring.md#{name.lower()}"
        assert f"\n### {name}\n" in PAGE
        assert alert["labels"]["severity"] in ("warning", "critical")
    assert re.findall(r"^### (Xprompt\w+)$", PAGE, re.MULTILINE) == list(ALERTS)


def test_panels_have_units_descriptions_and_the_dashboards_variables() -> None:
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "task": "query"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["description"] and panel["title"] and panel["targets"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        assert all('job=~"$job"' in target["expr"] for target in panel["targets"])
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["h"] > 0


def test_panels_do_not_lie_on_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
