"""The one way from an image of any shape to the tokenizer's square, for tokens, predictions and targets alike.

Chameleon's own processor scales the shorter side to 512 px by Lanczos and crops the centre
(`ChameleonImageProcessor` of transformers); here the centre is cropped first, which gives the same picture for less.
All images of a pair that have one shape keep their pixels aligned.
"""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage

from manifests.images import Pixels


def square(pixels: Pixels, side_px: int, *, nearest: bool = False) -> Pixels:
    """The largest centred square of H x W x 3 pixels, scaled to `side_px` x `side_px` x 3.

    `nearest` mixes no colours: for colours that stand for numbers and are to be read back (manifests/palettes.py).
    The result is the same on every machine: Pillow resamples 8-bit images in integers.
    """
    height_px, width_px, _ = pixels.shape
    if height_px == width_px == side_px:
        return pixels
    shorter_px = min(height_px, width_px)
    left_px, top_px = (width_px - shorter_px) // 2, (height_px - shorter_px) // 2
    box = (left_px, top_px, left_px + shorter_px, top_px + shorter_px)
    method = PILImage.Resampling.NEAREST if nearest else PILImage.Resampling.LANCZOS
    return np.asarray(PILImage.fromarray(pixels).resize((side_px, side_px), method, box))
