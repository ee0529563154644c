"""What training needs, against the trainer's own estimate and by hand."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.doctor import trainer
from infra.doctor.gpus import Gpu
from infra.doctor.limits import TookTooLong
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


def test_a_step_fits_or_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 GiB, and CUDA's half of one."""
    monkeypatch.setattr(trainer, "gpus_here", lambda: ([Gpu(name="A", gib=30.4, free_gib=30.4)] * 8, ""))
    monkeypatch.setattr(trainer, "answer_of", lambda module, arguments, limit_s: 30 * 2**30)
    state, text, way_out = only([*trainer.memory(asked("--train", "7b-paper"))])
    assert state == "fails" and "takes 30.5 GiB of each of 8 GPUs, and one has 30.4" in text and "--lora" in way_out
    assert only([*trainer.memory(asked("--train", "7b-paper", "--gpu-gib", "30.5"))])[0] == "ok"


def test_a_step_that_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_of(module: str, arguments: list[str], limit_s: float) -> None:
        raise {"8": TookTooLong(), "7": ValueError("7 ranks cannot be divided")}[arguments[1]]

    monkeypatch.setattr(trainer, "answer_of", answer_of)
    assert trainer.fitting("7b-paper", 8, 80.0).state == "skipped"
    assert trainer.fitting("7b-paper", 7, 80.0).text == "7b-paper on 7 GPUs: 7 ranks cannot be divided"


@pytest.mark.infra  # 15 s of a core
def test_a_step_of_the_7b_as_the_trainers_own_estimate_has_it() -> None:
    """7.1 billion weights of float32 with gradients and two moments of 4 bytes are 106 GiB, over 8 GPUs 13.2 GiB;
    activations and gathered layers come on top."""
    found = trainer.fitting("7b-paper", 8, 10.0)
    needed = float(found.text.split("takes ")[1].split()[0])
    assert found.state == "fails" and 14 < needed < 80
    assert trainer.fitting("7b-paper", 8, needed + 0.1).state == "ok"
