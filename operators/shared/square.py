"""The one way from an image of any shape to the tokenizer's square, for what is tokenized, predicted and compared.

It is that of Meta's code for Chameleon: the shorter side is scaled to the square's by Lanczos, and the longer is cut
evenly at both ends. Images of one aspect ratio keep the same region, whatever their size.
"""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage

from manifests.images.pixels import Pixels


def square(pixels: Pixels, side_px: int, *, nearest: bool = False) -> Pixels:
    """The middle square of H x W x 3 pixels, scaled to `side_px` x `side_px` x 3.

    With `nearest` no colours are mixed: for colours that stand for numbers and are to be read back
    (operators/shared/palettes.py).
    """
    scale = side_px / min(pixels.shape[:2])
    height_px, width_px = (max(side_px, round(scale * length)) for length in pixels.shape[:2])
    image = PILImage.fromarray(pixels)
    if image.size != (width_px, height_px):
        method = PILImage.Resampling.NEAREST if nearest else PILImage.Resampling.LANCZOS
        image = image.resize((width_px, height_px), method)
    left_px, top_px = (width_px - side_px) // 2, (height_px - side_px) // 2
    return np.asarray(image.crop((left_px, top_px, left_px + side_px, top_px + side_px)))
