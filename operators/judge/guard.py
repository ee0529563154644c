"""Keeps the images of evaluation sets out of training data, by perceptual hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np

from manifests.images.evaluation import read_guard, read_guard_file
from manifests.images.near import MAX_DISTANCE, NearIndex
from manifests.images.phash import as_integer, phash
from manifests.schema import MASK, Pair, Reject, Step
from manifests.storage import absolute


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Rejects a pair if one of its images is within `max_distance` bits of an evaluation image: evaluation_image.

    The guard file is written by `xprompt hashes`; make the operator with `Guard.of`. Its content is part
    of a dataset's configuration: one that changed after the plan was made is refused. It may stand anywhere in the
    chain; behind an operator that makes images, those are looked at too. Masks are not: they show nothing.
    """

    name: ClassVar[str] = "guard"
    version: ClassVar[int] = 2
    shows_rejects: ClassVar[bool] = False
    """No picture of an evaluation image is kept, however small."""
    path: str = field(metadata={"location": True})
    """The guard file, an absolute path or an fsspec URL."""
    sha256: str
    max_distance: int = 4
    """Bits of 64, at most 8. Measured on six photos: re-encoding and resizing change 0 to 2, brightness and a cut of 1%
    at each edge up to 4; different photos are some 30 apart."""

    @classmethod
    def of(cls, path: str, *, max_distance: int = 4) -> Self:
        """The guard of a file. Raises ValueError if it is not a guard file, and if the distance is not 0 to 8."""
        if not 0 <= max_distance <= MAX_DISTANCE:
            raise ValueError(f"the guard's distance is 0 to {MAX_DISTANCE} bits, not {max_distance}")
        place = absolute(path)
        guard = cls(path=place, sha256=hashlib.sha256(read_guard_file(place)).hexdigest(), max_distance=max_distance)
        _load(guard)
        return guard

    def __call__(self, pair: Pair, seed: int) -> Pair:
        index, rows = _load(self)
        for image in pair.images:
            if image.role == MASK:  # shapes in black and white, of which many are alike
                continue
            try:
                digits = phash(image.data)
            except Reject as reject:
                raise Reject(reject.reason, f"{image.role}: {reject.message}") from None
            found = index.nearest(as_integer(digits)) if digits else None
            if found:
                position, distance = found
                row = rows[position]
                raise Reject(
                    "evaluation_image",
                    f"{image.role} shows {row['path']} of the evaluation set {row['set']}",
                    {"phash_distance": distance},
                )
        params = {"sha256": self.sha256, "max_distance": self.max_distance}
        return replace(pair, steps=(*pair.steps, Step(operator=self.name, version=self.version, params=params)))


@lru_cache(maxsize=4)
def _load(guard: Guard) -> tuple[NearIndex, list[dict[str, str]]]:
    """The index over a guard file, once a process. Raises OSError if it has changed: no pair is to blame for that."""
    data = read_guard_file(guard.path)
    if hashlib.sha256(data).hexdigest() != guard.sha256:
        raise OSError(f"{guard.path} is not the guard file that the plan was made with: its content has changed")
    rows = read_guard(data, guard.path)
    hashes = np.array([as_integer(row["phash"]) for row in rows], np.uint64)
    return NearIndex(hashes=hashes, distance=guard.max_distance), rows
