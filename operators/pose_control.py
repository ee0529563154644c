"""Another person in the same pose, by a ControlNet (paper section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from manifests.images import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair
from operators.diffusion import PICTURE_GPU_S, SAMPLING, Family, found, like, picture, pipeline, steps_of
from operators.instruct import pick
from operators.persons import PERSONS

_ROLES: Mapping[Family, tuple[str, str]] = {
    "sd15": ("sd15", "sd15-controlnet-openpose"),
    "flux": ("flux", "flux-controlnet-pose"),
}
_CLASSES: Mapping[Family, tuple[str, str]] = {
    "sd15": ("StableDiffusionControlNetPipeline", "ControlNetModel"),
    "flux": ("FluxControlNetPipeline", "FluxControlNetModel"),
}
_SCALE: Mapping[Family, float] = {"sd15": 1.0, "flux": 0.7}
"""controlnet_conditioning_scale: diffusers' default; within the 0.3 to 0.8 of the model card of
https://huggingface.co/Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro, as recommended for its pose-only sibling."""

_POSE_MODE = 4
"""Of a union ControlNet for FLUX: the same card."""


@dataclass(frozen=True, kw_only=True)
class PoseControl:
    """Makes the target: a person drawn from PERSONS, in the pose drawn in the image "pose", doing the text "action".

    The target has about the shape of the pose and the area that the model was trained at. The texts "person" and
    "instruction" are added. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "pose_control"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 1.0
    family: Family = "sd15"
    instructions: tuple[str, ...]
    """Phrasings, each with {person} in it."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of the generator and of the ControlNet."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    def of_family(self, family: Family) -> Self:
        return replace(self, family=family)

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S[self.family]

    def bound(self, models: str | None) -> Self:
        folders, identities = found(models, _ROLES[self.family])
        return replace(self, folders=folders, models=identities)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        pose = pair.image("pose")
        assert pose, "there is a pose to follow"
        others = tuple(person for person in PERSONS if person != pair.texts.get("person"))
        person = pick(others, seed, "person")
        prompt = " ".join(f"a photo of {person} {pair.texts.get('action', '')}".split())
        made = self._picture(decode_rgb(pose.data), prompt, seed)
        sampling = SAMPLING[self.family]
        params = {"steps": sampling.steps, "guidance": sampling.guidance, "scale": _SCALE[self.family]}
        steps = steps_of(
            self.name, self.version, ("generator", "controlnet"), self.models, params=params, seed=seed, prompt=prompt
        )
        said = {"person": person, "instruction": pick(self.instructions, seed, "instruction").format(person=person)}
        return replace(
            pair,
            images=(*pair.images, encode_lossless("target", made)),
            texts={**pair.texts, **said},
            steps=(*pair.steps, *steps),
        )

    def _picture(self, pose: Pixels, prompt: str, seed: int) -> Pixels:
        from PIL import Image as PILImage

        (base, control), (kind, part) = self.folders, _CLASSES[self.family]
        pipe = pipeline(kind, base, (("controlnet", part, control),))
        height_px, width_px = like(pipe, pose.shape[1], pose.shape[0])
        # Neighbours as they are: lines of a pose drawing keep their colours.
        condition = PILImage.fromarray(pose).resize((width_px, height_px), PILImage.Resampling.NEAREST)
        given: dict[str, Any] = {"image": condition}
        if self.family == "flux":
            given = {"control_image": condition, "max_sequence_length": pipe.tokenizer_2.model_max_length}
            if pipe.controlnet.union:
                given["control_mode"] = _POSE_MODE
        sampling = SAMPLING[self.family]
        return picture(
            lambda generator: pipe(
                prompt,
                height=height_px,
                width=width_px,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance,
                controlnet_conditioning_scale=_SCALE[self.family],
                generator=generator,
                output_type="np",
                **given,
            ),
            seed,
        )
