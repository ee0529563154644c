from __future__ import annotations

import re
import shlex

import pytest

from pipelines.report.hints import as_typed
from tests.commands import ROOT


def test_paths_are_quoted_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XPROMPT_FROM", raising=False)
    assert shlex.split(as_typed("browse", "/a b/it's")) == ["xprompt", "browse", "/a b/it's"]
    assert shlex.split(as_typed("tokens", "derain", out="/a b")) == ["xprompt", "tokens", "derain", "--out", "/a b"]


def test_who_came_by_way_of_make_goes_on_with_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPROMPT_FROM", "make")
    assert shlex.split(as_typed("browse", "/a b")) == ["make", "browse", "OUT=/a b"]
    assert shlex.split(as_typed("tokens", "derain", out="/a b")) == ["make", "tokens", "TASK=derain", "OUT=/a b"]


def test_what_make_has_no_target_for_is_typed_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPROMPT_FROM", "make")
    assert as_typed("train") == "xprompt train"


def test_each_hint_of_make_is_a_target_with_these_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPROMPT_FROM", "make")
    described = dict(re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in ("shards", "tokens", "browse", "verify"):
        _, target, variable = as_typed(command, "x").split()
        assert f"{variable.partition('=')[0]}=" in described[target]
