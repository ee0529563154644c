"""The file of decisions: what counts, what a crash leaves, who may write, and what is refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from manifests.choose.decisions import MOST_LINE_BYTES, BadDecision, Decision, Ledger, place_of, read_ledger
from manifests.schema import DatasetError

A, B = "a" * 32, "b" * 32


def decided(pair: str = A, decision: str = "keep", reviewer: str = "Ada", **more: Any) -> Decision:
    return Decision(pair=pair, task="derain", decision=decision, reviewer=reviewer, time="2026-11-30T02:20:00Z", **more)


def fixed(instruction: str, direction: str = "forward", **more: Any) -> Decision:
    return decided(decision="fix", instruction=instruction, direction=direction, kind="generate", **more)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "decisions.jsonl")


def standing(ledger: Ledger) -> dict[str, dict[str, str]]:
    said = Ledger(ledger.path).read().standing
    return {pair: {name: one.decision for name, one in reviewers.items()} for pair, reviewers in said.items()}


def test_the_last_line_of_a_reviewer_for_a_pair_counts(ledger: Ledger) -> None:
    for one in (decided(), decided(decision="drop"), decided(reviewer="Bo"), decided(B, "flag"), decided(B, "clear")):
        ledger.append(one)
    assert standing(ledger) == {A: {"Ada": "drop", "Bo": "keep"}, B: {}}
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert [line["decision"] for line in lines] == ["keep", "drop", "keep", "flag", "clear"]  # nothing was changed
    assert Ledger(ledger.path).read().sha256 == hashlib.sha256(ledger.path.read_bytes()).hexdigest()


def test_fixes_of_several_examples_count_together_until_something_else_is_decided(ledger: Ledger) -> None:
    for one in (fixed("Dry it."), fixed("Let it pour."), fixed("Wet it.", "reverse")):
        ledger.append(one)
    fixes = Ledger(ledger.path).read().standing[A]["Ada"].fixes
    assert fixes == {("forward", "generate"): "Let it pour.", ("reverse", "generate"): "Wet it."}
    ledger.append(decided())
    ledger.append(fixed("Dry it."))
    assert Ledger(ledger.path).read().standing[A]["Ada"].fixes == {("forward", "generate"): "Dry it."}


def test_what_others_add_is_seen_without_reading_all_again(ledger: Ledger) -> None:
    reader = Ledger(ledger.path).read()
    ledger.append(decided())
    assert reader.read().changed == {A} and reader.standing[A]["Ada"].decision == "keep"
    reader.changed.clear()
    ledger.append(decided(B))
    assert reader.read().changed == {B}
    ledger.path.unlink()
    ledger.append(decided(decision="drop"))  # another file
    assert {pair: {*names} for pair, names in reader.read().standing.items()} == {A: {"Ada"}}


def test_a_line_cut_at_any_byte_is_told_and_the_next_one_counts(ledger: Ledger) -> None:
    ledger.append(decided())
    whole = ledger.path.read_bytes()
    second = fixed("Nimm den Regen weg — vollständig.", pair=B).line
    for cut in [*range(1, len(second), 3), *range(len(second) - 40, len(second) + 1)]:
        ledger.path.write_bytes(whole + second[:cut])
        found = Ledger(ledger.path).read()
        is_whole = cut == len(second)  # its end of line alone is lost
        assert (B in found.standing, found.torn) == (is_whole, [] if is_whole else [2])
        assert found.sha256 == hashlib.sha256(ledger.path.read_bytes()).hexdigest()
        if cut % 60 != 1 and not is_whole:
            continue
        ledger.append(decided(B, "drop"))
        for after in (found.read(), Ledger(ledger.path).read()):
            assert after.standing[B]["Ada"].decision == "drop"
            assert after.torn == ([] if is_whole else [2])
            assert is_whole or f"{ledger.path}: line 2 cut off by a crash" in after.told()
        assert ledger.path.read_bytes().startswith(whole + second[:cut])


def _add(path: Path, reviewer: str) -> None:
    ledger = Ledger(path)
    for number in range(100):
        ledger.append(decided(f"{number:032x}", reviewer=reviewer))


def test_two_processes_may_add_at_once(ledger: Ledger) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=_add, args=(ledger.path, n)) for n in ("Ada", "Bo")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    found = Ledger(ledger.path).read()
    assert (found.lines, found.torn) == (200, [])
    assert all({*reviewers} == {"Ada", "Bo"} for reviewers in found.standing.values())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\0\0\0", "is no decision"),
        (b"", "is no decision"),
        (b"[1]", "it is no JSON object"),
        (b"{}", "its entries are not decision, pair, reviewer, task, time"),
        (decided(decision="burn").line, "its decision is 'burn'"),
        (decided("../../etc").line, "its pair is '../../etc'"),
        (decided(A + "\n").line, "its pair is"),
        (decided(reviewer="").line, "a reviewer's name has 1 to 64"),
        (decided(reviewer="Ada\x1b[2J").line, "a reviewer's name has 1 to 64"),
        (decided(reviewer="x" * 65).line, "a reviewer's name has 1 to 64"),
        (decided(decision="fix").line, "its entries are not decision, direction, instruction"),
        (fixed(" ").line, "an instruction has 1 to 4,000"),
        (fixed("x" * 4_001).line, "an instruction has 1 to 4,000"),
        (fixed("\u202etxet").line, "an instruction has 1 to 4,000"),
        (b'{"pair":' + b"[" * 100_000, "bytes, and a decision has"),
        (b"[" * 20_000, "nested too deeply"),
        (decided(reviewer="x").line.replace(b'"x"', b'"\\ud800"'), "surrogates not allowed"),
        (decided().line.replace(b'"Ada"', b"7"), "its reviewer is no text"),
        (decided().line.replace(b'"Ada"', b"Ada"), "is no decision"),
        (decided().line.replace(b"Ada", b"Ad\xff"), "is no decision"),
        (decided().line + decided(B).line, "is no decision"),
    ],
)
def test_a_line_of_somebody_else_is_refused_by_file_and_line(ledger: Ledger, line: bytes, why: str) -> None:
    ledger.append(decided())
    ledger.path.write_bytes(ledger.path.read_bytes() + line + b"\n" + decided(B).line + b"\n")
    with pytest.raises(BadDecision) as refused:
        Ledger(ledger.path).read()
    assert str(refused.value).startswith(f"{ledger.path}, line 2, is no decision: ") and why in str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


def test_what_is_no_file_is_neither_read_nor_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for name, why in (("pipe", "is no file"), ("link", "is a link")):
        with pytest.raises(BadDecision, match=why):
            Ledger(tmp_path / name).append(decided())
    with pytest.raises((BadDecision, OSError)):
        Ledger(tmp_path / "pipe").read()
    assert (tmp_path / "secret").read_text() == ""
    big = tmp_path / "big"
    big.touch()
    os.truncate(big, 2**40)
    with pytest.raises(BadDecision, match=r"bytes, and 268,435,456 are read at most"):
        Ledger(big).read()
    with pytest.raises(BadDecision, match="is full"):
        Ledger(big).append(decided())
    most = len(fixed("\u4e00" * 4_000, reviewer="\u4e00" * 64).line)
    assert most < MOST_LINE_BYTES


def test_where_decisions_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    (data / "derain").mkdir(parents=True)
    (data / "derain/plan.parquet").touch()
    beside = data / "decisions.jsonl"
    assert place_of(str(data)) == place_of(f"{data}/derain") and str(place_of(str(data))) == str(beside)
    assert place_of(str(data), f"{tmp_path}/mine.jsonl").path == tmp_path / "mine.jsonl"
    for inside in (data / "derain/mine.jsonl", data / "derain/shards/mine.jsonl"):
        with pytest.raises(BadDecision, match=f"is inside the dataset {data}/derain"):
            place_of(str(data), str(inside))
    with pytest.raises(BadDecision, match="is not on this machine"):
        place_of(str(data), "s3://bucket/mine.jsonl")
    monkeypatch.chdir(tmp_path)
    assert str(place_of("memory://data")) == f"{tmp_path}/decisions.jsonl (memory://data is not on this machine)"
    can = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != data and can(path, mode))
    assert str(place_of(str(data))) == f"{tmp_path}/decisions.jsonl ({data} cannot be written to)"
    assert read_ledger(str(tmp_path), None) is None
    with pytest.raises(DatasetError, match="there is no file"):
        read_ledger(str(tmp_path), str(tmp_path / "none"))
