"""What training needs, against the trainer's own estimate and by hand."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.doctor import trainer
from infra.doctor.gpus import Gpu
from tests.infra.doctor.conftest import asked, only


def test_the_model_and_the_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        model, port = trainer.needs(asked("--train", "tiny"))
        assert (model.state, port.state) == ("warning", "fails") and "make tiny-models" in model.way_out
    (tmp_path / "models/tiny/chameleon").mkdir(parents=True)
    (tmp_path / "models/tiny/chameleon/config.json").write_text("{}")
    assert [one.state for one in trainer.needs(asked("--train", "tiny"))] == ["ok", "ok"]


def test_tiny_needs_no_gpu_and_the_7b_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "gpus_here", lambda: ([], "no driver"))
    assert only([*trainer.memory(asked("--train", "tiny"))])[0] == "ok"
    state, text, way_out = only([*trainer.memory(asked("--train", "7b-paper"))])
    assert state == "fails" and "no driver" in text and "--gpus" in way_out


def test_a_step_of_the_7b_fits_or_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """7.1 billion weights of float32 with gradients and two moments are 16 bytes each: 106 GiB over 8 GPUs is 13.2 GiB,
    and activations come on top."""
    monkeypatch.setattr(trainer, "gpus_here", lambda: ([Gpu(name="A", gib=10.0, free_gib=10.0)] * 8, ""))
    state, text, way_out = only([*trainer.memory(asked("--train", "7b-paper"))])
    assert state == "fails" and "of each of 8 GPUs, and one has 10.0" in text and "--lora-rank" in way_out
    needed = float(text.split("takes ")[1].split()[0])
    assert 14 < needed < 80
    monkeypatch.setattr(trainer, "answer_of", lambda *arguments: (needed - trainer.CUDA_GIB) * 2**30)
    assert trainer.fitting("7b-paper", 8, needed + 0.1).state == "ok"
    assert trainer.fitting("7b-paper", 8, needed - 0.1).state == "fails"
