"""One picture by RB-Modulation: stage C under control, with aggregated attention, then stages B and A."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torchvision.transforms import v2

from manifests.images.pixels import Pixels
from operators.models.cascade import LATENT_CHANNELS, REFERENCE_SCALE, Cascade
from operators.models.csd import Csd
from operators.models.rb.attention import AggregatedAttention
from operators.models.rb.control import Control, Cost
from operators.models.rb.decode import decode
from operators.models.rb.parameters import Sampling, StageCSampling, mode_of
from operators.models.rb.sampling import noise_like, predicting, sample
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
    decoding: Sampling,
    aggregate: bool = True,
    size_px: tuple[int, int],
) -> Pixels:
    """A picture of what the prompt says in the style of an image; of another image's content too, if one is given.

    `style` and `content` are H x W x 3; the result has `size_px` (height, width), multiples of 128. `sampling` is stage
    C's, `decoding` stage B's. `aggregate` says whether the references go into stage C's attention too; without it and
    with `sampling.iterations` 0 this is Stable Cascade alone. All noise comes from the seed.
    """
    device = csd.style.device
    prior, mode = cascade.prior, mode_of(content is not None)
    references = [_reference(image, size_px, device) for image in (content, style) if image is not None]
    encoded = [cascade.effnet(reference) for reference in references]

    def describe(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        style_descriptor, content_descriptor = csd(cascade.previewer(latents))
        return style_descriptor, content_descriptor

    cost = Cost(
        describe=describe,
        style=describe(encoded[-1])[0],
        content=describe(encoded[0])[1] if content is not None else None,
        weights=mode.weights,
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
    generator = torch.Generator().manual_seed(seed)
    height, width = (math.ceil(side / prior.config.resolution_multiple) for side in size_px)
    noise = noise_like(torch.empty(1, LATENT_CHANNELS, height, width, device=device), generator)
    processor = AggregatedAttention(len(references), prior.prior.config.clip_seq) if aggregate else None
    with _Attention(prior.prior, processor):
        latents = sample(
            noise,
            predicting(prior.prior, conditions),
            sampling,
            generator=generator if mode.stochastic else None,
            control=Control(cost=cost, sampling=sampling),
        )
    return decode(cascade, latents, prompt, size_px, decoding, generator)


def _reference(image: Pixels, size_px: tuple[int, int], device: torch.device) -> torch.Tensor:
    """The reference as all networks see it, 1 x 3 x H x W in [0, 1]: its shorter side fits a picture of that size."""
    tensor = (torch.tensor(image).permute(2, 0, 1).float() / 255)[None].to(device)
    side = round(min(size_px) * REFERENCE_SCALE)
    resized: torch.Tensor = v2.functional.resize(tensor, [side], v2.InterpolationMode.BILINEAR, antialias=True)
    return resized


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
