"""Whether models fit into GPUs, by what the doctor says and by sums of our own."""

from __future__ import annotations

from typing import Any

import pytest

from infra.doctor import gpus
from infra.doctor.gpus import Gpu
from infra.doctor.limits import TookTooLong
from tests.infra.doctor.conftest import asked, only


def _with(monkeypatch: pytest.MonkeyPatch, found: list[Gpu], why: str = "") -> None:
    monkeypatch.setattr(gpus, "gpus_here", lambda: (found, why))


@pytest.mark.parametrize(
    ("gib", "state"),
    [(79.1, "ok"), (44.5, "ok"), (24.0, "fails")],  # FLUX alone has 11.9 + 4.8 billion parameters of 2 bytes: 31 GiB
)
def test_flux_fits_into_large_gpus_only(gib: float, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, [Gpu(name="A", gib=gib, free_gib=gib)] * 2)
    found = only([*gpus.here(asked("style", "--models", "/models"))])
    assert found[0] == state and found[1].startswith(f"2 x A of {gib:.1f} GiB: ")
    if state == "fails":
        assert "needs" in found[1] and "GPUs with more memory" in found[2]


def test_a_smaller_model_is_offered_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, [Gpu(name="A", gib=24.0, free_gib=24.0)])
    state, _, way_out = only([*gpus.here(asked("pose", "--generator", "flux", "--models", "/models"))])
    assert state == "fails" and "GENERATOR=sd15" in way_out
    assert only([*gpus.here(asked("pose", "--generator", "sd15", "--models", "/models"))])[0] == "ok"


def test_gpu_gib_that_is_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, [Gpu(name="A", gib=24.0, free_gib=24.0)])
    state, text, _ = only([*gpus.here(asked("style", "--models", "/models", "--gpu-gib", "80"))])
    assert state == "fails" and "GPU_GIB=80 says more than the 24.0 GiB" in text


def test_a_gpu_that_others_use(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, [Gpu(name="A", gib=80.0, free_gib=79.0), Gpu(name="A", gib=80.0, free_gib=20.0)])
    fits, taken = gpus.here(asked("style", "--models", "/models"))
    assert (fits.state, taken.state) == ("ok", "warning") and taken.text.startswith("of GPU 1 60.0 GiB")


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, [], "no driver")
    assert only([*gpus.here(asked("style", "--models", "/models"))])[0] == "warning"
    assert only([*gpus.here(asked("style", "--models", "tiny"))])[0] == "ok"


def test_a_task_that_needs_none_does_not_ask_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "gpus_here", lambda: pytest.fail("asked"))
    assert only([*gpus.here(asked("derain"))]) == ("ok", "derain needs none", "")


def test_a_driver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*arguments: Any) -> None:
        raise TookTooLong

    monkeypatch.setattr(gpus, "answer_of", hangs)
    state, text, _ = only([*gpus.here(asked("style", "--models", "/models"))])
    assert state == "fails" and text == "the driver has not answered within 60 s"


@pytest.mark.infra  # PyTorch is imported in a process of its own: 4 s of a core
def test_what_pytorch_sees_here() -> None:
    """On a machine without GPUs it says why; on one with some each has a name and memory."""
    found, why = gpus.gpus_here()
    assert bool(found) is not bool(why)
    assert "PyTorch" in why or all(one.name and 0 < one.free_gib <= one.gib for one in found)
