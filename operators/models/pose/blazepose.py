"""BlazePose: finds one person's pose on a CPU, by the two networks that come with MediaPipe (Apache-2.0).

A detector proposes persons: where the middle of the hips is, and a circle about it that holds the body. The second
network sees that circle upright and places 33 landmarks. Numbers are those of MediaPipe 0.10.21, mediapipe/modules:
pose_detection/pose_detection_cpu.pbtxt, pose_landmark/pose_detection_to_roi.pbtxt and
tensors_to_pose_landmarks_and_segmentation.pbtxt, of https://github.com/google-ai-edge/mediapipe. Left out: the mean of
overlapping detections.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels
from operators.models.device import loaded_once
from operators.models.pose.keypoints import Keypoints
from operators.shared.extras import need
from operators.shared.finite import check_finite

FILES = ("pose_detection.tflite", "pose_landmark_full.tflite")
"""The networks' files, in their folder below MODELS, as in the wheel of mediapipe 0.10.21."""

_DETECTOR_PX, _LANDMARK_PX = 224, 256
"""Sides of what the networks see."""

_STRIDES = ((8, 2), (16, 2), (32, 6))
"""SsdAnchorsCalculator: five layers with strides 8, 16, 32, 32, 32 and two anchors a cell each."""

_MIN_SCORE = 0.5
"""The least score of a detection (min_score_thresh), and of the landmark network seeing a person (pose presence)."""

_SCORE_CLIP = 100.0
_ROI_SCALE = 1.25
_HIPS, _CIRCLE = slice(4, 6), slice(6, 8)
"""In a detection's 12 numbers, after its box: a point between the hips, and one on the circle about the body."""

_LANDMARK_VALUES = 5  # x, y, z, visibility, presence

_REACH, _MIN_HEAT = 3, 0.5
"""RefineLandmarksFromHeatmapCalculator: kernel_size 7, min_confidence_to_refine."""

_COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""BlazePose's index of COCO's keypoints: https://arxiv.org/abs/2006.10204, Fig. 3, as extended to 33 landmarks in
docs/solutions/pose.md of MediaPipe."""

Network = Callable[[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]]


def find_person(folder: str, pixels: Pixels) -> Keypoints | None:
    """The pose of the most certain person in H x W x 3 pixels, None where there is none. Weights: FILES in `folder`.

    A landmark's confidence is the probability that it is in the image and not hidden, and 0 outside of the image.
    """
    detect, place = (_network(str(Path(folder, name))) for name in FILES)
    height_px, width_px = pixels.shape[:2]
    side_px = max(height_px, width_px)
    # Letterboxed: the image in the middle of a square.
    centre = np.array([width_px, height_px]) / 2
    boxes, scores = detect(_seen(pixels, centre, side_px, 0.0, _DETECTOR_PX) * 2 - 1)
    best = int(scores[0, :, 0].argmax())
    if _sigmoid(scores[0, best, 0]) < _MIN_SCORE:
        return None
    scale = side_px / _DETECTOR_PX
    points = [boxes[0, best, where] + _anchors()[best] - _DETECTOR_PX / 2 for where in (_HIPS, _CIRCLE)]
    hips, circle = (centre + scale * point for point in points)
    across = circle - hips
    # Turned so that the point on the circle is straight above the hips.
    turn = np.pi / 2 - np.arctan2(-across[1], across[0])
    roi_px = 2 * float(np.hypot(*across)) * _ROI_SCALE
    if roi_px < 1:
        return None
    outputs = place(_seen(pixels, hips, roi_px, turn, _LANDMARK_PX))
    if outputs[1].item() < _MIN_SCORE:
        return None
    landmarks = outputs[0].reshape(-1, _LANDMARK_VALUES)[list(_COCO)].astype(np.float64)
    shares = _refined(landmarks[:, :2] / _LANDMARK_PX, _sigmoid(outputs[3][0][..., list(_COCO)]))
    offsets = (shares - 0.5) * roi_px
    cosine, sine = np.cos(turn), np.sin(turn)
    places = hips + offsets @ np.array([[cosine, sine], [-sine, cosine]])
    inside = ((places >= 0) & (places < [width_px, height_px])).all(1)
    confidence = _sigmoid(landmarks[:, 3]) * _sigmoid(landmarks[:, 4]) * inside
    return np.column_stack([places, confidence])


def _seen(
    pixels: Pixels, centre: npt.NDArray[np.float64], side_px: float, turn: float, out_px: int
) -> npt.NDArray[np.float32]:
    """A square of an image, turned by `turn` radians, as 1 x out x out x 3 in [0, 1]; black outside of the image."""
    scale = out_px / side_px
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    matrix[:, 2] = out_px / 2 - matrix[:, :2] @ centre
    square = cv2.warpAffine(pixels, matrix, (out_px, out_px), flags=cv2.INTER_LINEAR)
    return np.asarray(square, np.float32)[None] / np.float32(255)


def _refined(places: npt.NDArray[np.float64], heat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Landmarks, n x 2 (x, y) as shares of the side, moved to the mean of the heat about them, cells x cells x n."""
    cells = len(heat)
    refined = places.copy()
    for index, (column, row) in enumerate((places * cells).astype(int)):
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        left, top = max(column - _REACH, 0), max(row - _REACH, 0)
        window = heat[top : row + _REACH + 1, left : column + _REACH + 1, index]
        if window.max() >= _MIN_HEAT:
            rows, columns = np.indices(window.shape)
            weighted = ((left + columns) * window).sum(), ((top + rows) * window).sum()
            refined[index] = np.array(weighted) / window.sum() / cells
    return refined


@lru_cache(maxsize=1)
def _anchors() -> npt.NDArray[np.float64]:
    """Centres of the detector's 2,254 anchors, 2,254 x 2 (x, y) in its pixels; all have one size."""
    centres = []
    for stride, per_cell in _STRIDES:
        ticks = (np.arange(_DETECTOR_PX // stride) + 0.5) * stride
        y, x = np.meshgrid(ticks, ticks, indexing="ij")
        centres.append(np.repeat(np.column_stack([x.ravel(), y.ravel()]), per_cell, axis=0))
    return np.concatenate(centres)


def _sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(np.asarray(values, np.float64), -_SCORE_CLIP, _SCORE_CLIP)))


@loaded_once(len(FILES))
def _network(path: str) -> Network:
    """A network, loaded once a process. One thread: a worker is given one core."""
    interpreter = need("ai_edge_litert.interpreter").Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    given, outputs = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()

    def run(values: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        interpreter.set_tensor(given, values)
        interpreter.invoke()
        values_of = [interpreter.get_tensor(output["index"]) for output in outputs]
        check_finite("blazepose", values_of)
        return values_of

    return run
