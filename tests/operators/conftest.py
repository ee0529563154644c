"""A server that answers as a test says, and a model that is asked there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from operators.vlm import openai as vlm_openai
from operators.vlm.client import Vlm
from tests.operators.asking import Asked
from tests.vlm import KEY, running


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(vlm_openai, "BACKOFF_S", 0.01)
    with running() as server:
        vlm = replace(Vlm.of(server.url, "m", None), responses=str(tmp_path / "responses"))
        yield Asked(server=server, vlm=vlm)
