"""The store of answers: what is replayed after kills, merges, damage and beside other writers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from manifests.schema import canonical_json
from manifests.storage import Store
from operators.vlm import responses as vlm_responses
from operators.vlm.responses import Answer, Responses
from tests.commands import ROOT

ANSWER = Answer(text="Ja: ‹ü›\n", model="m-2026", finish_reason="stop", tokens_in=3, tokens_out=2)


@pytest.fixture(params=["disk", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "disk":
        yield str(tmp_path / "responses")
    else:
        yield f"memory://answers{tmp_path}"
        if (fs := fsspec.filesystem("memory")).exists("/answers"):
            fs.rm("/answers", recursive=True)


def _as_a_bucket_lists(ls: Callable[..., Any]) -> Callable[..., Any]:
    """A listing that is of one moment. That of memory:// fails where a thread removes a file meanwhile."""

    def listed(*arguments: Any, **options: Any) -> Any:
        while True:
            try:
                return ls(*arguments, **options)
            except KeyError:
                continue

    return listed


def _asked(number: int) -> dict[str, Any]:
    return {"prompt": "p", "text": str(number)}


def _key(number: int) -> str:
    return hashlib.sha256(b'{"prompt":"p","text":"%d"}' % number).hexdigest()


def _line(number: int, text: str = "it is") -> dict[str, Any]:
    """A line as it is to be, put together by hand; without its sha256 as older datasets have it."""
    answer = asdict(_say(number, text))
    said = json.dumps([_key(number), answer], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sha256 = hashlib.sha256(said.encode()).hexdigest()
    return {"answer": answer, "key": _key(number), "request": _asked(number), "sha256": sha256}


def _without_sum(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "sha256"}


def _bytes(record: dict[str, Any]) -> bytes:
    return (canonical_json(record) + "\n").encode()


def _say(number: int, text: str = "it is") -> Answer:
    return replace(ANSWER, text=f"{text} {number}")


def _write(url: str, numbers: range, text: str = "it is") -> None:
    """What a process of its own would do, which then ends."""
    responses = Responses(url)
    for number in numbers:
        responses.add(_key(number), _asked(number), _say(number, text))
    responses.close()


def _texts(url: str, numbers: range) -> list[str | None]:
    responses = Responses(url)
    found = [responses.get(_key(number)) for number in numbers]
    return [answer.text if answer else None for answer in found]


def _files(url: str) -> list[str]:
    return Store(url).names("")


def test_an_answer_comes_back_as_it_was(url: str) -> None:
    responses = Responses(url)
    assert responses.get(_key(1)) is None and _key(1) not in responses
    responses.add(_key(1), _asked(1), ANSWER)
    responses.flush()
    assert responses.get(_key(1)) == ANSWER and _key(1) in responses
    assert responses.get(_key(2)) is None
    again = Responses(url)
    assert again.get(_key(1)) == ANSWER and len(again) == 1


def test_only_what_is_kept_is_replayed(url: str) -> None:
    """On a disk at once, in a bucket by the flush."""
    responses = Responses(url)
    responses.add(_key(1), _asked(1), ANSWER)
    assert responses.kept_at_once == (Responses(url).get(_key(1)) == ANSWER) == (responses.get(_key(1)) == ANSWER)
    responses.flush()
    assert Responses(url).get(_key(1)) == ANSWER


def test_a_line_holds_key_request_and_answer_and_nothing_of_time_or_place(url: str) -> None:
    _write(url, range(1))
    (name,) = _files(url)
    assert Store(url).read(name) == _bytes(_line(0))


def test_nothing_is_written_where_nothing_was_added(url: str) -> None:
    _write(url, range(0))
    assert _files(url) == []


def test_the_first_answer_to_a_request_counts(url: str) -> None:
    _write(url, range(3), "first")
    other = Responses(url)
    other.add(_key(2), _asked(2), _say(2, "second"))
    other.close()
    assert other.get(_key(2)) == _say(2, "first")
    assert len(_files(url)) == 1  # it is not even written
    unaware = Store(url)
    unaware.write_bytes("000009-0123456789ab.jsonl", _bytes(_line(2, "second")))
    assert _texts(url, range(3)) == ["first 0", "first 1", "first 2"]


def test_another_process_sees_what_is_written_meanwhile(url: str) -> None:
    reader, writer = Responses(url), Responses(url)
    for number in range(5):
        writer.add(_key(number), _asked(number), _say(number))
        writer.flush()
        assert reader.get(_key(number)) is None
        reader.refresh()
        assert reader.get(_key(number)) == _say(number)
    assert len(reader) == 5


def test_many_readers_while_a_thread_writes_and_merges(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees a growing number of whole answers, all of them right."""
    monkeypatch.setattr(vlm_responses, "MERGED_AT_ONCE", 4)
    monkeypatch.setattr(MemoryFileSystem, "ls", _as_a_bucket_lists(MemoryFileSystem.ls))
    writer, ended = Responses(url), threading.Event()

    def write() -> None:
        for number in range(200):
            writer.add(_key(number), _asked(number), _say(number))
            if number % 3 == 0:
                writer.flush()
                writer.tidy()
        writer.close()
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    reader, seen = Responses(url), 0
    while not ended.is_set() or seen < 200:
        reader.refresh()
        assert len(reader) >= seen
        seen = len(reader)
        assert [reader.get(_key(number)) for number in range(seen)] == [_say(number) for number in range(seen)]
    thread.join()
    assert _texts(url, range(200)) == [f"it is {number}" for number in range(200)]


def test_what_is_merged_is_seen_by_who_looked_before_the_small_ones_were_removed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_responses, "MERGED_AT_ONCE", 2)
    for number in range(4):
        _write(url, range(number, number + 1))
    reader, writer = Responses(url), Responses(url)
    remove = writer._store.remove

    def look_and_remove(name: str) -> None:
        reader.refresh()  # the small ones and what they were merged into are there
        remove(name)

    monkeypatch.setattr(writer._store, "remove", look_and_remove)
    writer.tidy()
    for number in reversed(range(4)):
        assert reader.get(_key(number)) == _say(number)
    assert len(reader) == 4


@pytest.mark.parametrize("lost", [1, 2, 40, 10_000])
def test_a_torn_tail_loses_the_torn_answer_alone(lost: int, tmp_path: Path) -> None:
    _write(str(tmp_path), range(3))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    last = data[:-1].rfind(b"\n") + 1
    path.write_bytes(data[: max(last, len(data) - lost)])
    assert _texts(str(tmp_path), range(3)) == ["it is 0", "it is 1", None]
    _write(str(tmp_path), range(2, 5))
    assert _texts(str(tmp_path), range(5)) == [f"it is {number}" for number in range(5)]


def test_a_line_that_is_being_written_is_seen_once_it_is_whole(tmp_path: Path) -> None:
    _write(str(tmp_path / "other"), range(2))
    (other,) = (tmp_path / "other").iterdir()
    data, path = other.read_bytes(), tmp_path / "here" / other.name
    path.parent.mkdir()
    path.write_bytes(data[:-5])
    reader = Responses(str(path.parent))
    assert (reader.get(_key(0)), reader.get(_key(1))) == (_say(0), None)
    path.write_bytes(data)
    reader.refresh()
    assert reader.get(_key(1)) == _say(1)


WRITER = """
import sys
from operators.vlm.responses import Answer, Responses
from tests.operators.vlm.test_responses import _asked, _key, _say
responses = Responses(sys.argv[1])
for number in range(int(sys.argv[2]), 1_000_000):
    responses.add(_key(number), _asked(number), _say(number))
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_loses_nothing_that_it_said_to_have_kept(tmp_path: Path) -> None:
    said = 0
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(said)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                said = int(line) + 1
                if said % 500 == 0:
                    process.kill()
                    said = max(said, *(int(line) + 1 for line in process.stdout.read().split()), 0)
                    break
        assert process.returncode == -signal.SIGKILL
        assert said > 400
        assert _texts(str(tmp_path), range(said)) == [f"it is {number}" for number in range(said)]
    assert len(_files(str(tmp_path))) == 3


def test_what_ended_writers_left_is_merged_and_what_others_still_write_is_not(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in range(vlm_responses.MERGED_AT_ONCE - 1):
        _write(url, range(2 * part, 2 * part + 2))
    living, reader = Responses(url), Responses(url)
    living.add(_key(1_000), _asked(1_000), _say(1_000))
    living.flush()
    Responses(url).tidy()
    few = vlm_responses.MERGED_AT_ONCE
    assert len(_files(url)) == (few if living.kept_at_once else 1)  # one that is written to is none to merge
    _write(url, range(2_000, 2_001))
    Responses(url).tidy()
    assert len(_files(url)) == 2
    living.add(_key(1_001), _asked(1_001), _say(1_001))
    living.flush()
    numbers = [*range(2 * few - 2), 1_000, 1_001, 2_000]
    for responses in (reader, living, Responses(url)):
        responses.refresh()
        assert [responses.get(_key(number)) for number in numbers] == [_say(number) for number in numbers]


def test_large_files_are_left_as_they_are(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_responses, "SEGMENT_BYTES", 400)
    monkeypatch.setattr(vlm_responses, "MERGED_AT_ONCE", 2)
    for part in range(6):
        _write(url, range(2 * part, 2 * part + 2))
    before = _files(url)
    assert all(len(Store(url).read(name)) > 200 for name in before)
    Responses(url).tidy()
    assert _files(url) == before


def test_a_file_on_a_disk_is_begun_when_one_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_responses, "SEGMENT_BYTES", 500)
    _write(str(tmp_path), range(20))
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) > 5 and max(sizes) <= 500
    assert _texts(str(tmp_path), range(20)) == [f"it is {number}" for number in range(20)]


def test_objects_of_a_bucket_stay_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_responses, "MERGED_AT_ONCE", 4)
    url = f"memory://answers{tmp_path}"
    responses, most = Responses(url), 0
    for number in range(100):
        responses.add(_key(number), _asked(number), _say(number))
        responses.flush()
        responses.tidy()
        most = max(most, len(_files(url)))
        assert [responses.get(_key(known)) for known in (0, number)] == [_say(0), _say(number)]
    assert most <= 4 * 3 + 1  # three short of a merge on each of four levels, and one
    assert _texts(url, range(100)) == [f"it is {number}" for number in range(100)]
    fsspec.filesystem("memory").rm("/answers", recursive=True)


@pytest.mark.parametrize("steps", range(6))
def test_a_merge_that_is_cut_off_anywhere_loses_nothing(steps: int, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store does so many of its steps (one write, then a removal each) and then nothing more."""
    monkeypatch.setattr(vlm_responses, "MERGED_AT_ONCE", 4)
    for part in range(4):
        _write(url, range(3 * part, 3 * part + 3))
    left = [steps]

    class Killed(BaseException):
        pass

    def until_killed(step: Any) -> Any:
        def stepping(*given: Any, **named: Any) -> Any:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return step(*given, **named)

        return stepping

    reader = Responses(url)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", until_killed(Store.write_bytes))
        patch.setattr(vlm_responses._Log, "append", until_killed(vlm_responses._Log.append))
        patch.setattr(Store, "remove", until_killed(Store.remove))
        if steps < 5:
            with pytest.raises(Killed):
                Responses(url).tidy()
        else:
            Responses(url).tidy()
    expected = [f"it is {number}" for number in range(12)]
    assert _texts(url, range(12)) == expected
    assert [answer and answer.text for answer in map(reader.get, map(_key, range(12)))] == expected
    Responses(url).tidy()
    assert _texts(url, range(12)) == expected


def test_an_upload_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://answers{tmp_path}"
    responses = Responses(url)
    responses.add(_key(1), _asked(1), _say(1))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", _full)
        with pytest.raises(OSError, match="no space"):
            responses.flush()
    responses.add(_key(2), _asked(2), _say(2))
    responses.flush()
    assert _texts(url, range(1, 3)) == ["it is 1", "it is 2"]
    fsspec.filesystem("memory").rm("/answers", recursive=True)


def _full(*given: object) -> None:
    raise OSError("no space left on device")


def test_a_disk_that_is_full_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    responses = Responses(str(tmp_path))
    responses.add(_key(1), _asked(1), _say(1))
    (path,) = tmp_path.iterdir()
    whole, write = path.read_bytes(), os.write
    with monkeypatch.context() as patch:
        writes: Iterator[Any] = iter([lambda file, data: write(file, data[:7]), _full])
        patch.setattr(os, "write", lambda file, data: next(writes)(file, data))
        with pytest.raises(OSError, match="no space"):
            responses.add(_key(2), _asked(2), _say(2))
    assert path.read_bytes() == whole
    responses.add(_key(2), _asked(2), _say(2))
    assert _texts(str(tmp_path), range(1, 3)) == ["it is 1", "it is 2"]


def test_a_folder_that_is_removed_meanwhile_is_written_anew(tmp_path: Path) -> None:
    responses = Responses(str(tmp_path / "answers"))
    responses.add(_key(1), _asked(1), _say(1))
    for path in (tmp_path / "answers").iterdir():
        path.unlink()
    (tmp_path / "answers").rmdir()
    assert responses.get(_key(1)) is None
    responses.add(_key(1), _asked(1), _say(1, "anew"))
    assert _texts(str(tmp_path / "answers"), range(1, 2)) == ["anew 1"]


def test_answers_with_files_of_their_own_are_replayed(url: str) -> None:
    """The layout of older datasets."""
    for number in range(3):
        record = {"request": _asked(number), "answer": asdict(_say(number, "old"))}
        Store(url).write_bytes(f"{_key(number)[:2]}/{_key(number)}.json", _bytes(record))
    _write(url, range(5))
    assert _texts(url, range(5)) == ["old 0", "old 1", "old 2", "it is 3", "it is 4"]


def test_answers_of_older_datasets_without_a_sum_are_replayed(url: str) -> None:
    Store(url).write_bytes("000001-0123456789ab.jsonl", b"".join(_bytes(_without_sum(_line(n))) for n in range(3)))
    _write(url, range(5))
    assert _texts(url, range(5)) == [f"it is {number}" for number in range(5)]


Change = Callable[[dict[str, Any]], dict[str, Any]]
CHANGES: dict[str, tuple[Change, str]] = {
    "text": (lambda line: {**line, "answer": {**line["answer"], "text": "it is 7"}}, "its answer was changed"),
    "model": (lambda line: {**line, "answer": {**line["answer"], "model": "another"}}, "its answer was changed"),
    "tokens": (lambda line: {**line, "answer": {**line["answer"], "tokens_in": 4}}, "its answer was changed"),
    "another's": (lambda line: {**line, "answer": _line(7)["answer"]}, "its answer was changed"),
    "another's, with its sum": (lambda line: {**_line(7), "key": line["key"]}, "its request is not the one"),
    "sum too": (lambda line: {**_line(7), "key": line["key"], "request": line["request"]}, "its answer was changed"),
    "request": (lambda line: {**line, "request": {**line["request"], "text": "7"}}, "its request is not the one"),
    "request, no sum": (lambda line: {**_without_sum(line), "request": {}}, "its request is not the one"),
    "sum": (lambda line: {**line, "sha256": "ab" * 32}, "its answer was changed"),
    "no sum any more": (lambda line: {**line, "sha256": None}, "its answer was changed"),
}
"""What is changed in a line, and what is said of it."""


@pytest.mark.parametrize("what", CHANGES)
def test_an_answer_that_was_changed_is_named_and_not_used(what: str, url: str) -> None:
    change, said = CHANGES[what]
    _write(url, range(4))
    (name,) = _files(url)
    store = Store(url)
    store.write_bytes(name, b"".join(_bytes(change(_line(n)) if n == 2 else _line(n)) for n in range(4)))
    responses = Responses(url)
    assert [answer and answer.text for answer in map(responses.get, map(_key, (0, 1, 3)))] == [
        *("it is 0", "it is 1", "it is 3")
    ]
    with pytest.raises(OSError, match=rf"line 3 is damaged \({said}.*\); remove that line to have the model asked"):
        responses.get(_key(2))
    store.write_bytes(name, b"".join(_bytes(_line(n)) for n in (0, 1, 3)))  # as it says
    _write(url, range(4), "anew")
    assert _texts(url, range(4)) == ["it is 0", "it is 1", "anew 2", "it is 3"]


def test_a_changed_file_of_one_answer_is_named(tmp_path: Path) -> None:
    """One that has another request, or another's name."""
    record = {"request": _asked(1), "answer": asdict(_say(1))}
    for key, content in ((_key(1), {**record, "request": _asked(2)}), (_key(3), record)):
        Store(str(tmp_path)).write_bytes(f"{key[:2]}/{key}.json", _bytes(content))
        with pytest.raises(OSError, match=r"is damaged \(its request is not the one that was asked\); remove it"):
            Responses(str(tmp_path)).get(key)


def test_a_merge_makes_no_changed_answer_sound(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_responses, "MERGED_AT_ONCE", 2)
    changed = CHANGES["text"][0](_line(1))
    for number, line in enumerate([_line(0), changed, _without_sum(_line(2))]):
        Store(url).write_bytes(f"00000{number}-0123456789ab.jsonl", _bytes(line))
    Responses(url).tidy()
    assert len(_files(url)) == 1
    responses = Responses(url)
    assert (responses.get(_key(0)), responses.get(_key(2))) == (_say(0), _say(2))
    with pytest.raises(OSError, match="its answer was changed"):
        responses.get(_key(1))


def test_a_line_without_an_end_and_a_pipe_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(str(tmp_path), range(2))
    os.mkfifo(tmp_path / "000007-0123456789ab.jsonl")
    assert _texts(str(tmp_path), range(2)) == ["it is 0", "it is 1"]
    monkeypatch.setattr(vlm_responses, "_LINE_BYTES", 1_000)
    (tmp_path / "000008-0123456789ab.jsonl").write_bytes(b"x" * 2_000)
    with pytest.raises(OSError, match=r"line 1 is damaged \(it is too long\); remove that line"):
        Responses(str(tmp_path))


def test_half_a_surrogate_pair_comes_back(url: str) -> None:
    responses = Responses(url)
    responses.add(_key(1), _asked(1), replace(ANSWER, text="\ud83d!"))
    responses.close()
    assert Responses(url).get(_key(1)) == replace(ANSWER, text="\ud83d!")


DAMAGED = [b"{}", b'{"answer": {"text": 1}, "key": "' + b"ab" * 32 + b'"}', b"[]", b"null", b"\xff", b""]


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_file_of_one_answer_is_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ab" / f"{'ab' * 32}.json"
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"is damaged .* remove it") as caught:
        Responses(str(tmp_path)).get("ab" * 32)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_line_is_named_and_without_it_all_is_well(data: bytes, url: str) -> None:
    _write(url, range(4))
    (name,) = _files(url)
    store = Store(url)
    lines = store.read(name).splitlines(keepends=True)
    store.write_bytes(name, b"".join([*lines[:2], data + b"\n", *lines[2:]]))
    with pytest.raises(OSError, match=r"line 3 is damaged .* remove that line") as caught:
        Responses(url)
    assert f"{store.path(name)}:" in str(caught.value) and "\n" not in str(caught.value)
    store.write_bytes(name, b"".join(lines))
    assert _texts(url, range(4)) == [f"it is {number}" for number in range(4)]


def test_what_else_lies_there_is_not_looked_at(url: str) -> None:
    for name in ("notes.txt", "x.jsonl", "ab/readme.md", "000001-0123456789ab.jsonl.tmp"):
        Store(url).write_bytes(name, b"not an answer")
    _write(url, range(2))
    assert _texts(url, range(2)) == ["it is 0", "it is 1"]


def test_each_line_is_json_that_any_tool_reads(url: str) -> None:
    _write(url, range(3))
    (name,) = _files(url)
    records = [json.loads(line) for line in Store(url).read(name).splitlines()]
    assert [record["key"] for record in records] == [_key(number) for number in range(3)]
