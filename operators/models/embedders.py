"""The networks by which operators score images, each loaded once a process.

CLIP, DINO and LPIPS are those of operators/shared/, which the evaluation of models uses too; the style descriptor and
LAION's aesthetic predictor are here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from manifests.images.pixels import Pixels
from operators.models.csd import load_csd
from operators.models.device import loaded_once
from operators.shared.metrics import Lpips
from operators.shared.vectors import Vector
from operators.shared.vision import Clip, Dino, clip_input, tensor, vectors

AESTHETIC_FILE = "sac+logos+ava1-l14-linearMSE.pth"
"""Weights of the predictor of https://github.com/christophschuhmann/improved-aesthetic-predictor"""


class Aesthetic:
    """LAION's predictor of how people would rate an image, about 1 to 10: a network on the vector of CLIP ViT-L/14.

    It is an ImageEmbedder whose vectors have one number, the rating.
    """

    def __init__(self, folder: str, device: str) -> None:
        """Load the predictor from a folder that holds AESTHETIC_FILE and, in ViT-L-14/, the CLIP."""
        state = torch.load(Path(folder, AESTHETIC_FILE), map_location="cpu", weights_only=True)
        # Linear layers with nothing but dropout between them, which does nothing here.
        names = sorted({int(name.split(".")[1]) for name in state})
        self._layers = [
            (state[f"layers.{name}.weight"].double().numpy(), state[f"layers.{name}.bias"].double().numpy())
            for name in names
        ]
        self._clip = Clip(str(Path(folder, "ViT-L-14")), device)

    def seen(self, image: Pixels) -> torch.Tensor:
        return self._clip.seen(image)

    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        return [self._rated(vector) for vector in self._clip.embed(seen)]

    def _rated(self, values: Vector) -> Vector:
        for weight, bias in self._layers:
            values = weight @ values + bias
        return values


class Style:
    """An ImageEmbedder whose vectors are the style descriptors of CSD (operators/models/csd.py), of length 1."""

    def __init__(self, folder: str, device: str) -> None:
        """Load the CSD in a folder onto a device."""
        self._csd, self._device = load_csd(folder, device), device

    def seen(self, image: Pixels) -> torch.Tensor:
        return clip_input(tensor(image, self._device), self._csd.side_px)[0]

    @torch.no_grad()
    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        return vectors(self._csd.describe(torch.stack([*seen]))[0])


@loaded_once(8)
def load(role: str, folder: str, device: str) -> Any:
    """Load the network of a role onto a device: Lpips for "lpips", an ImageEmbedder for any other role.

    Raises StopRun if the folder does not hold what the role needs.
    """
    networks: dict[str, Callable[[str, str], Any]] = {
        "clip": Clip,
        "dino": Dino,
        "lpips": Lpips,
        "aesthetic": Aesthetic,
        "csd": Style,
    }
    return networks[role](folder, device)
