"""Reads the real photo with measured depth that comes with scikit-image: depth pairs that need no download."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import NEW_IMAGE_FORMAT, Pixels, decode_rgb, encode_lossless
from manifests.schema import Item, Pair, pair_key
from operators.arrange.dense import depth_target, read_step
from operators.read.bundled import draw_crop, packaged, packages_root
from operators.read.files import SourceFile, read_file

_LEFT = "skimage/data/motorcycle_left.png"
_DISPARITY = "skimage/data/motorcycle_disp.npz"

# The calibration, as stated in the docstring of skimage.data.stereo_motorcycle, valid for its quarter-size images.
_FOCAL_LENGTH_PX = 994.978
_BASELINE_M = 0.193001
_PRINCIPAL_POINTS_APART_PX = 31.086


@dataclass(frozen=True, kw_only=True)
class BundledStereo:
    """Square crops of the left image of Middlebury's "Motorcycle", with depth from its structured-light disparity.

    One scene of 500 x 741 px: the crops overlap. They show that a task works; nothing is to be learned from them.
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: ClassVar[str] = "scikit-image stereo_motorcycle"
    licence: ClassVar[str] = "Middlebury 2014 stereo benchmark, as redistributed by scikit-image"
    crops: int = 64
    side_px: int = 256

    @property
    def root(self) -> str:
        return packages_root()

    def listing(self) -> Sequence[SourceFile]:
        return packaged((_LEFT, _DISPARITY))

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return self

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        size = sum(file.bytes for file in listing)
        for index in range(self.crops):
            yield Item(ref=f"{_LEFT}#{index}", files=(_LEFT, _DISPARITY), index=index, bytes=size)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"input": NEW_IMAGE_FORMAT, "target": NEW_IMAGE_FORMAT}

    def read(self, item: Item, task: str) -> Pair:
        photo, depth_m, contents = _scene(self.root)
        window, step = draw_crop(photo.shape[0], photo.shape[1], self.side_px, item.ref)
        return Pair(
            key=pair_key(task, item.ref, *contents),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(encode_lossless("input", np.ascontiguousarray(photo[window])), depth_target(depth_m[window])),
            group=_LEFT,
            steps=(step, read_step("depth_mm")),
        )


@lru_cache(maxsize=1)
def _scene(root: str) -> tuple[Pixels, npt.NDArray[np.floating[Any]], tuple[bytes, bytes]]:
    """Pixels, depth in metres and both files, decoded once per worker."""
    left, packed = read_file(root, _LEFT), read_file(root, _DISPARITY)
    with np.load(io.BytesIO(packed)) as arrays:
        disparity_px = arrays["arr_0"].astype(np.float64)
    # Not measured is NaN there, and stays so.
    return (
        decode_rgb(left),
        _FOCAL_LENGTH_PX * _BASELINE_M / (disparity_px + _PRINCIPAL_POINTS_APART_PX),
        (left, packed),
    )
