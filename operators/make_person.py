"""The first person of a pose pair, from a prompt (paper section 4.5), where the source brings no photo of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from manifests.images import Pixels, encode_lossless
from manifests.schema import Pair
from operators.diffusion import PICTURE_GPU_S, SAMPLING, Family, found, picture, pipeline, side_px, steps_of

_CLASSES: Mapping[Family, str] = {"sd15": "StableDiffusionPipeline", "flux": "FluxPipeline"}


@dataclass(frozen=True, kw_only=True)
class MakePerson:
    """Makes the input from the text "person_prompt"; a pair that has an input stays as it is.

    Square, of the side that the model was trained at. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "make_person"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 1.0
    family: Family = "sd15"
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of the generator."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    def of_family(self, family: Family) -> Self:
        return replace(self, family=family)

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S[self.family]

    def bound(self, models: str | None) -> Self:
        folders, identities = found(models, [self.family])
        return replace(self, folders=folders, models=identities)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.image("input"):
            return pair
        prompt = pair.texts["person_prompt"]
        sampling = SAMPLING[self.family]
        steps = steps_of(
            self.name,
            self.version,
            ("generator",),
            self.models,
            params={"steps": sampling.steps, "guidance": sampling.guidance},
            seed=seed,
            prompt=prompt,
        )
        image = encode_lossless("input", self._picture(prompt, seed))
        return replace(pair, images=(image, *pair.images), steps=(*pair.steps, *steps))

    def _picture(self, prompt: str, seed: int) -> Pixels:
        pipe = pipeline(_CLASSES[self.family], self.folders[0])
        side, sampling = side_px(pipe), SAMPLING[self.family]
        given: dict[str, Any] = {}
        if self.family == "flux":
            given["max_sequence_length"] = pipe.tokenizer_2.model_max_length
        return picture(
            lambda generator: pipe(
                prompt,
                height=side,
                width=side,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance,
                generator=generator,
                output_type="np",
                **given,
            ),
            seed,
        )
