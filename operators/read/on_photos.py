"""What readers have in common that make pairs out of the photos of another reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from operators.read.bundled import BundledPhotos
from operators.read.files import SourceFile
from operators.read.photos import PhotoFolder


@dataclass(frozen=True, kw_only=True)
class OnPhotos:
    """The other reader, and what a source says of itself, which is what the photos' source says."""

    photos: PhotoFolder | BundledPhotos

    @property
    def source(self) -> str:
        return self.photos.source

    @property
    def licence(self) -> str:
        return self.photos.licence

    @property
    def root(self) -> str:
        return self.photos.root

    def listing(self) -> Sequence[SourceFile]:
        return self.photos.listing()

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        found = self.photos.located(root, listing)
        return replace(self, photos=found) if found else None
