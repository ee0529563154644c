"""Finds what a vision-language model answered about a pair, among the answers that a dataset keeps beside it.

    responses/000003-5f0c2d9a41be.jsonl     a line per answer, as manifests/answers.py has it
    responses/3f/3fa0...c1.json             of older datasets: one answer, named by its key

A step of a pair names the model and the prompt that was asked, and not the answer. That is found by what was asked: the
images of the request, by their sha256; of a request without images, by the text, which is the prompt with the pair's
instruction in it. Lines are read one after the other and none is kept: a pass over 300 MB takes about a second.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from manifests.answers import flaw
from manifests.read.reader import Reader

FOLDER = "responses"

_LINES = re.compile(r"\d{6,}-[0-9a-f]{12}\.jsonl")
_OLD_FOLDER, _OLD_FILE = re.compile(r"[0-9a-f]{2}"), re.compile(r"([0-9a-f]{64})\.json")
_MOST_LINE_BYTES = 64 * 2**20  # as manifests/verify/answers.py


def answers_about(
    dataset: Reader, prompts: Collection[str], images: Collection[str], instructions: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """The stored records of what was asked by one of some prompts about some images, or about one of the instructions.

    `prompts` are names as steps have them, `images` the sha256 of the images as the model was shown them. A record has
    "request" and "answer", and "flaw", which says what is wrong with it and is "" if it is as it was stored. Raises
    OSError if a file cannot be read.
    """
    texts = [*dict.fromkeys(" ".join(text.split()) for text in instructions)]
    needles = [prompt.encode() for prompt in prompts]
    for key, line in _lines(dataset):
        if not any(needle in line for needle in needles):
            continue
        try:
            record = json.loads(line)
            request = record["request"]
            answer = record["answer"]["text"]
            asked = request["prompt"] in prompts and isinstance(answer, str) and isinstance(request["text"], str)
            about = set(request["images"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # `xprompt verify` names it
        if not asked:
            continue
        fits = about <= set(images) if about else any(_is_filled(request, text) for text in texts)
        if fits:
            yield {"request": request, "answer": record["answer"], "flaw": flaw(record, key)}


def _lines(dataset: Reader) -> Iterator[tuple[str | None, bytes]]:
    """The answers as they are stored, and the key that a file's name says."""
    for name in dataset.store.names(FOLDER):
        if _LINES.fullmatch(name):
            with dataset.store.open(f"{FOLDER}/{name}") as file:
                while line := file.readline(_MOST_LINE_BYTES):
                    yield None, line
        elif _OLD_FOLDER.fullmatch(name):
            for old in dataset.store.names(f"{FOLDER}/{name}"):
                if match := _OLD_FILE.fullmatch(old):
                    yield match[1], dataset.store.read(f"{FOLDER}/{name}/{old}", 0, _MOST_LINE_BYTES)


def _is_filled(request: Mapping[str, Any], instruction: str) -> bool:
    """Whether the text of a request is its prompt with this instruction in it: the prompt's name ends in its hash."""
    text, hashed = request["text"], request["prompt"].rpartition("@")[2]
    before, found, after = text.rpartition(instruction)
    if not found:
        return False
    template = "{instruction}".join(part.replace("{", "{{").replace("}", "}}") for part in (before, after))
    return hashlib.sha256(template.encode()).hexdigest().startswith(hashed) and len(hashed) >= 12
