"""What may be shown to everybody of what a manifest has noted in passing: no path of a machine, no key in an address.

A manifest's columns are public, and are published with the dataset. But a source, a model or a parameter may be named
by where it lay on the machine that made the dataset. Instructions, answers and prompts are what a dataset is for; they
are left as they are.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]*")
_PATH = re.compile(r"(?<![\w./:~<\\-])(?:~[\w.-]*|[A-Za-z]:)?(?:[/\\]+[^\s/\\\"',;:|]+)+[/\\]?|file:/[^\s\"',;|]*")
"""An absolute path of Unix or Windows, or one below a home folder."""


def public(value: Any) -> Any:
    """A JSON value in whose texts each absolute path is its last name, and each address has neither user nor query."""
    match value:
        case str():
            return _text(value)
        case dict():
            return {name: public(item) for name, item in value.items()}
        case list() | tuple():
            return [public(item) for item in value]
    return value


def _text(text: str) -> str:
    parts, end = [], 0
    for match in _ADDRESS.finditer(text):
        parts += [_PATH.sub(_last_name, text[end : match.start()]), _address(match[0])]
        end = match.end()
    return "".join([*parts, _PATH.sub(_last_name, text[end:])])


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        if parts.scheme.lower() in ("file", "local"):
            return _last_name(text)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:  # as it is written it is none
        return "..."


def _last_name(match: re.Match[str] | str) -> str:
    names = re.split(r"[/\\]+", (match if isinstance(match, str) else match[0]).rstrip("/\\"))
    return f".../{names[-1]}"
