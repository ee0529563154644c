"""A person's pose as COCO's 17 keypoints: how alike two are, and the picture that a ControlNet is given."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels

Keypoints = npt.NDArray[np.float64]
"""17 x 3, in the order of NAMES: x and y in pixels from the upper left corner, and confidence in [0, 1]."""

NAMES = (
    "nose",
    *("left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow", "right elbow"),
    *("left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle"),
)
"""Names of the keypoints; left and right are the person's own. Order: https://cocodataset.org/#format-data."""

VISIBLE = 0.5
"""Confidence from which on a keypoint counts as seen, and is drawn."""

_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
"""By how much annotators differ, keypoint by keypoint: https://cocodataset.org/#keypoints-eval."""

_BODY_OF_BOX = 0.53
"""Share of its bounding box that a person covers, where no segment is known: xtcocotools/cocoeval.py of
https://github.com/jin-s13/xtcocoapi."""

_BOX_PX = 1.0
"""Least side of that box: two keypoints on a line have none."""

# OpenPose's 18, which ControlNets were trained on (https://github.com/CMU-Perceptual-Computing-Lab/openpose, doc/02),
# as indices of COCO's; the neck, which COCO lacks, is in the middle of the shoulders.
_NOSE, _SHOULDERS = 0, (5, 6)
OPENPOSE = (6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""COCO's index of OpenPose's keypoints 2 to 17; 0 is the nose, 1 the neck."""


def similarity(found: Keypoints | None, wanted: Keypoints) -> float:
    """Object keypoint similarity of a pose with the wanted one, in [0, 1]; 0 where nobody was found.

    COCO's: the mean, over the keypoints that the wanted pose shows, of exp(-d^2 / (2 area (2 sigma)^2)). One that was
    not found (confidence 0) counts as 0. Both are in pixels of one image. Raises ValueError if `wanted` shows none.
    """
    shown = wanted[:, 2] >= VISIBLE
    if not shown.any():
        raise ValueError("a pose without visible keypoints is like any other")
    if found is None:
        return 0.0
    sides = np.maximum(np.ptp(wanted[shown, :2], axis=0), _BOX_PX)
    area = _BODY_OF_BOX * sides.prod()
    squared = ((found[shown, :2] - wanted[shown, :2]) ** 2).sum(1)
    alike = np.exp(-squared / (2 * area * (2 * _SIGMAS[shown]) ** 2))
    return float((alike * (found[shown, 2] > 0)).mean())


def draw(keypoints: Keypoints, height_px: int, width_px: int) -> Pixels:
    """The pose in OpenPose's colours on black, H x W x 3, as ControlNets know it. What is not visible is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional detectors that are not installed
        from controlnet_aux.open_pose.body import Keypoint
        from controlnet_aux.open_pose.util import draw_bodypose

    def point(values: npt.NDArray[np.float64]) -> object:
        x_px, y_px, confidence = values
        return Keypoint(x=x_px / width_px, y=y_px / height_px) if confidence >= VISIBLE else None

    left, right = keypoints[list(_SHOULDERS)]
    neck = np.minimum(left, right)  # seen where both shoulders are
    neck[:2] = (left[:2] + right[:2]) / 2
    points = [point(keypoints[_NOSE]), point(neck), *(point(keypoints[index]) for index in OPENPOSE)]
    drawn: Pixels = draw_bodypose(np.zeros((height_px, width_px, 3), np.uint8), points)
    return drawn


def scaled(keypoints: Keypoints, x_factor: float, y_factor: float) -> Keypoints:
    """The pose in an image that was resized by these factors."""
    resized: Keypoints = keypoints * np.array([x_factor, y_factor, 1.0])
    return resized
