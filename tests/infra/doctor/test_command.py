"""`xprompt doctor`, as a user types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from infra.command import main
from infra.doctor import machine
from infra.doctor.command import main as doctor
from infra.doctor.finding import fails
from tests.commands import ROOT, Running


def test_a_machine_on_which_derain_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["doctor", "TASK=derain", f"OUT={tmp_path}/data", "SCALE=0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line[9:22].strip() for line in lines[:-1]]
    assert names == [
        *("Python", "packages", "memory", "open files", "/dev/shm", "Ray's folder", "ports", "DATA", "MODELS"),
        *("OUT", "clock", "disk", "inodes", "GPUs"),
    ]
    assert {line.split()[0] for line in lines[:-1]} <= {"ok", "warning"}
    assert lines[-1].startswith("nothing is in the way of derain on this machine alone (no RAY_ADDRESS): ")
    assert [*tmp_path.iterdir()] == []


def test_what_fails_is_told_with_the_way_out_and_by_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "\x1b[31mred"
    hostile.write_text("")
    monkeypatch.setattr(machine, "python", lambda: iter([fails("Python", "old", "a new one")]))
    assert doctor(["derain", "--out", str(hostile), "--ray-address", "local"]) == 1
    printed = capsys.readouterr().out
    assert "fails    Python        old: a new one\n" in printed and "\\x1b[31mred" in printed and "\x1b" not in printed
    states = Counter(line.split()[0] for line in printed.splitlines()[:-1])
    assert f"derain would fail on this machine alone (no RAY_ADDRESS): {states['ok']} ok, 2 fail" in printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("derian", "xprompt doctor: there is no task 'derian': did you mean derain?"),
        ("derain --sed 1", "xprompt doctor: there is no option --sed: did you mean --seed?"),
        ("TASK=derain OUTT=x", "xprompt doctor: there is no variable OUTT: did you mean OUT?"),
        ("--seed 1", "xprompt doctor: --seed says something of a task: name one, as in `xprompt doctor derain`"),
        ("editing", "xprompt doctor: editing needs a vision-language model: set VLM and VLM_MODEL"),
        ("--train 7b-papr", "xprompt doctor: there is no --train 7b-papr: did you mean 7b-paper?"),
        ("derain --out=", "xprompt doctor: --out: it is empty: give a folder or a URL"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(arguments: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(line) and printed.err.count("\n") == 1, printed.err


def test_a_task_may_stand_behind_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--scale", "2", "derain"]) == 2
    assert "--scale: 2 is not a share" in capsys.readouterr().err


_SLOW = """
import signal, sys, time
from infra.doctor import command
from infra.doctor.finding import Check

def checks(asked, undoing):
    def hangs():
        with undoing.after("a file", lambda: print("removed", flush=True)):
            print("begun", flush=True)
            time.sleep(600)
        return []
    yield Check(name="disk", limit_s=float(sys.argv[1]), run=hangs)

command.checks = checks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
sys.exit(command.main(["derain"]))
"""


def test_a_check_that_hangs_does_not_keep_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SLOW, "0.2"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1 and "fails    disk          no answer within 0.2 s" in done.stdout
    assert done.stdout.endswith("removed\n")


def test_ctrl_c_ends_it_and_takes_away_what_was_made() -> None:
    with Running([sys.executable, "-c", _SLOW, "600"]) as running:
        assert running.process.stdout and running.process.stdout.readline() == "begun\n"
        os.kill(running.process.pid, signal.SIGINT)
        done = running.wait()
    assert (done.returncode, done.stderr) == (130, "") and done.stdout == "removed\n"
