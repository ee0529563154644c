"""CLIP and DINO similarities of edited images, by weights in a local folder.

As Emu Edit (https://arxiv.org/abs/2311.10089, section 5) and UltraEdit name them; all are cosines, and compare with
the *input* image, not with a reference:

    CLIP_dir   the change of the image and the change of its caption
    CLIP_out   the edited image and its caption
    CLIP_img   the edited image and the input
    DINO       the edited image and the input, by DINO's class token
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from manifests.images.pixels import Pixels

Vector = npt.NDArray[np.float32]
"""A feature scaled to length 1."""


@dataclass(frozen=True)
class Clip:
    """A CLIP in a folder that open_clip can load: open_clip_config.json beside its weights.

    The papers take ViT-B/32 or ViT-L/14 of OpenAI, whose config must say QuickGELU.
    """

    folder: Path
    device: str = "cpu"

    def image(self, pixels: Pixels) -> Vector:
        """The feature of H x W x 3 pixels."""
        import torch

        model, transform, _ = self._loaded
        with torch.inference_mode():
            batch = transform(PILImage.fromarray(pixels))[None].to(self.device)
            return _unit(model.encode_image(batch)[0].float().cpu().numpy())

    def text(self, text: str) -> Vector:
        return self.texts([text])[0]

    def texts(self, texts: Sequence[str]) -> list[Vector]:
        import torch

        model, _, tokenizer = self._loaded
        with torch.inference_mode():
            features = model.encode_text(tokenizer(list(texts)).to(self.device)).float().cpu().numpy()
        return [_unit(feature) for feature in features]

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """Raises ValueError if the folder holds no checkpoint."""
        if not (self.folder / "open_clip_config.json").is_file():
            raise ValueError(f"{self.folder} is not a CLIP checkpoint: it has no open_clip_config.json")
        import open_clip

        name = f"local-dir:{self.folder.resolve()}"
        model, transform = open_clip.create_model_from_pretrained(name)
        return model.eval().to(self.device), transform, open_clip.get_tokenizer(name)


@dataclass(frozen=True)
class Dino:
    """A DINO or DINOv2 in a folder of transformers' (facebook/dino-vits16, facebook/dinov2-base)."""

    folder: Path
    device: str = "cpu"

    def image(self, pixels: Pixels) -> Vector:
        """The class token of H x W x 3 pixels."""
        import torch

        model, processor = self._loaded
        with torch.inference_mode():
            batch = processor(images=pixels.copy(), return_tensors="pt").to(self.device)
            return _unit(model(**batch).last_hidden_state[0, 0].float().cpu().numpy())

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Raises ValueError if the folder holds no checkpoint."""
        if not (self.folder / "config.json").is_file():
            raise ValueError(f"{self.folder} is not a transformers checkpoint: it has no config.json")
        from transformers import AutoImageProcessor, AutoModel

        model: Any = AutoModel.from_pretrained(self.folder, local_files_only=True)
        processor: Any = AutoImageProcessor.from_pretrained(self.folder, local_files_only=True)
        return model.eval().to(self.device), processor


def clip_direction(before: Vector, after: Vector, caption_before: Vector, caption_after: Vector) -> float:
    """CLIP_dir in [-1, 1]; 0 if the image or the caption has not changed at all."""
    return float(_unit(after - before) @ _unit(caption_after - caption_before))


def _unit(vector: npt.NDArray[np.float32]) -> Vector:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length if length else vector, np.float32)
