"""The folder of an export: what may be in it, its finished parts, and the end of it.

    OUT/.export/config.json          what is being exported; gone at the end, with all of .export
    OUT/.export/00003.json           a part that is finished: its files, counts and licences
    OUT/.export/00003.lines.jsonl    its lines of an index
    OUT/.export/new/                 files that are being written, on a disk: then they are renamed
    OUT/export.json                  the export is finished: the config and all counts

A part is finished when its record appears. A process that is killed leaves whole files under final names and no record:
the part is then written again, with the same bytes. What is written of a part is not synced to the disk, as cp does not
either, so records have the sizes: after a loss of power the parts whose files are not whole are written again.
"""

from __future__ import annotations

import fcntl
import json
import os
import posixpath
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from manifests.export.background import Background
from manifests.read.places import folder_of
from manifests.records import parse_json
from manifests.schema import DatasetError, canonical_json
from manifests.storage import Store, naming

_WORK = ".export"
_CONFIG = f"{_WORK}/config.json"
_NEW = f"{_WORK}/new"
FINISHED = "export.json"
"""The file that appears last."""

_UPLOADS = 16  # at the same time: an object store answers each only after a while


class Folder:
    """Where an export is written. One process at a time may have it open, if it is on a disk of this machine."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store(url)
        self._lock: int | None = None
        self._temporary = count()
        self._uploads = None if self.store.is_local else Background(self.store.write_bytes, threads=_UPLOADS)

    def finished(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """What export.json says if the export of this configuration is finished; None if it is not, or not begun.

        Raises ValueError if something else is in the folder: another export, or any other file.
        """
        if self.store.exists(FINISHED):
            there = self._json(FINISHED)
            self._refuse_other(there.get("config"), config)
            return there
        if self.store.exists(_CONFIG):
            self._refuse_other(self._json(_CONFIG), config)
        elif others := [name for name in self.store.names("") if name != _WORK]:
            raise ValueError(f"{self.url} is not empty ({others[0]} is in it): export to a folder of its own")
        return None

    def begin(self, config: Mapping[str, Any]) -> None:
        """Begin with the export of this configuration, or go on with it. Raises ValueError if another process does."""
        if self.store.is_local:
            os.makedirs(self.store.path(_WORK), exist_ok=True)
            self._lock = os.open(self.store.path(f"{_WORK}/lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(f"another process is exporting to {self.url}") from None
            shutil.rmtree(self.store.path(_NEW), ignore_errors=True)
            os.makedirs(self.store.path(_NEW))
        with self.writing(_CONFIG) as file:
            file.write(canonical_json(config).encode())

    def remove_work(self) -> None:
        """Remove what is left of the way to a finished export, if it was killed at its very end."""
        self.store.remove_folder(_WORK)

    def close(self) -> None:
        """Let another process open the folder. What `write_soon` was given and `wait` not waited for may be lost."""
        if self._uploads is not None:
            self._uploads.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def writing(self, path: str, *, synced: bool = True) -> Iterator[BinaryIO]:
        """A file that appears under its name when the block ends, and not at all if it raises.

        Its bytes are then on the disk, unless the system may hold them back for a while (`synced` False).
        """
        if not self.store.is_local:
            with self.store.write(path) as file:
                yield file
            return
        temporary = self._temporary_path()
        try:
            os.makedirs(os.path.dirname(temporary), exist_ok=True)
            with naming(self.store.path(path)), open(temporary, "wb") as file:
                yield file
                if synced:
                    file.flush()
                    os.fsync(file.fileno())
            self._rename(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def write_soon(self, path: str, data: bytes) -> None:
        """Write a file whose bytes the system may hold back from the disk. To an object store it is written in the
        background: `wait` returns when it is there. Raises what an earlier one raised."""
        if self._uploads is not None:
            self._uploads.put(path, data)
            return
        temporary, final = self._temporary_path(), self.store.path(path)
        with naming(final):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                written = os.write(descriptor, data)
                while written < len(data):
                    written += os.write(descriptor, memoryview(data)[written:])
            finally:
                os.close(descriptor)
        self._rename(temporary, path)

    def wait(self) -> None:
        """Return when all of `write_soon` is there. Raises what one of them raised."""
        if self._uploads is not None:
            self._uploads.wait()

    def drop(self) -> None:
        """Forget what `write_soon` was given and has not begun with."""
        if self._uploads is not None:
            self._uploads.drop()

    def is_there(self, path: str, size: int) -> bool:
        """Whether a file of so many bytes has this name. Not asked of object stores, where each answer takes a request:
        there it is not known."""
        if not self.store.is_local:
            return False
        try:
            return os.stat(self.store.path(path)).st_size == size
        except OSError:
            return False

    def record(self, number: int) -> dict[str, Any] | None:
        """What a finished part recorded; None if it is not finished, or its files are not whole."""
        name = _record_name(number)
        if not self.store.exists(name):
            return None
        try:
            record = self._json(name)
        except ValueError:  # as a loss of power leaves it
            return None
        if self.store.is_local and not all(
            self.is_there(path, size) for path, size in {**record["files"], **record["lines"]}.items()
        ):
            return None
        return record

    def lines(self, parts: int, index: str) -> Iterator[bytes]:
        """The lines of an index of all parts, without their ends."""
        for number in range(parts):
            with suppress(FileNotFoundError), self.store.open(lines_name(number, index)) as file:
                for line in file:
                    yield line.rstrip(b"\n")

    def finish(self, description: Mapping[str, Any]) -> None:
        """Write export.json, and remove what was only needed on the way."""
        with self.writing(FINISHED) as file:
            text = json.dumps(description, indent=2, sort_keys=True, ensure_ascii=False)
            file.write(f"{text}\n".encode())
        self.remove_work()

    def write_record(self, number: int, record: Mapping[str, Any]) -> None:
        """Say that a part is finished."""
        with self.writing(_record_name(number), synced=False) as file:
            file.write(canonical_json(record).encode())

    def _json(self, name: str) -> dict[str, Any]:
        try:
            value = parse_json(self.store.read(name))
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ValueError(f"{self.url}/{name} is no record of an export: remove the folder, or choose another")
        return value

    def _refuse_other(self, there: Any, config: Mapping[str, Any]) -> None:
        there = there if isinstance(there, dict) else {}
        differ = sorted(name for name in {*there, *config} if there.get(name) != config.get(name))
        if differ:
            shown = "; ".join(
                f"{name}: {_short(there.get(name))} there, {_short(config.get(name))} now" for name in differ
            )
            raise ValueError(f"{self.url} holds another export ({shown}): choose another folder, or remove it")

    def _temporary_path(self) -> str:
        return self.store.path(f"{_NEW}/{next(self._temporary)}")

    def _rename(self, temporary: str, path: str) -> None:
        final = self.store.path(path)
        try:
            os.rename(temporary, final)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(final), exist_ok=True)
            os.rename(temporary, final)


def lines_name(number: int, index: str) -> str:
    """Where a part's lines of an index are until the export is finished."""
    return f"{_WORK}/{number:05d}.{index}.jsonl"


def refuse_inside(url: str, datasets: list[str]) -> None:
    """Raises DatasetError for an export into a dataset, or into a folder around one that is exported."""
    out = folder_of(url)
    for dataset in datasets:
        there = folder_of(dataset)
        if out == there or out.startswith(f"{there}/") or there.startswith(f"{out}/"):
            raise DatasetError(f"{url} and the dataset {dataset} lie in each other: export to a folder of its own")
    above = url.rstrip("/")
    while (parent := posixpath.dirname(above)) not in ("", above) and not parent.endswith(":/"):
        above = parent
        if Store(above).exists("plan.parquet"):
            raise DatasetError(f"{url} is in the dataset {above}: export to a folder of its own")


def _record_name(number: int) -> str:
    return f"{_WORK}/{number:05d}.json"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
