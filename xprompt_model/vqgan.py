"""Chameleon's VQ tokenizer: images to codes and back.

Weights come from Meta's `vqgan.ckpt`, or from a checkpoint directory of transformers, whose `model.vqmodel.*` has no
decoder: then codes cannot be made into images, unless the `vqgan.ckpt` lies beside. transformers' conversion is in
bfloat16, Meta's file in float32: their codes differ here and there, and their fingerprints do.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import ChameleonVQVAEConfig

from operators.shared.square import square
from xprompt_model.checkpoint import CONFIG_FILE, VQ_PREFIX, read_config, read_tensors
from xprompt_model.vqgan_layers import Decoder, Encoder

CHECKPOINT_FILE = "vqgan.ckpt"

PREPROCESSING = "shorter side, lanczos, centre, 1"
"""Named in the fingerprint: codes of differently prepared images are not to be mixed."""

_CODEBOOK = "quantize.embedding.weight"
_DECODER = ("decoder.", "post_quant_conv.")
_HIGHEST = 255
"""The highest value of 8-bit pixels."""


class VQGAN(nn.Module):
    """The tokenizer. Its weights are frozen. Codes are indices into the codebook, 0 to `codes` - 1."""

    def __init__(self, config: ChameleonVQVAEConfig, *, decoder: bool = True) -> None:
        """Random weights. Raises ValueError for a config that Chameleon's tokenizers do not have."""
        super().__init__()
        if config.attn_resolutions or config.double_latent:
            raise ValueError(
                "VQ tokenizers with attn_resolutions or double_latent are unknown: Chameleon's have neither"
            )
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv2d(config.latent_channels, config.embed_dim, 1)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(config.num_embeddings, config.embed_dim)})
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.latent_channels, 1)
        self.decoder = Decoder(config) if decoder else None
        self.requires_grad_(False).eval()

    @property
    def codes(self) -> int:
        """Entries of the codebook, 8,192 for Chameleon."""
        return self.config.num_embeddings

    @property
    def resolution_px(self) -> int:
        """Side of the square that `prepare` makes of an image."""
        return self.config.resolution

    @property
    def pixels_per_code(self) -> int:
        """The side of the square of pixels that one code stands for: 16."""
        return int(2 ** (len(self.config.channel_multiplier) - 1))

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 over all that an image's codes depend on: preparation, encoder and codebook."""
        digest = hashlib.sha256(f"{PREPROCESSING} {self.resolution_px}".encode())
        for name, tensor in sorted(self.state_dict().items()):
            if not name.startswith(_DECODER):
                digest.update(f"{name} {tuple(tensor.shape)}".encode())
                digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def prepare(self, pixels: NDArray[np.uint8], side_px: int | None = None) -> Tensor:
        """An image, [h, w, 3] RGB, as the square that is tokenized, [3, r, r] in [-1, 1].

        The square, of side r = `side_px`, by default `resolution_px`, is the middle of the image, as
        operators/shared/square.py cuts it. Raises ValueError for another shape.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise ValueError(f"an image of {pixels.dtype} {pixels.shape}: uint8 [h, w, 3] is needed")
        seen = square(pixels, side_px or self.resolution_px).astype(np.float32)
        return torch.from_numpy(seen / np.float32(_HIGHEST / 2) - 1).permute(2, 0, 1)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes, int64 [n, h / 16, w / 16], of images, float [n, 3, h, w] in [-1, 1].

        One after the other, so that an image's codes do not depend on its neighbours; in full float32 and by kernels
        that repeat, whatever the process has set, so that near ties fall to the same code. Raises ValueError if a side
        is not a multiple of `pixels_per_code`, or if the encoder gives what is no number, whose code would be any.
        """
        if images.shape[2] % self.pixels_per_code or images.shape[3] % self.pixels_per_code:
            raise ValueError(f"images of {images.shape[3]} x {images.shape[2]} px: multiples of {self.pixels_per_code}")
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return torch.cat([self._nearest(self.quant_conv(self.encoder(image[None]))) for image in images])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images, float [n, 3, 16 h, 16 w] in [-1, 1], of codes, [n, h, w].

        Raises ValueError without a decoder, or if a code is not in the codebook.
        """
        decoder = self.needed_decoder()
        if codes.numel() and (codes.min() < 0 or codes.max() >= self.codes):
            raise ValueError(f"image codes {int(codes.min())} to {int(codes.max())}: the codebook has {self.codes}")
        latents = [self.post_quant_conv(self._codebook(grid[None]).permute(0, 3, 1, 2)) for grid in codes]
        return torch.cat([decoder(latent) for latent in latents]).clamp(-1, 1)

    def needed_decoder(self) -> Decoder:
        """The decoder. Raises ValueError, one line, if there is none: who wants images can know it before they are."""
        if self.decoder is None:
            raise ValueError(
                f"transformers' VQ weights, which these are, have no decoder: put Meta's {CHECKPOINT_FILE} beside"
            )
        return self.decoder

    def tokenize(self, pixels: NDArray[np.uint8], side_px: int | None = None) -> NDArray[np.int64]:
        """The code grid, [side, side], of an image, [h, w, 3] RGB, as a square of `side_px`.

        Raises as `prepare` and `encode`.
        """
        found: NDArray[np.int64] = (
            self.encode(self.prepare(pixels, side_px).to(self._codebook.weight.device)[None])[0].cpu().numpy()
        )
        return found

    def picture(self, codes: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The pixels, [16 h, 16 w, 3] RGB, of a code grid, [h, w]. Raises as `decode`."""
        grid = torch.from_numpy(codes.astype(np.int64)).to(self._codebook.weight.device)
        image = (self.decode(grid[None])[0] + 1) * (_HIGHEST / 2)
        pixels: NDArray[np.uint8] = image.round().permute(1, 2, 0).to(torch.uint8).cpu().numpy()
        return pixels

    @property
    def _codebook(self) -> nn.Embedding:
        codebook = self.quantize["embedding"]
        assert isinstance(codebook, nn.Embedding)
        return codebook

    def _nearest(self, latents: Tensor) -> Tensor:
        """Index of the nearest entry, [n, h, w], of latents, [n, embed_dim, h, w]; of equally near ones the first."""
        flat, book = latents.permute(0, 2, 3, 1).flatten(0, 2), self._codebook.weight
        if not flat.isfinite().all():
            raise ValueError(
                "the image tokenizer's encoder gives what is no finite number: its weights or the device fail"
            )
        distances = (flat**2).sum(1, keepdim=True) + (book**2).sum(1) - 2 * (flat @ book.T)
        return distances.argmin(1).view(latents.shape[0], *latents.shape[2:])

    @classmethod
    def load(cls, path: Path | str, *, device: torch.device | str = "cpu") -> VQGAN:
        """Weights from Meta's `vqgan.ckpt`, or from a directory with it or with transformers' weights; float32.

        The shape of the networks is that of the `config.json` in the directory, else Chameleon's own. What else is in
        Meta's file, such as what its training left there, is passed over with a warning: their code does so too. Raises
        ValueError if weights are missing, do not fit, or a directory holds two tokenizers that differ.
        """
        path = Path(path)
        folder, file = (path, path / CHECKPOINT_FILE) if path.is_dir() else (path.parent, path)
        config = ChameleonVQVAEConfig()
        converted: dict[str, Tensor] = {}
        if (folder / CONFIG_FILE).is_file():
            described = read_config(folder).vq_config
            assert isinstance(described, ChameleonVQVAEConfig)
            config = described
        if path.is_dir() and any(folder.glob("*.safetensors")):
            found = read_tensors(folder, lambda name: name.startswith(VQ_PREFIX))
            converted = {name.removeprefix(VQ_PREFIX): tensor for name, tensor in found.items()}
        state = _read_meta(file) if file.is_file() or not path.is_dir() else converted
        if not state:
            raise ValueError(f"{path} has neither {CHECKPOINT_FILE} nor transformers' weights of a VQ tokenizer")
        if converted and not _is_rounded(state, converted):
            raise ValueError(f"{file} and the safetensors beside it are of different VQ tokenizers: remove one")
        model = cls(config, decoder=file.is_file() or any(name.startswith("decoder.") for name in state))
        unknown = sorted(set(state) - set(model.state_dict()))
        if unknown:
            counts = Counter(name.partition(".")[0] for name in unknown)
            shown = ", ".join(f"{begin}.* ({count})" for begin, count in counts.items())
            warnings.warn(f"{path} holds tensors that are not the VQ tokenizer's, left unused: {shown}", stacklevel=2)
        try:
            model.load_state_dict({name: state[name] for name in state if name not in unknown})
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{path} does not fit the VQ tokenizer that it should be: {said}") from None
        return model.to(device)


def _read_meta(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
        return {name: value.float() for name, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:  # a damaged archive raises anything
        reason = str(error).partition("\n")[0]
        if isinstance(error, UnpicklingError):  # whose words advise to load it unsafely
            reason = "it is damaged, a pointer of Git LFS, or holds more than weights"
        raise ValueError(f"{file} is not in the format of Meta's {CHECKPOINT_FILE}: {reason}") from None


def _is_rounded(state: dict[str, Tensor], converted: dict[str, Tensor]) -> bool:
    """Whether the codebook of transformers' weights is that of Meta's, if in a coarser type."""
    if _CODEBOOK not in state or _CODEBOOK not in converted:
        return False
    return torch.equal(state[_CODEBOOK].to(converted[_CODEBOOK].dtype), converted[_CODEBOOK])
