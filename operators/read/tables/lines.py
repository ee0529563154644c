"""The lines of a text file below a data root, each with its place, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from manifests.schema import Reject
from operators.read.files import on_disk, store_of

MOST_BYTES = 16 * 2**20
"""Longest line that is read. It says where images are, and does not hold them."""

_AT_ONCE = 2**20  # bytes of a file that is read to its end
_OF_A_ROW = 2**16  # bytes of a file of which one row is read
_BOM = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip", b"PK": "zip"}


def lines(root: str, path: str, start: int = 0, *, one_row: bool = False) -> Iterator[tuple[int, bytes]]:
    """Each line of a file with the offset, in bytes, at which it begins, from an offset on.

    A line that is longer than MOST_BYTES is cut behind so many and one. A mark of UTF-8 at the beginning is left out.
    With `one_row` little is read at a time. Raises FileNotFoundError.
    """
    store = store_of(root)
    name = on_disk(store, path)
    size, at, begins = store.size(name), start, start
    held, searched, cut = bytearray(), 0, False
    while at < size and (data := store.read(name, at, _OF_A_ROW if one_row else _AT_ONCE)):
        at += len(data)
        held += data
        first = 0
        while (end := held.find(b"\n", max(first, searched))) >= 0:
            if not cut:
                yield begins, _without_mark(begins, bytes(held[first : end + 1]))
            begins, first, cut = begins + end + 1 - first, end + 1, False
        del held[:first]
        searched = len(held)
        if len(held) > MOST_BYTES:
            if not cut:
                yield begins, bytes(held[: MOST_BYTES + 1])
            begins, cut = begins + len(held), True
            held.clear()
            searched = 0
    if held and not cut:
        yield begins, _without_mark(begins, bytes(held))


def _without_mark(begins: int, line: bytes) -> bytes:
    return line.removeprefix(_BOM) if begins == 0 else line


def refuse_other_encoding(root: str, path: str) -> None:
    """Raises ValueError, one line, for a file that is no text in UTF-8 by its first bytes."""
    store = store_of(root)
    first = store.read(on_disk(store, path), 0, 4) if store.size(on_disk(store, path)) else b""
    for mark, what in _OTHER_ENCODINGS.items():
        if first.startswith(mark):
            raise ValueError(f"DATA: {root}/{path} is {what}, not text in UTF-8: save or unpack it as that")


def as_text(line: bytes, where: str) -> str:
    """A line as text. Raises Reject: too_large, damaged."""
    if len(line) > MOST_BYTES:
        raise Reject("too_large", f"{where}: a line of more than {MOST_BYTES:,} bytes")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Reject("damaged", f"{where}: not UTF-8 at its byte {error.start}") from None
