"""Judges whether a pair's input is its target, degraded: one scene, a change that is seen, and the right way round.

A difference of pixels cannot tell a dark photo from another scene, nor noise from nothing. Structure, visibility and
direction are each measured on what `manifests.images.pixels.reduced` has made of both images anyway; only where that
says too little are files decoded again. How often each bound errs is measured by infra/bench/gate.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from manifests.images.pixels import Pixels, decode_rgb, reduced, sampled
from manifests.schema import Image, Pair, Reject, Step
from operators.option import option
from operators.shared.structure import GRID_PX, alignment, luma, structure_grid, turned_alignment
from operators.shared.visibility import visible_change

Values = npt.NDArray[np.float64]
Degradation = Literal["noise", "blur", "rain", "darkness", "flatness"]

_LEVELS = np.arange(256.0)
_LINEAR = (_LEVELS / 255) ** 2.2
_PLAIN_STD = 4.0
"""Standard deviation of the target's luma, in levels at GRID_PX, below which it has too little structure to be told
from another scene: noise and rain over a clear sky have more."""
_TINY_PX = 2 * GRID_PX
"""Shorter side below which structure is not judged: too few pixels are averaged to take noise and rain away."""
_SURE = 0.9
"""Alignment from which on a pair is not compared mirrored and turned too. scikit-image's coins, which lie in rows, have
0.74 with themselves mirrored."""
_DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """Keeps a pair whose input is its target under a degradation; it belongs behind `Gate`, which compares the sizes.

    Stores three scores, of kept pairs and of rejects. "visible_change" is in just noticeable differences
    (operators/shared/visibility.py): of some thousand pixels; where JPEG files were only read at 1/8 scale, of the
    averages, which hide some; before a pair is rejected for it, of all pixels. "alignment" is the correlation of the
    structures (operators/shared/structure.py), and missing where the target is plain or tiny. "direction" is positive
    where the input is the degraded one, in units of the degradation; it is 0 where nothing can be said. Rejects:
    no_visible_change, other_scene, turned, swapped.
    """

    name: ClassVar[str] = "degraded"
    version: ClassVar[int] = 1
    by: Degradation | None = None
    """What the input suffers from; None leaves open which of the two is the degraded one."""
    min_visible: float = 0.25
    """Least visible change. Ours: four times its root mean square, which noise exceeds once in 16,000 times, is just
    noticed."""
    min_alignment: float = option(
        0.15, "least correlation of the structures of input and target: below it they show different scenes; -1: any"
    )

    def __call__(self, pair: Pair, seed: int) -> Pair:
        before, after = pair.image("input"), pair.image("target")
        assert before and after, "an input is compared with a target"
        sides = _Sides.of(before, after)
        scores = {"visible_change": _visible(sides)}
        if scores["visible_change"] < self.min_visible:  # points may have missed the little that there is
            scores["visible_change"] = _visible_in_all(before, after)
        if scores["visible_change"] < self.min_visible:
            message = f"the change is of {scores['visible_change']:.3f} just noticeable differences, under "
            raise Reject("no_visible_change", f"{message}{self.min_visible}", {**pair.scores, **scores})
        side_px = min(after.width_px, after.height_px)
        if side_px >= _TINY_PX and sides.after.grid.std() >= _PLAIN_STD:
            scores["alignment"] = round(alignment(sides.before.grid, sides.after.grid), _DECIMALS)
            if scores["alignment"] < self.min_alignment:
                message = f"the structures correlate by {scores['alignment']:.3f} < {self.min_alignment}"
                raise Reject("other_scene", message, {**pair.scores, **scores})
            unsure = self.min_alignment > -1 and scores["alignment"] < _SURE
            turned = turned_alignment(sides.before.grid, sides.after.grid) if unsure else -1.0
            if turned > scores["alignment"]:
                message = f"mirrored or turned, the structures correlate by {turned:.3f}; as they are, by "
                raise Reject("turned", f"{message}{scores['alignment']:.3f}", {**pair.scores, **scores})
        if self.by:
            rule = _RULES[self.by]
            if rule.needs_points and not sides.whole:
                sides = sides.decoded(before, after)
            scores["direction"] = round(rule.evidence(sides.before, sides.after), _DECIMALS)
            if scores["direction"] < -rule.margin:
                message = f"the target has more {self.by} than the input, by {-scores['direction']:.3f} {rule.unit}"
                raise Reject("swapped", message, {**pair.scores, **scores})
        params = {"by": self.by, "min_visible": self.min_visible, "min_alignment": self.min_alignment}
        step = Step(operator=self.name, version=self.version, params=params)
        return replace(pair, scores={**pair.scores, **scores}, steps=(*pair.steps, step))


@dataclass(frozen=True, kw_only=True)
class _Side:
    """What is looked at of one image of a pair."""

    small: Values
    """h x w x 3 levels of 255, at 1/8 scale or less; the whole image if it is small."""
    grid: Values
    """The luma of `small` at GRID_PX, in levels."""
    points: Pixels | None
    """3 x n x m x 3: pixels of full size, and those 2 px right of them and below them; None of a JPEG that was only
    read at 1/8 scale."""

    @classmethod
    def of(cls, image: Image) -> Self:
        seen = reduced(image.data)
        shorter_px = min(seen.image.size)
        if shorter_px >= GRID_PX:
            small = np.asarray(seen.image.reduce(max(1, shorter_px // (2 * GRID_PX))), np.float64)
            points = None if seen.points is None else _thinned(seen.points)
            return cls(small=small, grid=structure_grid(small), points=points)
        pixels = decode_rgb(image.data)
        small = pixels.astype(np.float64)
        points = np.stack([pixels[:-2, :-2], pixels[:-2, 2:], pixels[2:, :-2]])
        return cls(small=small, grid=structure_grid(small), points=_thinned(points))

    def luma_of_points(self, scale: Values = _LEVELS) -> Values:
        """The luma of `points`, 3 x n x m, on the scale that has a value for each of the 256 levels."""
        assert self.points is not None
        return luma(scale[self.points])


@dataclass(frozen=True, kw_only=True)
class _Sides:
    before: _Side
    after: _Side

    @classmethod
    def of(cls, before: Image, after: Image) -> Self:
        return cls(before=_Side.of(before), after=_Side.of(after))

    @property
    def whole(self) -> bool:
        """Whether pixels of full size are known of both."""
        return self.before.points is not None and self.after.points is not None

    def decoded(self, before: Image, after: Image) -> _Sides:
        """The sides with pixels of full size, for which files are decoded that were not."""

        def full(side: _Side, image: Image) -> _Side:
            if side.points is not None:
                return side
            return replace(side, points=_thinned(sampled(PILImage.fromarray(decode_rgb(image.data)))))

        return _Sides(before=full(self.before, before), after=full(self.after, after))


def _thinned(points: Pixels) -> Pixels:
    """As many points as say enough: some thousand, evenly spread."""
    every = max(1, min(points.shape[1:3]) // GRID_PX)
    return points[:, ::every, ::every]


def _visible(sides: _Sides) -> float:
    """The visible change between full-size pixels, or between averages where those are not known."""
    one, other = sides.before.points, sides.after.points
    if one is not None and other is not None and other.size:
        before, after = one[0].astype(np.float64), other[0].astype(np.float64)
        middle, right, below = sides.after.luma_of_points()
        background = (middle + right + below) / 3
    else:
        before, after = sides.before.small, sides.after.small
        background = luma(after)
    return round(visible_change(before, after, background), _DECIMALS)


def _visible_in_all(before: Image, after: Image) -> float:
    """The visible change between all pixels, for which both files are decoded."""
    one, other = (decode_rgb(image.data).astype(np.float64) for image in (before, after))
    return round(visible_change(one, other, luma(other)), _DECIMALS)


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """How to tell which of two images suffers more from a degradation."""

    evidence: Callable[[_Side, _Side], float]
    """Of input and target: positive where the input suffers more."""
    margin: float
    """The evidence of the contrary that is still put up with."""
    unit: str
    needs_points: bool = False


def _more_noise(before: _Side, after: _Side) -> float:
    return _more_energy(before.luma_of_points(), after.luma_of_points(), 0.5)  # 0.5: that of rounding, levels squared


def _more_blur(before: _Side, after: _Side) -> float:
    """In linear light, in which a sensor blurs: a highlight over black gains contrast as it is encoded."""
    return _more_energy(after.luma_of_points(_LINEAR), before.luma_of_points(_LINEAR), 1e-5)  # rounding, at mid-gray


def _more_energy(one: Values, other: Values, floor: float) -> float:
    """Log2 of the energy of the differences within one, over that of the other."""
    energies = [np.square(values[0] - values[1:]).mean() if values.size else 0.0 for values in (one, other)]
    return float(np.log2((energies[0] + floor) / (energies[1] + floor)))


def _more_rain(before: _Side, after: _Side) -> float:
    """Streaks make bright outliers, and the whole brighter. What does only one of the two is something else."""
    one, other = before.grid.ravel(), after.grid.ravel()
    lopsided = _skewness(_unexplained(one, other)) - _skewness(_unexplained(other, one))
    brighter = float(one.mean() - other.mean())
    return lopsided if lopsided * brighter > 0 and abs(brighter) > 0.25 else 0.0  # levels: beyond JPEG's rounding


def _darker(before: _Side, after: _Side) -> float:
    return float(after.grid.mean() - before.grid.mean())


def _flatter(before: _Side, after: _Side) -> float:
    """Retouchers do as they like: one way is the wrong one only if exposure, contrast and colour all say so, the latter
    two relative to the brightness. What counts is the one that says least."""
    lighter = [
        float(np.log2((one + 1) / (other + 1))) for one, other in zip(_tones(after), _tones(before), strict=True)
    ]
    alike = all(value > 0 for value in lighter) or all(value < 0 for value in lighter)
    return min(lighter, key=abs) if alike else 0.0


def _tones(side: _Side) -> tuple[float, float, float]:
    """Brightness in levels; in percent of it contrast, and mean distance of the largest channel from the smallest."""
    red, green, blue = np.moveaxis(side.small, 2, 0)
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    brightness = float(side.grid.mean())
    contrast, colour = (
        100 * float(value) / (brightness + 1) for value in (side.grid.std(), (largest - smallest).mean())
    )
    return brightness, contrast, colour


def _unexplained(values: Values, by: Values) -> Values:
    """What is left of values after the line that fits them best to others."""
    centred, others = values - values.mean(), by - by.mean()
    spread = float(others @ others)
    return np.asarray(centred - others * (float(centred @ others) / spread if spread else 0.0))


def _skewness(values: Values) -> float:
    centred = values - values.mean()
    squares = centred * centred
    variance = float(squares.mean())
    return float((squares * centred).mean()) / variance**1.5 if variance > 1e-6 else 0.0


_RULES: Mapping[Degradation, _Rule] = {
    "noise": _Rule(evidence=_more_noise, margin=0.05, unit="doublings of its detail", needs_points=True),
    "blur": _Rule(evidence=_more_blur, margin=0.3, unit="halvings of its detail", needs_points=True),
    "rain": _Rule(evidence=_more_rain, margin=0.5, unit="of skewness"),
    "darkness": _Rule(evidence=_darker, margin=1.0, unit="levels of 255"),
    "flatness": _Rule(evidence=_flatter, margin=0.1, unit="halvings of its tones"),
}
