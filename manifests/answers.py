"""What is stored of a vision-language model's answer, and whether it is still what was stored.

    {"answer": {...}, "key": "3fa0...c1", "request": {...}, "sha256": "90bb...2e"}

The key is the sha256 of the request, and `sha256` that of key and answer, each as canonical JSON: nothing that was
asked or answered changes by accident, or is edited, without that being seen. Who edits an answer on purpose can write
its sha256 anew. Answers of older datasets have none; of them the request alone is checked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from manifests.schema import canonical_json

_KEY = re.compile(r"[0-9a-f]{64}")


def request_key(request: Mapping[str, Any]) -> str:
    """The key of a request, by which its answer is stored: 64 hex digits."""
    return _sha256(request)


def record_of(key: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of an answer."""
    return {"key": key, "request": request, "answer": answer, "sha256": _sha256([key, answer])}


def encoded(value: Any) -> bytes:
    """Canonical JSON in UTF-8; halves of surrogate pairs, which models may say, are escaped as JSON has it."""
    return canonical_json(value).encode(errors="backslashreplace")


def flaw(record: Any, key: str | None = None) -> str:
    """What is wrong with a stored answer, in a few words; "" if it is as it was stored.

    `key` is that of the request which it is to answer, where that is known, as by a file's name: the records of older
    datasets that have a file of their own do not say it themselves.
    """
    try:
        said = record.get("key", key)
        if not _KEY.fullmatch(said) or (key is not None and said != key) or not isinstance(record["answer"], dict):
            return "it is no answer"
        if request_key(record["request"]) != said:
            return "its request is not the one that was asked"
        if "sha256" in record and record["sha256"] != _sha256([said, record["answer"]]):
            return "its answer was changed after it was stored"
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return "it is no answer"
    return ""


def _sha256(value: Any) -> str:
    return hashlib.sha256(encoded(value)).hexdigest()
