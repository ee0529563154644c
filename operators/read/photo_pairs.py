"""Reads photos two by two: the inputs of what is made from two images."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

import numpy as np

from manifests.schema import Item, Pair, pair_key, seed_for
from operators.option import at_least_one, option
from operators.read.files import SourceFile
from operators.read.on_photos import OnPhotos


@dataclass(frozen=True, kw_only=True)
class PhotoPairs(OnPhotos):
    """Each photo of another reader in the first role, and one of another file, drawn by its place, in the second.

    With a `count` above the number of these pairs, further ones are the same photos with others beside them.
    """

    version: ClassVar[int] = 2
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    roles: tuple[str, str] = ("input1", "input2")
    within_folder: bool = False
    """Whether the second is of the first's folder: another frame of the same clip."""
    # What is made of a dataset's items is in its fingerprint by the items themselves.
    count: int | None = option(
        None, "how many pairs to make (default: each photo once)", type=at_least_one, in_fingerprint=False
    )

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        photos = list(self.photos.items(listing))
        draws = np.random.default_rng(seed_for(0, "photo pairs")).permutation(len(photos))
        places: dict[str, list[int]] = {}
        for place, photo in enumerate(photos):
            places.setdefault(self._folder(photo), []).append(place)
        left = len(photos) if self.count is None else self.count
        # Each round gives every photo the next one along that is of the folder and from another file. The first round
        # begins with the drawn one; of the last, as many are taken as are wanted, drawn too.
        for further in range(len(photos)):
            made = {}
            for place, first in enumerate(photos):
                if second := self._second(photos, first, places[self._folder(first)], draws[place], further):
                    made[place] = (first, second)
            for place in sorted(sorted(made, key=draws.__getitem__)[:left]):
                first, second = made[place]
                yield Item(
                    ref=f"{first.ref}+{second.ref}",
                    files=first.files + second.files,
                    index=len(first.ref),  # where the "+" stands: a file's name may hold one too
                    bytes=first.bytes + second.bytes,
                )
            left -= len(made)
            if self.count is None or left <= 0 or not made:
                return

    def _second(
        self, photos: Sequence[Item], first: Item, among: Sequence[int], drawn: int, further: int
    ) -> Item | None:
        """The photo beside `first`: of those at the places `among`, so many further along than the drawn place."""
        start = bisect_left(among, drawn)
        turns = (photos[among[(start + turn) % len(among)]] for turn in range(len(among)))
        return next(islice((photo for photo in turns if photo.files != first.files), further, None), None)

    def _folder(self, photo: Item) -> str:
        """The folder that the second photo must be of too; "" where it may be of any."""
        return posixpath.dirname(photo.files[0]) if self.within_folder else ""

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
