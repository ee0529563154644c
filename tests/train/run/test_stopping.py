"""Signals that are heard once and agreed upon, hours that are over, and a second signal that ends at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

from train.run.parallel import start
from train.run.stopping import LAUNCHED, SIGNALS, STOP_FILE, Stop


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    start()
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_heard_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stop(0) as stop:
        assert stop.asked() is None
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # the same, which a launcher has passed on
        assert _soon(stop) == number.name
    assert signal.getsignal(number) == before


def test_hours_that_are_over() -> None:
    with Stop(1e-9) as stop:
        assert _soon(stop) == "--max-hours 1e-09"
    with Stop(1.0) as stop:
        assert stop.asked() is None


def test_the_launchers_file_is_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAUNCHED, str(tmp_path))
    with Stop(0) as stop:
        assert stop.asked() is None
        (tmp_path / STOP_FILE).write_text(str(int(signal.SIGUSR1)))
        assert stop.asked() == "SIGUSR1"


def test_a_second_signal_ends_a_rank_at_once() -> None:
    process = multiprocessing.get_context("fork").Process(target=_hang)
    process.start()
    assert process.pid
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGTERM)
    process.join(1.3)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 128 + signal.SIGTERM


def _hang() -> None:
    with Stop(0):
        time.sleep(60)


def _soon(stop: Stop) -> str | None:
    deadline_s = time.monotonic() + 10
    while (why := stop.asked()) is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return why
