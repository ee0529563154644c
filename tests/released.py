"""What released checkpoints hold: names, shapes and types of their tensors, as tests/data/released/ has them.

Each file there is one network: its sources, the files of which roles hold it, the published config, and its tensors, a
line for all that differ only in a number. None of it was made from our own models, nor by loading weights.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "released"

_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I64": 8}
_ORDER = {"I64": 0, "F32": 1, "F16": 2, "BF16": 3}
"""The types in the order in which safetensors' writer has them: the widest first."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A released network."""

    name: str
    sources: tuple[str, ...]
    parts: tuple[str, ...]
    """The parts of the model table that it is, or is some of."""
    files: Mapping[str, str]
    """Role -> the file, or the folder of the files, that holds it; "like X" for a checkpoint of the same layout."""
    loader: str
    config: dict[str, Any] | None
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]
    """Name of a tensor -> F32, F16, BF16 or I64, as in the released file."""
    metadata: bool
    """Whether the released safetensors says "pt" in its metadata, as most do."""
    file_bytes: int | None
    """The size of the released file, where it is published."""
    slack_bytes: int
    """How much of that size is not known: 0 for safetensors as the library writes it, 8 where the order of its tensors
    is not published (which decides how many digits their offsets have), more for files of another kind."""
    data_bytes: int | None
    """The size of all tensors, where an index of several files says it."""
    twins: Mapping[str, int]
    """Type -> the size of another published file that has these tensors in that type; its source says which."""

    def header(self) -> bytes:
        """The header of a safetensors file of it, as the library writes it."""
        offset = 0
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}} if self.metadata else {}
        for name in sorted(self.shapes, key=lambda name: (_ORDER[self.types[name]], name)):
            end = offset + self.tensor_bytes(name)
            shape = [*self.shapes[name]]
            header[name] = {"dtype": self.types[name], "shape": shape, "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        return struct.pack("<Q", len(text) + -len(text) % 8) + text + b" " * (-len(text) % 8)

    def tensor_bytes(self, name: str) -> int:
        size = _BYTES[self.types[name]]
        for side in self.shapes[name]:
            size *= side
        return size

    @property
    def tensors_bytes(self) -> int:
        return sum(map(self.tensor_bytes, self.shapes))

    def file_size(self) -> int:
        """The size of a safetensors file of it."""
        return len(self.header()) + self.tensors_bytes

    def write(self, path: Path) -> Path:
        """Write it as safetensors whose tensors are a hole in the file: zeros that take no room on the disk."""
        path.parent.mkdir(parents=True, exist_ok=True)
        header = self.header()
        with path.open("wb") as file:
            file.write(header)
            file.truncate(self.file_size())
        return path


def expanded(patterns: Mapping[str, Any]) -> dict[str, Any]:
    """Names for patterns such as `blocks.{0-2,5}.weight`, each with the pattern's value."""
    names = {}
    for pattern, value in patterns.items():
        pieces = re.split(r"\{([\d,-]+)\}", pattern)
        choices = [_numbers(piece) if place % 2 else [piece] for place, piece in enumerate(pieces)]
        names.update({"".join(chosen): value for chosen in itertools.product(*choices)})
    return names


def _numbers(text: str) -> list[str]:
    spans = ([int(end) for end in span.split("-")] for span in text.split(","))
    return [str(number) for span in spans for number in range(span[0], span[-1] + 1)]


@cache
def networks() -> dict[str, Network]:
    """All released networks, by name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.json"))}


def _read(path: Path) -> Network:
    record = json.loads(path.read_text("utf-8"))
    shapes = {name: tuple(shape) for name, shape in expanded(record["tensors"]).items()}
    return Network(
        name=path.stem,
        sources=tuple(record["sources"]),
        parts=tuple(record["parts"]),
        files=record["files"],
        loader=record["loader"],
        config=record.get("config"),
        shapes=shapes,
        types=dict.fromkeys(shapes, record["dtype"]) | expanded(record.get("other_dtypes", {})),
        metadata=record.get("metadata", True),
        file_bytes=record.get("file_bytes"),
        slack_bytes=record.get("slack_bytes", 0),
        data_bytes=record.get("data_bytes"),
        twins=record.get("twins", {}),
    )
