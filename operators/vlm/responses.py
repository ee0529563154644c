"""Answers of models, kept beside the dataset that was made with them: a paid call is never made twice.

    OUT/<task>/responses/3f/3fa0...c1.json     one file per request, named by the request's hash

Each appears whole, as soon as its answer has arrived, so that a run that is killed loses only the calls then in the
air. A file holds nothing that depends on when or where it was made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from manifests.schema import canonical_json
from manifests.storage import Store


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said, as it said it. It is data: never a path, never a command."""

    text: str
    model: str
    """As the server calls it, which may be more exact than it was asked for: "gpt-4o-2024-08-06"."""
    finish_reason: str
    """"stop", or "length" if it was cut off."""
    tokens_in: int
    tokens_out: int


class Responses:
    """The answers below one URL."""

    def __init__(self, url: str) -> None:
        self._store = Store(url)

    def get(self, key: str) -> Answer | None:
        """The answer to the request with that hash, None if there is none. Raises OSError for a damaged file."""
        name = _name(key)
        try:
            data = self._store.read(name)
        except FileNotFoundError:
            return None
        try:
            return Answer(**json.loads(data)["answer"])
        except (ValueError, KeyError, TypeError) as error:
            path = self._store.path(name)
            raise OSError(f"{path} is damaged ({error}); remove it to have the model asked again") from None

    def put(self, key: str, request: dict[str, Any], answer: Answer) -> None:
        """Keep an answer. `request` says what was asked, for people."""
        record = {"request": request, "answer": asdict(answer)}
        self._store.write_bytes(_name(key), (canonical_json(record) + "\n").encode())


def _name(key: str) -> str:
    return f"{key[:2]}/{key}.json"
