"""Operators that hang, in processes of their own: what holds no lock of Python's, and what holds the interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from manifests.write.writer import UnitWriter
from operators.base import Limited, Link
from operators.read.photos import PhotoFolder
from operators.timeouts import timeout_s
from pipelines.run.hanging import STATUS
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from tests.commands import ROOT
from tests.datasets import plan_job
from tests.sources import write_photos

PROGRAM = """
import ctypes, sys, time
from pipelines.run import hanging

hanging._GRACE_S = 2.0

class Operator:
    def __init__(self, timeout_s):
        self.timeout_s = timeout_s

def worked(timeout_s, pairs, work):
    with hanging.watched(Operator(timeout_s), pairs):
        work()

in_python = lambda seconds: lambda: time.sleep(seconds)
in_native_code = lambda seconds: lambda: ctypes.PyDLL(None).sleep(seconds)  # which does not let go of the interpreter
"""


@pytest.mark.parametrize("began_s", [0.0, 1.5])
@pytest.mark.parametrize("hanging", ["in_python(600)", "in_native_code(600)"])
def test_an_operator_that_hangs_ends_its_process_which_says_where(
    hanging: str, began_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it hangs with its first instruction or later."""
    done = _run(f"worked(2.0, 1, lambda: (in_python({began_s})(), {hanging}()))")
    assert done.returncode in (1, STATUS), done  # faulthandler's status is 1
    assert "worked" in done.stderr and '"<string>"' in done.stderr
    assert "never" not in done.stdout


def test_later_operators_are_watched_too() -> None:
    """After others that took their time, and after a while without one."""
    done = _run("worked(30.0, 1, in_python(1.2)); time.sleep(1.5); worked(2.0, 1, in_python(600))")
    assert done.returncode == STATUS
    done = _run("worked(3.0, 1, in_python(1.2)); time.sleep(1.5); worked(2.0, 1, in_native_code(600))")
    assert done.returncode in (1, STATUS)


def test_each_thread_has_its_own_operator() -> None:
    """One that comes and goes beside one that hangs."""
    done = _run(
        "import threading\n"
        "threading.Thread(target=worked, args=(5.0, 1, in_python(600)), daemon=True).start()\n"
        "while True: worked(60.0, 1, in_python(0.1))"
    )
    assert done.returncode == STATUS


def test_what_is_slow_but_allowed_is_left_alone() -> None:
    """Each pair of a batch has the whole time; nothing is counted on after its end, nor while no operator works."""
    done = _run(
        "worked(1.5, 4, in_python(3)); worked(1.5, 4, in_native_code(3))\n"
        "for _ in range(5): worked(2.0, 1, in_python(0.7))\n"
        "time.sleep(3)"
    )
    assert (done.returncode, done.stdout) == (0, "never hung\n"), done


def test_an_operator_that_fails_is_not_watched_any_more() -> None:
    done = _run("try: worked(1.0, 1, lambda: 1 / 0)\nexcept ZeroDivisionError: time.sleep(3)\n")
    assert (done.returncode, done.stdout) == (0, "never hung\n"), done


def _run(work: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{PROGRAM}\n{work}\nprint('never hung')"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


def test_reading_storing_and_committing_are_watched_as_operators_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not answer hangs them; nothing else touches one."""
    held: list[float] = []
    seen: list[tuple[str, int]] = []

    @contextmanager
    def using(link: Link | Limited, pairs: int) -> Iterator[None]:
        held.append(timeout_s(link) * pairs)
        yield
        held.pop()

    def noting(of: type[Any], name: str) -> None:
        plain = getattr(of, name)

        def noted(*arguments: Any) -> Any:
            seen.append((name, len(held)))
            assert 300 <= held[0] < 3_600
            return plain(*arguments)

        monkeypatch.setattr(of, name, noted)

    noting(PhotoFolder, "read")
    noting(UnitWriter, "add")
    noting(UnitWriter, "commit")
    job = plan_job(tmp_path / "out", write_photos(tmp_path / "photos", 2))
    make_unit(job, 0, Spent(), using=using)
    assert sorted(seen) == [("add", 1), ("add", 1), ("commit", 1), ("read", 1), ("read", 1)]
    assert held == []
