"""Tiny checkpoints are written once, whoever else asks for them at the same time."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from infra.tiny import models


def _ensure(folder: Path, start: object) -> None:
    """In a process of its own, with a writer that would stumble over another's."""

    def write(folder: Path) -> None:
        (folder / "role").mkdir()
        with (folder / "written").open("a") as written:
            written.write("once\n")

    models.write_tiny = write
    start.wait()  # type: ignore[attr-defined]
    models.ensure_tiny(folder)


def test_of_two_processes_one_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")  # another test may have connected this process to a Ray
    start = context.Barrier(2)
    processes = [context.Process(target=_ensure, args=(tmp_path / "tiny", start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "tiny" / "written").read_text() == "once\n"


def test_what_is_unfinished_is_written_again_and_what_is_finished_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def fail(folder: Path) -> None:
        calls.append(folder)
        raise OSError("no space left")

    monkeypatch.setattr(models, "write_tiny", fail)
    with pytest.raises(OSError, match="no space left"):
        models.ensure_tiny(tmp_path)
    monkeypatch.setattr(models, "write_tiny", calls.append)
    for _ in range(2):
        models.ensure_tiny(tmp_path)
    assert calls == [tmp_path, tmp_path]
