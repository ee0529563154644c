"""Trains the demo's VQ tokenizer: images of 64 px to 8 x 8 codes of 1,024 and back, in Meta's file format.

First the networks alone, then with the codebook: its entries are moving averages of the latents that fall to them
(van den Oord et al. 2017, appendix A.1), and entries that none falls to are put where latents are. A checkpoint is
written as it goes, and a run that was stopped goes on to the same weights: `python -m infra.demo.tokenizer FILE`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import ChameleonVQVAEConfig

from infra.demo.pictures import HELD_OUT, TRAINED, crop, drawn, varied
from manifests.images.pixels import Pixels
from xprompt_model.vqgan import VQGAN

SIDE_PX = 64
CODES = 1_024
STEPS = 1_000
"""Of all networks; then come those of the decoder alone, which change no code."""
DECODER_STEPS = 250
SEED = 0

_BATCH = 8
_CODES_AN_IMAGE = (SIDE_PX // 8) ** 2
_DRAWN_SHARE = 0.25
"""Of the pictures that are generated and not crops of photos."""
_CONTINUOUS_STEPS = 400
"""That are done before there is a codebook; at most half of all."""
_PEAK_LR, _DECODER_LR = 2e-3, 1e-3
_WARM_UP_STEPS, _COSINE_STEPS, _COOL_DOWN_STEPS = 30, 2_400, 225
_DECAY = 0.98
_COMMITMENT = 0.25
_UNUSED = 0.02
"""An entry is put elsewhere when fewer latents a step fall to it, on average."""
_SAVE_EVERY = 25
_TEST_CROPS = 16
"""Of each photo that is measured on."""


def config() -> ChameleonVQVAEConfig:
    """The shape of the networks: Chameleon's, with four levels instead of five, and 64 channels in each.

    Not fewer where there are many pixels: GroupNorm has 32 groups, and one of a single channel loses how bright it is.
    """
    return ChameleonVQVAEConfig(
        num_embeddings=CODES,
        embed_dim=16,
        latent_channels=16,
        resolution=SIDE_PX,
        base_channels=64,
        channel_multiplier=[1, 1, 1, 1],
        num_res_blocks=0,
    )


def held_out_crops(side_px: int = SIDE_PX) -> dict[str, list[Pixels]]:
    """By photo that was never trained from, its crops that are measured on."""
    return {
        name: [crop(name, side_px, np.random.default_rng([7, index])) for index in range(_TEST_CROPS)]
        for name in HELD_OUT
    }


def psnr_db(one: Pixels, other: Pixels) -> float:
    """Of two pictures of 8 bits, dB."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def held_out_psnr_db(vqgan: VQGAN) -> dict[str, float]:
    """By photo that was never trained from, the mean PSNR of its crops through the tokenizer and back, dB."""
    return {
        name: float(np.mean([psnr_db(vqgan.picture(vqgan.tokenize(one)), one) for one in crops]))
        for name, crops in held_out_crops(vqgan.resolution_px).items()
    }


def train(
    file: Path,
    *,
    steps: int = STEPS,
    decoder_steps: int = DECODER_STEPS,
    seed: int = SEED,
    say: Callable[[str], None] = print,
) -> VQGAN:
    """Train from nothing and write `file`, or go on from `file`.part.

    The file is there after `steps` steps, and again after `decoder_steps` of the decoder alone. On one thread the bytes
    repeat.
    """
    part = file.with_name(file.name + ".part")
    torch.manual_seed(seed)
    vqgan = VQGAN(config())
    for layer in vqgan.modules():
        layer.to(memory_format=torch.channels_last) if isinstance(layer, torch.nn.Conv2d) else None
    learned = [value.requires_grad_() for name, value in vqgan.named_parameters() if not name.startswith("quantize.")]
    optimizer = torch.optim.AdamW(learned, lr=_PEAK_LR, betas=(0.9, 0.98), weight_decay=1e-4)
    codebook = _Codebook(vqgan.quantize["embedding"].weight)  # type: ignore[arg-type]
    done = 0
    if part.is_file():
        found = torch.load(part, weights_only=True)
        vqgan.load_state_dict(found["state_dict"])
        optimizer.load_state_dict(found["optimizer"])
        codebook.count, codebook.total, done = found["count"], found["total"], found["step"]
    continuous = min(_CONTINUOUS_STEPS, steps // 2)
    for step in range(done, steps + decoder_steps):
        random = np.random.default_rng([seed, step])
        images = torch.stack([vqgan.prepare(_picture(random)) for _ in range(_BATCH)])
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(step < steps):
            latents = vqgan.quant_conv(vqgan.encoder(images))
        quantized, commitment = latents, latents.new_zeros(())
        if step >= continuous:
            flat = latents.permute(0, 2, 3, 1).flatten(0, 2)
            if step == continuous:
                codebook.begin(_sample(vqgan, seed))
            index = codebook.index(flat.detach())
            near = codebook.entries[index].view(*latents.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
            commitment = functional.mse_loss(latents, near)
            quantized = latents + (near - latents).detach()
            if step < steps:
                codebook.follow(flat.detach(), index, np.random.default_rng([seed, step, 1]))
        made = vqgan.decoder(vqgan.post_quant_conv(quantized))  # type: ignore[misc]
        squared = functional.mse_loss(made, images)
        loss = functional.l1_loss(made, images) + 2 * squared + _COMMITMENT * commitment
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, steps, decoder_steps)
        optimizer.step()
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 in (steps, steps + decoder_steps):
            used = int((codebook.count > _UNUSED).sum())
            say(f"step {step + 1}: {10 * math.log10(4 / squared.item()):.2f} dB, {used} codes in use")
            kept = {"state_dict": vqgan.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save({**kept, "count": codebook.count, "total": codebook.total}, part)
        if step + 1 in (steps, steps + decoder_steps):
            halved = {name: value.half().contiguous() for name, value in vqgan.state_dict().items()}
            torch.save({"state_dict": halved}, file)
    return load(file)


def load(file: Path) -> VQGAN:
    """The tokenizer of a file that `train` wrote, beside which there is no config.json yet."""
    vqgan = VQGAN(config())
    state = torch.load(file, weights_only=True)["state_dict"]
    vqgan.load_state_dict({name: value.float() for name, value in state.items()})
    return vqgan


def _picture(random: np.random.Generator) -> Pixels:
    if random.random() < _DRAWN_SHARE:
        return varied(drawn(SIDE_PX, random), random)
    return varied(crop(str(random.choice(list(TRAINED))), SIDE_PX, random), random)


def _learning_rate(step: int, steps: int, decoder_steps: int) -> float:
    """A warm-up, a slow cosine, and to 0 in a line at the end; then again for the decoder alone."""
    if step >= steps:
        return _DECODER_LR * (steps + decoder_steps - step) / decoder_steps
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(step, _COSINE_STEPS) / _COSINE_STEPS)
    return _PEAK_LR * cosine * min(1.0, (step + 1) / _WARM_UP_STEPS, (steps - step) / _COOL_DOWN_STEPS)


@torch.no_grad()
def _sample(vqgan: VQGAN, seed: int) -> Tensor:
    """Latents of pictures for the first entries, 8 for each entry."""
    random = np.random.default_rng([seed, 2])
    found = []
    for _ in range(8 * CODES // _CODES_AN_IMAGE // _BATCH):
        images = torch.stack([vqgan.prepare(_picture(random)) for _ in range(_BATCH)])
        found.append(vqgan.quant_conv(vqgan.encoder(images)).permute(0, 2, 3, 1).flatten(0, 2))
    return torch.cat(found)


class _Codebook:
    """Entries that follow the latents nearest to them."""

    def __init__(self, entries: Tensor) -> None:
        self.entries = entries
        self.count = torch.ones(len(entries))
        self.total = entries.detach().clone()

    def begin(self, latents: Tensor) -> None:
        """Entries from latents by 10 rounds of k-means."""
        self.entries.copy_(latents[:: len(latents) // len(self.entries)][: len(self.entries)])
        for _ in range(10):
            index = self.index(latents)
            count = torch.bincount(index, minlength=len(self.entries)).float()
            total = torch.zeros_like(self.entries).index_add_(0, index, latents)
            self.entries.copy_(torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], self.entries))
        self.count.fill_(1.0)
        self.total.copy_(self.entries)

    def index(self, latents: Tensor) -> Tensor:
        """The entry that is nearest to each latent."""
        return ((self.entries**2).sum(1) - 2 * (latents @ self.entries.T)).argmin(1)

    def follow(self, latents: Tensor, index: Tensor, random: np.random.Generator) -> None:
        """One step of the moving averages, `index` being each latent's entry; entries out of use go to latents drawn
        from the batch."""
        count = torch.bincount(index, minlength=len(self.entries)).float()
        total = torch.zeros_like(self.entries).index_add_(0, index, latents)
        self.count.mul_(_DECAY).add_(count, alpha=1 - _DECAY)
        self.total.mul_(_DECAY).add_(total, alpha=1 - _DECAY)
        unused = torch.nonzero(self.count < _UNUSED).flatten()
        if len(unused):
            drawn_ones = latents[torch.from_numpy(random.integers(0, len(latents), len(unused)))]
            self.count[unused] = 0.2
            self.total[unused] = 0.2 * drawn_ones
        self.entries.copy_(self.total / self.count[:, None])


if __name__ == "__main__":
    torch.set_num_threads(1)
    (given,) = sys.argv[1:]
    print(held_out_psnr_db(train(Path(given))))
