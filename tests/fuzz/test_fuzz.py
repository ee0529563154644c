"""Thousands of inputs of the fuzzer, all that once failed, and whether it would notice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import DEADLINE_S, ROOT
from tests.fuzz import run, seeds
from tests.fuzz.mutate import fit_png, fit_tar
from tests.fuzz.run import Case, Failure, made, run_cases
from tests.fuzz.targets import Target

CORPUS = ROOT / "tests/data/fuzz"


def test_inputs_that_once_failed_and_some_more(tmp_path: Path) -> None:
    """In a process of its own: the fuzzer forks, which a process with threads had better not."""
    count = sum(path.is_file() for path in CORPUS.rglob("*"))
    assert count >= 8
    options = ["--replay", str(CORPUS), "--count", "2000", "--save", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *options], cwd=ROOT, capture_output=True, text=True, timeout=2 * DEADLINE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
    assert f"{count} inputs replayed" in done.stdout
    assert "2,000 inputs in" in done.stdout


def test_inputs_depend_on_their_number_alone() -> None:
    target = Target(name="png", seeds=seeds.pngs(), read=len, fit=fit_png)
    inputs = [made(target, 0, number) for number in range(len(target.seeds), 60)]
    assert inputs == [made(target, 0, number) for number in range(len(target.seeds), 60)]
    assert len({*inputs}) > 40
    assert made(target, 1, 50) != made(target, 0, 50)


def test_checksums_are_those_of_the_formats() -> None:
    """Files that are whole stay as they are, and a change of what is summed up is made good."""
    png, tar = seeds.pngs()[0], seeds.tars()[0]
    assert (fit_png(png), fit_tar(tar)) == (png, tar)
    assert fit_png(png[:29] + bytes(4) + png[33:]) == png
    assert fit_tar(tar[:148] + b"000000\0 " + tar[156:]) == tar


def _raise(data: bytes) -> None:
    raise KeyError("x")


def _crash(data: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _loop(data: bytes) -> None:
    while True:
        pass


def _wait(data: bytes) -> None:
    time.sleep(60)


def _eat(data: bytes) -> None:
    bytearray(2**26).count(1)


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (_raise, "KeyError in test_fuzz.py:_raise"),
        (_crash, "it ends the process, with status -9"),
        (_loop, "it takes more than 0.2 s of a CPU"),
        (_wait, "it hangs: it is not done after 3 s"),
        (_eat, "it takes more than 0.03125 GiB"),
    ],
)
def test_what_no_input_may_do_is_noticed(
    read: Callable[[bytes], None], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input that does it is told, and the others are run: those before it and behind it."""
    monkeypatch.setattr(run, "CPU_S", 0.2)
    monkeypatch.setattr(run, "WALL_S", 3.0)
    monkeypatch.setattr(run, "PEAK_BYTES", 2**25)
    target = Target(name="x", seeds=[b"sound"], read=lambda data: read(data) if data == b"bad" else None)
    cases = [Case(target="x", data=data) for data in (b"sound", b"bad", b"sound", b"bad")]
    *failures, count = run_cases({"x": target}, cases, 0)
    assert count == 4
    assert [failure.case for failure in failures if isinstance(failure, Failure)] == [cases[1], cases[3]]
    assert all(what in failure.what for failure in failures if isinstance(failure, Failure))
