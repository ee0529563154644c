from __future__ import annotations

import shlex

import pytest

from pipelines.report.hints import as_typed


def test_paths_are_quoted_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XPROMPT_FROM", raising=False)
    assert shlex.split(as_typed("browse", "/a b/it's")) == ["xprompt", "browse", "/a b/it's"]
    assert shlex.split(as_typed("tokens", "derain", out="/a b")) == ["xprompt", "tokens", "derain", "--out", "/a b"]


def test_who_came_by_way_of_make_goes_on_with_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPROMPT_FROM", "make")
    assert shlex.split(as_typed("browse", "/a b")) == ["make", "browse", "OUT=/a b"]
    assert shlex.split(as_typed("tokens", "derain", out="/a b")) == ["make", "tokens", "TASK=derain", "OUT=/a b"]
