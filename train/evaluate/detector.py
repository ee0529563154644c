"""Object detectors of transformers in a local folder: Mask2Former, of whose masks GenEval's published figures are, and
detectors of boxes (DETR, YOLOS, RT-DETR and their kind)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manifests.images.pixels import Pixels
from train.evaluate.geneval import Found

_MASKS = ("mask2former",)
"""The kinds of checkpoint whose objects have masks, by their config's `model_type`."""

_GENEVAL_NAMES = {"remote": "tv remote", "mouse": "computer mouse", "keyboard": "computer keyboard"}
"""COCO's names of classes that GenEval's prompts call something else."""


@dataclass(frozen=True)
class TransformersDetector:
    """A `train.evaluate.geneval.Detector`; the names of classes are the checkpoint's `id2label`, COCO's, as GenEval's
    prompts have them."""

    folder: Path
    device: str = "cpu"

    def __call__(self, pixels: Pixels) -> Sequence[Found]:
        import torch

        model, processor = self._loaded
        with torch.inference_mode():
            seen = processor(images=pixels.copy(), return_tensors="pt").to(self.device)
            outputs = model(**seen)
            if model.config.model_type in _MASKS:
                return list(self._masked(outputs, seen, pixels))
            (found,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[pixels.shape[:2]])
        return [
            Found(name=self._name(int(label)), score=float(score), box=tuple(box.tolist()))
            for score, label, box in zip(found["scores"], found["labels"], found["boxes"], strict=True)
        ]

    def _masked(self, outputs: Any, seen: Any, pixels: Pixels) -> Iterator[Found]:
        """The objects of a Mask2Former, as mmdetection makes them, which GenEval runs it with (mmdet/models/seg_heads/
        panoptic_fusion_heads/maskformer_fusion_head.py, and what calls it in mmdet/models/detectors/maskformer.py).

        Of all pairs of a query and a class as many as there are queries are kept, the likeliest: 100. Logits of masks
        are scaled to what the network saw, what was padded there is cut off, and the rest is scaled to the image. A
        mask is where they are above 0; the confidence is the class's probability times the mean of the mask's
        probabilities in it, and the box is the mask's. transformers' own post-processing goes by way of 384 x 384 px.
        """
        import torch

        classes = outputs.class_queries_logits[0].softmax(-1)[:, :-1]
        scores, places = classes.flatten().topk(min(len(classes), classes.numel()))

        def scaled(logits: Any, size: Any) -> Any:
            return torch.nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)

        height_px, width_px = (int(seen.pixel_mask[0].any(axis).sum()) for axis in (1, 0))
        logits = scaled(outputs.masks_queries_logits, seen.pixel_values.shape[-2:])[..., :height_px, :width_px]
        logits = scaled(logits, pixels.shape[:2])[0]
        for score, place in zip(scores.tolist(), places.tolist(), strict=True):
            query, label = divmod(place, classes.shape[1])
            inside = logits[query] > 0
            if not inside.any():
                continue
            sure = float(logits[query][inside].sigmoid().mean())
            mask = inside.cpu().numpy()
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
            yield Found(name=self._name(label), score=score * sure, box=box, mask=mask)

    def _name(self, label: int) -> str:
        name = str(self._loaded[0].config.id2label[label])
        return _GENEVAL_NAMES.get(name, name)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Raises ValueError if the folder holds no checkpoint."""
        if not (self.folder / "config.json").is_file():
            raise ValueError(f"{self.folder} is not a transformers checkpoint: it has no config.json")
        from transformers import (
            AutoConfig,
            AutoImageProcessor,
            AutoModelForObjectDetection,
            AutoModelForUniversalSegmentation,
        )

        masked = (
            AutoConfig.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False).model_type in _MASKS
        )
        kind: Any = AutoModelForUniversalSegmentation if masked else AutoModelForObjectDetection
        model: Any = kind.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        processor: Any = AutoImageProcessor.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        return model.eval().to(self.device), processor
