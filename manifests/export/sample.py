"""An example with its pictures, as formats are given it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from manifests.export.plain import is_plain
from manifests.images.png import encode_png
from manifests.read.pairs import StoredExample, StoredPair
from manifests.schema import DatasetError, Direction, Kind, Reject

ALL_ENCODINGS = frozenset(["jpeg", "png", "webp", "tiff", "avif", "gif", "bmp", "ppm"])
"""The formats of stored images, as manifests name them."""

_ENDINGS = {"jpeg": "jpg", "tiff": "tif"}


@dataclass(frozen=True, kw_only=True)
class File:
    """An image's bytes as an export has them, and the ending of its name, without a dot."""

    data: bytes
    ending: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A stored image of a pair. It is read when its bytes are asked for, each time anew."""

    pair: StoredPair
    role: str
    format: str
    """The encoding of what is stored, as manifests name it: "png", "jpeg"."""
    width_px: int
    height_px: int
    accepted: Collection[str] = ALL_ENCODINGS
    """The encodings that the format's reader opens."""
    as_stored: bool = False
    """Whether the reader sees what is meant in any file: turned by EXIF, transparent, of other colours than sRGB."""
    converted: Counter[str] = field(default_factory=Counter, compare=False, repr=False)
    """Counts pictures that were converted, by the reason."""

    def file(self) -> File:
        """The stored bytes where the reader takes them as they are, else a PNG of the same pixels as upright sRGB.

        Raises DatasetError if the image is not there or is damaged.
        """
        data = self.pair.image_bytes(self.role)
        if self.format not in self.accepted:
            self.converted[f"{self.format} is not read there"] += 1
        elif not self.as_stored and not self._is_plain(data):
            self.converted["turned, transparent, deep, or of other colours than sRGB"] += 1
        else:
            return File(data=data, ending=_ENDINGS.get(self.format, self.format))
        return File(data=encode_png(self.pair.image(self.role)), ending="png")

    def _is_plain(self, data: bytes) -> bool:
        try:
            return is_plain(data)
        except Reject as reject:
            raise DatasetError(f"image {self.role} of pair {self.pair.key} is damaged: {reject.message}") from None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One example, ready to be written. A context is a sample without contexts of its own."""

    name: str
    """Unique in the export, of letters, digits and hyphens, and never the beginning of another. Files are called so."""
    example: StoredExample
    inputs: tuple[Picture, ...]
    """The input images, in order."""
    output: Picture | None
    """The image that is to be made; None for a describe example, whose answer is `text`."""
    mask: Picture | None
    """The image of role "mask": where the pair's images differ. None if there is none, or it is one of the inputs."""
    contexts: tuple[Sample, ...] = ()
    """The in-context examples, the best first."""

    @property
    def instruction(self) -> str:
        return self.example.instruction

    @property
    def text(self) -> str | None:
        """The answer of a describe example."""
        return self.example.text

    @property
    def direction(self) -> Direction:
        return self.example.direction

    @property
    def kind(self) -> Kind:
        return self.example.kind

    def value(self, column: str) -> Any:
        """What the manifest says of the pair: task, source, source_ref, source_group, licence, scores, steps, ..."""
        return self.example.pair.value(column)
