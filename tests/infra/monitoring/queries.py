"""What the dashboard and the alerts ask Prometheus."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.commands import ROOT

FOLDER = ROOT / "infra" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
_NAME = re.compile(r"\bxprompt_[a-z_]*[a-z]\b")
_SEVERAL = re.compile(r"xprompt_\(([a-z|]+)\)(_[a-z]+)")


def panel_queries(variables: dict[str, str]) -> list[tuple[str, str]]:
    """Title and expression of each query, with the dashboard's variables replaced by values."""
    found = []
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in variables.items():
                expression = expression.replace(f"${name}", value)
            assert "$" not in expression, expression
            found.append((panel["title"], expression))
    return found


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names, without what histograms add to theirs."""
    several = {f"xprompt_{name}{end}" for names, end in _SEVERAL.findall(expression) for name in names.split("|")}
    return several | {_SUFFIX.sub("", name) for name in _NAME.findall(_SEVERAL.sub("", expression))}
