"""Answers of models, kept beside the dataset that was made with them: a paid call is never made twice.

    OUT/<task>/responses/000003-5f0c2d9a41be.jsonl     many answers, one a line: the request's hash, request, answer,
                                                       and the sha256 of that (manifests/answers.py)

Each process that asks writes files of its own. On a disk an answer is appended as soon as it has arrived, by one write,
so that a run that is killed, at whatever moment, loses only the calls then in the air: a last line that is not whole is
passed over. In a bucket, where nothing can be appended, answers are kept in groups, and only what has been uploaded
counts as kept. Small files are merged into larger ones, which are there before the small ones are removed. Of two
answers to one request the first counts, in the order of the files' names. A line holds nothing that depends on when or
where it was made.

An answer that is no longer what was stored is not used: an error names its file and line, which are to be removed to
have the model asked again. It is not asked by itself: somebody has changed what was paid for, and should know.

Older datasets have a file per request, responses/3f/3fa0...c1.json, and answers without a sha256; these are read too.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from manifests.answers import encoded, flaw, record_of
from manifests.schema import in_a_line
from manifests.storage import TEMPORARY_SUFFIX, Store

SEGMENT_BYTES = 64 * 2**20
"""A file that is larger is not written on, and not merged with others."""

MERGED_AT_ONCE = 32
"""How many small files there must be for them to be merged: each answer is copied about twice, and 500,000 answers are
some 70 files."""

REFUSAL = "refusal"
"""Our own reason why an answer ended: the model refused beside the schema that it was to answer by."""

ENDED_EARLY = frozenset({"length", "content_filter", REFUSAL})
"""The reasons why an answer that has been paid for is none: the limit of tokens, the server's rules, the model's."""

_SEGMENT = re.compile(r"(\d{6,})-[0-9a-f]{12}\.jsonl")
_OLD_FOLDER = re.compile(r"[0-9a-f]{2}")
_OLD_FILE = re.compile(r"([0-9a-f]{64})\.json")
_KEY = re.compile(r"[0-9a-f]{64}")
_UNREADABLE = (ValueError, KeyError, TypeError, RecursionError)  # what a damaged answer raises
_OLD = -1  # the place of an answer that has a file of its own
_OFFSET_BITS = 40
_READ_BYTES = 4_096  # more than most answers take, with what was asked
_LINE_BYTES = 64 * 2**20  # longer than any of ours: what a server may say in one answer is bounded


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said, as it said it. It is data: never a path, never a command."""

    text: str
    model: str
    """As the server calls it, which may be more exact than it was asked for: "gpt-4o-2024-08-06"."""
    finish_reason: str
    """"stop", or one of ENDED_EARLY."""
    tokens_in: int
    tokens_out: int


class Responses:
    """The answers below one URL, as one process sees and adds to them. Thread-safe.

    Others may write there at the same time; `refresh` sees what they have added. In memory are the places of the
    answers, some 150 bytes each, and not the answers. Raises OSError, naming file and line, for a damaged line.
    """

    def __init__(self, url: str) -> None:
        self._store = Store(url)
        self.kept_at_once = self._store.is_local
        """Whether what is added is kept at once, and not only by `flush`."""
        self._lock = threading.RLock()
        self._index: dict[bytes, int] = {}  # key -> number of the file in `_files`, and offset
        self._files: list[str] = []
        self._numbers: dict[str, int] = {}
        self._indexed_bytes: dict[str, int] = {}  # of each file that is there
        self._old_folders: set[str] = set()
        self._log: _Log | None = None
        self._waiting: dict[str, bytes] = {}  # lines that are still to be uploaded
        # What a bucket holds is fetched once, into a file that nobody else sees: a range request an answer is too slow.
        self._fetched = None if self._store.is_local else tempfile.TemporaryFile()  # noqa: SIM115
        self._flushing, self._tidying = threading.Lock(), threading.Lock()
        self._own_parts: list[list[str]] = []  # in a bucket: uploaded by this process, by how often they were merged
        self._looked_for_left = False
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._index

    def __len__(self) -> int:
        return len(self._index)

    def get(self, key: str) -> Answer | None:
        """The answer to the request with that hash, None if none is known. Raises OSError for a damaged one."""
        with self._lock:
            for _ in range(2):
                place = self._index.get(bytes.fromhex(key))
                if place is None:
                    return None
                try:
                    return self._at(key, place)
                except FileNotFoundError:  # merged with others meanwhile, or removed
                    if place == _OLD:
                        del self._index[bytes.fromhex(key)]
                    self.refresh()
            return None

    def waiting(self, key: str) -> Answer | None:
        """The answer to the request with that hash that is added and not kept yet, None if there is none such."""
        with self._lock:
            line = self._waiting.get(key)
        return _read(line)[1] if line else None

    def add(self, key: str, request: dict[str, Any], answer: Answer) -> None:
        """Keep an answer: on a disk at once, in a bucket with the next `flush`. `request` says what was asked, for
        people."""
        line = encoded(record_of(key, request, asdict(answer))) + b"\n"
        with self._lock:
            if key in self:
                return
            if self._fetched:
                self._waiting.setdefault(key, line)
                return
            if self._log is None or not self._log.takes(len(line)):
                self._open_log()
            assert self._log
            offset = self._log.append(line)
            self._index[bytes.fromhex(key)] = self._number(self._log.name) << _OFFSET_BITS | offset
            self._indexed_bytes[self._log.name] = offset + len(line)

    def flush(self) -> None:
        """See to it that what was added is kept: even if the machine fails (a disk), or at all (a bucket)."""
        with self._flushing:
            if not self._fetched:
                with self._lock:
                    log = self._log
                if log:
                    log.sync()
                return
            with self._lock:
                waiting, self._waiting = self._waiting, {}
                name = self._new_name()
            if not waiting:
                return
            try:
                self._store.write_bytes(name, b"".join(waiting.values()))
            except BaseException:
                with self._lock:  # nothing that was paid for is lost: the next flush tries again
                    self._waiting = {**waiting, **self._waiting}
                raise
            with self._lock:
                self._indexed_bytes[name] = sum(map(len, waiting.values()))
                self._index_lines(name, self._fetch(b"".join(waiting.values())), waiting.values())
                self._own_part(name, 0)

    def refresh(self) -> None:
        """See what others have added since."""
        with self._lock:
            for attempt in range(4):
                try:
                    self._refresh()
                    return
                except FileNotFoundError:  # between listing and reading it was merged with others
                    if attempt == 3:
                        raise

    def tidy(self) -> None:
        """Merge small files, where there are many: what other processes have left, and what this one has uploaded.

        Where that fails there are more files than need be, and nothing is lost: no error is raised.
        """
        with self._tidying, suppress(OSError):
            if not self._looked_for_left:
                self._looked_for_left = True
                self._merge_left()
            for times in range(len(self._own_parts)):
                with self._lock:
                    parts = self._own_parts[times]
                    if len(parts) < MERGED_AT_ONCE:
                        continue
                    self._own_parts[times] = []
                merged = self._merge(parts)
                if merged and self._indexed_bytes[merged] < SEGMENT_BYTES:
                    with self._lock:
                        self._own_part(merged, times + 1)

    def close(self) -> None:
        """Flush, and give up the file that is being written."""
        self.flush()
        with self._lock:
            if self._log:
                self._log.close()
            self._log = None

    def _at(self, key: str, place: int) -> Answer:
        if place == _OLD:
            name = f"{key[:2]}/{key}.json"
            data = self._store.read(name, 0, _LINE_BYTES)
            try:
                return _intact(json.loads(data), key)
            except _UNREADABLE as error:
                why = f"{self._store.path(name)} is damaged ({_why(error)})"
                raise OSError(f"{why}; remove it to have the model asked again") from None
        name, offset = self._files[place >> _OFFSET_BITS], place & (1 << _OFFSET_BITS) - 1
        if self._fetched:
            line = _line(self._fetched.fileno(), offset)
        else:
            descriptor = os.open(self._store.path(name), os.O_RDONLY)
            try:
                line = _line(descriptor, offset)
            finally:
                os.close(descriptor)
        try:
            record = json.loads(line)
            if _key(record) == key:
                return _intact(record, key)
        except _UNREADABLE as error:
            raise self._damaged(name, offset, error) from None
        raise OSError(f"{self._store.path(name)} was changed while it was in use; start the run again")

    def _damaged(self, name: str, offset: int, error: Exception) -> OSError:
        number = self._store.read(name, 0, offset).count(b"\n") + 1
        return OSError(
            f"{self._store.path(name)}: line {number} is damaged ({_why(error)}); remove that line to have the model "
            "asked again"
        )

    def _refresh(self) -> None:
        listed = self._list()
        gone = {name for name, size in self._indexed_bytes.items() if size > listed.get(name, -1)}
        lost = self._forget(gone) if gone else set()
        self._index_new(listed)
        if not lost <= self._index.keys():
            # What they were merged into was indexed while they were still there, and theirs was the place that counted.
            self._indexed_bytes.clear()
            self._index_new(listed)

    def _forget(self, names: Collection[str]) -> set[bytes]:
        """Forget files that are gone: the keys of the answers whose places were in them."""
        numbers = {number for number, name in enumerate(self._files) if name in names}
        lost = {key for key, place in self._index.items() if place >> _OFFSET_BITS in numbers}
        for key in lost:
            del self._index[key]
        for name in names:
            del self._indexed_bytes[name]
        return lost

    def _index_new(self, listed: Mapping[str, int]) -> None:
        """Index what is new of the files that there are, of these sizes."""
        for name in sorted(listed):
            if listed[name] > self._indexed_bytes.get(name, 0):
                self._index_file(name)

    def _list(self) -> dict[str, int]:
        """The sizes of the files of many answers, by name. Answers with a file of their own are indexed."""
        fs = self._store.fs
        fs.invalidate_cache(self._store.root)
        sizes = {}
        try:
            entries = fs.ls(self._store.root, detail=True)
        except FileNotFoundError:
            return {}
        for entry in entries:
            name = entry["name"].rstrip("/").rsplit("/", 1)[-1]
            if _SEGMENT.fullmatch(name) and entry["type"] == "file":  # and no pipe, which would be waited for
                sizes[name] = int(entry["size"])
            elif _OLD_FOLDER.fullmatch(name) and name not in self._old_folders:
                self._old_folders.add(name)
                for file in self._store.names(name):
                    if match := _OLD_FILE.fullmatch(file):
                        self._index.setdefault(bytes.fromhex(match[1]), _OLD)
        return sizes

    def _index_file(self, name: str) -> None:
        """Index what a file holds beyond what of it is known."""
        if self._fetched:
            data = self._store.read(name)
            self._index_lines(name, self._fetch(data), data.splitlines(keepends=True))
            self._indexed_bytes[name] = len(data)
            return
        known = self._indexed_bytes.get(name, 0)
        with open(self._store.path(name), "rb") as file:
            file.seek(known)
            self._indexed_bytes[name] = self._index_lines(name, known, iter(partial(file.readline, _LINE_BYTES), b""))

    def _index_lines(self, name: str, offset: int, lines: Iterable[bytes]) -> int:
        """Index lines of a file, the first of which is at an offset: where they end. A line that is not whole is
        passed over: it is being written, or was when its process was killed."""
        number, begin = self._number(name), offset
        for line in lines:
            if not line.endswith(b"\n"):
                if len(line) < _LINE_BYTES:
                    break
                raise self._damaged(name, offset - begin if self._fetched else offset, ValueError("it is too long"))
            try:
                key, _ = _read(line)
            except _UNREADABLE as error:
                raise self._damaged(name, offset - begin if self._fetched else offset, error) from None
            self._index.setdefault(bytes.fromhex(key), number << _OFFSET_BITS | offset)
            offset += len(line)
        return offset

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._files)
            self._files.append(name)
        return self._numbers[name]

    def _fetch(self, data: bytes) -> int:
        """Put a file's bytes into the file of all that was fetched: where they begin there."""
        assert self._fetched
        offset = self._fetched.seek(0, os.SEEK_END)
        self._fetched.write(data)
        self._fetched.flush()
        return offset

    def _open_log(self) -> None:
        if self._log:
            self._log.sync()
            self._log.close()
        self._log = _Log(Path(self._store.root), self._new_name())

    def _new_name(self, number: int | None = None) -> str:
        """A name that comes after all that are known, or one of a number, for what is merged."""
        if number is None:
            number = max(map(_order, self._indexed_bytes), default=0) + 1
        return f"{number:06d}-{uuid.uuid4().hex[:12]}.jsonl"

    def _own_part(self, name: str, times: int) -> None:
        while len(self._own_parts) <= times:
            self._own_parts.append([])
        self._own_parts[times].append(name)

    def _merge_left(self) -> None:
        """Merge the smallest of the files that others have left, if there are many."""
        with self._lock:
            self.refresh()
            own = {self._log.name if self._log else "", *(name for parts in self._own_parts for name in parts)}
            sizes = {name: size for name, size in self._indexed_bytes.items() if name not in own}
        left, total_bytes = [], 0
        for name in sorted(sizes, key=lambda name: (sizes[name], name)):
            total_bytes += sizes[name]
            if total_bytes <= SEGMENT_BYTES:
                left.append(name)
        if len(left) >= MERGED_AT_ONCE:
            with _without_writer(self._store, left) as ended:
                if len(ended) >= MERGED_AT_ONCE:
                    self._merge(ended)

    def _merge(self, names: list[str]) -> str | None:
        """Write what counts of the answers in some files into one file, then remove them: its name, if one is needed.

        What another process has removed meanwhile it has merged itself.
        """
        read: dict[str, list[bytes]] = {}
        for name in sorted(names):
            with suppress(FileNotFoundError):
                read[name] = self._store.read(name).splitlines(keepends=True)
        if not read:
            return None
        counting: dict[str, bytes] = {}
        for name, lines in read.items():
            for line in lines:
                if line.endswith(b"\n"):
                    key, _ = _read(line)
                    # One is left out for one before it alone: all processes agree on that, so that of two which merge
                    # at the same time none relies on what the other leaves out.
                    if self._files[self._index[bytes.fromhex(key)] >> _OFFSET_BITS] >= name:
                        counting.setdefault(key, line)
        merged = self._new_name(min(map(_order, read)))
        data = b"".join(counting.values())
        if not self._fetched:
            log = _Log(Path(self._store.root), merged)
            log.append(data)
            log.sync()
            log.close()
        else:
            self._store.write_bytes(merged, data)
        for name in read:
            with suppress(FileNotFoundError):
                self._store.remove(name)
        with self._lock:
            if self._fetched:  # where the answers are in the file of all that was fetched has not changed
                self._files = [merged if name in read else name for name in self._files]
                self._indexed_bytes = {name: size for name, size in self._indexed_bytes.items() if name not in read}
                self._indexed_bytes[merged] = len(data)
            else:
                self.refresh()
        return merged


class _Log:
    """A file on a disk that this process alone appends to. While it is open it is locked, which tells others so."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._size = 0
        temporary = folder / f".{name}{TEMPORARY_SUFFIX}"
        self._file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        with suppress(OSError):  # a file system without locks: then nobody gets one, and nothing is merged
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(temporary, folder / name)  # locked before anybody sees it

    def takes(self, size: int) -> bool:
        """Whether so many bytes more are to be appended: not where the file is full, or somebody has removed it."""
        return (not self._size or self._size + size <= SEGMENT_BYTES) and os.fstat(self._file).st_nlink > 0

    def append(self, data: bytes) -> int:
        """Append by one write, whole or not at all: where it begins."""
        begin = self._size
        try:
            written = os.write(self._file, data)
            while written < len(data):  # the disk is nearly full: the next write says so
                written += os.write(self._file, data[written:])
        except BaseException:
            os.ftruncate(self._file, begin)
            raise
        self._size += len(data)
        return begin

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


@contextmanager
def _without_writer(store: Store, names: Iterable[str]) -> Iterator[list[str]]:
    """Those of some files that nobody appends to any more. On a disk they are locked until the block ends."""
    if not store.is_local:  # what is in a bucket is never written on
        yield list(names)
        return
    with ExitStack() as locked:
        ended = []
        for name in names:
            with suppress(OSError):
                file = locked.enter_context(open(store.path(name), "r+b"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ended.append(name)
        yield ended


def _read(line: bytes) -> tuple[str, Answer]:
    """Key and answer of a line."""
    record = json.loads(line)
    return _key(record), _answer(record)


def _key(record: Any) -> str:
    if not _KEY.fullmatch(record["key"]):
        raise ValueError("it has no key")
    return str(record["key"])


def _intact(record: Any, key: str) -> Answer:
    """The answer of a record. Raises ValueError if it is not what was stored as the answer to the request of a key."""
    if wrong := flaw(record, key):
        raise ValueError(wrong)
    return _answer(record)


def _answer(record: Any) -> Answer:
    answer = Answer(**record["answer"])
    texts, counts = (answer.text, answer.model, answer.finish_reason), (answer.tokens_in, answer.tokens_out)
    if not all(isinstance(one, str) for one in texts) or not all(type(one) is int for one in counts):
        raise ValueError("it is no answer")
    return answer


def _why(error: Exception) -> str:
    """What is wrong with a damaged answer. Python repeats names in it, which may be long."""
    return in_a_line(error, 100)


def _line(descriptor: int, offset: int) -> bytes:
    """The line of a file that begins at an offset, without its end."""
    data = b""
    while b"\n" not in data and len(data) <= _LINE_BYTES:
        more = os.pread(descriptor, max(_READ_BYTES, len(data)), offset + len(data))
        if not more:
            break
        data += more
    return data.partition(b"\n")[0]


def _order(name: str) -> int:
    match = _SEGMENT.fullmatch(name)
    assert match, name
    return int(match[1])
