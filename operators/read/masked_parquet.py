"""Reads edit datasets of the hub whose rows have a mask of what was edited (MagicBrush, UltraEdit by regions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from manifests.images.pixels import NEW_IMAGE_FORMAT
from manifests.schema import MASK, Item, Pair
from operators.read.hub_parquet import HubParquet
from operators.read.parquet import open_parquet
from operators.read.region_mask import Marks, with_mask


@dataclass(frozen=True, kw_only=True)
class MaskedParquet(HubParquet):
    """A `HubParquet` with a third image column, the mask of the input, as operators/read/region_mask.py reads it.

    A pair's key is that of its input and target alone, so that it is the same with and without the mask.
    """

    version: ClassVar[int] = 3
    mask: str
    """Column of the mask: images as those of the input are stored, null where a row has none."""
    marks: Marks

    @property
    def _images(self) -> Mapping[str, str]:
        return {**super()._images, MASK: self.mask}

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        endings = super().suffixes(items)
        if self.mask not in open_parquet(self.root, items[0].files[0]).schema_arrow.names:
            return endings
        kept = self.marks == "white"  # what is made of transparency is new
        return {**endings, MASK: self._ending(items[0], self.mask) if kept else NEW_IMAGE_FORMAT}

    def read(self, item: Item, task: str) -> Pair:
        pair, before, row = self._pair(item, task)
        value = row.get(self.mask)
        drawn = value.get("bytes") if isinstance(value, dict) else value
        return with_mask(pair, before, drawn if isinstance(drawn, bytes) else None, self.marks)
