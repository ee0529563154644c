"""Reads photos of persons several times over: each time another person is to be painted in the pose of the photo's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifests.schema import Item, Pair, Step, pair_key, seed_for
from operators.read.files import SourceFile
from operators.read.on_photos import OnPhotos
from operators.read.persons import GROUP, drawn_persons


@dataclass(frozen=True, kw_only=True)
class PoseGroups(OnPhotos):
    """Each photo of another reader GROUP times, with the text "person" of another person each time.

    Photos come in an order drawn by their number, so that the first ones are a sample. The items of a photo follow each
    other and are a context group, named after the photo's own reference.
    """

    version: ClassVar[int] = 2
    paired: ClassVar[bool] = False
    contiguous: ClassVar[bool] = True
    block: ClassVar[int] = GROUP

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        photos = list(self.photos.items(listing))
        for drawn in np.random.default_rng(seed_for(0, "pose groups")).permutation(len(photos)):
            for place in range(GROUP):
                yield replace(photos[drawn], ref=f"{photos[drawn].ref}@{place}")

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return self.photos.suffixes(items)

    def read(self, item: Item, task: str) -> Pair:
        photo, _, place = item.ref.rpartition("@")
        pair = self.photos.read(replace(item, ref=photo), task)
        _, *others = drawn_persons(photo)
        params = {"person": others[int(place)]}
        return replace(
            pair,
            key=pair_key(task, item.ref, *(image.data for image in pair.images)),
            source_ref=item.ref,
            context_group=photo,
            texts={**pair.texts, **params},
            steps=(*pair.steps, Step(operator="pose_groups", version=self.version, params=params)),
        )
