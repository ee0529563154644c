"""The one way from an image of any shape to the tokenizer's square, for predictions and targets alike.

As Chameleon's processor and `xprompt_model.vqgan.VQGAN.prepare` do it, of which a test holds it equal: the shorter side
is scaled to the square's by Lanczos, and the longer cut evenly at both ends. Images of one shape stay aligned.
"""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage

from manifests.images.pixels import Pixels


def square(pixels: Pixels, side_px: int, *, nearest: bool = False) -> Pixels:
    """The centred square of H x W x 3 pixels, scaled to `side_px` x `side_px` x 3.

    `nearest` mixes no colours: for colours that stand for numbers and are to be read back
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
