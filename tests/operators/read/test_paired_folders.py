from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb, decode_values
from manifests.schema import Image, Item, Reject, Step
from operators.read.files import list_files
from operators.read.paired_folders import PairedFolders
from pipelines.sources.datasets import ADE20K, SCANNET
from tests.fixtures import normals_rgb, write_scannet
from tests.readers import located, read_all
from tests.sources import (
    HEIGHT_PX,
    WIDTH_PX,
    encode,
    encode_image,
    jpeg,
    photo,
    rainy_jpeg,
    real_profile,
    seen_by_lcms,
    turned_jpeg,
    write_files,
    write_rain13k,
)

READER = PairedFolders(source="Rain13K", licence="research use", nested=("", "train", "Rain13K", "train/Rain13K"))


def test_files_pair_by_name_whatever_the_ending(tmp_path: Path) -> None:
    names = ["1.jpg", "2.JPG", "3.jpeg", "4"]
    others = ["1.jpg", "2.png", "3.PNG", "4.png"]
    matched = _match(tmp_path, *(f"input/{name}" for name in names), *(f"target/{name}" for name in others))
    assert matched == [(f"input/{a}", f"target/{b}") for a, b in zip(names, others, strict=True)]


@pytest.mark.parametrize("stem", ["a.b.c", "a b ", "été–雨", "-1", "a.jpg"])
def test_dots_spaces_and_unicode_in_names(tmp_path: Path, stem: str) -> None:
    assert _match(tmp_path, f"input/{stem}.jpg", f"target/{stem}.png") == [
        (f"input/{stem}.jpg", f"target/{stem}.png"),
    ]


def test_names_differ_by_case_and_by_what_precedes_the_last_dot(tmp_path: Path) -> None:
    assert _match(tmp_path, "input/a.b.jpg", "input/A.jpg", "target/a.c.jpg", "target/a.jpg") == [
        ("input/A.jpg", ""),
        ("", "target/a.jpg"),
        ("input/a.b.jpg", ""),
        ("", "target/a.c.jpg"),
    ]


def test_folders_below_the_two_must_agree(tmp_path: Path) -> None:
    assert _match(tmp_path, "input/x/1.jpg", "input/y/1.jpg", "target/x/1.jpg", "target/1.jpg") == [
        ("", "target/1.jpg"),
        ("input/x/1.jpg", "target/x/1.jpg"),
        ("input/y/1.jpg", ""),
    ]


def test_orphans_on_both_sides_are_items(tmp_path: Path) -> None:
    assert _match(tmp_path, "input/1.jpg", "input/2.jpg", "target/2.jpg", "target/3.jpg") == [
        ("input/1.jpg", ""),
        ("input/2.jpg", "target/2.jpg"),
        ("", "target/3.jpg"),
    ]


def test_where_a_name_is_there_twice_the_endings_decide(tmp_path: Path) -> None:
    assert _match(tmp_path, "input/a.jpg", "input/a.png", "target/a.png") == [
        ("input/a.png", "target/a.png"),
        ("input/a.jpg", ""),
    ]


def test_where_the_endings_do_not_decide_nothing_is_guessed(tmp_path: Path) -> None:
    assert _match(tmp_path, "input/a.jpg", "input/a.png", "target/a.webp") == [
        ("input/a.jpg", ""),
        ("input/a.png", ""),
        ("", "target/a.webp"),
    ]


def test_files_beside_the_two_folders_are_not_items(tmp_path: Path) -> None:
    assert _match(tmp_path, "README.md", "inputs/1.jpg", "test/input/1.jpg", "input/1.jpg", "target/1.jpg") == [
        ("input/1.jpg", "target/1.jpg")
    ]


@pytest.mark.parametrize("below", ["", "train", "Rain13K", "train/Rain13K"])
def test_every_published_layout_gives_the_same_keys_as_its_inner_folder(tmp_path: Path, below: str) -> None:
    write_rain13k(tmp_path / "data" / below, 3)
    outer, inner = (
        [reader.read(item, "derain") for item in reader.items(reader.listing())]
        for reader in (_located(tmp_path / "data"), _located(tmp_path / "data" / below))
    )
    assert outer == inner
    assert [pair.source_ref for pair in outer] == ["input/0.jpg", "input/1.jpg", "input/2.jpg"]


def test_another_layout_is_not_located(tmp_path: Path) -> None:
    write_files(tmp_path, {"rain/1.jpg": b"1", "clean/1.jpg": b"1", "inputs/1.jpg": b"1", "targets/1.jpg": b"1"})
    assert READER.located(str(tmp_path), list_files(str(tmp_path))) is None


@pytest.mark.parametrize(("there", "missing"), [("input", "target"), ("target", "input")])
@pytest.mark.parametrize("below", ["", "train/Rain13K/"])
def test_half_a_layout_is_an_error_that_names_the_missing_half(
    tmp_path: Path, there: str, missing: str, below: str
) -> None:
    write_files(tmp_path, {f"{below}{there}/1.jpg": b"1"})
    with pytest.raises(ValueError, match=f"has files in {there}/ but none in {missing}/"):
        READER.located(str(tmp_path), list_files(str(tmp_path)))


def test_the_two_halves_must_lie_beside_each_other(tmp_path: Path) -> None:
    write_files(tmp_path, {"train/input/1.jpg": b"1", "Rain13K/target/1.jpg": b"1"})
    with pytest.raises(ValueError, match="beside it"):
        READER.located(str(tmp_path), list_files(str(tmp_path)))


def test_bytes_are_stored_as_they_are_and_the_key_depends_on_them(tmp_path: Path) -> None:
    before, after = rainy_jpeg(0), encode(photo(0))
    write_files(tmp_path, {"input/1.jpg": before, "target/1.png": after})
    reader = _located(tmp_path)
    (item,) = reader.items(reader.listing())
    pair = reader.read(item, "derain")
    assert [(image.role, image.data, image.format) for image in pair.images] == [
        ("input", before, "jpeg"),
        ("target", after, "png"),
    ]
    assert (pair.source, pair.licence, pair.steps, pair.group) == ("Rain13K", "research use", (), "input/1.jpg")
    keys = {pair.key, reader.read(item, "dehaze").key}
    for name, data in (("input/1.jpg", rainy_jpeg(1)), ("target/1.png", encode(photo(1)))):
        write_files(tmp_path, {name: data})
        keys.add(reader.read(item, "derain").key)
    assert len(keys) == 4


@pytest.mark.parametrize("orientation", range(2, 9))
def test_what_exif_turns_is_stored_upright(tmp_path: Path, orientation: int) -> None:
    turned = turned_jpeg(photo(0), orientation)
    write_files(tmp_path, {"input/1.jpg": turned, "target/1.jpg": jpeg(0)})
    reader = _located(tmp_path)
    (item,) = reader.items(reader.listing())
    pair = reader.read(item, "derain")
    image = pair.images[0]
    assert (decode_rgb(image.data) == decode_rgb(turned)).all()
    assert (image.format, image.mode) == ("png", "RGB")
    sides_px = (40, 48) if orientation >= 5 else (48, 40)
    assert (image.width_px, image.height_px) == sides_px
    (step,) = pair.steps
    assert (step.operator, step.params) == ("to_rgb", {"role": "input", "mode": "RGB", "turned": True})
    assert pair.images[1].data == jpeg(0)


def test_both_sides_mean_the_same_colours(tmp_path: Path) -> None:
    """As FiveK's do: the input in sRGB, the expert's in a profile of its own."""
    profile, photos = real_profile("rocket.jpg"), [PILImage.fromarray(photo(0) // 2), PILImage.fromarray(photo(0))]
    plain, others = (
        [encode_image(image, "TIFF", icc_profile=icc) for image in photos]
        for icc in (real_profile("astronaut.png"), profile)
    )
    seen = [np.asarray(photos[0]), seen_by_lcms(photos[1], profile)]
    images, steps = _of_pair(tmp_path, plain[0], others[1])
    assert images[0].data == plain[0]
    assert [(step.operator, step.params["role"], step.params["colours"]) for step in steps] == [
        ("to_rgb", "target", "Adobe RGB (1998)")
    ]
    for image, expected in zip(images, seen, strict=True):
        with PILImage.open(io.BytesIO(image.data)) as opened:
            assert np.array_equal(np.asarray(opened), expected)
    images, steps = _of_pair(tmp_path, *others)  # both carry the profile
    assert [image.data for image in images] == others and not steps
    assert np.array_equal(decode_rgb(images[1].data), seen[1])
    images, steps = _of_pair(
        tmp_path, others[0], encode_image(photos[1], "TIFF", icc_profile=real_profile("color.png"))
    )
    assert [image.format for image in images] == ["png", "png"] and len(steps) == 2


def test_where_one_side_is_turned_the_other_becomes_srgb_too(tmp_path: Path) -> None:
    profile, exif = real_profile("rocket.jpg"), PILImage.Exif()
    exif[0x0112] = 3
    image = PILImage.fromarray(photo(0))
    turned = encode_image(image.transpose(PILImage.Transpose.ROTATE_180), exif=exif, icc_profile=profile)
    images, _ = _of_pair(tmp_path, turned, encode_image(image, icc_profile=profile))
    expected = seen_by_lcms(image, profile)
    for stored in images:
        with PILImage.open(io.BytesIO(stored.data)) as opened:
            assert np.array_equal(np.asarray(opened), expected) and "icc_profile" not in opened.info


def test_a_photo_whose_target_is_made_of_numbers_becomes_srgb(tmp_path: Path) -> None:
    profile, image = real_profile("rocket.jpg"), PILImage.fromarray(photo(0))
    labels = encode_image(PILImage.fromarray(photo(0)[..., 0] % 100), icc_profile=profile)
    write_files(tmp_path, {"input/1.png": encode_image(image, icc_profile=profile), "target/1.png": labels})
    reader = replace(_located(tmp_path), target_values="class_ids")
    (item,) = reader.items(reader.listing())
    pair = reader.read(item, "segmentation")
    assert np.array_equal(decode_rgb(pair.images[0].data), seen_by_lcms(image, profile))
    assert pair.images[1].data == labels
    assert np.array_equal(decode_values(labels), photo(0)[..., 0] % 100)


@pytest.mark.parametrize("role", ["input", "target"])
def test_what_is_too_small_is_rejected(tmp_path: Path, role: str) -> None:
    files = {"input": jpeg(0), "target": jpeg(0), role: encode(photo(0, 8, 8))}
    with pytest.raises(Reject, match=f"its {role} has 8 x 8 px") as caught:
        _of_pair(tmp_path, files["input"], files["target"])
    assert caught.value.reason == "too_small"


@pytest.mark.parametrize(("files", "reason"), [(("input/1.jpg", ""), "no_target"), (("", "target/1.jpg"), "no_input")])
def test_an_orphan_is_rejected_by_what_it_lacks(tmp_path: Path, files: tuple[str, str], reason: str) -> None:
    with pytest.raises(Reject) as caught:
        READER.read(Item(ref="x", files=files), "derain")
    assert caught.value.reason == reason


def test_endings_of_members_are_the_commonest_of_each_side() -> None:
    items = [
        Item(ref=str(number), files=files)
        for number, files in enumerate([("a.JPEG", "a.png"), ("b.jpg", "b.jpg"), ("c.png", "c.png"), ("d.png", "")])
    ]
    assert READER.suffixes(items) == {"input": "jpg", "target": "png"}


def _of_pair(root: Path, before: bytes, after: bytes) -> tuple[tuple[Image, ...], tuple[Step, ...]]:
    write_files(root, {"input/1": before, "target/1": after})
    pair = replace(READER, root=str(root)).read(Item(ref="1", files=("input/1", "target/1")), "derain")
    return pair.images, pair.steps


def _located(root: Path) -> PairedFolders:
    reader = READER.located(str(root), list_files(str(root)))
    assert reader
    return reader


def _items(root: Path) -> list[Item]:
    reader = _located(root)
    return list(reader.items(reader.listing()))


def _match(tmp_path: Path, *paths: str) -> list[tuple[str, str]]:
    """The files of each item, in order, of a folder with the given files."""
    write_files(tmp_path, {path: path.encode() for path in paths})
    items = _items(tmp_path)
    assert len({item.ref for item in items}) == len(items)
    for item in items:
        assert item.ref == item.files[0] or (item.ref == item.files[1] and not item.files[0])
        assert item.bytes == sum(len(path) for path in map(str.encode, item.files))
    return [(before, after) for before, after in (item.files for item in items)]


def test_a_pattern_pairs_by_group_and_name(tmp_path: Path) -> None:
    reader = replace(READER, input="{group}/rgb_{name}", target="{group}/depth_{name}")
    in_it = ["a/rgb_1.jpg", "a/depth_1.png", "b/rgb_1.jpg", "b/depth_2.png"]
    write_files(tmp_path, dict.fromkeys([*in_it, "c/x/rgb_1.jpg", "b/mask_1.png", "rgb_1.jpg"], b""))
    assert [item.files for item in reader.items(list_files(str(tmp_path)))] == [
        ("a/rgb_1.jpg", "a/depth_1.png"),
        ("b/rgb_1.jpg", ""),
        ("", "b/depth_2.png"),
    ]


def test_what_is_in_brackets_may_be_missing(tmp_path: Path) -> None:
    reader = replace(READER, input="Low/[low]{name}", target="Normal/[normal]{name}")
    write_files(tmp_path, dict.fromkeys(["Low/low1.png", "Normal/normal1.png", "Low/2.png", "Normal/2.png"], b""))
    assert [item.files for item in reader.items(list_files(str(tmp_path)))] == [
        ("Low/low1.png", "Normal/normal1.png"),
        ("Low/2.png", "Normal/2.png"),
    ]


@pytest.mark.parametrize(
    ("name", "first", "groups"),
    [
        ("gopro", "GOPR0372_07_00/blur/000047.png", {"GOPR0372_07_00", "GOPR0374_11_01"}),
        ("gopro_gamma", "GOPR0372_07_00/blur_gamma/000047.png", {"GOPR0372_07_00", "GOPR0374_11_01"}),
        ("gopro_crops", "input_crops/GOPR0372_07_00-000047-1.png", {"GOPR0372_07_00", "GOPR0373_07_00"}),
        ("nyu_sync", "bedroom_0004/rgb_00000.jpg", {"kitchen_0028b", "bedroom_0004"}),
        ("scannet", "scene0016_00/frame-000000-color.png", {"scene0016", "scene0700"}),
    ],
)
def test_frames_of_one_scene_are_one_group(tmp_path: Path, name: str, first: str, groups: set[str]) -> None:
    pairs, _ = read_all(located(name, tmp_path)[0])
    assert pairs[0].source_ref == first
    assert {pair.group for pair in pairs} == groups


@pytest.mark.parametrize(
    ("name", "values", "mode"),
    [
        ("nyu_sync", "depth_mm", "I;16"),
        ("ade20k", "class_ids", "L"),
        ("scannet", "negated_normals", "RGB"),
    ],
)
def test_values_are_handed_on_as_they_are_and_named(tmp_path: Path, name: str, values: str, mode: str) -> None:
    reader, _ = located(name, tmp_path)
    targets = {item.ref: item.files[1] for item in reader.items(reader.listing())}
    for pair in read_all(reader)[0]:
        target = pair.images[1]
        assert target.data == (Path(reader.root) / targets[pair.source_ref]).read_bytes()
        assert (target.format, target.mode) == ("png", mode)
        masked = {"masked": 0.0} if name == "scannet" else {}
        assert [step.params for step in pair.steps] == [{"target": values, **masked}]


def test_what_a_mask_of_framenet_marks_has_no_normal(tmp_path: Path) -> None:
    """All but 0 is valid, as in src/dataset.py of https://github.com/hjwdzh/FrameNet."""
    write_scannet(tmp_path)
    stem, mask = "scene0016_00/frame-000000", np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    mask[10:, 8:] = np.arange(1, 41, dtype=np.uint8)
    write_files(tmp_path / "scannet-frames", {f"{stem}-orient-mask.png": encode(mask)})
    (tmp_path / "scannet-frames/scene0016_00/frame-000010-orient-mask.png").unlink()
    reader = SCANNET.reader.located(str(tmp_path), list_files(str(tmp_path)))
    assert reader
    first, second, *_ = items = list(reader.items(reader.listing()))
    assert [len(item.files) for item in items] == [3, 2, 3, 3, 3, 3]
    assert first.files == (f"{stem}-color.png", f"{stem}-normal.png", f"{stem}-orient-mask.png")
    pair = reader.read(first, "normal")
    raw = np.asarray(cv2.imdecode(np.frombuffer(pair.images[1].data, np.uint8), cv2.IMREAD_COLOR_RGB))
    assert np.array_equal(raw, normals_rgb(0) * (mask > 0)[..., None])
    assert pair.steps[-1].params == {"target": "negated_normals", "masked": round(1 - 30 * 40 / (40 * 48), 4)}
    assert reader.read(second, "normal").steps[-1].params == {"target": "negated_normals"}
    write_files(tmp_path / "scannet-frames", {f"{stem}-orient-mask.png": encode(mask // 2 * 2)})
    assert reader.read(first, "normal").key != pair.key


def test_a_label_map_is_turned_with_its_photo(tmp_path: Path) -> None:
    ids = photo(1)[..., 0] // 2
    files = {"images/training/1.jpg": turned_jpeg(photo(0), 6), "annotations/training/1.png": encode(ids)}
    write_files(tmp_path, files)
    reader = ADE20K.reader.located(str(tmp_path), list_files(str(tmp_path)))
    assert reader
    (item,) = reader.items(reader.listing())
    pair = reader.read(item, "segmentation")
    assert [(image.width_px, image.height_px) for image in pair.images] == [(HEIGHT_PX, WIDTH_PX)] * 2
    turned = np.asarray(cv2.imdecode(np.frombuffer(pair.images[1].data, np.uint8), cv2.IMREAD_UNCHANGED))
    assert np.array_equal(turned, cv2.rotate(ids, cv2.ROTATE_90_CLOCKWISE))
    assert pair.steps[-1].params == {"target": "class_ids", "turned": True}
