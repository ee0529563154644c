"""Where a run prints what it does: a terminal or log file, as text or events of JSON (manifests/log.py), or nowhere."""

from __future__ import annotations

import io
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.log import Level, is_json, write
from manifests.printing import printable_lines

_LOG_COLUMNS = 140
"""A log file has no width of its own; tables need one in which they can be read."""


class _Plain(Console):
    """A console whose texts, those of tables too, have names of files and answers of servers in them."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable_lines(text), **options)


class _Terminal(_Plain):
    """The console of commands. With `--log json` whatever is printed on it is an event."""

    def print(self, *objects: Any, **options: Any) -> None:
        if is_json():
            write("message", _text(*objects, **options), stream=sys.stdout)
        else:
            super().print(*objects, **options)


# What is in brackets in a path or a licence is no markup.
TERMINAL = _Terminal(markup=False, width=None if sys.stdout.isatty() else _LOG_COLUMNS)

SILENT = Console(quiet=True)
"""Prints nothing: for datasets that are made from Python."""


def is_live(to: Console) -> bool:
    """Whether a line may be kept up to date there."""
    return to.is_terminal and not is_json()


def tell(
    to: Console, event: str, said: str | Table, *, level: Level = "info", only_json: bool = False, **fields: Any
) -> None:
    """Print a line or a table; with `--log json`, on the console of commands, an event with the fields it is made of.

    `only_json` is for what other lines have said as text, such as the live line.
    """
    options: dict[str, Any] = {"highlight": False, "soft_wrap": True} if isinstance(said, str) else {}
    if is_json() and isinstance(to, _Terminal):
        write(event, _text(said, **options), level=level, stream=sys.stdout, **fields)
    elif not only_json:
        to.print(said, **options)


def _text(*objects: Any, **options: Any) -> str:
    """What would be printed, as text."""
    file = io.StringIO()
    _Plain(file=file, markup=False, width=_LOG_COLUMNS, color_system=None).print(*objects, **options)
    return "\n".join(map(str.rstrip, file.getvalue().splitlines()))
