from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from manifests.images.pixels import Pixels, decode_rgb, stored
from manifests.schema import Image, Pair, Reject
from operators.arrange.colour_dense import ColourDense
from operators.arrange.dense import Values, dense, depth_target, read_step
from operators.shared.palettes import (
    DEPTH_PALETTES,
    TRAINED_PALETTE,
    UNSEEN_PALETTE,
    decode_depth,
    decode_labels,
    decode_normals,
    encode_normals,
)
from pipelines.prepare import prepare
from pipelines.tasks.catalogue import OUR_TASKS
from tests.fixtures import depth_mm, normals_rgb
from tests.sources import encode, encode_image, lossless, pair_of, photo


@pytest.mark.parametrize("palette", DEPTH_PALETTES)
def test_depth_comes_back_from_its_colours(palette: str) -> None:
    raw_mm = depth_mm(0)
    pair = ColourDense(palette=palette)(_pair(depth_target(raw_mm / 1000), "depth_mm"), 1)
    depth_m = decode_depth(_target(pair), palette)
    measured = raw_mm > 0
    assert np.array_equal(np.isnan(depth_m), ~measured)
    assert np.abs(depth_m - raw_mm / 1000)[measured].max() < 0.004
    assert pair.scores == {"valid": round(float(measured.mean()), 4)}
    (_, step) = pair.steps
    assert (step.operator, step.version, step.params) == ("colour_dense", ColourDense.version, {"palette": palette})


def test_depth_beyond_10_m_has_no_value() -> None:
    metres = np.array([[9.999, 10.0, 10.001, 65.5, 70.0, np.nan, -1.0, 0.0]])
    pair = ColourDense()(_pair(depth_target(metres), "depth_mm"), 1)
    assert _target(pair).any(-1).tolist() == [[True, True, False, False, False, False, False, False]]
    assert pair.scores == {"valid": 0.25}


@pytest.mark.parametrize("mode", ["L", "P"])
def test_classes_come_back_from_their_colours(mode: str) -> None:
    """A palette PNG's own colours mean nothing, its indices do."""
    from PIL import Image as PILImage

    ids = np.arange(150, dtype=np.uint8).reshape(10, 15)
    image = PILImage.fromarray(ids)
    if mode == "P":
        image.putpalette(bytes(range(255, -1, -1)) * 3)
    raw = dense(encode_image(image), "class_ids")
    assert raw.mode == mode
    pair = ColourDense()(_pair(raw, "class_ids"), 1)
    assert np.array_equal(decode_labels(_target(pair)), ids)
    assert pair.scores == {"valid": round(149 / 150, 4)}


def test_normals_stay_and_negated_ones_are_turned() -> None:
    raw = normals_rgb(0)
    raw[:5, :5] = 0  # not measured
    images = {values: dense(encode(raw), values) for values in ("normals", "negated_normals")}
    plain = decode_normals(_target(ColourDense()(_pair(images["normals"], "normals"), 1)))
    turned = decode_normals(_target(ColourDense()(_pair(images["negated_normals"], "negated_normals"), 1)))
    unknown = np.isnan(plain).any(-1)
    assert np.argwhere(unknown).max() == 4 and unknown.sum() == 25
    assert np.array_equal(np.isnan(turned).any(-1), unknown)
    assert (plain * decode_normals(raw)).sum(-1)[~unknown].min() > np.cos(np.deg2rad(0.4))
    assert (plain * turned).sum(-1)[~unknown].max() < -np.cos(np.deg2rad(0.8))


def test_normals_that_are_not_unit_vectors_get_unit_length() -> None:
    half = encode_normals(np.full((4, 4, 3), (0.3, -0.2, 0.35), np.float32))
    pair = ColourDense()(_pair(dense(encode(half), "normals"), "normals"), 1)
    vectors = _target(pair).astype(np.float64) / 127.5 - 1
    assert np.linalg.norm(vectors, axis=-1) == pytest.approx(np.ones((4, 4)), abs=0.01)


@pytest.mark.parametrize("grey", [(127, 127, 127), (128, 128, 128), (127, 128, 127), (0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize("values", ["normals", "negated_normals"])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_no_direction_is_black_and_counted(grey: tuple[int, int, int], values: Values, bits: int) -> None:
    raw = np.full((10, 10, 3), (128, 128, 255), np.uint8)
    raw[:3] = grey
    data = cv2.imencode(".png", (raw if bits == 8 else raw.astype(np.uint16) * 257)[..., ::-1])[1].tobytes()
    pair = ColourDense()(_pair(dense(data, values), values), 1)
    assert pair.scores == {"valid": 0.7}
    assert not _target(pair)[:3].any()
    z = 1 if values == "normals" else -1
    assert np.abs(_target(pair)[3:] / 127.5 - 1 - (0, 0, z)).max() < 0.01
    with pytest.raises(Reject) as caught:
        ColourDense()(_pair(dense(encode(np.full((10, 10, 3), grey, np.uint8)), values), values), 1)
    assert (caught.value.reason, caught.value.scores) == ("no_values", {"valid": 0.0})


def test_16_bit_normals_are_finer_than_8_bit_ones() -> None:
    vector = np.array([0.6, -0.48, 0.64])  # of unit length
    raw = np.rint((np.tile(vector, (4, 4, 1)) + 1) * 32_767.5).astype(np.uint16)
    target = dense(cv2.imencode(".png", raw[..., ::-1])[1].tobytes(), "normals")
    assert _target(ColourDense()(_pair(target, "normals"), 1))[0, 0].tolist() == [204, 66, 209]  # (n + 1) * 127.5


@pytest.mark.parametrize("index", range(3))
def test_depths_of_exchanged_bytes_are_rejected(index: int) -> None:
    """A PNG has its high bytes first. Some programs write the numbers as they lie in memory."""
    raw = depth_mm(index)
    assert ColourDense()(_pair(_gray16(raw), "depth_mm"), 1).scores["valid"] > 0.5
    with pytest.raises(Reject, match="two bytes of each are exchanged") as caught:
        ColourDense()(_pair(_gray16(raw.byteswap()), "depth_mm"), 1)
    assert caught.value.reason == "wrong_values"


def test_8_bit_depths_in_16_bits_are_rejected() -> None:
    with pytest.raises(Reject, match="8-bit depths, not millimetres") as caught:
        ColourDense()(_pair(_gray16((depth_mm(0) // 40).astype(np.uint16)), "depth_mm"), 1)
    assert caught.value.reason == "wrong_values"


def test_ids_of_16_bits_are_ids() -> None:
    ids = np.arange(150, dtype=np.uint16).reshape(10, 15)
    assert np.array_equal(decode_labels(_target(ColourDense()(_pair(_gray16(ids), "class_ids"), 1))), ids)
    with pytest.raises(Reject, match="class id 38550 is not one of"):
        ColourDense()(_pair(_gray16(np.full((4, 4), 150 * 257, np.uint16)), "class_ids"), 1)


def test_a_photo_of_another_size_is_rejected() -> None:
    pair = _pair(depth_target(depth_mm(0) / 1000), "depth_mm")
    other = replace(pair, images=(lossless("input", photo(0)[:, 1:]), pair.images[1]))
    with pytest.raises(Reject, match="input 47 x 40 px, target 48 x 40 px") as caught:
        ColourDense()(other, 1)
    assert caught.value.reason == "size_mismatch"


def test_the_input_stays_and_the_same_bytes_are_made_again() -> None:
    pair = _pair(depth_target(depth_mm(3) / 1000), "depth_mm")
    coloured = ColourDense()(pair, 1)
    assert [image.role for image in coloured.images] == ["input", "target"]
    assert coloured.images[0] is pair.images[0]
    assert (coloured.images[1].width_px, coloured.images[1].height_px) == (48, 40)
    assert ColourDense()(pair, 2) == coloured


def test_a_class_that_ade20k_does_not_have_is_rejected() -> None:
    raw = dense(encode(np.array([[1, 151]], np.uint8)), "class_ids")
    with pytest.raises(Reject, match="class id 151 is not one of") as reject:
        ColourDense()(_pair(raw, "class_ids"), 1)
    assert reject.value.reason == "wrong_values"


@pytest.mark.parametrize(("count", "kept"), [(4, False), (5, True)])
def test_a_target_without_enough_values_is_rejected(count: int, kept: bool) -> None:
    metres = np.zeros((10, 10))
    metres.ravel()[:count] = 2
    pair = _pair(depth_target(metres), "depth_mm")
    if kept:
        assert ColourDense()(pair, 1).scores == {"valid": 0.05}
        return
    with pytest.raises(Reject, match=r"4\.0% of its pixels have a value") as reject:
        ColourDense()(pair, 1)
    assert (reject.value.reason, reject.value.scores) == ("no_values", {"valid": 0.04})


def test_a_cut_off_target_is_rejected() -> None:
    whole = depth_target(depth_mm(0) / 1000)
    with pytest.raises(Reject) as reject:
        ColourDense()(_pair(replace(whole, data=whole.data[: len(whole.data) // 2]), "depth_mm"), 1)
    assert reject.value.reason == "truncated"


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (encode(photo(0)), "depth_mm"),  # a picture of the depth
        (encode(photo(0)), "class_ids"),
        (encode(photo(0)[:, :, 0]), "normals"),
        (encode(photo(0), "JPEG"), "negated_normals"),
    ],
)
def test_what_cannot_be_values_is_rejected_when_it_is_read(data: bytes, values: Values) -> None:
    with pytest.raises(Reject, match=f"{values} come as .*PNG, this is ") as reject:
        dense(data, values)
    assert reject.value.reason == "wrong_values"


def _pair(raw: Image, values: Values) -> Pair:
    """A pair of a target and a photo of its size."""
    seen = np.resize(photo(0), (raw.height_px, raw.width_px, 3))
    return replace(pair_of(lossless("input", seen), raw), steps=(read_step(values),))


def _gray16(raw: npt.NDArray[np.uint16]) -> Image:
    """A target of H x W numbers, in OpenCV's file of them."""
    return stored("target", cv2.imencode(".png", raw)[1].tobytes())


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)


def test_all_training_data_is_drawn_in_one_palette_and_a_test_set_may_be_in_the_other() -> None:
    assert (TRAINED_PALETTE, UNSEEN_PALETTE) == ("rainbow", "unseen") == DEPTH_PALETTES
    drawn = {
        name: [link.palette for link in task.chain if isinstance(link, ColourDense)] for name, task in OUR_TASKS.items()
    }
    assert {name for name, palettes in drawn.items() if palettes} >= {"depth", "depth2img", "segmentation", "normal"}
    assert {palette for palettes in drawn.values() for palette in palettes} == {"rainbow"}
    for name in ("depth", "depth2img"):
        changed = prepare(name, {"palette": "unseen"}).task.chain
        assert [link.palette for link in changed if isinstance(link, ColourDense)] == ["unseen"]
    with pytest.raises(ValueError, match="--palette: green is none of rainbow, unseen"):
        prepare("depth", {"palette": "green"})
    with pytest.raises(ValueError, match="segmentation has no option palette"):
        prepare("segmentation", {"palette": "unseen"})
