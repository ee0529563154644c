"""The format in which a command says what it does: text for a reader, or with `--log json` a JSON object a line.

    {"time": "2026-11-30T07:42:50.123Z", "level": "info", "event": "progress", "message": "...", "units": 3, ...}

Each line goes where its text goes, progress to stdout or stderr and errors to stderr. `message` is that text, so that
nothing is lost; the other fields are what it is made of. What a command that looks at datasets is asked to print, such
as rows of `xprompt sql`, is no message and stays as it is.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Level = Literal["info", "warning", "error"]

FORMATS = ("text", "json")
HELP = "how progress and errors are printed: text (default), or json, an object a line"

_FLAG = "--log"
_VARIABLE = "LOG"  # of make

ENVIRONMENT = "XPROMPT_LOG"
"""The environment variable that says the same to processes whose arguments are not ours, such as those of torchrun."""

_PARSER = re.compile(r"\S.*?: error: ")
"""How argparse begins the line that says what is wrong with a command line."""

_format: str | None = None
"""None outside of any `chosen`."""


def is_json() -> bool:
    """Whether messages are JSON now."""
    return _format == "json"


@contextmanager
def chosen(arguments: Sequence[str], *, stdout: bool = True) -> Iterator[list[str]]:
    """The arguments without --log FORMAT (or LOG=FORMAT), which holds until the block ends.

    Where they do not say, it stays as it is; in the outermost block it is what XPROMPT_LOG says, or text. In JSON what
    libraries and Python itself print becomes events too, on stderr and, unless `stdout` is False, on stdout; an
    exception that nobody has caught becomes one event and SystemExit(1), as Python would end. Raises SystemExit(2),
    with one line on stderr, for another format.
    """
    global _format
    before = _format
    rest, asked = _taken(arguments)
    said = before or os.environ.get(ENVIRONMENT) or "text"
    for source, value in ((_FLAG, asked), (ENVIRONMENT, said)):
        if value is not None and value not in FORMATS:
            print(f"{source} {value!r}: {' or '.join(FORMATS)}", file=sys.stderr)
            raise SystemExit(2)
    _format = asked or said
    streams = sys.stdout, sys.stderr
    if is_json() and not isinstance(sys.stderr, _Lines):
        sys.stderr = _Lines(sys.stderr, "stderr", "warning")
    if is_json() and stdout and not isinstance(sys.stdout, _Lines):
        sys.stdout = _Lines(sys.stdout, "message", "info")
    try:
        yield rest
    except Exception as error:
        if not is_json():
            raise
        text = " ".join("".join(traceback.format_exception_only(error)).split())
        write("error", text, level="error", stream=sys.stderr, traceback=traceback.format_exc())
        raise SystemExit(1) from None
    finally:
        sys.stdout, sys.stderr = streams
        _format = before


def add_option(parser: Any) -> None:
    """Show the option in a parser's help: `chosen` has taken it from the arguments before they are parsed."""
    parser.add_argument(_FLAG, choices=FORMATS, default=argparse.SUPPRESS, help=HELP)


def write(event: str, message: str, *, level: Level = "info", stream: TextIO, **fields: Any) -> None:
    """Write a line of JSON: pure ASCII, so that it cannot move a terminal's cursor or fail to be encoded."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": now, "level": level, "event": event, "message": message, **_plain(fields)}
    stream = stream.under if isinstance(stream, _Lines) else stream
    stream.write(json.dumps(line, allow_nan=False).replace("\x7f", "\\u007f") + "\n")
    stream.flush()


def _taken(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    rest, asked, given = [], None, iter(arguments)
    for one in given:
        if one == _FLAG:
            asked = next(given, "")
        elif one.startswith((f"{_FLAG}=", f"{_VARIABLE}=")):
            asked = one.partition("=")[2]
        else:
            rest.append(one)
    return rest, asked


def _plain(value: Any) -> Any:
    """As JSON has it, which knows no NaN and no infinity: they are null."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


class _Lines(io.TextIOBase):
    """A stream for those who know nothing of events: the lines that are written at once become one."""

    def __init__(self, under: TextIO, event: str, level: Level) -> None:
        self.under = under
        self._event, self._level = event, level
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = re.split(r"[\r\n]", self._begun + text)  # progress bars end theirs with \r
        said = "\n".join(line for line in lines if line.strip())
        if _PARSER.match(said):
            write("error", said, level="error", stream=self.under)
        elif said:
            write(self._event, said, level=self._level, stream=self.under)
        return len(text)

    def flush(self) -> None:
        self.under.flush()

    def fileno(self) -> int:
        return self.under.fileno()

    def isatty(self) -> bool:
        return False
