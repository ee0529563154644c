"""How often the gate of restoration tasks errs, and what it costs. `make bench` runs it.

Crops of the photos that come with scikit-image and scikit-learn are degraded by each of our degradations, over the full
range that it draws from. A pair of a crop and its degraded self should be kept: a reject is a false one. A pair of a
degraded crop and a crop of another photo, or of another place of the same photo, should be rejected, and so should one
whose input and target are exchanged: what is kept is a miss.

    python -m infra.bench.gate [--crops 24] [--sides 128 256 512]

prints three tables: what the gate does; other measures of structure that could take the place of the alignment, each
at the bound that costs half a percent of the true pairs; and microseconds of a pair, by `time.process_time`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless, reduced, remembering
from manifests.schema import Image, Pair, Reject, seed_for
from operators.base import Operator
from operators.degrade.darken import Darken
from operators.degrade.detone import Detone
from operators.degrade.motion_blur import MotionBlur
from operators.degrade.noise import Noise
from operators.degrade.rain import Rain
from operators.judge.degraded import Degradation, Degraded
from operators.judge.gate import Gate
from operators.read.bundled import PHOTOS, packages_root
from operators.shared.structure import GRID_PX, alignment, structure_grid

Values = npt.NDArray[np.float64]

MORE_PHOTOS = tuple(
    f"skimage/data/{name}"
    for name in (
        "clock_motion.png",
        "coins.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "moon.png",
        "motorcycle_left.png",
        "retina.jpg",
    )
)
"""Photos beside those that the data engine reads: night sky, microscopy, blur, and much that is plain."""

DEGRADATIONS: Mapping[Degradation, Operator] = {
    "noise": Noise(),
    "blur": MotionBlur(),
    "rain": Rain(),
    "darkness": Darken(),
    "flatness": Detone(),
}

OTHERS = 8
"""With how many crops of other photos each degraded crop is paired."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A crop of a photo, and its degraded selves."""

    photo: str
    y_px: int
    x_px: int
    clean: Image
    degraded: Mapping[Degradation, Image]


def crops(photos: Sequence[str], per_photo: int, side_px: int) -> Iterator[Crop]:
    """So many crops of each photo that is large enough, at places that depend on nothing else."""
    for name in photos:
        photo = _photo(name)
        height, width, _ = photo.shape
        if min(height, width) < side_px:
            continue
        for number in range(per_photo):
            random = np.random.default_rng(seed_for(0, name, str(number), str(side_px)))
            y_px, x_px = (int(random.integers(0, side - side_px + 1)) for side in (height, width))
            pixels = np.ascontiguousarray(photo[y_px : y_px + side_px, x_px : x_px + side_px])
            yield _degraded(name, y_px, x_px, pixels, f"{name}#{number}")


def _degraded(name: str, y_px: int, x_px: int, pixels: Pixels, key: str) -> Crop:
    clean = encode_lossless("target", pixels)
    pair = Pair(key=key, source="", source_ref=key, licence="", images=(clean,), group=name)
    inputs = {by: operator(pair, seed_for(0, key, by)).image("input") for by, operator in DEGRADATIONS.items()}
    made = {by: image for by, image in inputs.items() if image}
    return Crop(photo=name, y_px=y_px, x_px=x_px, clean=clean, degraded=made)


def outcome(by: Degradation, before: Image, after: Image) -> str:
    """What becomes of a pair: "kept", or the reason of its reject."""
    images = (replace(before, role="input"), replace(after, role="target"))
    pair = Pair(key="0", source="", source_ref="", licence="", images=images, group="")
    try:
        Degraded(by=by)(Gate()(pair, 0), 0)
    except Reject as reject:
        return reject.reason
    return "kept"


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Shares of pairs, in percent, of one degradation."""

    false: Mapping[str, float]
    """True pairs that were rejected, by reason."""
    missed: float
    """Pairs with another photo that were kept."""
    missed_places: float
    """Pairs with another place of the same photo, at least a quarter of its side away, that were kept."""
    missed_swapped: float
    """Exchanged pairs that were kept."""


def errors(some: Sequence[Crop], by: Degradation) -> Errors:
    """How often the gate errs on crops under one degradation."""
    true = Counter(outcome(by, crop.degraded[by], crop.clean) for crop in some)
    swapped = [outcome(by, crop.clean, crop.degraded[by]) for crop in some]
    others = [outcome(by, one.degraded[by], other.clean) for one, other in pairs_apart(some)]
    places = [outcome(by, one.degraded[by], other.clean) for one, other in pairs_within(some)]
    return Errors(
        false={reason: 100 * count / len(some) for reason, count in sorted(true.items()) if reason != "kept"},
        missed=_kept(others),
        missed_places=_kept(places),
        missed_swapped=_kept(swapped),
    )


def pairs_apart(some: Sequence[Crop]) -> Iterator[tuple[Crop, Crop]]:
    """Crops of two photos."""
    random = np.random.default_rng(0)
    for one in some:
        others = [other for other in some if other.photo != one.photo]
        for index in random.choice(len(others), min(OTHERS, len(others)), replace=False):
            yield one, others[index]


def pairs_within(some: Sequence[Crop]) -> Iterator[tuple[Crop, Crop]]:
    """Neighbouring crops of one photo that are at least a quarter of their side apart."""
    for one, other in pairwise(some):
        apart_px = max(abs(one.y_px - other.y_px), abs(one.x_px - other.x_px))
        if one.photo == other.photo and 4 * apart_px >= one.clean.width_px:
            yield one, other


def _kept(outcomes: Sequence[str]) -> float:
    return 100 * outcomes.count("kept") / max(1, len(outcomes))


def _unit(values: Values) -> Values:
    centred = values.ravel() - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9))


def _gradients(grid: Values) -> Values:
    return np.concatenate([np.diff(grid, axis=0).ravel(), np.diff(grid, axis=1).ravel()])


def _phases(grid: Values) -> Values:
    window = np.outer(np.hanning(grid.shape[0]), np.hanning(grid.shape[1]))
    spectrum = np.fft.rfft2((grid - grid.mean()) * window)
    return np.fft.irfft2(spectrum / (np.abs(spectrum) + 1e-9), grid.shape)


def _correlation(of: Callable[[Values], Values]) -> Callable[[Values, Values], float]:
    return lambda one, other: float(_unit(of(one)) @ _unit(of(other)))


def _halved(grid: Values) -> Values:
    return np.asarray(cv2.resize(grid, (grid.shape[1] // 2, grid.shape[0] // 2), interpolation=cv2.INTER_AREA))


MEASURES: Mapping[str, Callable[[Values, Values], float]] = {
    "luma": _correlation(lambda grid: grid),
    "ranks of luma": _correlation(rankdata),
    "ranks at 16": _correlation(lambda grid: rankdata(_halved(grid))),
    "gradients": _correlation(_gradients),
    "gradients at 16": _correlation(lambda grid: _gradients(_halved(grid))),
    "gradients of ranks": _correlation(lambda grid: _gradients(rankdata(grid).reshape(grid.shape))),
    "phases": _correlation(_phases),
    "mean difference": lambda one, other: -float(np.abs(one - other).mean()),
    "alignment, as the gate": alignment,
}
"""Measures of how alike two luma grids are in structure."""


def compare(some: Sequence[Crop]) -> Iterator[tuple[str, float, float]]:
    """Each measure with the bound below which half a percent of true pairs lie, and the misses above it, in percent."""
    clean = {id(crop): _grid(crop.clean) for crop in some}
    degraded = {(id(crop), by): _grid(crop.degraded[by]) for crop in some for by in DEGRADATIONS}
    apart = list(pairs_apart(some))
    for name, measure in MEASURES.items():
        true = [measure(degraded[id(crop), by], clean[id(crop)]) for crop in some for by in DEGRADATIONS]
        false = [measure(degraded[id(one), by], clean[id(other)]) for one, other in apart for by in DEGRADATIONS]
        bound = float(np.quantile(true, 0.005))
        yield name, bound, 100 * float((np.array(false) >= bound).mean())


def _grid(image: Image) -> Values:
    small = np.asarray(reduced(image.data).image)
    return structure_grid((small if min(small.shape[:2]) >= GRID_PX else decode_rgb(image.data)).astype(np.float64))


def costs_us(some: Sequence[Crop]) -> Iterator[tuple[str, float]]:
    """Microseconds of CPU a pair: the degradations with their encoding, and the gate after each."""
    for by, operator in DEGRADATIONS.items():
        gate = Degraded(by=by)
        with remembering():
            bare = [Pair(key="0", source="", source_ref="", licence="", images=(c.clean,), group="") for c in some]
            started = time.process_time()
            made = [operator(pair, number) for number, pair in enumerate(bare)]
            yield f"{by}: made", _us(started, some)
            started = time.process_time()
            made = [Gate()(pair, 0) for pair in made]
            yield f"{by}: sizes and identity", _us(started, some)
            started = time.process_time()
            for pair in made:
                with suppress(Reject):
                    gate(pair, 0)
            yield f"{by}: degraded", _us(started, some)


def _us(started_s: float, some: Sequence[Crop]) -> float:
    return 1e6 * (time.process_time() - started_s) / len(some)


@cache
def _photo(name: str) -> Pixels:
    return decode_rgb(Path(packages_root(), name).read_bytes())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=24, help="crops of each photo")
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512], help="their sides, px")
    arguments = parser.parse_args()
    for side_px in arguments.sides:
        with remembering():
            some = list(crops((*PHOTOS, *MORE_PHOTOS), arguments.crops, side_px))
            print(f"\n{side_px} px: {len(some)} crops of {len({crop.photo for crop in some})} photos, percent of pairs")
            print("| degradation | false rejects | other photo kept | other place kept | exchanged kept |")
            for by in DEGRADATIONS:
                found = errors(some, by)
                false = ", ".join(f"{reason} {share:.2f}" for reason, share in found.false.items()) or "0"
                shares = f"{found.missed:.1f} | {found.missed_places:.1f} | {found.missed_swapped:.1f}"
                print(f"| {by} | {false} | {shares} |", flush=True)
            for name, bound, missed in compare(some):
                print(f"  {name:<24} bound {bound:8.3f}   misses {missed:5.1f}%", flush=True)
        for name, us in costs_us(some):
            print(f"  {name:<32} {us:8.0f} us a pair", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
