"""The convolutional networks of Chameleon's VQ tokenizer, with the parameter names of Meta's checkpoint.

The encoder is that of transformers' ChameleonVQVAE, which has no decoder; the decoder is its mirror image after
facebookresearch/chameleon, `chameleon/inference/vqgan.py`, and CompVis/taming-transformers before it. Chameleon has
attention in the middle of each only.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from transformers import ChameleonVQVAEConfig

_GROUPS = 32
_NORM_EPS = 1e-6
_COLOURS = 3


class ResidualBlock(nn.Module):
    """Two convolutions around which the input is carried: [n, inputs, h, w] to [n, outputs, h, w]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = _conv3(inputs, outputs)
        self.norm2 = _norm(outputs)
        self.conv2 = _conv3(outputs, outputs)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        if hasattr(self, "nin_shortcut"):
            x = self.nin_shortcut(x)
        return x + h


class AttentionBlock(nn.Module):
    """Attention of each place to all, with one head: [n, channels, h, w] to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2) for layer in (self.q, self.k, self.v))  # [n, channels, h w]
        weights = (q.transpose(1, 2) @ k * q.shape[1] ** -0.5).softmax(2)
        attended: Tensor = self.proj_out((v @ weights.transpose(1, 2)).unflatten(2, x.shape[2:]))
        return x + attended


class Downsample(nn.Module):
    """[n, channels, h, w] to half of h and w, padded on the right and below only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        halved: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return halved


class Upsample(nn.Module):
    """[n, channels, h, w] to twice h and w: each place is repeated, then convolved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return doubled


class Level(nn.Module):
    """The residual blocks at one resolution, and the step to the next."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(inputs if index == 0 else outputs, outputs) for index in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        for name in ("downsample", "upsample"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x


class Middle(nn.Module):
    """What is done at the lowest resolution: [n, channels, h, w] to the same."""

    def __init__(self, channels: int, attention: bool) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.attn_1 = AttentionBlock(channels) if attention else nn.Identity()
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        middle: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return middle


class Encoder(nn.Module):
    """Images, [n, 3, h, w], to latents, [n, latent_channels, h / 16, w / 16] with the five levels of Chameleon."""

    def __init__(self, config: ChameleonVQVAEConfig) -> None:
        super().__init__()
        channels = _channels(config)
        self.conv_in = _conv3(_COLOURS, config.base_channels)
        self.down = nn.ModuleList(
            Level(inputs, outputs, config.num_res_blocks)
            for inputs, outputs in zip([config.base_channels, *channels], channels, strict=False)
        )
        for level, width in zip(self.down[:-1], channels, strict=False):
            level.downsample = Downsample(width)
        self.mid = Middle(channels[-1], config.attn_type == "vanilla")
        self.norm_out = _norm(channels[-1])
        self.conv_out = _conv3(channels[-1], config.latent_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        latents: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(x))))
        return latents


class Decoder(nn.Module):
    """Latents, [n, latent_channels, h, w], to images, [n, 3, 16 h, 16 w] with the five levels of Chameleon."""

    def __init__(self, config: ChameleonVQVAEConfig) -> None:
        super().__init__()
        channels = _channels(config)
        self.conv_in = _conv3(config.latent_channels, channels[-1])
        self.mid = Middle(channels[-1], config.attn_type == "vanilla")
        # Numbered like the encoder's, but run from the last to the first.
        self.up = nn.ModuleList(
            Level(inputs, outputs, config.num_res_blocks + 1)
            for inputs, outputs in zip([*channels[1:], channels[-1]], channels, strict=True)
        )
        for level, width in zip(self.up[1:], channels[1:], strict=True):
            level.upsample = Upsample(width)
        self.norm_out = _norm(channels[0])
        self.conv_out = _conv3(channels[0], _COLOURS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        images: Tensor = self.conv_out(functional.silu(self.norm_out(x)))
        return images


def _channels(config: ChameleonVQVAEConfig) -> Sequence[int]:
    """The width of each level, from the highest resolution to the lowest."""
    return [config.base_channels * multiplier for multiplier in config.channel_multiplier]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, channels, eps=_NORM_EPS)


def _conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
