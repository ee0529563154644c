"""What MimicBrush learns from (arXiv 2406.07547, section 3.3): a photo with holes, and another view that fills them.

The other view is another frame of the same clip, or an augmentation of the photo itself. Holes are cells of a grid,
more often where the two views match, so that the answer is in the reference. Numbers are ours, where none is named.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject, Step
from operators.shared.metrics import ssim_luma
from operators.shared.pixels import same_size

HOLE = 128
"""Grey of the masked pixels of the input."""

_RATIO = 0.75
"""Ratio of the distances to the nearest and the second nearest descriptor, below which a SIFT match is one: Lowe 2004,
section 7.1, has 0.8."""

_MIN_SIDE_PX = 32


@dataclass(frozen=True, kw_only=True)
class Imitate:
    """Adds the input (the target with holes), the mask (white where they are) and, if there is none, a reference.

    Rejects: too_small; too_alike and unrelated, for frames whose similarity is out of bounds.
    """

    name: ClassVar[str] = "imitate"
    version: ClassVar[int] = 1
    cells: tuple[int, int] = (3, 10)
    """Fewest and most cells a side."""
    matched: float = 0.75
    unmatched: float = 0.5
    """Chance of a cell to be a hole, with and without a feature of the reference in it."""
    turn_deg: float = 15.0
    shift: float = 0.15
    """Most that a corner moves under the projection, as a share of the side."""
    tone: float = 0.2
    """Most that gain and gamma of a channel differ from 1."""
    min_ssim: float = 0.05
    max_ssim: float = 0.95
    """Bounds of two frames' SSIM: below, they show different things; above, the same picture. -1 and 1 keep all."""

    def lenient(self) -> Self:
        return replace(self, min_ssim=-1.0, max_ssim=1.0)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        photo, frame = pair.image("target"), pair.image("reference")
        assert photo, "there is a photo to make holes in"
        target = decode_rgb(photo.data)
        if min(target.shape[:2]) < _MIN_SIDE_PX:
            raise Reject("too_small", f"{photo.width_px} x {photo.height_px} px, a side is under {_MIN_SIDE_PX}")
        rng = np.random.default_rng(seed)
        params: dict[str, Any] = asdict(self)
        if frame:
            reference = decode_rgb(frame.data)
            pair = replace(pair, scores={**pair.scores, **self._alike(target, reference)})
        else:
            reference, drawn = self._view(target, rng)
            params |= drawn
            pair = replace(pair, images=(*pair.images, encode_lossless("reference", reference)))
        cells = int(rng.integers(self.cells[0], self.cells[1], endpoint=True))
        hole = self._holes(target, reference, cells, rng)
        step = Step(operator=self.name, version=self.version, seed=seed, params={**params, "cells": cells})
        made = (
            encode_lossless("input", np.where(hole[..., None], np.uint8(HOLE), target)),
            encode_lossless("mask", np.repeat(hole[..., None] * np.uint8(255), 3, axis=2)),
        )
        return replace(pair, images=(*pair.images, *made), steps=(*pair.steps, step))

    def _alike(self, target: Pixels, reference: Pixels) -> dict[str, float]:
        scores = {"frame_ssim": round(ssim_luma(*same_size(target, reference)), 6)}
        if scores["frame_ssim"] > self.max_ssim:
            raise Reject("too_alike", f"similarity of the frames {scores['frame_ssim']} > {self.max_ssim}", scores)
        if scores["frame_ssim"] < self.min_ssim:
            raise Reject("unrelated", f"similarity of the frames {scores['frame_ssim']} < {self.min_ssim}", scores)
        return scores

    def _view(self, photo: Pixels, rng: np.random.Generator) -> tuple[Pixels, dict[str, Any]]:
        """The photo from elsewhere in another light: flipped or not, turned, in projection, other tones."""
        height, width = photo.shape[:2]
        flipped = bool(rng.random() < 0.5)
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
        moved = corners + rng.uniform(-self.shift, self.shift, (4, 2)) * [width, height]
        turn_deg = float(rng.uniform(-self.turn_deg, self.turn_deg))
        rotation = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, 1.0)
        moved = moved @ rotation[:, :2].T + rotation[:, 2]
        matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
        seen = cv2.warpPerspective(
            photo[:, ::-1] if flipped else photo, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101
        )
        gain, gamma = 1 + rng.uniform(-self.tone, self.tone, (2, 3))
        toned = gain * (np.asarray(seen, np.float64) / 255) ** gamma
        drawn = {"flipped": flipped, "turned_deg": round(turn_deg, 2), "gain": gain.round(3).tolist()}
        return (toned.clip(0, 1) * 255).round().astype(np.uint8), {**drawn, "gamma": gamma.round(3).tolist()}

    def _holes(self, target: Pixels, reference: Pixels, cells: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """H x W, true in a hole; at least one cell is, and one is not."""
        height, width = target.shape[:2]
        counts = np.zeros((cells, cells), int)
        for x_px, y_px in matches(target, reference):
            counts[int(y_px * cells / height), int(x_px * cells / width)] += 1
        drawn = rng.random((cells, cells)) < np.where(counts > 0, self.matched, self.unmatched)
        if drawn.all() or not drawn.any():
            place = tuple(rng.integers(0, cells, 2))
            drawn[place] = not drawn[place]
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        return np.asarray(drawn[np.ix_(rows, columns)])


def matches(target: Pixels, reference: Pixels) -> list[tuple[float, float]]:
    """Places (x, y), pixels of the target, of SIFT features that the reference has too."""
    sift = cv2.SIFT.create()
    (points, described), (_, others) = (
        sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None) for image in (target, reference)
    )
    if described is None or others is None or len(others) < 2:
        return []
    near = cv2.BFMatcher().knnMatch(described, others, k=2)
    return [points[best.queryIdx].pt for best, second in near if best.distance < _RATIO * second.distance]
