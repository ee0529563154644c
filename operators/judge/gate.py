"""The quality gate of pairs whose two images show the same scene: one size, different, and not unrelated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import decode_rgb, thumbnail
from manifests.schema import Image, Pair, Reject, Step

_SURELY_DIFFERENT = 0.5 / 255  # thumbnails further apart than JPEG's rounding come from different pixels


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Keeps a pair if input and target have one (upright) size and differ, by at most `max_mean_abs_diff`.

    The score is the mean absolute difference of the thumbnails, in [0, 1]. It is stored for kept pairs too, so that
    another bound can be cut from the manifest without a new run. Rejects: size_mismatch, identical_pair, unrelated.
    """

    name: ClassVar[str] = "gate"
    version: ClassVar[int] = 1
    shows_rejects: ClassVar[bool] = True
    max_mean_abs_diff: float = 1.0

    def __call__(self, pair: Pair, seed: int) -> Pair:
        before, after = pair.image("input"), pair.image("target")
        assert before and after, "the gate compares an input with a target"
        if (before.width_px, before.height_px) != (after.width_px, after.height_px):
            raise Reject(
                "size_mismatch",
                f"input {before.width_px} x {before.height_px} px, target {after.width_px} x {after.height_px} px",
            )
        difference = float(np.abs(_thumbnail(before) - _thumbnail(after)).mean())
        scores = {"mean_abs_diff": round(difference, 6)}
        if difference < _SURELY_DIFFERENT and _same_pixels(before.data, after.data):
            raise Reject("identical_pair", "input and target show the same pixels", scores)
        if difference > self.max_mean_abs_diff:
            raise Reject("unrelated", f"mean difference {difference:.3f} > {self.max_mean_abs_diff}", scores)
        step = Step(operator=self.name, version=self.version, params={"max_mean_abs_diff": self.max_mean_abs_diff})
        return replace(pair, scores={**pair.scores, **scores}, steps=(*pair.steps, step))


def _thumbnail(image: Image) -> npt.NDArray[np.float32]:
    try:
        return thumbnail(image.data)
    except Reject as reject:
        raise Reject(reject.reason, f"{image.role}: {reject.message}") from None


def _same_pixels(before: bytes, after: bytes) -> bool:
    return before == after or bool(np.array_equal(decode_rgb(before), decode_rgb(after)))
