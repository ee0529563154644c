"""One run at a time, with real processes that really die; a lease both in a folder and in a store in memory."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from manifests.dataset import DatasetError
from manifests.storage import Store
from manifests.verify.dataset import verify
from pipelines.run import lock
from pipelines.run.lock import AtWork, Owner, only_run
from tests.commands import ROOT
from tests.datasets import make_dataset
from tests.sources import write_photos

OWNER = """
import sys
from pipelines.run import lock
from tests.pipelines.run import test_lock

lock.BEAT_S = float(sys.argv[2])
if sys.argv[3] == "lease":
    lock.fcntl.flock = test_lock.no_locks
with lock.only_run(sys.argv[1], print):
    print("at work", flush=True)
    sys.stdin.read()
"""

BUCKET = "memory://bucket/out/derain"


def no_locks(*arguments: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.fixture(params=["os", "lease"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system with locks, and one without."""
    if request.param == "lease":
        monkeypatch.setattr(fcntl, "flock", no_locks)
    return str(request.param)


@pytest.fixture
def bucket() -> Iterator[Store]:
    yield Store(BUCKET)
    if (fs := fsspec.filesystem("memory")).exists("/bucket"):
        fs.rm("/bucket", recursive=True)


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.2)
    monkeypatch.setattr(lock, "_SETTLE_S", 0.1)
    monkeypatch.setattr(lock, "_LOOK_EVERY_S", 0.1)


def test_a_second_process_is_told_who_is_at_work(tmp_path: Path, kind: str) -> None:
    out = str(tmp_path / "out/derain")
    with _owner(out, kind) as owner:
        with pytest.raises(DatasetError) as caught, only_run(out, _unheard):
            pass
        message = str(caught.value)
        assert message.startswith(f"{out}: another run is at work there (") and "\n" not in message
        assert f"process {owner.pid}, since {time.strftime('%Y-')}" in message and "--wait" in message
        assert os.uname().nodename in message
    with only_run(out, _unheard):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_fast")
def test_what_a_killed_owner_leaves_stops_nobody(tmp_path: Path, kind: str) -> None:
    out = str(tmp_path)
    with _owner(out, kind, beat_s=0.2) as owner:
        owner.kill()
        owner.wait()
    assert (tmp_path / ".lock").exists()
    said: list[str] = []
    with only_run(out, said.append, wait=True):
        held = json.loads((tmp_path / ".lock").read_bytes())
        assert held["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    if kind == "os":
        assert said == []


@pytest.mark.usefixtures("_fast")
def test_waiting_is_said_once_and_ends_with_the_other_run(tmp_path: Path, kind: str) -> None:
    out = str(tmp_path)
    said: list[str] = []
    with _owner(out, kind) as owner:

        def end_it(text: str) -> None:
            said.append(text)
            assert owner.stdin
            threading.Timer(0.5, owner.stdin.close).start()

        with only_run(out, end_it, wait=True):
            assert owner.wait(60) == 0
    assert len(said) == 1
    assert said[0].endswith("; waiting for it to end") and f"process {owner.pid}" in said[0]


def test_of_many_at_once_one_alone_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads open the file for themselves, as processes do; each removes it, which must not let two others in."""
    monkeypatch.setattr(lock, "_LOOK_EVERY_S", 0.001)
    at_work: list[int] = []
    most: list[int] = []

    def run(number: int) -> None:
        for _ in range(20):
            with only_run(str(tmp_path), _unheard_of, wait=True):
                at_work.append(number)
                most.append(len(at_work))
                at_work.remove(number)

    _at_once(run)
    assert len(most) == 80 and set(most) == {1}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_fast")
def test_of_many_that_find_an_abandoned_lease_one_takes_it(bucket: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SETTLE_S", 1.0)
    _leave_lease(bucket)
    winners: list[int] = []
    done = threading.Barrier(4)

    def run(number: int) -> None:
        try:
            with only_run(BUCKET, _unheard):
                winners.append(number)
                done.wait(30)
        except AtWork:
            done.wait(30)

    _at_once(run)
    assert len(winners) == 1
    assert not bucket.exists(".lock")


@pytest.mark.usefixtures("_fast")
def test_a_lease_is_renewed_and_not_taken_by_one_whose_clock_is_ahead(
    bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with only_run(BUCKET, _unheard):
        first = _lease(bucket)
        _until(lambda: _lease(bucket)["heard_s"] > first["heard_s"])
        assert _lease(bucket)["since_s"] == first["since_s"]
        monkeypatch.setattr(lock, "MISSED_BEATS", -3_600)  # all that was heard seems to be long ago
        monkeypatch.setattr(lock, "_LOOKED_AT_BEATS", 15)
        with pytest.raises(AtWork), only_run(BUCKET, _unheard):
            pass
    assert not bucket.exists(".lock")


@pytest.mark.usefixtures("_fast")
def test_an_owner_whose_lease_was_taken_neither_renews_nor_removes_it(bucket: Store) -> None:
    with only_run(BUCKET, _unheard):
        other = _leave_lease(bucket)
        time.sleep(1)
        assert bucket.read(".lock") == other
    assert bucket.read(".lock") == other


@pytest.mark.usefixtures("_fast")
def test_a_store_that_fails_for_a_while_does_not_end_the_renewing(
    bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []
    write = Store.write_bytes

    def fails_twice(store: Store, name: str, data: bytes) -> None:
        if len(failed) < 2:
            failed.append(name)
            raise ConnectionResetError
        write(store, name, data)

    monkeypatch.setattr(Store, "write_bytes", fails_twice)
    with only_run(BUCKET, _unheard):
        first = _lease(bucket)
        _until(lambda: _lease(bucket)["heard_s"] > first["heard_s"])
    assert failed == [".lock", ".lock"]


def test_a_lock_file_is_no_part_of_a_dataset(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, write_photos(tmp_path / "photos", 3))
    with only_run(dataset.url, _unheard):
        assert dataset.store.exists(".lock")
        assert list(verify(str(tmp_path))) == []
    assert not dataset.store.exists(".lock")


def test_the_folder_of_a_run_that_failed_before_it_wrote_is_gone(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ZeroDivisionError), only_run(str(tmp_path / "there/new/derain"), _unheard):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with only_run(str(tmp_path / "out/derain"), _unheard):
        (tmp_path / "out/derain/plan.parquet").touch()
    assert (tmp_path / "out/derain/plan.parquet").exists()


@contextmanager
def _owner(out: str, kind: str, beat_s: float = 10) -> Iterator[subprocess.Popen[str]]:
    """Another process, at work in a dataset directory until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, out, str(beat_s), kind],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stdout.readline() == "at work\n"
        yield process
        assert process.stdin
        process.stdin.close()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def _at_once(run: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def _leave_lease(store: Store) -> bytes:
    """A lease whose owner was last heard of an hour ago."""
    hour_ago_s = time.time() - 3_600
    left = Owner(run="other", user="u", host="h", pid=1, since_s=hour_ago_s, heard_s=hour_ago_s).as_bytes()
    store.write_bytes(".lock", left)
    return left


def _lease(store: Store) -> dict[str, float]:
    data = store.read(".lock")
    while not data:  # fsspec's memory shows a file that is being written, which a bucket does not
        data = store.read(".lock")
    record: dict[str, float] = json.loads(data)
    return record


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.05)


def _unheard(text: str) -> None:
    raise AssertionError(f"nothing is to be said, but: {text}")


def _unheard_of(text: str) -> None:
    """What is said of waiting is of no interest."""


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a write raises names none. Nothing is left behind."""

    def full(self: object) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lock._OsLock, "take", full)
    with (
        pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/out/derain/.lock'"),
        only_run(str(tmp_path / "out/derain"), print),
    ):
        raise AssertionError("it was taken")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/a/b'"):
        Store(str(tmp_path)).write_bytes("a/b", b"1")
