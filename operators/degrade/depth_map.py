"""Depth maps of photos, by Depth Anything V2 (arXiv 2406.09414)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image as PILImage

from manifests.schema import Image, Reject
from operators.arrange.dense import Values, relative_depth_target
from operators.degrade.annotator import Annotator, Photo
from operators.models.device import loaded_once, prepared_device
from operators.shared.extras import need
from operators.shared.finite import not_finite

MIN_RANGE = 0.01
"""Least difference between the nearest and the farthest, as a share of the nearest's inverse depth. A map of a smaller
one is a wall seen from the front, or the sky, stretched over all colours: noise."""


@dataclass(frozen=True, kw_only=True)
class DepthMap(Annotator):
    """Gives a photo its depth: inverse, and up to scale and shift, as the network finds it. Rejects: flat_depth,
    not_finite.

    The network works at a shorter side of 518 px or so, as its checkpoint says; the map is brought to the photo's size
    as transformers' pipeline "depth-estimation" does it. Photos have many shapes, so batches would be mostly copies,
    and each is looked at alone.
    """

    name: ClassVar[str] = "depth_map"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "depth-anything"
    library: ClassVar[str] = "transformers"
    values: ClassVar[Values] = "relative_depth"
    gpu_s: ClassVar[float] = 0.03
    working_gib: ClassVar[float] = 2.0
    """Assumed, not measured: the head's 32 channels of 518 x 1,036 px are 0.1 GiB in float32, those before it less."""

    def annotated(self, photos: Sequence[Photo]) -> Sequence[Image | Reject]:
        import torch

        processor, model = _network(self.folder)
        answers: list[Image | Reject] = []
        for photo in photos:
            seen = processor(images=PILImage.fromarray(photo.pixels), return_tensors="pt").to(model.device)
            with torch.no_grad():
                found = model(**seen)
            (one,) = processor.post_process_depth_estimation(found, target_sizes=[photo.pixels.shape[:2]])
            answers.append(_target(one["predicted_depth"].float().cpu().numpy()))
        return answers


def _target(inverse: np.ndarray[Any, np.dtype[np.float32]]) -> Image | Reject:
    """The target of an H x W map of inverse depth, or why it is none."""
    if fault := not_finite("the network of depths", inverse):
        return fault
    far, near = float(inverse.min()), float(inverse.max())
    if not near - far > MIN_RANGE * abs(near):
        return Reject("flat_depth", f"all of it is equally far: inverse depths are from {far:.4g} to {near:.4g}")
    return relative_depth_target((inverse - far) / (near - far))


@loaded_once(1)
def _network(folder: str) -> tuple[Any, Any]:
    """The image processor and the network of a folder, on the GPU if there is one, in float32."""
    hf, device = need("transformers"), prepared_device()
    processor = hf.AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return processor, hf.AutoModelForDepthEstimation.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    ).float().to(device)
