"""CLIP and DINO: networks that turn an image into a vector, whose cosine with another says how alike the two are.

Images are H x W x 3 uint8. Each is prepared alone, as its network was trained, and several are embedded together.
PyTorch is imported when a network is loaded: who only names these classes needs no extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image as PILImage

from manifests.images.pixels import Pixels
from operators.shared.clip_folder import load_clip
from operators.shared.extras import need
from operators.shared.vectors import Vector

if TYPE_CHECKING:
    import torch

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the colours that CLIP was trained on, by which its input is normalised: https://github.com/openai/CLIP,
clip/clip.py."""


class ImageEmbedder(Protocol):
    """A network that makes vectors of images."""

    def seen(self, image: Pixels) -> torch.Tensor:
        """The image as the network sees it: 3 x H x W of one size, whatever the size of the image."""
        ...

    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        """The vector of each image that `seen` has prepared."""
        ...


class Clip:
    """A CLIP with both its towers, from a folder in open_clip's layout. Vectors of images and texts have length 1."""

    def __init__(self, folder: Path | str, device: str) -> None:
        """Load the CLIP onto a device. Raises ValueError if the folder holds none."""
        self._model, self._tokenizer = load_clip(folder)
        self._model.to(device)
        self._side_px: int = self._model.visual.image_size[0]
        self._device = device
        open_clip = need("open_clip.transform")
        preparation = open_clip.PreprocessCfg(**self._model.visual.preprocess_cfg)
        self._transform = open_clip.image_transform_v2(preparation, is_train=False)

    def seen(self, image: Pixels) -> torch.Tensor:
        """The image as the scores of datasets take it: resized in floating point, on the network's device."""
        return clip_input(tensor(image, self._device), self._side_px)[0]

    def seen_by_open_clip(self, image: Pixels) -> torch.Tensor:
        """The image as published figures take it: resized by Pillow, which rounds to 8 bits, as open_clip does it."""
        seen: torch.Tensor = self._transform(PILImage.fromarray(image)).to(self._device)
        return seen

    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        """The vector of each image that either way of seeing has prepared."""
        torch = need("torch")
        with torch.no_grad():
            return _unit_vectors(self._model.encode_image(torch.stack([*seen])))

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """The vector of each text, to be compared with those of images; longer ones are cut after 77 tokens."""
        tokens = self._tokenizer([*texts]).to(self._device)
        with need("torch").no_grad():
            return _unit_vectors(self._model.encode_text(tokens))


class Dino:
    """A DINO or DINOv2 from a folder in transformers' layout. Vectors are class tokens, scaled to length 1."""

    def __init__(self, folder: Path | str, device: str) -> None:
        """Load the network onto a device. Raises ValueError if the folder holds none."""
        if not Path(folder, "config.json").is_file():
            raise ValueError(f"{folder} is not a transformers checkpoint: it has no config.json")
        transformers = need("transformers")
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # A ViT would get a pooling layer of random weights, which nothing here uses; DINOv2's has no such option.
        options: dict[str, Any] = {"add_pooling_layer": False} if config.model_type == "vit" else {}
        self._model = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
        self._model.eval().to(device)
        self._processor = transformers.AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self._device = device

    def seen(self, image: Pixels) -> torch.Tensor:
        """The image as the checkpoint's own processor prepares it."""
        seen = self._processor(images=image.copy(), return_tensors="pt", input_data_format="channels_last")
        pixels: torch.Tensor = seen["pixel_values"][0].to(self._device)
        return pixels

    def embed(self, seen: Sequence[torch.Tensor]) -> list[Vector]:
        """The vector of each image that `seen` has prepared."""
        torch = need("torch")
        with torch.no_grad():
            return _unit_vectors(self._model(torch.stack([*seen])).last_hidden_state[:, 0])


def tensor(image: Pixels, device: str) -> torch.Tensor:
    """An image as a batch of one, 1 x 3 x H x W in [0, 1]."""
    values: torch.Tensor = need("torch").tensor(image).permute(2, 0, 1).float()
    return (values / 255)[None].to(device)


def clip_input(images: torch.Tensor, side_px: int) -> torch.Tensor:
    """N x 3 x H x W in [0, 1] as CLIP sees it: the shorter side resized (bicubic), the middle square, normalised."""
    v2 = need("torchvision.transforms.v2")
    resized = v2.functional.resize(images, [side_px], v2.InterpolationMode.BICUBIC, antialias=True)
    return clip_square(resized, side_px)


def clip_square(resized: torch.Tensor, side_px: int) -> torch.Tensor:
    """The middle square of images whose shorter side is CLIP's already, normalised."""
    transform = need("torchvision.transforms.v2").functional
    square = transform.center_crop(resized, [side_px, side_px])
    normalised: torch.Tensor = transform.normalize(square, list(CLIP_MEAN), list(CLIP_STD))
    return normalised


def vectors(rows: torch.Tensor) -> list[Vector]:
    """The rows of an N x d tensor."""
    return [*rows.double().cpu().numpy()]


def _unit_vectors(rows: torch.Tensor) -> list[Vector]:
    """The rows of an N x d tensor, each scaled to length 1."""
    return vectors(need("torch").nn.functional.normalize(rows))
