"""Pose estimators by name, behind one interface: an image in, one person's keypoints out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from manifests.images.pixels import Pixels
from operators.models import checkpoints
from operators.models.device import loaded_once, prepared_device
from operators.models.pose import blazepose, dwpose
from operators.models.pose.keypoints import OPENPOSE, Keypoints
from operators.option import option
from operators.shared.finite import check_finite

EstimatorName = Literal["blazepose", "openpose", "dwpose"]
"""An estimator's name, which is also the role of its checkpoint (operators/models/checkpoints.py). BlazePose is small
and finds one person; the others need a GPU to be quick, and OpenPose is for non-commercial use."""

Estimator = Callable[[Pixels], Keypoints | None]
"""H x W x 3 pixels -> the pose of the most certain person in them, None if there is none."""

_NOSE = 0


@dataclass(frozen=True, kw_only=True)
class PoseOperator:
    """What the operators that look for a pose have in common: by which estimator, and its checkpoint."""

    gpu_s: ClassVar[float] = 0.05
    estimator: EstimatorName = option("blazepose", "which model finds poses", choices=get_args(EstimatorName))
    model: str = ""
    model_revision: str = ""
    folder: str = field(default="", metadata={"location": True})

    @property
    def gpus(self) -> float:
        return 0.0 if self.estimator == "blazepose" else 0.1  # LiteRT runs BlazePose on the CPU

    @property
    def loads(self) -> tuple[str, ...]:
        return (self.estimator,)

    @property
    def working_gib(self) -> float:
        """Assumed, not measured: a picture goes through these networks at 640 px at the most."""
        return 0.0 if self.estimator == "blazepose" else 1.0

    def bound(self, models: str | None) -> Self:
        folder, model, revision = checkpoint(self.estimator, models)
        return replace(self, folder=folder, model=model, model_revision=revision)


def checkpoint(name: EstimatorName, models: str | None) -> tuple[str, str, str]:
    """Folder, name and revision of an estimator's checkpoint. Raises ValueError, one line, if it is missing.

    BlazePose is not on the hub: with MODELS=hub it is where `make blazepose` puts it.
    """
    beside = str(checkpoints.TINY.parent) if (name, models) == ("blazepose", "hub") else models
    folder = checkpoints.folder(beside, name)
    return folder, *checkpoints.identity(folder, name)


def estimator(name: EstimatorName, folder: str) -> Estimator:
    """The estimator whose checkpoint is in a folder, loaded once a process when it is first used."""
    if name == "blazepose":
        return lambda pixels: blazepose.find_person(folder, pixels)
    if name == "dwpose":
        return lambda pixels: dwpose.find_person(folder, pixels)
    return lambda pixels: best_openpose(_openpose(folder, prepared_device()).detect_poses(pixels), pixels)


def best_openpose(poses: Any, pixels: Pixels) -> Keypoints | None:
    """Of the poses that controlnet_aux finds, the one with the highest total score, as COCO's keypoints.

    OpenPose says of a keypoint that it was found or not: confidence is 1 or 0.
    """
    if not poses:
        return None
    found = max(poses, key=lambda pose: float(pose.body.total_score)).body.keypoints
    height_px, width_px = pixels.shape[:2]
    keypoints = np.zeros((17, 3))
    for index, point in zip((_NOSE, *OPENPOSE), (found[0], *found[2:]), strict=True):
        if point is not None:
            keypoints[index] = (point.x * width_px, point.y * height_px, 1.0)
    return keypoints


@loaded_once(1)
def _openpose(folder: str, device: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional detectors that are not installed
        from controlnet_aux import OpenposeDetector
    detector = OpenposeDetector.from_pretrained(folder).to(device)
    # Where its maps are no numbers it would find nobody.
    detector.body_estimation.model.register_forward_hook(lambda model, given, maps: check_finite("openpose", maps))
    return detector
