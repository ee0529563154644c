"""Errors of remote file systems: an OSError that names the place, whatever library raised it."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import fsspec
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError  # type: ignore[import-untyped]
from fsspec.implementations.memory import MemoryFileSystem

from infra.command import main
from manifests.storage import Store
from operators.read.files import list_files
from pipelines.run.chain import NOT_THE_PAIRS_FAULT


class _Broken(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Raises what a test puts into `error`, whatever it is asked for."""

    protocol = "broken"
    error: Exception | None = None

    def _fail(self, *arguments: Any, **options: Any) -> Any:
        assert _Broken.error
        raise _Broken.error

    info = exists = find = ls = cat_file = put_file = pipe_file = rm = rm_file = _open = invalidate_cache = _fail


ERRORS = [
    NoCredentialsError(),
    EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
    aiohttp.ServerDisconnectedError(),
    NotImplementedError("this store is read-only"),
    TimeoutError(),
]


@pytest.fixture(autouse=True)
def broken() -> Iterator[None]:
    fsspec.register_implementation("broken", _Broken, clobber=True)
    yield
    _Broken.error = None


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_a_library_raises_fails_the_unit_and_not_its_pair_and_names_the_place(error: Exception) -> None:
    _Broken.error = error
    store = Store("broken://bucket/data")
    for asked in (
        lambda: store.read("a"),
        lambda: store.exists("a"),
        lambda: store.names("a"),
        lambda: store.open("a"),
        lambda: store.write_bytes("a", b""),
        lambda: store.create("a", b""),
        lambda: store.remove("a"),
        lambda: list_files("broken://bucket/data"),
    ):
        with pytest.raises(NOT_THE_PAIRS_FAULT, match=r"broken://bucket/data: "):
            asked()


@pytest.mark.parametrize("command", ["ls", "verify", "browse", "dups", "contexts", "similarity"])
@pytest.mark.parametrize("error", ERRORS[:2], ids=lambda error: type(error).__name__)
def test_each_command_says_it_in_one_line(command: str, error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    _Broken.error = error
    assert main([command, "broken://bucket/data"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"xprompt {command}: broken://bucket/data")


def test_a_file_that_breaks_off_while_it_is_read_is_the_stores_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://remote")
    store.write_bytes("a", b"123456")
    with store.open("a") as file:
        assert file.read(2) == b"12"
        monkeypatch.setattr(file._of, "read", lambda *size: _raise(aiohttp.ClientPayloadError("cut off")))  # type: ignore[attr-defined]
        with pytest.raises(OSError, match="memory://remote/a: ClientPayloadError: cut off"):
            file.read(2)


def test_what_a_store_says_by_its_kind_of_error_stays() -> None:
    store = Store("memory://remote")
    with pytest.raises(FileNotFoundError, match="memory://remote"):
        store.read("absent")
    store.write_bytes("there", b"1")
    assert store.create("there", b"2") is False
    again = pickle.loads(pickle.dumps(store))
    assert (again.read("there"), again.fs) == (b"1", store.fs)


@pytest.mark.parametrize(
    ("url", "package", "extra"), [("s3://bucket/x", "s3fs", "s3"), ("gs://bucket/x", "gcsfs", "gcs")]
)
@pytest.mark.parametrize("command", [["ls"], ["tokens", "derain", "--out"], ["shards", "derain", "--out"]])
def test_the_extra_that_a_bucket_needs_is_named(
    command: list[str],
    url: str,
    package: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As where it is not installed: fsspec has forgotten it, and it cannot be imported."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, url.partition("://")[0], raising=False)
    assert main([*command, url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert url in line and f"pip install 'xprompt-data-engine[{extra}]'" in line


@pytest.mark.parametrize("command", [["ls"], ["verify"], ["tokens", "derain", "--out"], ["shards", "derain", "--out"]])
def test_a_scheme_that_nobody_knows_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "foo://x/y"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "foo://x/y" in line and "foo" in line


def test_parquet_is_read_through_it() -> None:
    import pyarrow as pa

    store = Store("memory://remote")
    with store.write("table.parquet") as file:
        pq.write_table(pa.table({"a": [1, 2]}), file)
    assert pq.ParquetFile(store.open("table.parquet")).read().to_pydict() == {"a": [1, 2]}


def _raise(error: Exception) -> bytes:
    raise error
