"""What the pictures of datasets are drawn with: colours, a font, images side by side, text that fits."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as PILImage
from PIL import ImageFont, ImageOps

from manifests.images.pixels import Pixels

BACK, TEXT, QUIET, BAR = "#ffffff", "#1b1e24", "#5d6573", "#3b6fb6"
GAP_PX = 8
"""Between two images of a pair."""

FONT = ImageFont.load_default(14)


def beside(pictures: Sequence[Pixels], width_px: int, height_px: int) -> PILImage.Image:
    """Pictures side by side in a box of that size, each fitted whole into an equal share of its width."""
    box = PILImage.new("RGB", (width_px, height_px), BACK)
    share_px = (width_px - (len(pictures) - 1) * GAP_PX) // len(pictures)
    for index, pixels in enumerate(pictures):
        picture = ImageOps.contain(PILImage.fromarray(pixels), (share_px, height_px), PILImage.Resampling.LANCZOS)
        left_px = index * (share_px + GAP_PX) + (share_px - picture.width) // 2
        box.paste(picture, (left_px, (height_px - picture.height) // 2))
    return box


def fit(text: str, width_px: int) -> str:
    """The text in one line, cut with an ellipsis where it would be wider."""
    text = " ".join(text.split())
    if FONT.getlength(text) <= width_px:
        return text
    while text and FONT.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"
