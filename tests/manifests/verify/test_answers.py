"""Stored answers that are not what was stored are found, and nothing else of what lies in their folder."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from manifests.answers import record_of
from manifests.verify import answers
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import findings, found_in

FILE = "responses/000001-0123456789ab.jsonl"
NAME = "ümlaut ‹said›"
ANSWER = {"finish_reason": "stop", "model": "m", "text": NAME, "tokens_in": 3, "tokens_out": 2}


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _record(number: int) -> dict[str, Any]:
    """Put together by hand, by what the format says."""
    request = {"prompt": "p", "text": f"{NAME} {number}"}
    key = hashlib.sha256(_bytes(request)).hexdigest()
    return {
        "answer": ANSWER,
        "key": key,
        "request": request,
        "sha256": hashlib.sha256(_bytes([key, ANSWER])).hexdigest(),
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("answers") / "derain"
    make_dataset(str(root), units=1, pairs=2)
    (root / "responses").mkdir()
    return root


def _write(root: Path, *lines: bytes, name: str = FILE) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(b"".join(lines))


def _lines(*changed: tuple[int, dict[str, Any]]) -> list[bytes]:
    return [_bytes({**_record(number), **dict(changed).get(number, {})}) + b"\n" for number in range(4)]


def test_what_is_stored_is_what_the_format_says() -> None:
    record = _record(1)
    assert record_of(record["key"], record["request"], record["answer"]) == record


def test_sound_answers_have_no_findings(dataset: Path) -> None:
    old = {name: value for name, value in _record(9).items() if name in ("answer", "request")}
    _write(dataset, _bytes(old), name=f"responses/{_record(9)['key'][:2]}/{_record(9)['key']}.json")
    no_sum = {name: value for name, value in _record(8).items() if name != "sha256"}
    _write(dataset, *_lines(), _bytes(no_sum) + b"\n", _bytes(_record(7))[:40])  # the last is being written
    _write(dataset, b"mine", name="responses/notes.txt")
    assert findings(dataset) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": {**ANSWER, "text": "other"}}, "its answer was changed after it was stored"),
        ({"sha256": "ab" * 32}, "its answer was changed after it was stored"),
        ({"sha256": None}, "its answer was changed after it was stored"),
        ({"key": _record(1)["key"]}, "its request is not the one that was asked"),
        ({"request": {"prompt": "q"}}, "its request is not the one that was asked"),
        ({"request": None}, "its request is not the one that was asked"),
        ({"key": None}, "it is no answer"),
        ({"key": ["x"]}, "it is no answer"),
        ({"answer": "text"}, "it is no answer"),
    ],
)
def test_a_changed_line_is_named(change: dict[str, Any], said: str, dataset: Path) -> None:
    _write(dataset, *_lines((2, change)))
    found_in(dataset, FILE, f"line 3: {said}; remove that line to have the model asked again")


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"key": NaN}', b"9" * 9_000]
)
def test_a_damaged_line_is_named(line: bytes, dataset: Path) -> None:
    _write(dataset, *_lines()[:2], line + b"\n", *_lines()[2:])
    found_in(dataset, FILE, "line 3: it is no ", "remove that line")


def test_a_changed_file_of_one_answer_is_named(dataset: Path) -> None:
    _write(dataset, *_lines())
    key = _record(5)["key"]
    name = f"responses/{key[:2]}/{key}.json"
    for content, said in (
        ({"answer": ANSWER, "request": _record(6)["request"]}, "its request is not the one that was asked"),
        (_record(6), "it is no answer"),
    ):
        _write(dataset, _bytes(content), name=name)
        found_in(dataset, name, f"{said}; remove it to have the model asked again")
    (dataset / name).unlink()


def test_many_are_counted_and_long_lines_are_not_read(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(dataset, b"{}\n" * 5_000)
    found = findings(dataset)
    assert len(found) == answers.MOST_PROBLEMS + 1
    assert found[-1] == (FILE, "4,980 further lines are not as they were stored")
    monkeypatch.setattr(answers, "MOST_LINE_BYTES", 2**20)
    _write(dataset, *_lines(), b"x" * (3 * 2**20))
    found_in(dataset, FILE, "line 5: it is longer than 1 MiB")


def test_pipes_and_links_are_not_followed(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"secret")
    (dataset / FILE).unlink()
    os.mkfifo(dataset / FILE)
    found_in(dataset, FILE, "is no regular file; remove it")
    (dataset / FILE).unlink()
    (dataset / FILE).symlink_to(tmp_path / "elsewhere")
    found_in(dataset, FILE, "is no regular file; remove it")
    (dataset / FILE).unlink()
