"""Measures of images by networks: CLIP, DINO, CSD, LPIPS, LAION's aesthetic predictor. Loaded once a process.

Images are H x W x 3 uint8; each is resized as its network was trained, and several are embedded together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms import v2

from manifests.images.pixels import Pixels
from operators.models.csd import clip_input, load_csd
from operators.models.device import loaded_once
from operators.shared.texts import need
from operators.shared.vectors import Vector

AESTHETIC_FILE = "sac+logos+ava1-l14-linearMSE.pth"
"""https://github.com/christophschuhmann/improved-aesthetic-predictor"""

LPIPS_FILES = ("alexnet-owt-7be5be79.pth", "alex.pth")
"""torchvision's AlexNet, and lpips/weights/v0.1/alex.pth of https://github.com/richzhang/PerceptualSimilarity"""

_LPIPS_SHIFT, _LPIPS_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # lpips/lpips.py, ScalingLayer
_ALEXNET = ((0, 11, 4, 2), (3, 5, 1, 2), (6, 3, 1, 1), (8, 3, 1, 1), (10, 3, 1, 1))  # index, kernel, stride, padding


class Embedder(Protocol):
    """A network that makes vectors of images."""

    def seen(self, image: Pixels) -> torch.Tensor:
        """An image as the network sees it, whatever its size: 3 x H x W of one size."""
        ...

    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        """One vector for each image."""
        ...


class Clip:
    """A CLIP in open_clip's `local-dir:` layout. Embeddings have length 1."""

    def __init__(self, folder: str, device: str) -> None:
        open_clip = need("open_clip")
        self._model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True).eval().to(device)
        self._tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        self._side_px = json.loads(Path(folder, "open_clip_config.json").read_text())["model_cfg"]["vision_cfg"][
            "image_size"
        ]
        self._device = device

    def seen(self, image: Pixels) -> torch.Tensor:
        return clip_input(tensor(image, self._device), self._side_px)[0]

    @torch.no_grad()
    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        return _vectors(functional.normalize(self._model.encode_image(torch.stack([*seen]))))

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        tokens = self._tokenizer([*texts]).to(self._device)
        return _vectors(functional.normalize(self._model.encode_text(tokens)))


class Dino:
    """A self-supervised vision transformer of transformers; the class token, of length 1."""

    def __init__(self, folder: str, device: str) -> None:
        transformers = need("transformers")
        self._model = transformers.ViTModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
        self._model.eval().to(device)
        self._processor = transformers.ViTImageProcessor.from_pretrained(folder, local_files_only=True)
        self._device = device

    def seen(self, image: Pixels) -> torch.Tensor:
        seen = self._processor(images=image.copy(), return_tensors="pt", input_data_format="channels_last")
        pixels: torch.Tensor = seen["pixel_values"][0].to(self._device)
        return pixels

    @torch.no_grad()
    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        return _vectors(functional.normalize(self._model(torch.stack([*seen])).last_hidden_state[:, 0]))


class Lpips(nn.Module):
    """Learned perceptual distance of two images of one size, 0 for equal ones (arXiv 1801.03924, eq. 1)."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        alexnet, heads = (torch.load(Path(folder, name), map_location="cpu", weights_only=True) for name in LPIPS_FILES)
        self.layers = nn.ModuleList()
        self.heads = nn.ParameterList()
        for number, (index, kernel, stride, padding) in enumerate(_ALEXNET):
            weight = alexnet[f"features.{index}.weight"]
            layer = nn.Conv2d(weight.shape[1], weight.shape[0], kernel, stride, padding)
            layer.load_state_dict({"weight": weight, "bias": alexnet[f"features.{index}.bias"]})
            self.layers.append(layer)
            self.heads.append(heads[f"lin{number}.model.1.weight"])

    def distance(self, first: Pixels, second: Pixels) -> float:
        """The distance of two images of one size, H x W x 3."""
        device = str(self.heads[0].device)
        return float(self(tensor(first, device), tensor(second, device)))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The distance of two images, 1 x 3 x H x W in [0, 1]: a scalar."""
        pairs = zip(self._features(first), self._features(second), self.heads, strict=True)
        distances = [functional.conv2d((a - b) ** 2, head).mean() for a, b, head in pairs]
        return torch.stack(distances).sum()

    def _features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The output of each layer, each pixel's channels scaled to length 1."""
        values = v2.functional.normalize(2 * image - 1, list(_LPIPS_SHIFT), list(_LPIPS_SCALE))
        features = []
        for number, layer in enumerate(self.layers):
            if number in (1, 2):
                values = functional.max_pool2d(values, 3, 2)
            values = functional.relu(layer(values))
            features.append(values / (values.norm(dim=1, keepdim=True) + 1e-10))
        return features


class Aesthetic:
    """LAION's predictor of how an image would be rated, about 1 to 10: a network on CLIP ViT-L/14's embedding.

    The folder holds AESTHETIC_FILE and, in ViT-L-14/, that CLIP. Vectors have one number, the rating.
    """

    def __init__(self, folder: str, device: str) -> None:
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
    """The style descriptor of CSD (operators/models/csd.py), of length 1."""

    def __init__(self, folder: str, device: str) -> None:
        self._csd, self._device = load_csd(folder, device), device

    def seen(self, image: Pixels) -> torch.Tensor:
        return clip_input(tensor(image, self._device), self._csd.side_px)[0]

    @torch.no_grad()
    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        return _vectors(self._csd.describe(torch.stack([*seen]))[0])


@loaded_once(8)
def load(kind: str, folder: str, device: str) -> Any:
    """One of "clip", "dino", "aesthetic", "csd", an Embedder, or "lpips", from its folder."""
    if kind == "lpips":
        return Lpips(folder).eval().requires_grad_(False).to(device)
    return {"clip": Clip, "dino": Dino, "aesthetic": Aesthetic, "csd": Style}[kind](folder, device)


def tensor(image: Pixels, device: str) -> torch.Tensor:
    """The picture as a tensor, 1 x 3 x H x W in [0, 1]."""
    return (torch.tensor(image).permute(2, 0, 1).float() / 255)[None].to(device)


def _vectors(rows: torch.Tensor) -> list[Vector]:
    return [*rows.double().cpu().numpy()]
