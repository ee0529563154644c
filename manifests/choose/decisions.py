"""What reviewers decide of pairs: a file of JSON lines beside the datasets, to which lines are only ever added.

    {"decision":"drop","pair":"0a1b...","reviewer":"Ada","task":"derain","time":"2026-11-30T02:20:00Z"}
    {"decision":"fix","direction":"forward","instruction":"Remove the rain.","kind":"generate","pair":...}

A decision is keep, drop, flag (to be looked at again), fix (the pair is good, and one of its examples is to have this
instruction) or clear (as if nothing had been said). Of a reviewer's lines for a pair the last one counts, in the order
of the file; fixes of several examples of a pair that follow each other count together.

A line is one write at the end of the file, under a lock, and on the disk before anybody is told: processes may add at
the same time. What a crash leaves of a line is no decision: it is told, and the next line begins anew behind it. Any
other line that is not as above is refused, with the file and the line: anybody may have written it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from manifests.printing import printable, printable_lines
from manifests.records import parse_json
from manifests.schema import DatasetError, canonical_json, in_a_line
from manifests.storage import Store, expanded

FILE = "decisions.jsonl"
DECISIONS = ("keep", "drop", "flag", "fix", "clear")

MOST_BYTES = 256 * 2**20
"""A larger file is refused: a line has some 150 bytes, so ten reviewers can decide 150,000 pairs each."""

MOST_LINE_BYTES = 32 * 2**10
MOST_INSTRUCTION_CHARS = 4_000
MOST_NAME_CHARS = 64

_BEGINS = b'{"decision":"'  # every line of ours, as `canonical_json` sorts its keys
_WHY_CHARS = 200
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
_PLAIN = {"decision", "pair", "reviewer", "task", "time"}
_FIX = {*_PLAIN, "direction", "instruction", "kind"}
_FORMS = {
    "pair": re.compile(r"[0-9a-f]{32}"),
    "task": re.compile(r"[a-z0-9_-]{1,100}"),
    "time": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"),
    "decision": re.compile("|".join(DECISIONS)),
    "direction": re.compile("forward|reverse"),
    "kind": re.compile("generate|describe"),
}


class BadDecision(ValueError):
    """A decision, or a file of them, that cannot be used. The message is one line."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One line of the file."""

    pair: str
    task: str
    decision: str
    reviewer: str
    time: str
    """In UTC, to the second."""
    instruction: str | None = None
    """Of a fix: the instruction that the example of this direction and kind is to have."""
    direction: str | None = None
    kind: str | None = None

    @classmethod
    def of(cls, values: Any) -> Decision:
        """A decision of the values of a JSON object. Raises BadDecision if they are not as they should be."""
        if not isinstance(values, dict):
            raise BadDecision("it is no JSON object")
        wanted = _FIX if values.get("decision") == "fix" else _PLAIN
        if values.keys() != wanted:
            raise BadDecision(f"its entries are not {', '.join(sorted(wanted))}")
        for name, value in values.items():
            if not isinstance(value, str):
                raise BadDecision(f"its {name} is no text")
            if name in _FORMS and not _FORMS[name].fullmatch(value):
                raise BadDecision(f"its {name} is {ascii(value)[:80]}")
        name = values["reviewer"]
        if not 0 < len(name) <= MOST_NAME_CHARS or name != name.strip() or printable(name) != name:
            raise BadDecision(f"a reviewer's name has 1 to {MOST_NAME_CHARS} characters that can be printed")
        if "instruction" in values:
            text = values["instruction"]
            if not text.strip() or len(text) > MOST_INSTRUCTION_CHARS or printable_lines(text) != text:
                raise BadDecision(f"an instruction has 1 to {MOST_INSTRUCTION_CHARS:,} characters that can be printed")
        return cls(**values)

    @property
    def line(self) -> bytes:
        return canonical_json({name: value for name, value in vars(self).items() if value is not None}).encode()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a reviewer's lines for a pair come to."""

    decision: str
    time: str
    fixes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Of a fix: direction and kind of an example -> the instruction it is to have."""

    def as_json(self) -> dict[str, Any]:
        fixes = [{"direction": one[0], "kind": one[1], "instruction": text} for one, text in sorted(self.fixes.items())]
        return {"decision": self.decision, "time": self.time, "fixes": fixes}


class Ledger:
    """The decisions of a file, which others may be adding to. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changed: set[str] = set()
        """Pairs that may stand otherwise than when a user of the ledger last emptied this."""
        self.standing: dict[str, dict[str, Standing]] = {}
        """Pair -> reviewer -> what that reviewer's lines come to."""
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self.changed.update(self.standing)
        self.standing = {}
        self.torn: list[int] = []
        """The numbers of lines that a crash has cut off."""
        self.lines = 0
        self._sha256 = hashlib.sha256()
        self._at, self._file, self._rest = 0, (0, 0), b""

    @property
    def sha256(self) -> str:
        """Of all of the file that has been read, in hex digits."""
        whole = self._sha256.copy()
        whole.update(self._rest)
        return whole.hexdigest()

    @property
    def reviewers(self) -> list[str]:
        return sorted({name for standing in self.standing.values() for name in standing})

    def told(self) -> str:
        """What a user should know of the file: lines that a crash has cut off; "" if there is nothing."""
        if not self.torn:
            return ""
        which = ", ".join(map(str, self.torn[:5])) + (", ..." if len(self.torn) > 5 else "")
        lines = "line" if len(self.torn) == 1 else "lines"
        return f"{self.path}: {lines} {which} cut off by a crash or a full disk, not counted: decide those pairs again"

    def read(self) -> Ledger:
        """Read what has been added since; all of it, if the file is another one. No file is one without lines.

        Raises BadDecision, naming file and line, for one that nobody of ours wrote, OSError for what is no file.
        """
        with self._lock:
            try:
                descriptor = _opened(self.path, os.O_RDONLY)
            except FileNotFoundError:
                self._forget()
                return self
            with os.fdopen(descriptor, "rb") as file:
                there = os.fstat(descriptor)
                if there.st_size > MOST_BYTES:
                    raise BadDecision(f"{self.path} has {there.st_size:,} bytes, and {MOST_BYTES:,} are read at most")
                if (there.st_dev, there.st_ino) != self._file or there.st_size < self._at + len(self._rest):
                    self._forget()
                self._file = there.st_dev, there.st_ino
                file.seek(self._at)
                try:
                    self._take(file.read(there.st_size - self._at))
                except BadDecision:
                    self._forget()
                    raise
            return self

    def _take(self, data: bytes) -> None:
        """Take up what follows the last line that has ended."""
        if self.torn and self.torn[-1] > self.lines:
            self.torn.pop()  # the last one, which had no end when it was looked at
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._add(line, self.lines + 1)
            self.lines += 1
        ended = len(data) - len(rest)
        self._sha256.update(data[:ended])
        self._at += ended
        self._rest = rest
        if rest:  # it is looked at again when more has come
            self._add(rest, self.lines + 1)

    def _add(self, line: bytes, number: int) -> None:
        try:
            if len(line) > MOST_LINE_BYTES:
                raise BadDecision(f"it has {len(line):,} bytes, and a decision has {MOST_LINE_BYTES:,} at most")
            try:
                values = parse_json(line)
            except ValueError as error:
                if line and _is_cut_off(line, error):
                    self.torn.append(number)
                    return
                what = (
                    f"{error.msg} at character {error.pos + 1:,}" if isinstance(error, json.JSONDecodeError) else error
                )
                raise BadDecision(f"it is no JSON ({in_a_line(what, _WHY_CHARS)})") from None
            decision = Decision.of(values)
        except BadDecision as error:
            raise BadDecision(
                f"{self.path}, line {number:,}, is no decision: {error}; remove the line, or give another --decisions"
            ) from None
        self.changed.add(decision.pair)
        reviewers = self.standing.setdefault(decision.pair, {})
        if decision.decision == "clear":
            reviewers.pop(decision.reviewer, None)
            return
        fixes: dict[tuple[str, str], str] = {}
        if decision.instruction is not None and decision.direction and decision.kind:
            before = reviewers.get(decision.reviewer)
            fixes = {**(before.fixes if before else {}), (decision.direction, decision.kind): decision.instruction}
        reviewers[decision.reviewer] = Standing(decision=decision.decision, time=decision.time, fixes=fixes)

    def append(self, decision: Decision) -> None:
        """Add a line, and return when it is on the disk.

        Raises BadDecision for a file that is full, or a link: what it leads to may be no file of decisions. Raises
        OSError if it cannot be written.
        """
        line = decision.line + b"\n"
        Decision.of(parse_json(line))
        with self._lock:
            is_new = not self.path.exists()
            descriptor = _opened(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                except OSError as error:
                    if error.errno not in _NO_LOCKS:
                        raise
                size = os.fstat(descriptor).st_size
                if size + len(line) > MOST_BYTES:
                    raise BadDecision(f"{self.path} is full, of {MOST_BYTES:,} bytes: give another --decisions")
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a crash has cut the last line off
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                _fsync(self.path.parent)


def _is_cut_off(line: bytes, error: ValueError) -> bool:
    """Whether a line that is no JSON, because of an error, is the beginning of one of ours."""
    if not (line.startswith(_BEGINS) or _BEGINS.startswith(line)):
        return False
    if isinstance(error, UnicodeDecodeError):
        return error.end == len(line) and len(line) - error.start < 4  # inside a character
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or len(error.doc) - error.pos <= len(r"\uXXXX")


def _opened(path: Path, flags: int) -> int:
    """A descriptor of a regular file: to open a pipe would wait for ever."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadDecision(f"{path} is a link, to which nothing is added: give the file itself") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadDecision(f"{path} is no file: give another --decisions")
    return descriptor


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def now() -> str:
    """The time as a decision has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where decisions on the datasets at a URL go."""

    path: Path
    why: str = ""
    """Why they go elsewhere than beside the datasets, or cannot go there; "" if they go there."""

    def __str__(self) -> str:
        return f"{self.path}{f' ({self.why})' if self.why else ''}"


def place_of(url: str, asked: str | None = None) -> Place:
    """Where decisions on the datasets at a URL go: into the file asked for, or decisions.jsonl in their folder.

    Where that folder is not on this machine, or cannot be written to, they go into the current one. Raises BadDecision
    for a file inside a dataset's folder, whose content is what its manifests say.
    """
    if asked is not None:
        if "://" in asked:
            raise BadDecision(f"{asked} is not on this machine: decisions are added to a file on a disk")
        path = Path(os.path.abspath(expanded(asked)))
        _refuse_inside(path)
        return Place(path=path, why="" if _is_writable(path) else "which cannot be written")
    store = Store(url)
    why = f"{url} is not on this machine"
    if store.is_local:
        folder = Path(store.root)
        beside = (folder.parent if store.exists("plan.parquet") else folder) / FILE
        _refuse_inside(beside)
        if _is_writable(beside) or beside.exists():
            return Place(path=beside, why="" if _is_writable(beside) else "which cannot be written")
        why = f"{beside.parent} cannot be written to"
    here = Path.cwd() / FILE
    _refuse_inside(here)
    return Place(path=here, why=why if _is_writable(here) else f"{why}, and neither can this one")


def _is_writable(path: Path) -> bool:
    with suppress(OSError):
        return os.access(path, os.W_OK) if path.exists() else os.access(path.parent, os.W_OK | os.X_OK)
    return False


def _refuse_inside(path: Path) -> None:
    for folder in _above(path):
        if (folder / "plan.parquet").exists():
            raise BadDecision(f"{path} is inside the dataset {folder}: give --decisions FILE beside it")


def _above(path: Path) -> Iterator[Path]:
    yield from Path(os.path.realpath(path.parent)).parents
    yield Path(os.path.realpath(path.parent))


def read_ledger(url: str, asked: str | None) -> Ledger | None:
    """The decisions that a command takes: of the file asked for, which must be there, or of the one beside the dataset
    at a URL, if there is one.

    Raises DatasetError, one line, if they cannot be read.
    """
    ledger = Ledger(place_of(url, asked).path)
    if not ledger.path.exists():
        if asked is not None:
            raise DatasetError(f"there is no file {ledger.path}: xprompt browse writes decisions")
        return None
    return ledger.read()
