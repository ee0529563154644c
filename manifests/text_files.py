"""Files of text that users write or ask for: recipes, prompts, reports. What is wrong with one is said in one line."""

from __future__ import annotations

import argparse
import stat
import tomllib
from pathlib import Path
from typing import Any

from manifests.schema import in_a_line
from manifests.storage import expanded

MOST_BYTES = 64 * 2**20
"""A larger file is none that somebody has written: MagicBrush's 10,000 turns are described in some MB."""

_WHY_CHARS = 200  # of what a parser says, which may repeat what it has read


def read_text(path: Path | str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, which is no part of it.

    Raises ValueError, one line with the file and the way out, for a file that is not there, no file, too large, or in
    another encoding. A pipe or a device is not read, since that may never end.
    """
    path = Path(path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is no file")
        if found.st_size > MOST_BYTES:
            raise ValueError(f"{path} has {found.st_size:,} bytes: a file of text has {MOST_BYTES:,} at the most")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8 (at byte {error.start:,}): save it as UTF-8") from None


def read_toml(path: Path | str) -> dict[str, Any]:
    """The table of a TOML file. Raises ValueError as `read_text`, and for what is no TOML."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no TOML: {in_a_line(error, _WHY_CHARS)}") from None


def file_to_write(text: str) -> Path:
    """The file that an option names and that is written at the end of all, as argparse's `type`.

    What cannot be one is refused at the beginning: no folder that has it, or a folder in its place.
    """
    path = Path(expanded(text))
    if text == "-":
        raise argparse.ArgumentTypeError("it goes to a file, not to standard output: name one")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}: make it first")
    return path
