"""How well the masks that are derived from the difference of two images fit the edits that were made.

Regions of random shape in the photos that come with scikit-image and scikit-learn are edited: another photo is pasted
in, colours are turned, or what is there is removed by cv2's inpainting. Then the whole edit goes through what edits go
through: JPEG, something like the autoencoder of a diffusion model (fine detail lost, noise, a slow drift of colours), a
shift of brightness and contrast, or all of them. The mask is compared with the region by the intersection over union.
Unedited photos after the same should have no mask, nor should photos that were changed all over.

    python -m infra.bench.masks [--side 256]

prints the mean intersection over union, and in brackets the tenth percentile, of two plain methods beside ours: a
fixed threshold (operators/shared/pixels.py), and Otsu's. Then what is found in photos without an edit, and in photos
that were changed all over; last the milliseconds of a pair, by `time.process_time`. `make bench` runs it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels, decode_rgb
from operators.arrange.difference_mask import Found, Mask, changed_region
from operators.read.bundled import packages_root

PHOTOS = (
    *(f"skimage/data/{name}" for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
    *(f"sklearn/datasets/images/{name}" for name in ("china.jpg", "flower.jpg")),
)
AREAS = (0.02, 0.1, 0.3)
"""Shares of the photo that are edited."""

Rng = np.random.Generator


def photos(side_px: int) -> Iterator[Pixels]:
    """The photos, whole, with the given shorter side."""
    for name in PHOTOS:
        photo = decode_rgb((Path(packages_root()) / name).read_bytes())
        factor = side_px / min(photo.shape[:2])
        yield np.asarray(cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def region(shape: tuple[int, int], area: float, rng: Rng) -> Mask:
    """A blob of the given share of the picture, somewhere around its middle."""
    height, width = shape
    waves = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 0.06 * min(shape))
    y, x = np.mgrid[:height, :width]
    middle_y, middle_x = rng.uniform(0.3, 0.7, 2)
    nearness = -6 * np.hypot(y / height - middle_y, x / width - middle_x) + 0.35 * waves / waves.std()
    return np.asarray(nearness > np.quantile(nearness, 1 - area))


def paste(photo: Pixels, where: Mask, other: Pixels, rng: Rng) -> Pixels:
    scaled = cv2.resize(other, (photo.shape[1], photo.shape[0]), interpolation=cv2.INTER_AREA)
    return np.where(where[..., None], np.asarray(scaled, np.uint8), photo)


def recolour(photo: Pixels, where: Mask, other: Pixels, rng: Rng) -> Pixels:
    hsv = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(40, 140))) % 180  # OpenCV's hues are half degrees
    hsv[..., 1] = np.minimum(hsv[..., 1] + 60, 255)
    return np.where(where[..., None], cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), photo)


def remove(photo: Pixels, where: Mask, other: Pixels, rng: Rng) -> Pixels:
    return np.asarray(cv2.inpaint(photo, where.astype(np.uint8) * 255, 5, cv2.INPAINT_TELEA), np.uint8)


def jpeg(photo: Pixels, rng: Rng, quality: int) -> Pixels:
    data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return decode_rgb(data.tobytes())


def autoencoded(photo: Pixels, rng: Rng) -> Pixels:
    height, width = photo.shape[:2]
    small = cv2.resize(photo, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    coarse = rng.standard_normal((height // 32 + 1, width // 32 + 1, 3))
    drift = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((soft + drift + rng.normal(0, 3, soft.shape)).clip(0, 255), np.uint8)


def brighter(photo: Pixels, rng: Rng) -> Pixels:
    return (photo * 1.04 + 6).clip(0, 255).astype(np.uint8)


def all_of_it(photo: Pixels, rng: Rng) -> Pixels:
    return jpeg(brighter(autoencoded(photo, rng), rng), rng, 85)


def grey_and_dark(photo: Pixels, other: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) // 2, np.uint8)


def stylised(photo: Pixels, other: Pixels) -> Pixels:
    heat = cv2.applyColorMap(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLORMAP_JET)
    return np.asarray(cv2.stylization(photo, sigma_s=60, sigma_r=0.45) // 2 + heat // 2, np.uint8)


EDITS: Mapping[str, Callable[[Pixels, Mask, Pixels, Rng], Pixels]] = {
    "paste": paste,
    "recolour": recolour,
    "remove": remove,
}
NOISES: Mapping[str, Callable[[Pixels, Rng], Pixels]] = {
    "none": lambda photo, rng: photo,
    "JPEG 95": partial(jpeg, quality=95),
    "JPEG 85": partial(jpeg, quality=85),
    "JPEG 75": partial(jpeg, quality=75),
    "autoencoder": autoencoded,
    "brighter": brighter,
    "all, JPEG 85": all_of_it,
}
ALL_OVER: Mapping[str, Callable[[Pixels, Pixels], Pixels]] = {
    "another photo": lambda photo, other: cv2.resize(other, (photo.shape[1], photo.shape[0])),
    "night (x 0.55)": lambda photo, other: (photo * 0.55).astype(np.uint8),
    "warm light": lambda photo, other: (photo * np.array([1.25, 1.0, 0.7])).clip(0, 255).astype(np.uint8),
    "grey and dark": grey_and_dark,
    "another style": stylised,
    "inverted": lambda photo, other: 255 - photo,
}


def _largest(before: Pixels, after: Pixels) -> npt.NDArray[np.uint8]:
    return np.asarray(np.abs(before.astype(np.int16) - after).max(axis=2), np.uint8)


def fixed(before: Pixels, after: Pixels) -> tuple[Mask, Found]:
    """As `changed_area` has it: a channel differs by more than a tenth."""
    return _told(_largest(before, after) > 25)


def otsu(before: Pixels, after: Pixels) -> tuple[Mask, Found]:
    """Otsu's threshold of the largest difference of a channel, and an opening of 5 px."""
    above = cv2.threshold(_largest(before, after), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    return _told(cv2.morphologyEx(above, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)) > 0)


def _told(mask: Mask) -> tuple[Mask, Found]:
    share = mask.mean()
    return mask, "nothing" if share < 0.002 else "everything" if share > 0.85 else "region"


METHODS: Mapping[str, Callable[[Pixels, Pixels], tuple[Mask, Found]]] = {
    "fixed": fixed,
    "Otsu": otsu,
    "ours": changed_region,
}


def overlap(mask: Mask, truth: Mask) -> float:
    """Intersection over union."""
    return float((mask & truth).sum() / (mask | truth).sum())


def main(arguments: list[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--side", type=int, default=256, help="shorter side of the photos, px (default: %(default)s)")
    side_px = parser.parse_args(arguments).side
    taken = list(photos(side_px))
    overlaps: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    found: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    spent_s: Counter[str] = Counter()
    pairs = 0
    for noise, through in NOISES.items():
        for index, photo in enumerate(taken):
            for method, derive in METHODS.items():
                unedited = through(photo, np.random.default_rng([index, 7]))
                found[f"unedited, {noise}", method][derive(photo, unedited)[1]] += 1
            for place, area in enumerate(AREAS):
                where = region((photo.shape[0], photo.shape[1]), area, np.random.default_rng([index, place]))
                for name, edit in EDITS.items():
                    rng = np.random.default_rng([index, place, 1])
                    edited = through(edit(photo, where, taken[(index + 1) % len(taken)], rng), rng)
                    pairs += 1
                    for method, derive in METHODS.items():
                        started_s = time.process_time()
                        mask, _ = derive(photo, edited)
                        spent_s[method] += time.process_time() - started_s  # type: ignore[assignment]
                        for what in (name, f"{area:.0%}", "all"):
                            overlaps[noise, what, method].append(overlap(mask, where))
    for change, changed in ALL_OVER.items():
        for index, photo in enumerate(taken):
            for method, derive in METHODS.items():
                found[change, method][derive(photo, changed(photo, taken[(index + 1) % len(taken)]))[1]] += 1
    columns = [*EDITS, *(f"{area:.0%}" for area in AREAS), "all"]
    print(f"{len(taken)} photos of {side_px} px, {pairs} edits: intersection over union, mean (10th percentile)")
    print(f"{'through':14}{'method':8}" + "".join(f"{column:>13}" for column in columns))
    for noise in NOISES:
        for method in METHODS:
            cells = (overlaps[noise, column, method] for column in columns)
            told = "".join(f"{f'{np.mean(cell):.2f} ({np.quantile(cell, 0.1):.2f})':>13}" for cell in cells)
            print(f"{noise:14}{method:8}{told}")
    print("\nfound where nothing, or all of the picture, was edited: photos by what was found")
    for (change, method), counts in found.items():
        print(f"{change:24}{method:8}" + ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    print("\nms a pair: " + ", ".join(f"{method} {1_000 * spent_s[method] / pairs:.1f}" for method in METHODS))


if __name__ == "__main__":
    main(sys.argv[1:])
