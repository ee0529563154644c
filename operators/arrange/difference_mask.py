"""Says where an edit is: a mask from the difference of input and target, for pairs whose source brings none.

Only the edited part of a pair should differ. In truth all of it does, a little: JPEG changes what is near edges, the
autoencoder of a diffusion model takes fine detail away and adds noise, and many editors shift the tone of the whole
picture. So a difference counts where it stands out from that of the rest of the picture that has as much texture.

1. The input gets the target's tone: in each channel a line through the medians of its darker and its lighter half.
   Where that line alone is far from the input, the whole picture was changed.
2. The difference of the two in CIELAB is averaged over a small square, in which noise and the ringing at edges cancel
   out.
3. The noise to be expected of a pixel is read from the picture: of all pixels with about as much texture in the input,
   a low quantile of the difference. What lies far above it is an edit, and what is beside that and well above it.
4. Closing, and the removal of specks, make regions of it.

Numbers are ours, measured by infra/bench/masks.py on known edits of photos.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import MASK, Pair, Step
from operators.base import Setting
from operators.option import option

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float32]
Found = Literal["region", "nothing", "everything"]

_LONGEST_PX = 1_024
"""Longest side of what is compared; larger images are made smaller before, and the mask larger again."""

_DIVISIONS = 200
"""Parts of the shorter side: one of them is the radius of the square that differences are averaged over."""

_TEXTURES = 6
"""Kinds of texture, of equally many pixels each, whose noise is read apart."""

_NOISE_QUANTILE = 0.4
"""Quantile of the differences of a kind of texture that is taken for its noise: right as long as no more than half of
that kind was edited."""

_LEAST_NOISE, _MOST_NOISE = 1.25, 3.0
"""Bounds of the noise, CIELAB units: rounding to 8 bits and averaging leave about the first in a picture that was saved
twice; above the second it would hide edits of all that has one texture."""

_FAR = 5.0
"""Multiples of the noise from which a difference is an edit by itself."""

_WELL = 0.52
"""Share of `_FAR` from which a difference is one beside such pixels."""

_BORDER = 0.3
"""Share of the largest difference nearby below which a pixel is outside of a border that averaging has blurred."""

_CORE = 0.15
"""Share of a region's pixels that must be far above the noise."""

_CLOSING = 0.012
"""Radius of the closing, of the shorter side."""

_LEAST_AREA = 0.002
"""Share of the picture below which a region is a speck, and five times that below which a hole in one is filled."""

_MOST_AREA = 0.85
"""Share of the picture above which everything was changed."""

_MOST_SHIFT = 12.0
"""Mean CIELAB distance between the input and the input in the target's tone, above which the tone is the edit."""

_MOST_DIFFERENCE = 8.0
"""Median CIELAB distance, once tones are equal, above which most of the picture is another one."""


@dataclass(frozen=True, kw_only=True)
class DifferenceMask:
    """Adds the mask of a pair that has none, from the difference of its input and target, and the score `mask_area`.

    Where the whole picture was changed, or nothing that stands out from noise, there is no mask: the score is 1 or 0,
    and the step's `found` says "everything" or "nothing". A pair whose images differ in size ("no_grid") has neither. A
    pair that has a mask from its source is left as it is.
    """

    name: ClassVar[str] = "difference_mask"
    version: ClassVar[int] = 1
    masks: Literal["source", "derive"] = option(
        "source",
        "masks of what was edited: those that the source has, or, where it has none, derived from the difference too",
        choices=("source", "derive"),
    )

    def fitted(self, setting: Setting) -> Self | None:
        return self if self.masks == "derive" else None

    def __call__(self, pair: Pair, seed: int) -> Pair:
        before, after = pair.image("input"), pair.image("target")
        assert before and after, "an edit has an input and a target"
        if pair.image(MASK):
            return pair
        images, scores, said = pair.images, dict(pair.scores), "no_grid"
        if (before.width_px, before.height_px) == (after.width_px, after.height_px):
            mask, said = changed_region(decode_rgb(before.data), decode_rgb(after.data))
            scores["mask_area"] = round(float(mask.mean()), 6)
            if said == "region":
                drawn = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
                images = (*images, encode_lossless(MASK, drawn))
        step = Step(operator=self.name, version=self.version, params={"found": said})
        return replace(pair, images=images, scores=scores, steps=(*pair.steps, step))


def changed_region(before: Pixels, after: Pixels) -> tuple[Mask, Found]:
    """H x W, true where two H x W x 3 images differ by more than noise, and what of the picture that is.

    All is true for "everything", and false for "nothing".
    """
    height, width = before.shape[:2]
    factor = _LONGEST_PX / max(height, width)
    if factor < 1:
        size = (max(1, round(factor * width)), max(1, round(factor * height)))
        smaller = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (before, after))
        mask, found = changed_region(*(np.asarray(image, np.uint8) for image in smaller))
        larger = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(larger, np.bool_), found
    everything, nothing = np.ones((height, width), np.bool_), np.zeros((height, width), np.bool_)
    reach_px = max(1, round(min(height, width) / _DIVISIONS))
    toned = _in_tone_of(after, before)
    if _length(_distance(before, toned)).mean() > _MOST_SHIFT:
        return everything, "everything"
    difference = _length(_averaged(_distance(toned, after), reach_px))
    if np.median(difference) > _MOST_DIFFERENCE:
        return everything, "everything"
    above = difference / _noise(difference, _texture(before, 2 * reach_px))
    mask = _regions(above, reach_px)
    share = mask.mean()
    if share > _MOST_AREA:
        return everything, "everything"
    return (mask, "region") if share >= _LEAST_AREA else (nothing, "nothing")


def _in_tone_of(wanted: Pixels, image: Pixels) -> Pixels:
    """An image whose channels are shifted and stretched as most of the pixels of another one are."""
    toned = np.empty(image.shape, np.float64)
    for channel in range(3):
        values = image[..., channel].astype(np.int16)
        shifts = wanted[..., channel] - values
        darker = values <= np.median(values)
        halves = [half for half in (darker, ~darker) if half.any()]
        places, by = ([float(np.median(of[half])) for half in halves] for of in (values, shifts))
        slope = (by[1] - by[0]) / max(places[1] - places[0], 1.0) if len(halves) > 1 else 0.0
        toned[..., channel] = values + by[0] + slope * (values - places[0])
    return np.asarray(np.rint(toned.clip(0, 255)), np.uint8)


def _distance(first: Pixels, second: Pixels) -> Values:
    """H x W x 3 differences of two images in CIELAB, in its usual units."""
    one, other = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) for image in (first, second))
    return np.asarray((other - one) * np.array([100 / 255, 1, 1], np.float32), np.float32)


def _length(vectors: Values) -> Values:
    return np.asarray(np.sqrt(np.square(vectors).sum(axis=2)), np.float32)


def _averaged(values: Values, reach_px: int) -> Values:
    """Values averaged twice over a square: each pixel's neighbours count the more, the nearer they are."""
    side = (2 * reach_px + 1,) * 2
    once = cv2.blur(values, side, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.blur(once, side, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _texture(image: Pixels, reach_px: int) -> Values:
    """Standard deviation of the lightness around each pixel, CIELAB units."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32) * np.float32(100 / 255)
    variance = _averaged(np.square(light), reach_px) - np.square(_averaged(light, reach_px))
    return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float32)


def _noise(difference: Values, texture: Values) -> Values:
    """The difference to be expected of each pixel by its texture."""
    borders = np.quantile(texture, np.linspace(0, 1, _TEXTURES + 1))
    kind = np.searchsorted(borders[1:-1], texture, "right")
    there = [kind == one for one in range(_TEXTURES) if (kind == one).any()]
    textures = [float(np.median(texture[those])) for those in there]
    levels = [float(np.quantile(difference[those], _NOISE_QUANTILE)) for those in there]
    return np.asarray(np.interp(texture, textures, levels).clip(_LEAST_NOISE, _MOST_NOISE), np.float32)


def _regions(above: Values, reach_px: int) -> Mask:
    """The regions of what is so many times above the noise."""
    height, width = above.shape
    pixels = height * width
    there = (above > _FAR * _WELL) & (above > _BORDER * cv2.dilate(above, _disc(2 * reach_px)))
    near = cv2.morphologyEx(there.astype(np.uint8), cv2.MORPH_OPEN, _disc(reach_px))
    count, labels = cv2.connectedComponents(near)
    sizes = np.bincount(labels.ravel(), minlength=count)
    cores = np.bincount(labels[above > _FAR], minlength=count)
    wanted = (cores > _CORE * sizes) & (cores >= _LEAST_AREA / 2 * pixels)
    wanted[0] = False  # what is near no edit
    mask = wanted[labels].astype(np.uint8)
    reach_px = max(1, round(_CLOSING * min(height, width)))
    padded = cv2.copyMakeBorder(mask, *(reach_px,) * 4, cv2.BORDER_CONSTANT, value=0)
    mask = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(reach_px))[reach_px:-reach_px, reach_px:-reach_px]
    large = _large_parts(mask, _LEAST_AREA * pixels)
    return ~_large_parts((~large).astype(np.uint8), 5 * _LEAST_AREA * pixels)


def _large_parts(mask: npt.NDArray[np.uint8], least_px: float) -> Mask:
    """A mask without its connected parts of fewer pixels."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    large = statistics[:, cv2.CC_STAT_AREA] >= least_px
    large[0] = False
    return np.asarray(large[labels])


def _disc(radius_px: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1,) * 2), np.uint8)
