"""Reads photos two by two: the inputs of what is made from two images."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from manifests.schema import Item, Pair, pair_key, seed_for
from operators.read.bundled import BundledPhotos
from operators.read.files import SourceFile
from operators.read.photos import PhotoFolder


@dataclass(frozen=True, kw_only=True)
class PhotoPairs:
    """Each photo of another reader in the first role, and one of another file, drawn by its place, in the second."""

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    photos: PhotoFolder | BundledPhotos
    roles: tuple[str, str] = ("input1", "input2")
    within_folder: bool = False
    """Whether the second is of the first's folder: another frame of the same clip."""

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

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        photos = list(self.photos.items(listing))
        draws = np.random.default_rng(seed_for(0, "photo pairs")).permutation(len(photos))
        for place, first in enumerate(photos):
            # The drawn one, or the next along that is from another file.
            turns = (photos[(draws[place] + further) % len(photos)] for further in range(len(photos)))
            second = next((photo for photo in turns if self._fit(first, photo)), None)
            if second:
                yield Item(
                    ref=f"{first.ref}+{second.ref}",
                    files=first.files + second.files,
                    index=len(first.ref),  # where the "+" stands: a file's name may hold one too
                    bytes=first.bytes + second.bytes,
                )

    def _fit(self, first: Item, second: Item) -> bool:
        folders = [posixpath.dirname(item.files[0]) for item in (first, second)]
        return first.files != second.files and (not self.within_folder or folders[0] == folders[1])

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        suffixes = self.photos.suffixes([Item(ref=item.ref, files=item.files[:1]) for item in items])
        return dict.fromkeys(self.roles, suffixes["target"])

    def read(self, item: Item, task: str) -> Pair:
        refs = (item.ref[: item.index], item.ref[item.index + 1 :])
        pairs = [
            self.photos.read(Item(ref=ref, files=(file,)), task) for ref, file in zip(refs, item.files, strict=True)
        ]
        images = [replace(pair.images[0], role=role) for pair, role in zip(pairs, self.roles, strict=True)]
        licences = dict.fromkeys(pair.licence for pair in pairs)
        return replace(
            pairs[0],
            key=pair_key(task, item.ref, *(image.data for image in images)),
            source_ref=item.ref,
            licence="; ".join(licences),
            images=tuple(images),
            group=posixpath.dirname(item.files[0]) if self.within_folder else pairs[0].group,
            steps=sum((pair.steps for pair in pairs), ()),
        )
