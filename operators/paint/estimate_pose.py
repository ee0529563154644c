"""The pose of the person in a pair's input, drawn as a ControlNet wants it (paper section 4.5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifests.images.pixels import decode_rgb, encode_lossless
from manifests.schema import Pair, Reject, Step
from operators.models.pose.estimators import PoseOperator, estimator
from operators.models.pose.keypoints import VISIBLE, Keypoints, draw


@dataclass(frozen=True, kw_only=True)
class EstimatePose(PoseOperator):
    """Adds the image "pose", of the input's size, and keeps the keypoints in its step.

    The score pose_keypoints counts those that are visible. Rejects: no_person, few_keypoints.
    """

    name: ClassVar[str] = "estimate_pose"
    version: ClassVar[int] = 1
    min_keypoints: int = 6
    """Of 17: a head alone, which has five, is no pose."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        before = pair.image("input")
        assert before, "there is a person to look at"
        pixels = decode_rgb(before.data)
        found = estimator(self.estimator, self.folder)(pixels)
        if found is None:
            raise Reject("no_person", f"{self.estimator} finds nobody in the input", {"pose_keypoints": 0.0})
        visible = int((found[:, 2] >= VISIBLE).sum())
        scores = {"pose_keypoints": float(visible)}
        if visible < self.min_keypoints:
            raise Reject("few_keypoints", f"{visible} of the person's keypoints are visible", scores)
        step = Step(
            operator=self.name,
            version=self.version,
            params={"estimator": self.estimator, "keypoints": found.round(3).tolist()},
            model=self.model,
            model_revision=self.model_revision,
        )
        return replace(
            pair,
            images=(*pair.images, encode_lossless("pose", draw(found, *pixels.shape[:2]))),
            scores={**pair.scores, **scores},
            steps=(*pair.steps, step),
        )


def estimated(pair: Pair) -> Keypoints:
    """The keypoints that EstimatePose found, in pixels of the input."""
    step = pair.step(EstimatePose.name)
    assert step, "the pose is estimated before"
    return np.array(step.params["keypoints"])
