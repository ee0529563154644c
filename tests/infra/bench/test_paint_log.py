"""The figures of the bench of GPUs, against sums by hand, and a painter that is really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.bench.paint_log import Waste, busy_share, painting, read_log, steady, waste
from tests.commands import ROOT

# Two GPUs. The first paints from 0 to 4 and from 5 to 9; the second is killed at its first picture, begun at 1, and
# paints that again from 3 to 6, and once more, needlessly, from 6 to 8.
_LOG = """\
begin 1 a/0 flux p1 0.0
begin 2 a/1 flux p2 1.0
begin 3 a/1 flux p2 3.0
end 1 a/0 flux p1 4.0
begin 1 a/0 flux p3 5.0
end 3 a/1 flux p2 6.0
begin 3 a/1 flux p2 6.0
end 3 a/1 flux p2 8.0
end 1 a/0 flux p3 9.0
"""


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "log"
    path.write_text(_LOG)
    return str(path)


def test_busy_share_counts_what_was_ended(log: str) -> None:
    paintings = read_log(log)
    assert busy_share(paintings, 2, 0.0, 10.0) == pytest.approx((4 + 4 + 3 + 2) / 20)
    assert busy_share(paintings, 2, 2.0, 5.5) == pytest.approx((2 + 0.5 + 2.5) / 7)


def test_steady_is_from_the_last_begin_to_the_first_end(log: str) -> None:
    assert steady(read_log(log), 2) == (1.0, 8.0)
    assert steady(read_log(log), 3) is None


def test_waste_tells_what_was_in_hand_from_what_was_painted_again(log: str) -> None:
    assert waste(read_log(log)) == Waste(in_hand=1, again=1)


def test_a_line_that_is_not_all_there_yet_is_left(log: str) -> None:
    with Path(log).open("a") as file:
        file.write("begin 1 a/0 flux p4 9.")
    assert len(read_log(log)) == 5


def test_a_killed_painter_leaves_its_gpu_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    log = str(tmp_path / "log")
    code = (
        "import sys, time; from infra.bench.paint_log import painting\n"
        "with painting(sys.argv[1], 'flux', 'p1'): time.sleep(60)"
    )
    painter = subprocess.Popen([sys.executable, "-c", code, log], cwd=ROOT)
    while not read_log(log):
        time.sleep(0.01)
    os.kill(painter.pid, signal.SIGKILL)
    painter.wait()
    with painting(log, "flux", "p1"):
        assert [one.pid for one in read_log(log)] == [painter.pid, os.getpid()]
    first, second = read_log(log)
    assert first.gpu == second.gpu and first.ended_s is None and second.ended_s is not None
