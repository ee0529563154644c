"""Lets one run at a time work on a dataset directory, and leaves nothing behind that a crash would have to clean up.

In a local folder an OS lock on the file `.lock` is held, which the kernel releases when its process dies, however it
dies. Elsewhere, and on file systems without such locks, `.lock` is a lease: it says when its owner was last heard of,
a thread of the owner renews it, and one that is not renewed may be taken over. Two runs that took each other's lease
all the same would write the same bytes to the same places: what the lock saves is the double work.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from manifests.dataset import DatasetError
from manifests.storage import Store, naming

LOCK = ".lock"

BEAT_S = 10.0
"""How often the owner of a lease renews it. A PUT costs a bucket's owner some 0.000005 dollars."""

MISSED_BEATS = 6
"""How many renewals may be missing before a lease counts as left behind: a minute outlasts what a network stalls."""

_LOOKED_AT_BEATS = 1.5
_SETTLE_S = 1.0  # longer than a small write to a bucket takes
_LOOK_EVERY_S = 1.0  # while another run is waited for
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}  # Lustre without -o flock, some FUSE file systems


class AtWork(DatasetError):
    """Another run is at work on the dataset. The message says who and since when, and the way out."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """What `.lock` says of the run that holds it."""

    run: str
    """A random name, another for each run."""
    user: str
    host: str
    pid: int
    since_s: float
    """When the run began, in seconds since 1970, by its host's clock."""
    heard_s: float
    """When the run last said that it is alive, by the same clock. Only a lease makes use of it."""

    @classmethod
    def here(cls) -> Owner:
        now_s = time.time()
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container whose user has no name
            user = str(os.getuid())
        return cls(
            run=uuid.uuid4().hex, user=user, host=socket.gethostname(), pid=os.getpid(), since_s=now_s, heard_s=now_s
        )

    @classmethod
    def read(cls, data: bytes) -> Owner | None:
        """The owner that a lock file names; None if it names none, as while it is being written."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None

    def as_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since_s))
        return f"{self.user} on {self.host}, process {self.pid}, since {since}"


@contextmanager
def only_run(out: str, say: Callable[[str], None], *, wait: bool = False) -> Iterator[None]:
    """Hold the dataset directory at the URL `out` for this run within the block.

    While another run holds it: with `wait`, say so once and wait until it is free; else raise AtWork, one line. The
    lock file is gone after the block, and so is a folder that was made for it and got nothing else.
    """
    store, mine = Store(out), Owner.here()
    with folder_for_now(Path(store.root) if store.is_local else None) as folder:
        lock = _OsLock(folder, mine) if folder and _has_locks(folder) else _Lease(store, mine)
        said = False
        while not _taken(lock, out):
            whose = f"{out}: another run is at work there" + _named(store)
            if not wait:
                raise AtWork(f"{whose}; wait for it to end (--wait), or choose another OUT")
            if not said:
                say(f"{whose}; waiting for it to end")
                said = True
            time.sleep(_LOOK_EVERY_S)
        try:
            yield
        finally:
            lock.release()


def _taken(lock: _OsLock | _Lease, out: str) -> bool:
    with naming(f"{out}/{LOCK}"):
        return lock.take()


@contextmanager
def folder_for_now(folder: Path | None) -> Iterator[Path | None]:
    """A local folder, made if it is not there, and taken away again if nothing else came to be in it."""
    new = [each for each in (folder, *folder.parents) if not each.exists()] if folder else []
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds something
            for each in new:
                each.rmdir()


def _has_locks(folder: Path) -> bool:
    """Whether the folder's file system has the locks that the kernel releases."""
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
    return True


def _named(store: Store) -> str:
    """Who is at work, in brackets; nothing if the lock file does not say so (yet, or any more)."""
    with suppress(FileNotFoundError):
        if other := Owner.read(store.read(LOCK)):
            return f" ({other})"
    return ""


class _OsLock:
    """A lock of the kernel on the lock file. Whoever finds the file without a lock on it may have it."""

    def __init__(self, folder: Path, mine: Owner) -> None:
        self._path = folder / LOCK
        self._mine = mine
        self._file: BinaryIO | None = None

    def take(self) -> bool:
        """Try to take the lock: whether it is ours now. Does not wait."""
        while True:
            # "a": what another run wrote there stays. Python lets no process that Ray starts inherit the file.
            file = open(self._path, "ab")  # noqa: SIM115
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return False
            if self._is_there(file):
                break
            file.close()  # its owner removed it between our opening and locking it
        file.truncate(0)
        file.write(self._mine.as_bytes())
        file.flush()
        self._file = file
        return True

    def _is_there(self, file: BinaryIO) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self._path))
        return False

    def release(self) -> None:
        assert self._file
        with self._file as file:
            if self._is_there(file):  # a user may have removed it, and another run have begun
                self._path.unlink()


class _Lease:
    """A lock file that its owner renews, for stores that lock nothing."""

    def __init__(self, store: Store, mine: Owner) -> None:
        self._store = store
        self._mine = mine
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self) -> bool:
        """Try to take the lock: whether it is ours now.

        Waits for a beat or two where another's lease seems to be left behind.
        """
        if not self._store.create(LOCK, self._now()):
            left = self._read()
            if left is None or not self._is_left_behind(left):
                return False
            self._store.write_bytes(LOCK, self._now())
        # Another may have written in the same moment, and not every store can refuse the second: the last one has it.
        time.sleep(_SETTLE_S)
        if not self._is_mine():
            return False
        self._thread.start()
        return True

    def release(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._is_mine():
            self._store.remove(LOCK)

    def _renew(self) -> None:
        while not self._ended.wait(BEAT_S):
            # Whatever a store raises, the next beat may get through.
            with suppress(Exception):
                if not self._is_mine():
                    return  # this run was not heard of for so long that another took over
                self._store.write_bytes(LOCK, self._now())

    def _is_left_behind(self, left: bytes) -> bool:
        """Whether nobody has renewed a lease for MISSED_BEATS by our clock, nor, as clocks differ, while we look."""
        other = Owner.read(left)
        if other and time.time() - other.heard_s < MISSED_BEATS * BEAT_S:
            return False
        time.sleep(_LOOKED_AT_BEATS * BEAT_S)
        return self._read() == left

    def _is_mine(self) -> bool:
        owner = Owner.read(self._read() or b"")
        return owner is not None and owner.run == self._mine.run

    def _now(self) -> bytes:
        return replace(self._mine, heard_s=time.time()).as_bytes()

    def _read(self) -> bytes | None:
        try:
            return self._store.read(LOCK)
        except FileNotFoundError:
            return None
