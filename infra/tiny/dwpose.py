"""Tiny random DWPose: two ONNX graphs with the published ones' file names, inputs and outputs.

The detector takes warm colours for persons, so that it finds one in most photos, and none in grey, the colour of
the padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from operators.models.pose.dwpose import DETECTOR_PX, FILES, POSE_PX, SPLIT, STRIDES

_CLASSES, _KEYPOINTS = 80, 133  # COCO's, COCO-WholeBody's

_OPSET, _IR_VERSION = 17, 8  # pinned: the same bytes with another onnx

_OBJECT_LOGITS = (-3.0, -2.0, -1.0)
"""Object logits of a grey cell, by stride: with the person's logit they score 0.26 at most, too little to be found."""

_WARMTH, _PERSON_LOGIT = 4 / 255, 4.0
_BOX_CELLS = (8.0, 14.0)
"""Width and height of a usual box."""

_POOL_PX = 32
_REACH, _SIGMA_BINS = 0.25, 12.0
"""How far from the middle a keypoint may be, as a share of the sides; the width of its peak."""

Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]
"""An ONNX operator, the names of what goes in and of what comes out, attributes."""

Weights = Mapping[str, npt.NDArray[np.generic]]


def write_dwpose(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    _write_detector(folder / FILES[0], generator)
    _write_pose(folder / FILES[1], generator)


def _write_detector(path: Path, generator: np.random.Generator) -> None:
    """A convolution of the mean colour of each cell; x, y, width, height, and as probabilities object and classes."""
    nodes: list[Node] = []
    weights: dict[str, npt.NDArray[np.generic]] = {"flat": np.array([1, 5 + _CLASSES, -1])}
    for stride, logit in zip(STRIDES, _OBJECT_LOGITS, strict=True):
        kernel = generator.normal(0, 0.3 / 255, (5 + _CLASSES, 3, 1, 1))
        kernel[4:6] = 0
        kernel[4, :, 0, 0] = -_WARMTH, 0, _WARMTH  # B, G, R
        bias = [0.5, 0.5, *np.log(_BOX_CELLS), logit, _PERSON_LOGIT, *[-_PERSON_LOGIT] * (_CLASSES - 1)]
        weights |= {f"kernel{stride}": kernel.astype(np.float32), f"bias{stride}": np.array(bias, np.float32)}
        nodes += [
            ("AveragePool", ["images"], [f"cells{stride}"], {"kernel_shape": [stride] * 2, "strides": [stride] * 2}),
            ("Conv", [f"cells{stride}", f"kernel{stride}", f"bias{stride}"], [f"map{stride}"], {}),
            ("Reshape", [f"map{stride}", "flat"], [f"values{stride}"], {}),
        ]
    weights["parts"] = np.array([4, 1 + _CLASSES])
    nodes += [
        ("Concat", [f"values{stride}" for stride in STRIDES], ["columns"], {"axis": 2}),
        ("Transpose", ["columns"], ["rows"], {"perm": [0, 2, 1]}),
        ("Split", ["rows", "parts"], ["boxes", "logits"], {"axis": 2}),
        ("Sigmoid", ["logits"], ["scores"], {}),
        ("Concat", ["boxes", "scores"], ["output"], {"axis": 2}),
    ]
    cells = sum((DETECTOR_PX // stride) ** 2 for stride in STRIDES)
    save_graph(path, nodes, weights, {"images": (1, 3, DETECTOR_PX, DETECTOR_PX)}, {"output": (1, cells, 5 + _CLASSES)})


def _write_pose(path: Path, generator: np.random.Generator) -> None:
    """A random projection of a coarse picture says where the keypoints are: one peak each in the bins of x and of y."""
    width_px, height_px = POSE_PX
    features = 3 * (width_px // _POOL_PX) * (height_px // _POOL_PX)
    weights: dict[str, npt.NDArray[np.generic]] = {
        "flat": np.array([1, 1, features]),
        "standing": np.array([1, _KEYPOINTS, 1]),
        "scale": np.array([1 / _SIGMA_BINS], np.float32),
        "half": np.array([-0.5], np.float32),
    }
    nodes: list[Node] = [
        ("AveragePool", ["input"], ["coarse"], {"kernel_shape": [_POOL_PX] * 2, "strides": [_POOL_PX] * 2}),
        ("Reshape", ["coarse", "flat"], ["features"], {}),
    ]
    outputs = {}
    for axis, side_px in (("x", width_px), ("y", height_px)):
        bins = SPLIT * side_px
        projection = generator.normal(0, features**-0.5, (features, _KEYPOINTS))
        weights |= {
            f"projection_{axis}": projection.astype(np.float32),
            f"reach_{axis}": np.array([_REACH * bins], np.float32),
            f"bins_{axis}": np.arange(bins, dtype=np.float32) - bins // 2,
        }
        outputs[f"simcc_{axis}"] = (1, _KEYPOINTS, bins)
        nodes += [
            ("MatMul", ["features", f"projection_{axis}"], [f"projected_{axis}"], {}),
            ("Tanh", [f"projected_{axis}"], [f"share_{axis}"], {}),
            ("Mul", [f"share_{axis}", f"reach_{axis}"], [f"place_{axis}"], {}),
            ("Reshape", [f"place_{axis}", "standing"], [f"peak_{axis}"], {}),
            ("Sub", [f"bins_{axis}", f"peak_{axis}"], [f"away_{axis}"], {}),
            ("Mul", [f"away_{axis}", "scale"], [f"scaled_{axis}"], {}),
            ("Mul", [f"scaled_{axis}", f"scaled_{axis}"], [f"squared_{axis}"], {}),
            ("Mul", [f"squared_{axis}", "half"], [f"logits_{axis}"], {}),
            ("Exp", [f"logits_{axis}"], [f"simcc_{axis}"], {}),
        ]
    save_graph(path, nodes, weights, {"input": (1, 3, height_px, width_px)}, outputs)


def save_graph(
    path: Path,
    nodes: Sequence[Node],
    weights: Weights,
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
) -> None:
    """Write a graph; inputs and outputs are given by their names and shapes, float32."""
    given, made = (
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in named.items()]
        for named in (inputs, outputs)
    )
    graph = helper.make_graph(
        [helper.make_node(kind, before, after, **attributes) for kind, before, after, attributes in nodes],
        path.stem,
        given,
        made,
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION), path)
