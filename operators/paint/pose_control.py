"""Another person in the same pose, by a ControlNet (paper section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Pair, Reject
from operators.models.diffusion import (
    DENOISING,
    TEXT_TO_IMAGE,
    Family,
    FamilyPainter,
    Order,
    painted,
    pipeline,
    size_like,
    steps_of,
    with_controlnet,
)
from operators.models.pose.keypoints import draw, scaled
from operators.paint.estimate_pose import estimated
from operators.word.instruct import pick

_CLASSES: Mapping[Family, tuple[str, str]] = {
    "sd15": ("StableDiffusionControlNetPipeline", "ControlNetModel"),
    "flux": ("FluxControlNetPipeline", "FluxControlNetModel"),
}
_SCALE: Mapping[Family, float] = {"sd15": 1.0, "flux": 0.7}
"""controlnet_conditioning_scale: diffusers' default; within the 0.3 to 0.8 of the model card of
https://huggingface.co/Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro, as recommended for its pose-only sibling."""

_POSE_MODE = 4
"""The control mode of a union ControlNet for FLUX that stands for a pose: the same card."""


@dataclass(frozen=True, kw_only=True)
class PoseControl(FamilyPainter):
    """Makes the target: the text "person" in the pose that was estimated, doing the text "action" if there is one.

    The target has about the shape of the pose and the area that the model was trained at. The text "instruction" is
    added. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "pose_control"
    version: ClassVar[int] = 3
    roles: ClassVar[Mapping[Family, tuple[str, ...]]] = {
        "sd15": ("sd15", "sd15-controlnet-openpose"),
        "flux": ("flux", "flux-controlnet-pose"),
    }
    instructions: tuple[str, ...]
    """Phrasings, each with {person} in it."""

    def _pipeline(self) -> Any:
        (base, control), (kind, control_kind) = self.folders, _CLASSES[self.family]
        return with_controlnet(kind, pipeline(TEXT_TO_IMAGE[self.family], base), control_kind, control)

    def _prompt(self, pair: Pair) -> str:
        return " ".join(f"a photo of {pair.texts['person']} {pair.texts.get('action', '')}".split())

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        pose = pair.image("pose")
        assert pose, "there is a pose to follow"
        height_px, width_px = size_like(self._pipeline(), pose.width_px, pose.height_px)
        # Drawn anew: lines are of a ControlNet's width at its own size, and gone where a photo's drawing is reduced.
        keypoints = scaled(estimated(pair), width_px / pose.width_px, height_px / pose.height_px)
        role = "control_image" if self.family == "flux" else "image"
        images = {role: draw(keypoints, height_px, width_px)}
        return [Order(prompt=self._prompt(pair), seed=seed, size_px=(height_px, width_px), images=images)]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        pipe = self._pipeline()
        union = self.family == "flux" and pipe.controlnet.union
        mode: dict[str, Any] = {"control_mode": _POSE_MODE} if union else {}
        return painted(
            pipe,
            orders,
            self.at_once,
            DENOISING[self.family],
            controlnet_conditioning_scale=_SCALE[self.family],
            **mode,
        )

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        params = {**DENOISING[self.family].params, "scale": _SCALE[self.family]}
        steps = steps_of(
            self.name,
            self.version,
            ("generator", "controlnet"),
            self.models,
            params=params,
            seed=seed,
            prompt=self._prompt(pair),
        )
        instruction = pick(self.instructions, seed, "instruction").format(person=pair.texts["person"])
        return replace(
            pair,
            images=(*pair.images, encode_lossless("target", pictures[0])),
            texts={**pair.texts, "instruction": instruction},
            steps=(*pair.steps, *steps),
        )
