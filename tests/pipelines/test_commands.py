from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.command import main
from tests.commands import Running, committed, run, shards_command
from tests.datasets import make_dataset, sha256_by_file
from tests.pipelines.doored import CLOSED_DOOR, DOORED
from tests.sources import write_files, write_photos, write_rain13k


@pytest.mark.parametrize(
    ("files", "data", "message"),
    [
        ({}, "absent", "DATA: there is no folder"),
        ({"file.jpg": b"1"}, "file.jpg", "file.jpg is a file: point DATA at the folder that holds it"),
        ({"sub/folder/x.jpg": b"1"}, "empty", "is empty"),
        ({"notes.txt": b"1"}, "", "has nothing that derain can read. It reads input/ and target/"),
        ({"input/1.jpg": b"1"}, "", "has files in input/ but none in target/ beside it"),
        ({"train/target/1.jpg": b"1"}, "", "has files in target/ but none in input/ beside it"),
    ],
)
def test_data_that_cannot_be_read_is_one_line_and_nothing_is_written(
    files: dict[str, bytes],
    data: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "data/empty").mkdir(parents=True)
    write_files(tmp_path / "data", files)
    status, errors = _main(monkeypatch, capsys, "--data", str(tmp_path / "data" / data), "--out", str(tmp_path / "out"))
    assert status == 2
    assert message in errors and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_process_says_it_on_stderr_and_exits_2(tmp_path: Path) -> None:
    done = run(shards_command(tmp_path / "absent", tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"xprompt shards: DATA: there is no folder {tmp_path}/absent\n"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_task_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["xprompt", "shards", "unrain", "--out", str(tmp_path)])
    assert main() == 2
    assert capsys.readouterr().err == (
        "xprompt shards: there is no task 'unrain': did you mean derain? `xprompt tasks` lists them all\n"
    )


def test_another_seed_or_source_in_the_same_out_is_refused_and_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, other = write_photos(tmp_path / "photos", 3), write_rain13k(tmp_path / "rain13k", 3)
    make_dataset(tmp_path / "out", data)
    before = sha256_by_file(tmp_path / "out")
    for options, difference in (
        (["--data", str(data), "--seed", "1"], "seed: 0 there, 1 now"),
        (["--data", str(other)], "source.reader: 'PhotoFolder' there, "),
        ([], "items: 3 there, 320 now"),
    ):
        status, errors = _main(monkeypatch, capsys, *options, "--out", str(tmp_path / "out"))
        assert status == 2
        assert difference in errors and "Choose another OUT" in errors
    assert sha256_by_file(tmp_path / "out") == before


def test_a_rerun_of_a_finished_dataset_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray is not even started."""
    data = write_photos(tmp_path / "photos", 3)
    make_dataset(tmp_path / "out", data)
    before = sha256_by_file(tmp_path / "out")
    monkeypatch.setattr("pipelines.api.ray_session", None)
    monkeypatch.setattr(sys, "argv", shards_command(data, tmp_path / "out")[2:])
    assert main() == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert sha256_by_file(tmp_path / "out") == before


def test_a_relative_out_is_refused_inside_a_submitted_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    status, errors = _main(monkeypatch, capsys, "--out", "data")
    assert status == 2 and "OUT=data is relative" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param([(signal.SIGINT, os.killpg)], id="once"),
        pytest.param([(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)], id="twice", marks=pytest.mark.chaos),
    ],
)
def test_interrupted_it_says_how_to_go_on_and_ends_with_the_same_bytes(
    signals: list[tuple[signal.Signals, Callable[[int, int], None]]], tmp_path: Path
) -> None:
    """By Ctrl-C, which reaches the whole process group, then by a scheduler's SIGTERM, which reaches the driver."""
    data, out, door = write_photos(tmp_path / "photos", 256), tmp_path / "out", tmp_path / "closed"
    units = make_dataset(tmp_path / "undisturbed", data, task=DOORED).plan().units
    command = [*shards_command(data, out, "--cpus", "1")]
    command[command.index("derain")] = "tests/pipelines/doored.py:DOORED"
    for number, send in signals:
        before = committed(out, "doored")
        with Running(command, {CLOSED_DOOR: str(door)}) as running:
            running.until(lambda before=before: committed(out, "doored") > before)  # type: ignore[misc]
            door.touch()
            time.sleep(1)  # Ray can abort where a task is cancelled while its answer arrives
            send(running.process.pid, number)
            done = running.wait()
        door.unlink()
        assert done.returncode == 130, done
        kept = committed(out, "doored")
        assert before < kept < units
        assert f"Stopped: {kept} of {units} shards are finished and kept." in done.stdout
        assert "The same command goes on from there." in done.stdout
        assert done.stderr == ""
        assert not (out / "doored/dataset.json").exists()
    done = run(command)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{kept} of them there already" in done.stdout
    assert sha256_by_file(out / "doored") == sha256_by_file(tmp_path / "undisturbed/doored")


@pytest.mark.parametrize(
    ("task", "name", "message"),
    [
        ("denoise", "derain", "--hold-out derain leaves out pairs of derain: denoise has none of them"),
        ("derain", "lowlight", "--hold-out lowlight leaves out pairs of lowlight and retouch: derain has none of them"),
    ],
)
@pytest.mark.parametrize("command", ["shards", "plan"])
def test_a_novel_task_that_a_task_has_nothing_of_is_refused(
    command: str, task: str, name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, task, "--hold-out", name, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"xprompt {command}: {message}\n"


BAD_PLACES = {"a file": "file", "below a file": "file/x", "cannot be made": "/proc/xprompt/x"}


@pytest.mark.parametrize("place", BAD_PLACES.values(), ids=BAD_PLACES.keys())
@pytest.mark.parametrize(
    "command",
    [
        ["shards", "derain", "--data", "photos", "--out", "PLACE"],
        ["shards", "derain", "--out", "out", "--data", "PLACE"],
        ["plan", "derain", "--data", "PLACE"],
        ["tokens", "derain", "--out", "PLACE"],
        *([name, "PLACE"] for name in ("ls", "verify", "browse", "dups", "contexts", "similarity")),
        ["sql", "SELECT 1", "PLACE"],
        ["show", "ab", "PLACE"],
        ["contact-sheet", "PLACE"],
        ["hashes", "PLACE", "--name", "n"],
        ["hashes", "photos", "--name", "n", "--out", "PLACE/guard"],
        ["recipe", "--data-root", "root", "--out", "PLACE"],
        ["shards", "derain", "--data", "photos", "--out", "out", "--guard", "PLACE"],
        ["shards", "hed2img", "--data", "photos", "--out", "out", "--models", "PLACE"],
    ],
    ids=" ".join,
)
def test_a_bad_place_is_one_line_that_names_it(
    command: list[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before Ray is started, which the commands here do not get to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.api.ray_session", None)
    write_photos(tmp_path / "photos", 2)
    write_rain13k(tmp_path / "root/Rain13K", 2)
    (tmp_path / "file").write_bytes(b"x")
    assert main([word.replace("PLACE", place) for word in command]) in (1, 2)
    (line,) = capfd.readouterr().err.splitlines()
    assert place.removesuffix("/x") in line


def test_keep_all_is_for_tasks_whose_gates_judge_by_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, errors = _main(monkeypatch, capsys, "--keep", "all", "--out", str(tmp_path / "out"))
    assert (status, errors) == (2, "xprompt shards: KEEP=all: derain has no gate that judges by scores\n")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--estimator", "dwpose", "xprompt shards: there is no option --estimator (xprompt shards --help)\n"),
        ("--generator", "flux", "xprompt shards: there is no option --generator (xprompt shards --help)\n"),
    ],
)
def test_a_choice_that_a_task_does_not_have_is_one_line(
    option: str,
    value: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _main(monkeypatch, capsys, option, value, "--out", str(tmp_path / "out")) == (2, message)
    assert not (tmp_path / "out").exists()


def test_the_estimator_that_is_chosen_is_the_one_that_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {"sd15/weights": b"1", "blazepose/weights": b"1"})
    monkeypatch.setattr(sys, "argv", ["xprompt", "plan", "pose", "--estimator", "dwpose", "--models", str(tmp_path)])
    assert main() == 2
    errors = capsys.readouterr().err
    assert "dwpose (yzd-v/DWPose, licence: Apache-2.0) is not in MODELS=" in errors and errors.count("\n") == 1


@pytest.mark.parametrize("share", ["0", "1.5", "-1", "nan", "much", "1%"])
def test_a_share_is_above_0_and_up_to_1(
    share: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, errors = _main(monkeypatch, capsys, f"--scale={share}")
    said = f"--scale: {share} is not a share above 0 and up to 1, such as 0.01 (xprompt shards --help)"
    assert (status, errors) == (2, f"xprompt shards: {said}\n")


def test_a_trial_is_a_share_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rain13k(tmp_path, 20)
    monkeypatch.setattr(sys, "argv", ["xprompt", "plan", "derain", "--data", str(data), "--scale", "0.25"])
    assert main() == 0
    assert ["items", "5"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def _main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Exit status and standard error of `xprompt shards derain`, in this process."""
    monkeypatch.setattr(sys, "argv", ["xprompt", "shards", "derain", *options])
    return main(), capsys.readouterr().err
