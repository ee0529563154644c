"""Surface normals of photos, by Marigold (arXiv 2505.09358)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from manifests.schema import Image, Reject
from operators.arrange.dense import Values, normals_target
from operators.degrade.annotator import Annotator, Photo
from operators.models.diffusion import pipeline
from operators.shared.finite import not_finite

MAX_ALIKE = 0.999
"""Greatest length of the mean of all normals: where they are spread by less than 2.6 degrees, a map has one colour."""

_AXES = np.array([1, -1, -1], np.float32)
"""From Marigold's axes (x right, y up, z to the viewer: diffusers 0.42, MarigoldImageProcessor.visualize_normals) to
those of ScanNet's normals (x right, y down, z away from the viewer: pipelines/sources/datasets.py)."""


@dataclass(frozen=True, kw_only=True)
class NormalMap(Annotator):
    """Gives a photo its surface normals, in the axes of ScanNet's. Rejects: flat_normals, not_finite.

    It is diffusion, in as few steps as the checkpoint says (4 in the published one), from noise of the pair's seed. A
    photo is seen at a longer side of 768 px, which fills a GPU, so each is made alone; the map is brought to the
    photo's size as diffusers' pipeline does it. No ensemble is taken.
    """

    name: ClassVar[str] = "normal_map"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "marigold-normals"
    library: ClassVar[str] = "diffusers"
    values: ClassVar[Values] = "normals"
    gpu_s: ClassVar[float] = 1.0
    working_gib: ClassVar[float] = 3.0
    """Assumed, not measured: 768 x 768 px of what a VAE decodes a picture in (operators/models/diffusion.py), 2.4 GiB,
    and a large photo's normals."""

    def annotated(self, photos: Sequence[Photo]) -> Sequence[Image | Reject]:
        return [_target(self._normals(photo)) for photo in photos]

    def _normals(self, photo: Photo) -> npt.NDArray[np.float32]:
        """H x W x 3 unit vectors in our axes."""
        import torch

        pipe: Any = pipeline("MarigoldNormalsPipeline", self.folder)
        with torch.no_grad():
            found = pipe(PILImage.fromarray(photo.pixels), generator=torch.Generator().manual_seed(photo.seed))
        return np.asarray(found.prediction[0], np.float32) * _AXES


def _target(normals: npt.NDArray[np.float32]) -> Image | Reject:
    """The target of H x W x 3 unit vectors, or why it is none."""
    if fault := not_finite("the network of normals", normals):
        return fault
    alike = float(np.linalg.norm(normals.reshape(-1, 3).mean(0, dtype=np.float64)))
    if alike >= MAX_ALIKE:
        return Reject("flat_normals", f"all of it faces one way: the mean of its normals is {alike:.4f} long")
    return normals_target(normals)
