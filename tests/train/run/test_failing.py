"""An error of several ranks, in processes of their own: who prints it, and what becomes of the others."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from unittest import mock

import pytest

from infra.slurm.ports import free_port
from train.run import failing

LOST = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"


def _ranks(folder: Path, lines: list[str], wait_s: float = 20.0) -> list[tuple[str, str]]:
    """What each rank prints, and what its call returns. A rank whose line is LOST has had that of a collective."""
    fork, port = multiprocessing.get_context("fork"), free_port()
    processes = [
        fork.Process(target=_fail, args=(folder, rank, len(lines), port, line, wait_s))
        for rank, line in enumerate(lines)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    outs = [(folder / str(rank)).read_text().split("|") for rank in range(len(lines))]
    return [(said, returned) for said, returned in outs]


def _fail(folder: Path, rank: int, ranks: int, port: int, line: str, wait_s: float) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    said: list[str] = []
    if not line:  # killed
        (folder / str(rank)).write_text("|")
        return
    say = mock.patch.object(failing, "say", lambda text, error: said.append(text))
    with say, mock.patch.object(failing, "_WAIT_S", wait_s):
        found = failing.is_consequence(RuntimeError(line)) if line == LOST else failing.tell(line)
    (folder / str(rank)).write_text(f"{' '.join(said)}|{found}")


def test_what_all_ranks_have_is_printed_once(tmp_path: Path) -> None:
    for attempt in range(10):  # rank 0 holds the store and may end while rank 1 is still at it
        folder = tmp_path / str(attempt)
        folder.mkdir()
        assert _ranks(folder, ["no model", "no model"]) == [("no model", "True"), ("", "True")]


def test_what_some_have_names_them(tmp_path: Path) -> None:
    assert _ranks(tmp_path, ["full", "gone", "full"]) == [
        ("ranks 0, 2: full", "False"),
        ("rank 1: gone", "False"),
        ("", "False"),
    ]


def test_a_broken_collective_is_silent_where_another_rank_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _ranks(tmp_path, ["disk full", LOST], wait_s=2) == [("rank 0: disk full", "False"), ("", "True")]
    assert not capfd.readouterr().err  # PyTorch's warnings of a wait that took too long, around the one line


def test_ranks_that_have_lost_one_that_said_nothing_say_so(tmp_path: Path) -> None:
    said = [line for line, returned in _ranks(tmp_path, [LOST, LOST, ""], wait_s=2) if line]
    assert said and {line.partition(": ")[2] for line in said} == {failing.GONE}


def test_another_error_is_no_consequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not failing.is_consequence(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_one_process_just_says_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert failing.tell("no model at x")
    assert capsys.readouterr().err == "no model at x\n"
