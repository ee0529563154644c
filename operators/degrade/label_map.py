"""Class labels of photos, by a SegFormer (arXiv 2105.15203) that was trained on ADE20K."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import cv2
import numpy as np
from PIL import Image as PILImage

from manifests.images.pixels import Pixels
from manifests.schema import Image, Reject
from operators.arrange.dense import Values, class_ids_target
from operators.degrade.annotator import Annotator, Photo
from operators.models.device import loaded_once, prepared_device
from operators.shared.ade20k import CLASSES
from operators.shared.extras import need
from operators.shared.finite import not_finite

MAX_SHARE = 0.95
"""Greatest share of a photo that one class may cover: a map that is nearly all of one colour says nothing."""

_MAX_SIDE_PX = 1_024  # of the shorter side: a score for each of 150 classes a pixel; a larger photo's are found at this


@dataclass(frozen=True, kw_only=True)
class LabelMap(Annotator):
    """Gives a photo the class of each of its pixels, of ADE20K's 150. Rejects: one_class, not_finite.

    The network sees every photo at one size, 640 x 640 px in the published checkpoint, so batches fill. Scores are
    brought to the photo's size before the best is taken, as transformers' image processor does it.
    """

    name: ClassVar[str] = "label_map"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "segformer-ade20k"
    library: ClassVar[str] = "transformers"
    values: ClassVar[Values] = "class_ids"
    at_once: ClassVar[int] = 4
    batch_size: ClassVar[int] = 16
    """A few batches, and not more: photos of 12 megapixels are 36 MB each."""
    gpu_s: ClassVar[float] = 0.1
    working_gib: ClassVar[float] = 5.0
    """Assumed, not measured: four photos' 3,072 channels at a quarter of 640 px, twice, are 2.4 GiB in float32, and 150
    scores of each pixel of a photo of 1.5 megapixels 0.9 GiB."""

    def bound(self, models: str | None) -> Self:
        """As Annotator's. Raises ValueError too for a checkpoint of other classes than ADE20K's in its order."""
        bound = super().bound(models)
        _check_classes(Path(bound.folder, "config.json"))
        return bound

    def annotated(self, photos: Sequence[Photo]) -> Sequence[Image | Reject]:
        import torch

        processor, model = _network(self.folder)
        pictures = [PILImage.fromarray(photo.pixels) for photo in photos]
        with torch.no_grad():
            scores = model(**processor(images=pictures, return_tensors="pt").to(model.device)).logits
            return [
                not_finite("the network of classes", one) or _target(_labels(one, photo.pixels))
                for one, photo in zip(scores, photos, strict=True)
            ]


def _labels(scores: Any, pixels: Pixels) -> Pixels:
    """H x W ids of the best of 150 x h x w scores, the first class being 1: 0 is "other", which no network gives."""
    from torch.nn import functional

    factor = min(1.0, _MAX_SIDE_PX / min(pixels.shape[:2]))
    size_px = [round(factor * side) for side in pixels.shape[:2]]
    scaled = functional.interpolate(scores[None], size=size_px, mode="bilinear", align_corners=False)
    best = (scaled[0].argmax(0) + 1).byte().cpu().numpy()
    return np.asarray(cv2.resize(best, pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _target(labels: Pixels) -> Image | Reject:
    """The target of H x W class ids, or why it is none."""
    counts = np.bincount(labels.ravel())
    share = float(counts.max() / labels.size)
    if share > MAX_SHARE:
        return Reject("one_class", f"{share:.1%} of it is {CLASSES[int(counts.argmax()) - 1][0]}")
    return class_ids_target(labels)


def _check_classes(config: Path) -> None:
    """Raises ValueError, one line, unless a network's config names ADE20K's classes in the order of our palette."""
    try:
        named = json.loads(config.read_text("utf-8")).get("id2label", {})
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{config} cannot be read, which names the classes of the network beside it: {error}"
        ) from None
    ours = [name for name, *_ in CLASSES]
    theirs = [str(named.get(str(place), "")).split(",")[0].strip() for place in range(len(named))]
    if theirs != ours:
        length = min(len(theirs), len(ours))
        place = next((place for place in range(length) if theirs[place] != ours[place]), length)
        found = theirs[place : place + 1] or ["nothing"]
        wanted = ours[place : place + 1] or ["nothing"]
        raise ValueError(
            f"{config} has other classes than ADE20K's {len(ours)}: {place} is {found[0]}, not {wanted[0]}; take the "
            "checkpoint of operators/models/table.py, or another that was trained on ADEChallengeData2016"
        )


@loaded_once(1)
def _network(folder: str) -> tuple[Any, Any]:
    """The image processor and the network of a folder, on the GPU if there is one, in float32."""
    hf, device = need("transformers"), prepared_device()
    processor = hf.AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model = hf.AutoModelForSemanticSegmentation.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return processor, model.float().to(device)
