"""Files and folders in a bucket: what is listed, read and written, when all is well and when the store fails."""

from __future__ import annotations

import os
import threading
from multiprocessing import get_context
from pathlib import Path

import pytest

from infra.command import main
from manifests.dataset import Dataset
from manifests.storage import Store
from operators.read.files import files_now, list_files, read_file
from pipelines.run.lock import AtWork, only_run
from tests.buckets.conftest import S3
from tests.buckets.server import KEYS_A_LISTING
from tests.manifests.make import make_plan, write_unit
from tests.sources import encode, photo

ODD_NAMES = [
    *("a b/p q.png", "a+b/p+q.png", "a%20b/p%2Bq.png", "ü日本/é.png", "x::y/z::w.png", "q?u/e?r.png", "h#a/s#h.png"),
    *("br[a]c/k*e.png", "a//b.png", "back\\slash.png", "trail/ /x.png", "sub", "sub/one.png"),
]


def test_every_object_below_data_is_listed_and_read_whatever_its_key_is(s3: S3) -> None:
    objects = {f"k/{name}": name.encode() for name in ODD_NAMES}
    bucket = s3.bucket("odd-keys", objects)
    for root in ("s3://odd-keys/k", "s3://odd-keys/k/"):
        listing = list_files(root)
        assert [file.path for file in listing] == sorted(ODD_NAMES)
        for file, now in zip(listing, files_now(root, [file.path for file in listing]), strict=True):
            assert read_file(root, file.path) == objects[f"k/{file.path}"]
            assert now is not None and now.stamp == file.stamp
    assert [file.path for file in list_files(f"s3://{bucket}")] == sorted(objects)


def test_the_empty_objects_by_which_consoles_make_folders_are_no_files(s3: S3) -> None:
    """That of DATA itself had all of it taken for a file. An object that has DATA's own name is none of its files."""
    marks = {"data": b"an object", "data/": b"", "data/sub/": b"", "empty/": b""}
    s3.bucket("folder-marks", {**marks, "data/sub/a.png": b"a"})
    assert [file.path for file in list_files("s3://folder-marks/data")] == ["sub/a.png"]
    assert list_files("s3://folder-marks/empty") == []
    with pytest.raises(ValueError, match="there is no folder s3://folder-marks/dat"):
        list_files("s3://folder-marks/dat")
    with pytest.raises(ValueError, match=r"a\.png is a file: point DATA"):
        list_files("s3://folder-marks/data/sub/a.png")


def test_a_folder_of_more_keys_than_a_listing_holds_is_listed_whole(s3: S3) -> None:
    names = [f"{number:04}.png" for number in range(KEYS_A_LISTING + 3)]
    s3.bucket("many-keys", {f"many/{name}": b"." for name in names})
    s3.requests()
    assert [file.path for file in list_files("s3://many-keys/many")] == names
    assert len(s3.requests()) == 2
    assert Store("s3://many-keys").names("many") == names


def test_what_others_have_written_since_a_folder_was_listed_is_seen(s3: S3) -> None:
    bucket = s3.bucket("others-write", {"out/a": b"1"})
    store = Store(f"s3://{bucket}/out")
    assert store.names("") == ["a"] and not store.exists("b")
    s3.client.put_object(Bucket=bucket, Key="out/a", Body=b"longer")
    s3.client.put_object(Bucket=bucket, Key="out/b", Body=b"2")
    assert store.size("a") == 6 and store.exists("b")
    with store.open("a") as file:
        assert file.read() == b"longer"
    s3.client.delete_object(Bucket=bucket, Key="out/a")
    assert not store.exists("a")


@pytest.mark.parametrize("status", [500, 503, 0], ids=["500", "slow down", "cut off"])
def test_a_store_that_fails_at_times_is_asked_again(s3: S3, status: int) -> None:
    bucket = s3.bucket(f"at-times-{status}", {"x/a": b"1"})
    store = Store(f"s3://{bucket}/x")
    methods = ("GET", "PUT", "HEAD") if status else ("GET", "PUT")  # the answer to a HEAD has no middle
    s3.disturb(*({"method": method, "path": bucket, "status": status, "times": 1} for method in methods))
    store.write_bytes("b", b"2")
    assert store.read("b") == b"2" and store.size("b") == 1
    assert [asked for asked in s3.requests() if asked[2] == status]


def test_what_is_refused_is_one_line_that_names_the_object(s3: S3) -> None:
    """No item is rejected for keys that have expired."""
    bucket = s3.bucket("refused", {"x/a.png": encode(photo(0))})
    s3.disturb({"method": "*", "path": "x/", "status": 403, "times": 99})
    store = Store(f"s3://{bucket}/x")
    for ask in (
        lambda: read_file(store._url, "a.png"),
        lambda: store.write_bytes("a.png", b""),
        lambda: store.open("a.png").read(),
    ):
        with pytest.raises(PermissionError, match=r"^s3://refused/x/a.png: [^\n]+$"):
            ask()


def test_keys_that_expire_are_no_fault_of_what_is_stored(s3: S3) -> None:
    """Who followed the way out for damaged files would remove good ones."""
    bucket = s3.bucket("expired")
    dataset = Dataset(f"s3://{bucket}/derain")
    plan = make_plan(dataset, units=1)
    write_unit(dataset, plan, 0)
    s3.disturb({"method": "*", "path": r"\.parquet", "status": 403, "times": 99})
    for ask in (lambda: dataset.commit(plan.name(0)), lambda: dataset.table_of_unit(plan.name(0), ["pair"])):
        with pytest.raises(PermissionError, match=r"^s3://expired/derain/manifest/derain-000000.parquet: "):
            ask()


def test_an_upload_that_fails_in_its_middle_leaves_nothing(s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket("uploads")
    store = Store(f"s3://{bucket}/x")
    s3.disturb({"method": "PUT", "path": "partNumber=2", "status": 403, "times": 1})
    with pytest.raises(PermissionError, match="s3://uploads/x/large"), store.write("large") as file:
        file.truncate(101 * 2**20)  # above 100 MiB s3fs sends parts
    assert s3.objects(bucket) == {} and "Uploads" not in s3.client.list_multipart_uploads(Bucket=bucket)
    with pytest.raises(ZeroDivisionError), store.write("small") as file:  # noqa: PT012
        file.write(b"half")
        raise ZeroDivisionError
    assert s3.objects(bucket) == {}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["plan", "derain", "--data", "s3://no-such/x"], "s3://no-such/x: The specified bucket does not exist"),
        (["plan", "derain", "--data", "s3://empty-data/x"], "there is no folder s3://empty-data/x"),
        (["verify", "s3://no-such/x"], "no dataset at s3://no-such/x"),
        (["ls", "s3://empty-data"], "no dataset at s3://empty-data"),
    ],
)
def test_a_place_that_is_not_there_is_one_line(
    s3: S3, command: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "empty-data" not in [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]]:
        s3.bucket("empty-data")
    assert main(command) != 0
    printed = capsys.readouterr()
    assert said in printed.err and len((printed.out + printed.err).splitlines()) == 1


def test_one_of_two_runs_has_the_lease_of_a_bucket(s3: S3) -> None:
    out = f"s3://{s3.bucket('leases')}/derain"
    with only_run(out, print):
        assert list(s3.objects("leases")) == ["derain/.lock"]
        with pytest.raises(AtWork, match=r"another run is at work there .*process"), only_run(out, print):
            pass
    assert s3.objects("leases") == {}


def test_a_forked_process_reads_by_itself_and_leaves_the_connections_of_its_parent_alone(s3: S3) -> None:
    names = [f"{number}.png" for number in range(6)]
    bucket = s3.bucket("forked", {f"x/{name}": name.encode() for name in names})
    store = Store(f"s3://{bucket}/x")
    opened = store.open(names[0])
    stop, failed = threading.Event(), list[BaseException]()

    def read() -> None:
        while not stop.is_set():
            for name in names:
                try:
                    assert store.read(name) == name.encode()
                except BaseException as error:
                    failed.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    workers = [get_context("fork").Process(target=_reads, args=(store, names, opened)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    stop.set()
    reading.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert not failed and not reading.is_alive()
    assert opened.read() == names[0].encode()


def _reads(store: Store, names: list[str], opened: object) -> None:
    import gc

    import s3fs  # type: ignore[import-untyped]

    ended = list[int]()
    s3fs.S3FileSystem.close_session = staticmethod(lambda *_: ended.append(os.getpid()))
    for name in names:
        assert store.read(name) == name.encode()
    gc.collect()
    assert not ended, "the parent's connections were closed"
    with pytest.raises(OSError, match="opened before this process was forked"):
        opened.read()  # type: ignore[attr-defined]
