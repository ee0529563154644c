"""DWPose around networks that say what a test tells them to: graphs of constants, run by the real onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data

from infra.tiny.dwpose import Node, save_graph
from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.models.pose import dwpose
from operators.models.pose.dwpose import FILES, find_person
from operators.models.pose.keypoints import NAMES, VISIBLE, Keypoints
from tests.tiny import tiny_models

Box = tuple[float, ...]
"""A row of the detector's 8,400, and the first of its values: x, y, log width, log height, object, person, bicycle."""

Points = Mapping[int, tuple[int, int, float]]
"""Keypoint -> its bin of x, its bin of y, the score of x."""

_ROW_32 = 8_000  # the first with cells of 32 px, after 80 x 80 and 40 x 40 others
_SURE = (0.9, 0.9)
_MIDDLE: Points = {0: (288, 384, 0.6)}
_BLACK = np.zeros((640, 640, 3), np.uint8)  # of the detector's size: nothing is scaled


@pytest.mark.parametrize(
    ("row", "middle", "sides"),
    [
        (80 * 20 + 10, (10.5 * 8, 20.25 * 8), (2 * 8, 4 * 8)),
        (6_400 + 40 * 3 + 5, (5.5 * 16, 3.25 * 16), (2 * 16, 4 * 16)),
        (_ROW_32 + 20 * 10 + 10, (10.5 * 32, 10.25 * 32), (2 * 32, 4 * 32)),
    ],
)
def test_a_box_of_each_stride_becomes_a_pose_in_pixels(
    row: int, middle: tuple[float, float], sides: tuple[float, float], tmp_path: Path
) -> None:
    """The box is too slim for a network that sees 3 : 4. It sees 1.25 of the height, and 3 / 4 of that in width."""
    height = 1.25 * sides[1]
    width = height * 3 / 4
    box = (row, 0.5, 0.25, np.log(2), np.log(4), *_SURE)
    found = _found(tmp_path, [box], {0: (288, 384, 0.6), 16: (72, 576, 0.6)})
    assert found is not None
    assert found[0] == pytest.approx([*middle, 1])
    assert found[16] == pytest.approx([middle[0] - 3 / 8 * width, middle[1] + height / 4, 1])


def test_a_wide_box_is_extended_upwards(tmp_path: Path) -> None:
    """320 x 64 px about 336, 336: with its padding 400 x 80, in the network's shape 400 x 533.3."""
    box = (_ROW_32 + 20 * 10 + 10, 0.5, 0.5, np.log(10), np.log(2), *_SURE)
    found = _found(tmp_path, [box], {0: (0, 384, 0.6), 1: (288, 192, 0.6)})
    assert found is not None
    assert found[0] == pytest.approx([136, 336, 1])
    assert found[1] == pytest.approx([336, 336 - 400 / 0.75 / 4, 1])


@pytest.mark.parametrize(("height_px", "width_px"), [(320, 640), (1280, 320), (64, 48), (5, 7), (1, 1), (1, 2000)])
def test_an_image_of_any_shape_is_in_the_squares_upper_left_corner(
    height_px: int, width_px: int, tmp_path: Path
) -> None:
    pixels = np.zeros((height_px, width_px, 3), np.uint8)
    found = _found(tmp_path, [(_ROW_32, 0.25, 0.25, 0, 0, *_SURE)], _MIDDLE, pixels)
    assert found is not None
    place_px = 0.25 * 32 * max(height_px, width_px) / 640
    assert found[0] == pytest.approx([place_px, place_px, float(place_px < min(height_px, width_px))])


@pytest.mark.parametrize("columns", [(5, 6, 15), (15, 14, 5)])
def test_of_two_persons_the_more_certain_one_also_among_overlapping_boxes(
    columns: tuple[int, int, int], tmp_path: Path
) -> None:
    """Certain is the product of both probabilities. The second box is about the same person as the first."""
    certain = [(0.8, 0.8), (0.7, 0.7), (0.95, 0.6)]
    boxes = [(_ROW_32 + 200 + column, 0, 0, 2, 2, *both) for column, both in zip(columns, certain, strict=True)]
    found = _found(tmp_path, boxes, _MIDDLE)
    assert found is not None
    assert found[0] == pytest.approx([columns[0] * 32, 10 * 32, 1])


@pytest.mark.parametrize(
    ("objectness", "person", "is_found"), [(0.9, 0.3, False), (0.3, 0.9, False), (0.5, 0.6, False), (0.6, 0.6, True)]
)
def test_nobody_is_none_and_not_the_whole_picture(
    objectness: float, person: float, is_found: bool, tmp_path: Path
) -> None:
    found = _found(tmp_path, [(_ROW_32 + 210, 0.5, 0.5, 2, 2, objectness, person)], _MIDDLE)
    assert (found is not None) is is_found


@pytest.mark.parametrize(
    ("box", "points"),
    [
        ((np.nan, 0.5, 2, 2, *_SURE), _MIDDLE),
        ((0.5, 0.5, 2, 2, np.nan, 0.9), _MIDDLE),
        ((0.5, 0.5, 2, 2, *_SURE), {0: (288, 384, np.nan)}),
    ],
)
def test_where_a_network_gives_no_numbers_nobody_is_not_said_to_be_absent(
    box: tuple[float, ...], points: Points, tmp_path: Path
) -> None:
    with pytest.raises(Reject, match="dwpose gives what is no finite number") as reject:
        _found(tmp_path, [(_ROW_32 + 210, *box)], points)
    assert reject.value.reason == "not_finite"


def test_a_bicycle_is_no_person(tmp_path: Path) -> None:
    assert _found(tmp_path, [(_ROW_32, 0.5, 0.5, 2, 2, 0.9, 0.0, 0.9)], _MIDDLE) is None


def test_confidence_is_the_lesser_score_of_x_and_y_and_0_outside_of_the_image(tmp_path: Path) -> None:
    scores = {"nose": 0.3, "left eye": 0.15, "right eye": 7.0, "left ear": -1.0}
    points = {NAMES.index(name): (288, 384, score) for name, score in scores.items()}
    points[NAMES.index("right ear")] = (0, 384, 7.0)
    found = _found(tmp_path, [(_ROW_32, 0.25, 0.25, 1, 1, *_SURE)], points, y_score=0.42)
    assert found is not None and found.shape == (17, 3)
    assert found[:4, 2] == pytest.approx([VISIBLE, VISIBLE / 2, VISIBLE * 1.4, 0])
    assert found[4, 0] < 0 and (found[4:, 2] == 0).all()


def test_what_the_networks_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector B, G and R; the second network R, G and B, normalised. A spot that it sees is marked where it is."""
    batch, seen = dwpose._batch, list[dwpose.Values]()

    def listening(picture: npt.NDArray[np.generic]) -> dwpose.Values:
        seen.append(batch(picture))
        return seen[-1]

    picture = np.full((450, 900, 3), (10, 20, 30), np.uint8)
    picture[296:305, 596:605] = 250
    box = (_ROW_32 + 20 * 6 + 12, 0.8, 0.3, 1.5, 2, *_SURE)
    with monkeypatch.context() as patch:
        patch.setattr(dwpose, "_batch", listening)
        assert _found(tmp_path, [box], _MIDDLE, picture) is not None
    detector, pose = (values[0] for values in seen)
    assert detector.shape == (3, 640, 640) and pose.shape == (3, 384, 288)
    assert detector[:, 319, 639].tolist() == [30, 20, 10]
    assert detector[:, 320, 0].tolist() == [114, 114, 114]
    assert pose[:, 0, 0] == pytest.approx([(10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (30 - 103.53) / 57.375])
    y, x = np.argwhere(pose[0] == pose[0].max()).mean(0)
    found = _found(tmp_path, [box], {0: (round(2 * x), round(2 * y), 0.6)}, picture)
    assert found is not None
    assert found[0, :2] == pytest.approx([600, 300], abs=1)


def test_the_same_each_time_and_where_onnxruntime_cannot_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, photo = f"{tiny_models('dwpose')}/dwpose", skimage.data.astronaut()
    first, again = find_person(folder, photo), find_person(folder, photo)
    monkeypatch.setattr(dwpose, "prepared_device", lambda: "cuda")
    elsewhere = find_person(folder, photo)
    assert first is not None and again is not None and elsewhere is not None
    assert first.tobytes() == again.tobytes() == elsewhere.tobytes()


def _found(
    folder: Path, boxes: Sequence[Box], points: Points, pixels: Pixels = _BLACK, y_score: float = 9.0
) -> Keypoints | None:
    """What is made of an image by networks that propose these boxes and place these keypoints, whatever they see."""
    proposed = np.zeros((1, 8_400, 85), np.float32)
    for row, *values in boxes:
        proposed[0, int(row), : len(values)] = values
    across, down = np.full((1, 133, 576), -2, np.float32), np.full((1, 133, 768), -2, np.float32)
    for index, (x, y, score) in points.items():
        across[0, index, x], down[0, index, y] = score, y_score
    _write_constants(folder / FILES[0], (1, 3, 640, 640), {"output": proposed})
    _write_constants(folder / FILES[1], (1, 3, 384, 288), {"simcc_x": across, "simcc_y": down})
    dwpose._network.cache_clear()
    return find_person(str(folder), pixels)


def _write_constants(path: Path, given: Sequence[int], outputs: Mapping[str, npt.NDArray[np.float32]]) -> None:
    nodes: list[Node] = [("Identity", [f"constant_{name}"], [name], {}) for name in outputs]
    weights = {f"constant_{name}": values for name, values in outputs.items()}
    save_graph(path, nodes, weights, {"image": given}, {name: values.shape for name, values in outputs.items()})
