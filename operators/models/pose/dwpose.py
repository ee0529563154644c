"""DWPose: finds one person's pose by two networks, YOLOX-L and RTMPose-l (arXiv 2307.15880, Apache-2.0).

A detector proposes boxes of persons. The second network sees the best one's and places the 133 keypoints of
COCO-WholeBody, of which the first 17 are COCO's. Numbers are those of https://github.com/IDEA-Research/DWPose, branch
onnx, ControlNet-v1-1-nightly/annotator/dwpose (onnxdet.py, onnxpose.py, __init__.py); https://github.com/Tau-J/rtmlib
has the same sizes, means and padding. Left out: suppression of overlapping boxes, which never removes the best one, and
the whole picture as a box where nobody is found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels
from operators.models.device import loaded_once, prepared_device
from operators.models.pose.keypoints import NAMES, VISIBLE, Keypoints
from operators.shared.extras import need
from operators.shared.finite import check_finite

FILES = ("yolox_l.onnx", "dw-ll_ucoco_384.onnx")
"""The networks' files, in their folder below MODELS, as in https://huggingface.co/yzd-v/DWPose."""

DETECTOR_PX = 640
"""Side of the square that the detector sees."""

STRIDES = (8, 16, 32)
"""Sides of the detector's cells, px: it proposes one box a cell, 8,400 in all."""

POSE_PX = (288, 384)
"""Width and height of what the second network sees."""

SPLIT = 2
"""Bins a pixel of what the second network says of x and of y (simcc_split_ratio)."""

_GREY = 114
"""The padding right of and below a picture that is not square."""

_MIN_SCORE = 0.3
"""The least score of a box: the probability of an object there, times that of a person if there is one."""

_PADDING = 1.25
_MEAN, _STD = (np.array(values, np.float32) for values in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
"""The mean and the deviation of R, G and B by which the second network's input is normalised."""

_SEEN = 0.3
"""Score from which on a keypoint is drawn. Scores are no probabilities: they may exceed 1
(https://github.com/open-mmlab/mmpose/issues/2755)."""

Values = npt.NDArray[np.float32]
Network = Callable[[Values], list[Values]]


def find_person(folder: str, pixels: Pixels) -> Keypoints | None:
    """The pose of the person with the best box in H x W x 3 pixels, None if there is none. Weights: FILES in `folder`.

    A keypoint's confidence is its score, scaled so that VISIBLE is what the reference draws, and 0 outside of the
    image.
    """
    device = prepared_device()
    detect, place = (_network(str(Path(folder, name)), device) for name in FILES)
    box = _best_box(detect, pixels)
    if box is None:
        return None
    centre, sides = box[:2], box[2:] * _PADDING
    # The box, extended to the shape of what the network sees: so many pixels of the image are one of its own.
    step = float((sides / POSE_PX).max())
    corner = centre - step * np.array(POSE_PX) / 2
    matrix = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]]) / step
    seen = (cv2.warpAffine(pixels, matrix, POSE_PX, flags=cv2.INTER_LINEAR) - _MEAN) / _STD
    across, down = (bins[0, : len(NAMES)] for bins in place(_batch(seen)))
    places = corner + step * np.column_stack([across.argmax(1), down.argmax(1)]) / SPLIT
    scores = np.minimum(across.max(1), down.max(1)).astype(np.float64)
    inside = ((places >= 0) & (places < [pixels.shape[1], pixels.shape[0]])).all(1)
    return np.column_stack([places, np.clip(scores * VISIBLE / _SEEN, 0, 1) * inside])


def _best_box(detect: Network, pixels: Pixels) -> npt.NDArray[np.float64] | None:
    """Middle x, y, width and height, px, of the most certain person's box; None if none is certain enough."""
    height_px, width_px = pixels.shape[:2]
    ratio = DETECTOR_PX / max(height_px, width_px)
    width, height = (max(1, int(side_px * ratio)) for side_px in (width_px, height_px))
    square = np.full((DETECTOR_PX, DETECTOR_PX, 3), _GREY, np.uint8)
    square[:height, :width] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    # Trained on OpenCV's order, B, G and R, from 0 to 255: yolox/data/data_augment.py of
    # https://github.com/Megvii-BaseDetection/YOLOX. The other network was trained on R, G and B: bgr_to_rgb in DWPose's
    # dwpose-l_384x288.py, whose example for onnx gives both networks B, G and R all the same.
    proposed = detect(_batch(square[:, :, ::-1]))[0][0]
    scores = proposed[:, 4] * proposed[:, 5]  # of an object, and of COCO's first class
    best = int(scores.argmax())
    if scores[best] <= _MIN_SCORE:
        return None
    cell, stride = _cells()[best, :2], _cells()[best, 2]
    values = proposed[best, :4].astype(np.float64)
    box: npt.NDArray[np.float64] = np.concatenate([values[:2] + cell, np.exp(values[2:])]) * stride / ratio
    return box


@lru_cache(maxsize=1)
def _cells() -> npt.NDArray[np.float64]:
    """The detector's cells, 8,400 x 3: column, row and stride."""
    cells = []
    for stride in STRIDES:
        rows, columns = np.indices((DETECTOR_PX // stride,) * 2).reshape(2, -1)
        cells.append(np.column_stack([columns, rows, np.full(len(rows), stride)]))
    return np.concatenate(cells).astype(np.float64)


def _batch(picture: npt.NDArray[np.generic]) -> Values:
    """The picture, H x W x 3, as a batch of one, 1 x 3 x H x W."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


@loaded_once(len(FILES))
def _network(path: str, device: str) -> Network:
    """A network, loaded once a process. One thread: a worker is given one core.

    It runs on a GPU where onnxruntime-gpu is installed in onnxruntime's place.
    """
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        # Otherwise each process times the ways to convolve, and takes the fastest: other last bits.
        providers.insert(0, ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}))
    session = runtime.InferenceSession(path, options, providers=providers)
    given = session.get_inputs()[0].name

    def run(values: Values) -> list[Values]:
        outputs: list[Values] = session.run(None, {given: values})
        check_finite("dwpose", outputs)
        return outputs

    return run
