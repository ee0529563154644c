"""Pictures by FLUX.1 from prompts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from manifests.images import Pixels, encode_lossless
from manifests.schema import Pair, Reject, Step, seed_for
from operators.batching import in_halves
from operators.checkpoints import folder, identity
from operators.device import prepared_device
from operators.diffusion import PICTURE_GPU_S


@dataclass(frozen=True, kw_only=True)
class Flux:
    """Adds one picture for each of `prompts`: (role of the image, name of the text that is its prompt).

    Square, of the side that the checkpoint's VAE was trained at (its config's sample_size; 1,024 px for FLUX.1). One
    picture at a time, so that it has the same bytes whatever is made beside it: on a CPU, a picture of the tiny
    checkpoint differed by 2e-6, in one byte, between batches of one and two (measured). Rejects: out_of_memory.
    """

    name: ClassVar[str] = "flux"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 1.0
    prompts: tuple[tuple[str, str], ...]
    steps: int = 28
    guidance: float = 3.5
    """Both are diffusers' defaults: FluxPipeline.__call__."""
    model: str = ""
    revision: str = ""
    folder: str = field(default="", metadata={"location": True})

    @property
    def gpu_s(self) -> float:
        return len(self.prompts) * PICTURE_GPU_S["flux"]

    def bound(self, models: str | None) -> Self:
        found = folder(models, "flux")
        model, revision = identity(found, "flux")
        return replace(self, folder=found, model=model, revision=revision)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        for role, text in self.prompts:
            own, prompt = seed_for(seed, role), pair.texts[text]
            (made,) = in_halves(lambda batch: [self._picture(*batch[0])], [(prompt, own)])
            if isinstance(made, Reject):
                raise made
            step = Step(
                operator=self.name,
                version=self.version,
                params={"role": role, "steps": self.steps, "guidance": self.guidance},
                seed=own,
                model=self.model,
                model_revision=self.revision,
                prompt=prompt,
            )
            pair = replace(pair, images=(*pair.images, encode_lossless(role, made)), steps=(*pair.steps, step))
        return pair

    def _picture(self, prompt: str, seed: int) -> Pixels:
        import torch

        pipe = _pipeline(self.folder, prepared_device())
        side_px = pipe.vae.config.sample_size
        made = pipe(
            prompt,
            height=side_px,
            width=side_px,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            max_sequence_length=pipe.tokenizer_2.model_max_length,
            generator=torch.Generator().manual_seed(seed),  # on the CPU: the same noise on every device
            output_type="np",
        ).images[0]
        return np.asarray((made * 255).round(), np.uint8)


@lru_cache(maxsize=1)
def _pipeline(folder: str, device: str) -> Any:
    import torch
    from diffusers import FluxPipeline

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    pipe = FluxPipeline.from_pretrained(folder, local_files_only=True, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)
