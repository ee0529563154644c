"""An object detector of transformers (DETR, YOLOS, RT-DETR and their kind) in a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from manifests.images.pixels import Pixels
from train.evaluate.geneval import Found


@dataclass(frozen=True)
class TransformersDetector:
    """A `train.evaluate.geneval.Detector` of boxes only; COCO's class names are the checkpoint's `id2label`."""

    folder: Path
    device: str = "cpu"

    def __call__(self, pixels: Pixels) -> Sequence[Found]:
        import torch

        model, processor = self._loaded
        with torch.inference_mode():
            outputs = model(**processor(images=pixels.copy(), return_tensors="pt").to(self.device))
            (found,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[pixels.shape[:2]])
        names = model.config.id2label
        return [
            Found(name=names[int(label)], score=float(score), box=tuple(box.tolist()))
            for score, label, box in zip(found["scores"], found["labels"], found["boxes"], strict=True)
        ]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Raises ValueError if the folder holds no checkpoint."""
        if not (self.folder / "config.json").is_file():
            raise ValueError(f"{self.folder} is not a transformers checkpoint: it has no config.json")
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        model: Any = AutoModelForObjectDetection.from_pretrained(self.folder, local_files_only=True)
        processor: Any = AutoImageProcessor.from_pretrained(self.folder, local_files_only=True)
        return model.eval().to(self.device), processor
