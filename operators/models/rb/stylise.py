"""One picture by RB-Modulation: stage C under control, with aggregated attention, then Stable Cascade's decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from manifests.images.pixels import Pixels
from operators.models.cascade import LATENT_CHANNELS, Cascade
from operators.models.csd import Csd
from operators.models.rb.attention import AggregatedAttention
from operators.models.rb.control import Cost, sample
from operators.models.rb.parameters import StageCSampling, Weights
from operators.shared.vision import clip_input


@torch.no_grad()
def stylise(
    cascade: Cascade,
    csd: Csd,
    prompt: str,
    style: Pixels,
    content: Pixels | None,
    seed: int,
    *,
    sampling: StageCSampling,
    weights: Weights,
    aggregate: bool = True,
    size_px: tuple[int, int],
) -> Pixels:
    """A picture of what the prompt says in the style of an image; of another image's content too, if one is given.

    `style` and `content` are H x W x 3; the result has `size_px` (height, width), if they are multiples of 128.
    `aggregate` says whether the references go into stage C's attention too; without it and with `sampling.iterations` 0
    this is Stable Cascade alone.
    """
    device = csd.style.device
    prior = cascade.prior
    references = [_tensor(image, device) for image in (content, style) if image is not None]
    encoded = [cascade.effnet(reference) for reference in references]

    def describe(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        style_descriptor, content_descriptor = csd(cascade.previewer(latents))
        return style_descriptor, content_descriptor

    cost = Cost(
        describe=describe,
        style=describe(encoded[-1])[0],
        content=describe(encoded[0])[1] if content is not None else None,
        style_weight=weights.style,
        content_weight=weights.content,
        text_weight=weights.text,
    )
    text, pooled, no_text, no_pooled = prior.encode_prompt(device, 1, 1, True, prompt=prompt, negative_prompt="")
    shown = _embedded(prior, references)
    if not aggregate:
        shown = torch.zeros_like(shown[:, :1])  # what Stable Cascade is given where there is no image
    conditions = {
        "clip_text": torch.cat([text, no_text]),
        "clip_text_pooled": torch.cat([pooled, no_pooled]),
        "clip_img": torch.cat([shown, torch.zeros_like(shown)]),
    }
    dtype = text.dtype

    def predict(latents: torch.Tensor, ratio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = prior.prior(
            sample=latents.to(dtype).repeat(2, 1, 1, 1),
            timestep_ratio=ratio.to(dtype).expand(2),
            **conditions,
            return_dict=False,
        )[0].float()
        return both[:1], both[1:]

    # On the CPU, so that every device begins with the same noise.
    generator = torch.Generator().manual_seed(seed)
    sides = (math.ceil(side / prior.config.resolution_multiple) for side in size_px)
    noise = torch.randn((1, LATENT_CHANNELS, *sides), generator=generator).to(device)
    processor = AggregatedAttention(len(references), prior.prior.config.clip_seq) if aggregate else None
    with _Attention(prior.prior, processor):
        latents = sample(noise, predict, cost, sampling)
    images = cascade.decoder(latents.to(dtype), prompt=prompt, generator=generator, output_type="np").images
    made = torch.from_numpy(images[0])
    return (made * 255).round().to(torch.uint8).numpy()


def _tensor(image: Pixels, device: torch.device) -> torch.Tensor:
    """The picture as a tensor, 1 x 3 x H x W in [0, 1]."""
    return (torch.tensor(image).permute(2, 0, 1).float() / 255)[None].to(device)


def _embedded(prior: Any, images: Sequence[torch.Tensor]) -> torch.Tensor:
    """CLIP's embeddings of images, by which stage C is conditioned on them: 1 x images x 768."""
    encoder = prior.image_encoder
    embeddings = [
        encoder(clip_input(image, encoder.config.image_size).to(encoder.dtype)).image_embeds for image in images
    ]
    return torch.stack(embeddings, dim=1)


class _Attention:
    """While open, stage C's attention blocks use a processor; None leaves them as they are."""

    def __init__(self, prior: Any, processor: AggregatedAttention | None) -> None:
        blocks = [module for module in prior.modules() if type(module).__name__ == "SDCascadeAttnBlock"]
        self._attentions = [block.attention for block in blocks] if processor else []
        self._processor = processor

    def __enter__(self) -> None:
        self._before = [attention.processor for attention in self._attentions]
        for attention in self._attentions:
            attention.set_processor(self._processor)

    def __exit__(self, *_: object) -> None:
        for attention, processor in zip(self._attentions, self._before, strict=True):
            attention.set_processor(processor)
