"""Edits a photo by FLUX.1 Kontext, several times over, and keeps the best edit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import cv2
import numpy as np

from manifests.images import Pixels, decode_rgb, encode_lossless
from manifests.schema import Image, Pair, Reject, Step, seed_for
from operators.batching import in_batches
from operators.checkpoints import folder, identity
from operators.device import prepared_device
from operators.diffusion import PICTURE_GPU_S
from operators.scores import Scores

_MULTIPLE_PX = 16  # of the sides that Kontext makes: FluxKontextPipeline.__call__, multiple_of


@dataclass(frozen=True, kw_only=True)
class BestEdit:
    """Makes the target from the input and the text "instruction": of `candidates` edits, the best by the score `rank`.

    Only candidates within all bounds of `scores` count. Kontext works at the aspect of the input and the area its VAE
    was trained at; its pictures are resized to the input's size. The scores of all candidates are in the step's
    parameters. Rejects: no_candidate, with the scores of the one that ranks highest; out_of_memory.
    """

    name: ClassVar[str] = "best_edit"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 1.0
    scores: Scores
    rank: str = "clip_direction"
    candidates: int = 4
    steps: int = 28
    guidance: float = 3.5
    """Both are diffusers' defaults: FluxKontextPipeline.__call__."""
    model: str = ""
    revision: str = ""
    folder: str = field(default="", metadata={"location": True})

    @property
    def gpu_s(self) -> float:
        return self.candidates * PICTURE_GPU_S["flux"]

    def bound(self, models: str | None) -> Self:
        found = folder(models, "flux-kontext")
        model, revision = identity(found, "flux-kontext")
        return replace(self, folder=found, model=model, revision=revision, scores=self.scores.bound(models))

    def lenient(self) -> Self:
        return replace(self, scores=self.scores.lenient())

    def __call__(self, pair: Pair, seed: int) -> Pair:
        photo, instruction = pair.image("input"), pair.texts["instruction"]
        assert photo, "there is a photo to edit"
        pixels, kept, rejected, tried = decode_rgb(photo.data), [], [], []
        for number in range(self.candidates):
            own = seed_for(seed, str(number))
            (made,) = in_batches(lambda batch: [self._edited(pixels, instruction, batch[0])], [own], 1)
            if isinstance(made, Reject):
                raise made
            (judged,) = self.scores.many([_with_target(pair, encode_lossless("target", made))], [own])
            if isinstance(judged, Reject):
                rejected.append(judged)
                tried.append({"seed": own, "reason": judged.reason, "scores": judged.scores})
            else:
                kept.append((judged, own))
                tried.append({"seed": own, "scores": dict(judged.scores)})
        if not kept:
            nearest = max(rejected, key=lambda reject: reject.scores[self.rank])
            raise Reject("no_candidate", f"none of {self.candidates}; the best: {nearest.message}", nearest.scores)
        best, own = max(kept, key=lambda judged: judged[0].scores[self.rank])
        step = Step(
            operator=self.name,
            version=self.version,
            params={"rank": self.rank, "steps": self.steps, "guidance": self.guidance, "candidates": tried},
            seed=own,
            model=self.model,
            model_revision=self.revision,
            prompt=instruction,
        )
        return replace(best, steps=(*pair.steps, step, *best.steps[len(pair.steps) :]))

    def _edited(self, photo: Pixels, instruction: str, seed: int) -> Pixels:
        import torch
        from PIL import Image as PILImage

        pipe = _pipeline(self.folder, prepared_device())
        height, width = photo.shape[:2]
        scale = pipe.vae.config.sample_size / (height * width) ** 0.5
        sides = [max(1, round(side * scale / _MULTIPLE_PX)) * _MULTIPLE_PX for side in (height, width)]
        resized = cv2.resize(
            photo, (sides[1], sides[0]), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        made = pipe(
            PILImage.fromarray(np.asarray(resized, np.uint8)),
            instruction,
            height=sides[0],
            width=sides[1],
            max_area=sides[0] * sides[1],
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            max_sequence_length=pipe.tokenizer_2.model_max_length,
            generator=torch.Generator().manual_seed(seed),  # on the CPU: the same noise on every device
            output_type="np",
            _auto_resize=False,
        ).images[0]
        edited = np.asarray((made * 255).round(), np.uint8)
        if edited.shape == photo.shape:
            return edited
        return np.asarray(cv2.resize(edited, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _with_target(pair: Pair, target: Image) -> Pair:
    return replace(pair, images=(*pair.images, target))


@lru_cache(maxsize=1)
def _pipeline(folder: str, device: str) -> Any:
    import torch
    from diffusers import FluxKontextPipeline

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    pipe = FluxKontextPipeline.from_pretrained(folder, local_files_only=True, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)
