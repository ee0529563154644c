"""Text from data as a terminal may be given it, and numbers as people say them.

Whoever named a file or wrote an instruction could otherwise move the cursor, colour or hide what is printed after it,
set the window's title, or turn the reading direction so that a name looks like another (CVE-2021-42574).
"""

from __future__ import annotations

import re
import sys
from typing import Any

from manifests.log import Level, is_json, write

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction: Unicode's property Bidi_Control
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff]"  # halves of surrogate pairs: bytes of file names that are no UTF-8, which print() refuses
)
_UNSAFE_IN_A_FIELD = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def printable(text: str) -> str:
    r"""The text in one line, with control and direction characters as Python and JSON write them: \x1b, \u202e."""
    return _UNSAFE.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """As `printable`, but the text may have lines and tabs: a traceback, or a field of CSV, which quotes them."""
    return _UNSAFE_IN_A_FIELD.sub(_escaped, text)


def printable_json(text: str) -> str:
    r"""JSON in one line, whose strings mean what they did: what is escaped in them is escaped as \u001b."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def size(count: float) -> str:
    """A number of bytes, as people say it."""
    for unit, least in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= least:
            return f"{count / least:,.1f} {unit}"
    return f"{count / 2**10:,.1f} KiB"


def counted(number: int, noun: str) -> str:
    """A number of things: 1 shard, 2 shards."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def say(text: str, *, error: bool = False, event: str = "", level: Level | None = None, **fields: Any) -> None:
    """Print a line made with text from data, to stdout or, for an error, to stderr.

    With `--log json` (manifests/log.py) it is an object: an `event` with its level, by default "message" or "error",
    and with the fields that the text is made of.
    """
    stream = sys.stderr if error else sys.stdout
    if is_json():
        default: Level = "error" if error else "info"
        write(event or ("error" if error else "message"), text, level=level or default, stream=stream, **fields)
    else:
        print(printable(text), file=stream, flush=True)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
