"""Turns images into vectors whose inner product says how alike they are, for contexts that are chosen by image.

`Layout` needs no weights: what is where in the picture, in large blocks of colour. `ClipImage` is the image tower of
the CLIP by whose text tower instructions are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from manifests.images.pixels import decode_rgb, reduced
from manifests.schema import Reject, canonical_json
from operators.shared.clip_folder import CONFIG_FILE, clip_weights
from operators.shared.texts import StoredEmbedder, Vectors
from operators.shared.vision import Clip

_SIDE = 8
_BATCH = 16


class ImageFileEmbedder(StoredEmbedder, Protocol):
    """What makes vectors of image files. Those here are frozen dataclasses that load their weights when used."""

    def __call__(self, images: Sequence[bytes]) -> Vectors:
        """The vectors of the image files, in their order, each of length 1, or of 0 where there is nothing to see."""
        ...


@dataclass(frozen=True, kw_only=True)
class Layout:
    """An image shrunk to 8 x 8 colours, less their mean: 192 numbers, whose cosine is the images' correlation.

    Torralba, Fergus and Freeman (PAMI 2008) found scenes and objects again by 32 x 32; what is wanted here is coarser,
    a picture of like composition. Integers all the way to the last step, so that a vector has the same bits everywhere.
    An image that is one grey, or cannot be decoded, is like nothing: its vector is zero.
    """

    name: ClassVar[str] = "layout"
    version: ClassVar[int] = 1
    dimension: ClassVar[int] = _SIDE * _SIDE * 3

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(canonical_json([self.name, self.version]).encode()).hexdigest()

    def __call__(self, images: Sequence[bytes]) -> Vectors:
        vectors = np.zeros((len(images), self.dimension), np.float32)
        for row, data in enumerate(images):
            try:
                small = reduced(data)
            except Reject:
                continue
            shrunk = small.image.resize((_SIDE, _SIDE), box=small.box)
            values = np.asarray(shrunk, np.int64).ravel() * self.dimension
            values -= values.sum() // self.dimension
            length = float(np.sqrt(float((values * values).sum())))
            if length:
                vectors[row] = values / length
        return vectors


@dataclass(frozen=True, kw_only=True)
class ClipImage:
    """The image tower of a CLIP in a local folder, in the layout that operators/shared/clip_folder.py names.

    An image that cannot be decoded is like nothing: its vector is zero. Raises ValueError, when it is first used, if
    the folder holds no CLIP.
    """

    name: ClassVar[str] = "clip-image"
    version: ClassVar[int] = 1

    checkpoint: str
    device: str = "cpu"

    @cached_property
    def dimension(self) -> int:
        clip_weights(self.checkpoint)
        return int(json.loads(Path(self.checkpoint, CONFIG_FILE).read_bytes())["model_cfg"]["embed_dim"])

    @cached_property
    def fingerprint(self) -> str:
        hashes = []
        for path in (Path(self.checkpoint, CONFIG_FILE), clip_weights(self.checkpoint)):
            with open(path, "rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
        return hashlib.sha256(canonical_json([self.name, self.version, hashes]).encode()).hexdigest()

    def __call__(self, images: Sequence[bytes]) -> Vectors:
        vectors = np.zeros((len(images), self.dimension), np.float32)
        for start in range(0, len(images), _BATCH):
            seen = {}
            for row, data in enumerate(images[start : start + _BATCH], start):
                with suppress(Reject):
                    seen[row] = self._clip.seen(decode_rgb(data))
            if seen:
                filled = [*seen.values()]
                filled += filled[-1:] * (_BATCH - len(filled))  # sums of other shapes have other last bits
                vectors[[*seen]] = self._clip.embed(filled)[: len(seen)]
        return vectors

    @cached_property
    def _clip(self) -> Clip:
        return Clip(self.checkpoint, self.device)
