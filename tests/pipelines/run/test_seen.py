"""What becomes of a run whose source changes under it: a reject where a file has gone, an error where more has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from manifests.dataset import DatasetError
from manifests.schema import Item, Pair
from manifests.verify.dataset import verify
from operators.read.files import SourceFile
from operators.read.paired_folders import PairedFolders
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.low_level import DERAIN
from tests.datasets import finish_job, plan_job, reader_of, reasons, sha256_by_file
from tests.sources import encode, photo, write_files, write_rain13k

AT_ONCE = replace(DERAIN, pairs_per_shard=64)
FUTURE_S = 3_976_214_400  # 2096-01-01
BEFORE_1970_S = -315_619_200  # 1960-01-01


def _job(tmp_path: Path, count: int = 3) -> tuple[Path, Job]:
    data = write_rain13k(tmp_path / "Rain13K", count)
    return data, plan_job(tmp_path, data, task=AT_ONCE)


def _before_reading(monkeypatch: pytest.MonkeyPatch, ref: str, happens: Callable[[], object]) -> None:
    """Let something happen when an item is about to be read, as another process does it."""
    read = PairedFolders.read

    def reading(self: PairedFolders, item: Item, task: str) -> Pair:
        if item.ref == ref:
            happens()
        return read(self, item, task)

    monkeypatch.setattr(PairedFolders, "read", reading)


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "the other folder"])
def test_a_source_that_vanishes_ends_the_unit_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    data, job = _job(tmp_path)
    away = tmp_path / "away"

    def unmount() -> None:
        if not away.exists():
            (data / "target" if left == "the other folder" else data).rename(away)
            if left == "an empty folder":  # a mount point
                data.mkdir()

    with monkeypatch.context() as patched:
        _before_reading(patched, "input/1.jpg", unmount)
        for _ in range(2):  # another try fares no better
            with pytest.raises(OSError, match="has gone or is empty, where DATA had"):
                make_unit(job, 0, Spent())
    assert not job.dataset.committed()
    if left == "the other folder":
        away.rename(data / "target")
    else:
        shutil.rmtree(data, ignore_errors=True)
        away.rename(data)
    commit = make_unit(plan_job(tmp_path, data, task=AT_ONCE), 0, Spent())
    assert (commit.pairs, commit.rejects) == (3, {})


def test_a_file_that_has_gone_alone_is_a_reject(tmp_path: Path) -> None:
    data, job = _job(tmp_path)
    (data / "target/1.jpg").unlink()
    commit = make_unit(job, 0, Spent())
    assert (commit.pairs, commit.rejects) == (2, {"missing": 1})
    finish_job(job)
    assert reasons(job.dataset) == {"input/1.jpg": "missing"}
    assert list(verify(job.dataset.url)) == []


@pytest.mark.parametrize(("gone", "ends"), [(7, False), (8, True)])
def test_many_that_have_gone_in_a_row_end_the_unit(
    tmp_path: Path, gone: int, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is there, with other files."""
    data, job = _job(tmp_path, 10)
    for item in job.dataset.unit(job.plan, 0).items[:gone]:
        (data / item.files[0]).unlink()
    if ends:
        with pytest.raises(OSError, match=r"has gone, as have the 7 that were planned after it"):
            make_unit(job, 0, Spent())
    else:
        assert make_unit(job, 0, Spent()).rejects == {"missing": 7}


def test_a_file_that_is_there_again_is_no_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, job = _job(tmp_path)
    target, away = data / "target/1.jpg", tmp_path / "away.jpg"
    read = PairedFolders.read

    def reading(self: PairedFolders, item: Item, task: str) -> Pair:
        if item.ref != "input/1.jpg":
            return read(self, item, task)
        target.rename(away)
        try:
            return read(self, item, task)
        finally:
            away.rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(PairedFolders, "read", reading)
        with pytest.raises(OSError, match="was not found and is there again"):
            make_unit(job, 0, Spent())
    assert make_unit(job, 0, Spent()).pairs == 3


def test_what_could_not_be_read_when_it_was_planned_is_rejected_however_much_it_is(tmp_path: Path) -> None:
    """Dangling links."""
    data = write_rain13k(tmp_path / "Rain13K", 1)
    for number in range(9):
        for side in ("input", "target"):
            (data / side / f"link{number}.jpg").symlink_to("nowhere.jpg")
    assert make_unit(plan_job(tmp_path, data, task=AT_ONCE), 0, Spent()).rejects == {"missing": 9}


@pytest.mark.parametrize("when", ["while it is made", "between two runs"])
@pytest.mark.parametrize("dated_s", [None, 1_000_000_000, FUTURE_S])
def test_bytes_that_change_and_keep_their_number_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, dated_s: int | None
) -> None:
    """Whatever the time that the file then has."""
    data, job = _job(tmp_path)
    file = data / "input/1.jpg"

    def change() -> None:
        old = file.read_bytes()
        file.write_bytes(old[:-1] + bytes([old[-1] ^ 1]))
        if dated_s is not None:
            os.utime(file, (dated_s, dated_s))

    said = r"input/1\.jpg was modified after .*/derain/plan\.parquet was made\. Choose another OUT"
    if when == "while it is made":
        _before_reading(monkeypatch, "input/1.jpg", change)
        with pytest.raises(OSError, match=said):
            make_unit(job, 0, Spent())
        assert not job.dataset.committed()
        assert job.dataset.store.names("shards") == []
    else:
        change()
        with pytest.raises(DatasetError, match=said):
            plan_job(tmp_path, data, task=AT_ONCE)


def test_a_log_that_grows_beside_the_photos_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_rain13k(tmp_path / "Rain13K", 1)
    logs = write_files(data, {"input/run.log": b"1", "target/run.log": b"2"}) / "input/run.log"
    job = plan_job(tmp_path, data, task=AT_ONCE)
    _before_reading(monkeypatch, "input/run.log", lambda: logs.write_bytes(b"12"))
    assert make_unit(job, 0, Spent()).rejects == {"not_image": 1}


@pytest.mark.parametrize("dated_s", [FUTURE_S, BEFORE_1970_S])
def test_a_file_of_any_date_is_read_and_a_run_goes_on(tmp_path: Path, dated_s: int) -> None:
    data = write_rain13k(tmp_path / "Rain13K", 2)
    os.utime(data / "input/1.jpg", (dated_s, dated_s))
    for _ in range(2):
        job = plan_job(tmp_path, data, task=AT_ONCE)
    assert make_unit(job, 0, Spent()).pairs == 2


def test_a_unit_is_made_anew_from_a_source_with_a_file_of_the_future(tmp_path: Path) -> None:
    """Of a finished dataset it is not known any more what its source was; then a file is not to be newer than it."""
    data, job = _job(tmp_path)
    make_unit(job, 0, Spent())
    finish_job(job)
    os.utime(data / "input/0.jpg", (FUTURE_S, FUTURE_S))
    (tmp_path / "derain/manifest/derain-000000.parquet").unlink()
    assert plan_job(tmp_path, data, task=AT_ONCE).plan == job.plan
    os.remove(tmp_path / "derain/seen.parquet")
    planned_s = (tmp_path / "derain/plan.parquet").stat().st_mtime
    os.utime(tmp_path / "derain/plan.parquet", (planned_s - 9, planned_s - 9))
    os.utime(data / "input/1.jpg", (planned_s - 5, planned_s - 5))
    with pytest.raises(DatasetError, match=r"/1\.jpg was modified after"):
        plan_job(tmp_path, data, task=AT_ONCE)


def test_a_finished_dataset_does_not_depend_on_times(tmp_path: Path) -> None:
    data = write_rain13k(tmp_path / "Rain13K", 2)
    found = []
    for name, dated_s in (("a", 1_000_000_000), ("b", 1_100_000_000)):
        os.utime(data / "input/1.jpg", (dated_s, dated_s))
        job = plan_job(tmp_path / name, data, task=AT_ONCE)
        make_unit(job, 0, Spent())
        finish_job(job)
        found.append(sha256_by_file(tmp_path / name))
    assert found[0] == found[1] and "derain/seen.parquet" not in found[0]


@pytest.fixture
def bucket() -> Iterator[str]:
    yield "memory://seen-test/Rain13K"
    fsspec.filesystem("memory").rm("/seen-test", recursive=True)


def test_an_object_that_is_replaced_by_one_of_the_same_size_is_seen(bucket: str, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for side in ("input", "target"):
        for number in range(2):
            pixels = photo(number) // (2 if side == "input" else 1)
            memory.pipe(f"/seen-test/Rain13K/{side}/{number}.png", encode(pixels, compress_level=0))
    job = plan_job(tmp_path, None, task=AT_ONCE, reader=reader_of(DERAIN, bucket))
    other = encode(photo(5) // 2, compress_level=0)
    assert len(other) == memory.size("/seen-test/Rain13K/input/1.png")
    memory.pipe("/seen-test/Rain13K/input/1.png", other)
    with pytest.raises(OSError, match=r"input/1\.png was modified after"):
        make_unit(job, 0, Spent())
    with pytest.raises(DatasetError, match=r"input/1\.png was modified after"):
        plan_job(tmp_path, None, task=AT_ONCE, reader=reader_of(DERAIN, bucket))


def test_what_a_bucket_says_of_the_content_is_the_stamp() -> None:
    file = SourceFile(path="a", bytes=3, modified_s=5.0, etag='"3f2a"')
    assert file.stamp == '3 "3f2a"' != replace(file, etag='"3f2b"').stamp
    assert replace(file, modified_s=6.0).stamp == file.stamp  # a copy is the same
    assert replace(file, readable=False).stamp == ""
