"""Reads the real photos that come with scikit-image and scikit-learn: the input that needs no download."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from manifests.images.pixels import NEW_IMAGE_FORMAT, Pixels, decode_rgb, encode_lossless
from manifests.schema import Item, Pair, Step, pair_key, seed_for
from operators.read.files import SourceFile, read_file

_CC0 = "CC0-1.0"
_PUBLIC_DOMAIN = "public domain"
PHOTOS: Mapping[str, str] = {
    # As stated in the docstrings of skimage.data
    "skimage/data/astronaut.png": _PUBLIC_DOMAIN,
    "skimage/data/brick.png": _CC0,
    "skimage/data/camera.png": _CC0,
    "skimage/data/chelsea.png": _CC0,
    "skimage/data/coffee.png": _CC0,
    "skimage/data/grass.png": _CC0,
    "skimage/data/gravel.png": _CC0,
    "skimage/data/rocket.jpg": _PUBLIC_DOMAIN,
    # As stated in sklearn/datasets/images/README.txt
    "sklearn/datasets/images/china.jpg": "CC-BY-2.0",
    "sklearn/datasets/images/flower.jpg": "CC-BY-2.0",
}
"""Photo -> licence."""


@dataclass(frozen=True, kw_only=True)
class BundledPhotos:
    """Square crops of the bundled photos, at places drawn from each crop's own reference."""

    version: ClassVar[int] = 2
    paired: ClassVar[bool] = False
    contiguous: ClassVar[bool] = False
    source: ClassVar[str] = "scikit-image and scikit-learn photos"
    licensed_by_item: ClassVar[bool] = True
    licence: ClassVar[str] = "by photo: public domain, CC0-1.0 or CC-BY-2.0 (china.jpg, flower.jpg)"
    photos: tuple[str, ...] = tuple(PHOTOS)
    crops_per_photo: int = 32
    side_px: int = 256

    @property
    def root(self) -> str:
        return packages_root()

    def listing(self) -> Sequence[SourceFile]:
        return packaged(self.photos)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return self

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for file in listing:
            for index in range(self.crops_per_photo):
                yield Item(ref=f"{file.path}#{index}", files=(file.path,), index=index, bytes=file.bytes)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"input": NEW_IMAGE_FORMAT, "target": NEW_IMAGE_FORMAT}

    def read(self, item: Item, task: str) -> Pair:
        path = item.files[0]
        photo, data = _photo(self.root, path)
        window, step = draw_crop(photo.shape[0], photo.shape[1], self.side_px, item.ref)
        return Pair(
            key=pair_key(task, item.ref, data),
            source=self.source,
            source_ref=item.ref,
            licence=PHOTOS[path],
            images=(encode_lossless("target", np.ascontiguousarray(photo[window])),),
            group=path,
            steps=(step,),
        )


def packages_root() -> str:
    """Where the packages that bring photos are installed."""
    spec = importlib.util.find_spec("skimage")
    assert spec and spec.origin, "scikit-image is a core dependency"
    return str(Path(spec.origin).parents[1])


def packaged(paths: Iterable[str]) -> Sequence[SourceFile]:
    """A listing of files that come with the packages."""
    status = {path: (Path(packages_root()) / path).stat() for path in paths}
    return [SourceFile(path=path, bytes=s.st_size, modified_s=s.st_mtime) for path, s in status.items()]


def draw_crop(height_px: int, width_px: int, side_px: int, ref: str) -> tuple[tuple[slice, slice], Step]:
    """A square window of an image, at a place drawn from the crop's own reference, and the step that records it."""
    seed = seed_for(0, ref, "crop")
    limits = (height_px - side_px + 1, width_px - side_px + 1)
    y_px, x_px = (int(value) for value in np.random.default_rng(seed).integers(0, limits))
    params = {"x_px": x_px, "y_px": y_px, "width_px": side_px, "height_px": side_px}
    window = (slice(y_px, y_px + side_px), slice(x_px, x_px + side_px))
    return window, Step(operator="crop", version=1, params=params, seed=seed)


@lru_cache(maxsize=len(PHOTOS))
def _photo(root: str, path: str) -> tuple[Pixels, bytes]:
    """Pixels and file, decoded once per worker: a photo has many crops."""
    data = read_file(root, path)
    return decode_rgb(data), data
