"""Makes large photos smaller before anything is made of them: a folder of wallpapers would become gigabytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import cv2
import numpy as np

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Step

Mode = Literal["fit", "crop"]


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Scales each image so that its shorter side is `size_px`; "crop" then cuts the centred square out of it.

    Images are only made smaller (cv2.INTER_AREA), never larger; all are stored as PNG, without loss.
    """

    name: ClassVar[str] = "resize"
    version: ClassVar[int] = 1
    stores: ClassVar[str] = "png"
    """The ending of what it stores."""
    size_px: int
    mode: Mode = "fit"

    def __call__(self, pair: Pair, seed: int) -> Pair:
        images = tuple(encode_lossless(image.role, self.resized(decode_rgb(image.data))) for image in pair.images)
        params = {"size_px": self.size_px, "mode": self.mode}
        return replace(
            pair, images=images, steps=(*pair.steps, Step(operator=self.name, version=self.version, params=params))
        )

    def resized(self, pixels: Pixels) -> Pixels:
        """H x W x 3 pixels at the size that was asked for."""
        factor = min(1.0, self.size_px / min(pixels.shape[:2]))
        height_px, width_px = (max(1, round(factor * side)) for side in pixels.shape[:2])
        if factor < 1:
            pixels = np.asarray(cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)
        if self.mode == "fit":
            return pixels
        side_px = min(height_px, width_px)
        top_px, left_px = (height_px - side_px) // 2, (width_px - side_px) // 2
        return np.ascontiguousarray(pixels[top_px : top_px + side_px, left_px : left_px + side_px])
