"""The tiny DWPose: small, the same each time, with the published networks' inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import onnx

from infra.tiny.dwpose import write_dwpose
from operators.models.pose.dwpose import FILES
from tests.tiny import tiny_models

MOST_BYTES = 2 * 2**20


def test_it_is_small_and_the_same_each_time(tmp_path: Path) -> None:
    write_dwpose(tmp_path)
    for name in FILES:
        written = (tmp_path / name).read_bytes()
        assert written == Path(tiny_models("dwpose"), "dwpose", name).read_bytes()
        assert len(written) < MOST_BYTES


def test_inputs_and_outputs_are_those_of_the_published_ones() -> None:
    """yolox_l.onnx: one box a cell, 80 classes. dw-ll_ucoco_384.onnx: 133 keypoints, two bins a pixel."""
    shapes = {}
    for name in FILES:
        model = onnx.load(str(Path(tiny_models("dwpose"), "dwpose", name)))
        onnx.checker.check_model(model, full_check=True)
        shapes[name] = [
            [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)
        ]
    assert shapes == {
        "yolox_l.onnx": [[1, 3, 640, 640], [1, 8_400, 85]],
        "dw-ll_ucoco_384.onnx": [[1, 3, 384, 288], [1, 133, 576], [1, 133, 768]],
    }
