"""The answers of vision-language models that a dataset keeps: whether each is still as it was stored.

    responses/000003-5f0c2d9a41be.jsonl     a line per answer, as manifests/answers.py has it
    responses/3f/3fa0...c1.json             of older datasets: one answer, named by its key

One line is in memory at a time. One of 1.5 KB took 90 microseconds on a core that others used too: 45 s for 500,000.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from manifests.answers import flaw
from manifests.dataset import Dataset
from manifests.schema import in_short
from manifests.verify.unit import Problem

FOLDER = "responses"

MOST_LINE_BYTES = 64 * 2**20
"""A longer line is none of ours: what a server may say in one answer is bounded, and so are prompts."""

MOST_PROBLEMS = 20
"""How many lines of one file are named; of more their number is said."""

_LINES = re.compile(r"\d{6,}-[0-9a-f]{12}\.jsonl")
_OLD_FOLDER = re.compile(r"[0-9a-f]{2}")
_OLD_FILE = re.compile(r"([0-9a-f]{64})\.json")
_AGAIN = "to have the model asked again"


def answer_problems(dataset: Dataset) -> Iterator[Problem]:
    """What is wrong with the answers that a dataset keeps."""
    for name, regular in _entries(dataset, FOLDER):
        if _LINES.fullmatch(name):
            yield from _file_problems(dataset, f"{FOLDER}/{name}", regular)
        elif _OLD_FOLDER.fullmatch(name):
            for file, regular_file in _entries(dataset, f"{FOLDER}/{name}"):
                if match := _OLD_FILE.fullmatch(file):
                    yield from _old_problems(dataset, f"{FOLDER}/{name}/{file}", match[1], regular_file)


def _entries(dataset: Dataset, folder: str) -> list[tuple[str, bool]]:
    """The names in a folder, and whether each is a file, and no link or pipe."""
    fs = dataset.store.fs
    fs.invalidate_cache(dataset.store.path(folder))
    try:
        entries = fs.ls(dataset.store.path(folder), detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        (entry["name"].rstrip("/").rsplit("/", 1)[-1], entry["type"] == "file" and not entry.get("islink"))
        for entry in entries
    )


def _file_problems(dataset: Dataset, file: str, regular: bool) -> Iterator[Problem]:
    if not regular:
        yield file, "is no regular file; remove it"
        return
    found = 0
    with dataset.store.open(file) as opened:
        for number, wrong in _wrong_lines(opened):
            found += 1
            if found <= MOST_PROBLEMS:
                yield file, f"line {number}: {wrong}; remove that line {_AGAIN}"
    if found > MOST_PROBLEMS:
        yield file, f"{found - MOST_PROBLEMS:,} further lines are not as they were stored"


def _wrong_lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """The lines, from 1, that are not as they were stored, and what is wrong. One that is not whole is being written,
    or was when its process was killed: no reader takes it."""
    number = 0
    while line := file.readline(MOST_LINE_BYTES):
        number += 1
        if not line.endswith(b"\n"):
            if len(line) == MOST_LINE_BYTES:
                yield number, f"it is longer than {MOST_LINE_BYTES // 2**20} MiB, as nothing of ours is"
            return
        if wrong := _line_flaw(line):
            yield number, wrong


def _line_flaw(line: bytes) -> str:
    try:
        return flaw(json.loads(line))
    except (ValueError, RecursionError) as error:
        return f"it is no JSON ({in_short(str(error), 100)})"


def _old_problems(dataset: Dataset, file: str, key: str, regular: bool) -> Iterator[Problem]:
    if not regular:
        yield file, "is no regular file; remove it"
        return
    with dataset.store.open(file) as opened:
        data = opened.read(MOST_LINE_BYTES + 1)
    try:
        wrong = flaw(json.loads(data), key) if len(data) <= MOST_LINE_BYTES else "it is longer than anything of ours"
    except (ValueError, RecursionError) as error:
        wrong = f"it is no JSON ({in_short(str(error), 100)})"
    if wrong:
        yield file, f"{wrong}; remove it {_AGAIN}"
