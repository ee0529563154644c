"""Stages B and A of Stable Cascade: from stage C's latents to a picture.

As Stability-AI's and the authors' notebooks do it, which differs from diffusers' StableCascadeDecoderPipeline: guidance
is used and rescaled, the last step's clean latents are taken, the network is told the time unrounded, and stage A's
scale is its own (operators/models/cascade.py).
"""

from __future__ import annotations

import torch

from manifests.images.pixels import Pixels
from operators.models.cascade import STAGE_A_DOWN, STAGE_A_SCALE, Cascade
from operators.models.rb.parameters import Sampling
from operators.models.rb.sampling import mixed_precision, noise_like, predicting, sample
from operators.shared.finite import check_finite


@torch.no_grad()
def decode(
    cascade: Cascade,
    latents: torch.Tensor,
    prompt: str,
    size_px: tuple[int, int],
    sampling: Sampling,
    generator: torch.Generator,
) -> Pixels:
    """The picture of stage C's latents, 1 x 16 x h x w, in `size_px` (height, width), multiples of 8.

    Raises Reject if networks, of these stages or before, give what is no number (not_finite).
    """
    decoder, device = cascade.decoder, latents.device
    _, pooled, _, no_pooled = decoder.encode_prompt(device, 1, 1, True, prompt=prompt, negative_prompt="")
    conditions = {
        "clip_text_pooled": torch.cat([pooled, no_pooled]),
        "effnet": torch.cat([latents, torch.zeros_like(latents)]),
    }
    height, width = (side // STAGE_A_DOWN for side in size_px)
    noise = noise_like(torch.empty(1, decoder.decoder.config.in_channels, height, width, device=device), generator)
    clean = sample(noise, predicting(decoder.decoder, conditions), sampling, generator=generator)
    with mixed_precision(decoder.vqgan):
        images = decoder.vqgan.decode(STAGE_A_SCALE * clean).sample
    check_finite("Stable Cascade", images)
    made: torch.Tensor = images[0].float().clamp(0, 1).permute(1, 2, 0).cpu()
    return (made * 255).round().to(torch.uint8).numpy()
