"""The workflows of .github: what they run, when, and with which rights. GitHub itself cannot be asked from here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.commands import ROOT

FOLDER = ROOT / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((FOLDER / "workflows").glob("*.yml"))}
ON = True
"""What YAML 1.1, which `yaml` reads, makes of the key `on`."""

_PINNED = re.compile(r"[\w.-]+/[\w./-]+@(v\d+|[0-9a-f]{40}|release/v\d+)")


def _steps(workflow: str) -> Iterator[dict[str, Any]]:
    for job in WORKFLOWS[workflow]["jobs"].values():
        yield from job["steps"]


def _runs(workflow: str, job: str) -> str:
    return "\n".join(step["run"] for step in WORKFLOWS[workflow]["jobs"][job]["steps"] if "run" in step)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_what_it_needs_and_no_more_rights(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert {"name", ON, "jobs", "permissions"} <= workflow.keys()
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert {"runs-on", "steps"} <= job.keys()
    for step in _steps(name):
        assert ("run" in step) != ("uses" in step)
        if "uses" in step:
            assert _PINNED.fullmatch(step["uses"]), step["uses"]
        # What strangers write, a branch's name or a title, would run as a command.
        assert "${{" not in step.get("run", "")


def test_every_change_runs_what_ci_runs_and_builds_the_site() -> None:
    for name, command in (("check", ".ci/run"), ("docs", "make docs")):
        assert {"push", "pull_request"} <= WORKFLOWS[name][ON].keys()
        assert any(step.get("run") == command for step in _steps(name))
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_a_site_is_published_from_main_alone() -> None:
    publish = WORKFLOWS["docs"]["jobs"]["publish"]
    assert publish["if"] == "github.ref == 'refs/heads/main'" and publish["needs"] == "build"


def test_a_release_is_of_a_tag_checked_and_built_before_anything_is_published() -> None:
    workflow = WORKFLOWS["release"]
    assert workflow[ON] == {"push": {"tags": ["v*"]}}
    assert _runs("release", "check") == ".ci/run"
    assert "make release" in _runs("release", "build").splitlines() and "DRAFT" not in _runs("release", "build")
    for job in ("pypi", "github"):
        assert set(workflow["jobs"][job]["needs"]) == {"check", "build"}
    rights = {name: job.get("permissions", {}) for name, job in workflow["jobs"].items()}
    assert rights["pypi"] == {"id-token": "write"} and rights["github"] == {"contents": "write"}
    assert rights["check"] == {} and rights["build"]["attestations"] == "write"
    publish = workflow["jobs"]["pypi"]["steps"][-1]
    assert publish["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert "password" not in publish["with"] and publish["with"]["attestations"] is True


def test_tags_are_there_where_a_release_is_built() -> None:
    checkout = WORKFLOWS["release"]["jobs"]["build"]["steps"][0]
    assert checkout["uses"].startswith("actions/checkout@") and checkout["with"]["fetch-depth"] == 0


def test_make_has_the_targets_that_workflows_call() -> None:
    makefile = (ROOT / "Makefile").read_text()
    called = {
        target
        for name in WORKFLOWS
        for step in _steps(name)
        for target in re.findall(r"make (\w+)", step.get("run", ""))
    }
    assert {"release", "sample", "docs"} <= called
    assert {target for target in called if not re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)} == set()


def test_issues_are_asked_for_what_is_needed_and_weaknesses_are_not_told_there() -> None:
    for path in (FOLDER / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        if path.stem != "config":
            assert {"name", "description", "body"} <= form.keys() and form["body"]
            assert all(one["type"] in ("textarea", "input") and one["attributes"]["label"] for one in form["body"])
    assert "private" in (FOLDER / "SECURITY.md").read_text()
