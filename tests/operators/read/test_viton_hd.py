from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb
from operators.base import Reader
from operators.read.files import list_files
from operators.read.viton_hd import VitonHd
from pipelines.sources.datasets import VITON_HD
from tests.fixtures import write_viton_hd
from tests.readers import images, located, read_all
from tests.sources import encode, photo, rainy_jpeg, real_profile, seen_by_lcms, turned_jpeg, write_files


def test_a_person_their_own_garment_and_the_photo(tmp_path: Path) -> None:
    pairs, rejects = read_all(located("viton_hd", tmp_path)[0])
    assert [pair.source_ref for pair in pairs] == [f"0000{index}_00.jpg" for index in (0, 1, 2, 4)]
    for pair in pairs:
        assert images(pair) == {
            "person": (tmp_path / "train/agnostic-v3.2" / pair.source_ref).read_bytes(),
            "cloth": (tmp_path / "train/cloth" / pair.source_ref).read_bytes(),
            "target": (tmp_path / "train/image" / pair.source_ref).read_bytes(),
            "mask": (tmp_path / "train/agnostic-mask" / f"{pair.source_ref[:-4]}_mask.png").read_bytes(),
        }
        assert pair.scores == {"mask_area": round(20 * 20 / (40 * 48), 6)}
        assert pair.group == pair.source_ref
    # Not the garment in the second column, which is for the unpaired setting
    assert images(pairs[0])["cloth"] == rainy_jpeg(0)
    assert [item.ref for item, _ in rejects] == ["00003_00.jpg"]


def test_names_that_lead_elsewhere_lead_nowhere(tmp_path: Path) -> None:
    write_viton_hd(tmp_path / "data")
    write_files(tmp_path, {"secret.jpg": b"secret"})
    write_files(tmp_path / "data", {"train_pairs.txt": b"../../../secret.jpg x.jpg\n\n  \n/etc/passwd\n\xff.jpg x\n"})
    pairs, rejects = read_all(_located(tmp_path / "data"))
    assert pairs == []
    assert [(reject.reason, item.files) for item, reject in rejects] == [("no_person", ("", "", ""))] * 3


def test_a_person_named_twice_is_one_item(tmp_path: Path) -> None:
    write_viton_hd(tmp_path)
    write_files(tmp_path, {"train_pairs.txt": b"00000_00.jpg 00001_00.jpg\n00000_00.jpg 00002_00.jpg\n"})
    assert len(read_all(_located(tmp_path))[0]) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    write_viton_hd(tmp_path)
    lines = (tmp_path / "train_pairs.txt").read_bytes().replace(b"\n", b"\r\n")
    write_files(tmp_path, {"train_pairs.txt": b"\xef\xbb\xbf" + lines})
    assert read_all(_located(tmp_path))[0][0].source_ref == "00000_00.jpg"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("agnostic-v3.2/00001_00.jpg", encode(photo(1)[:, :-1], "JPEG"), "size_mismatch"),
        ("image/00001_00.jpg", turned_jpeg(photo(1), 3), "turned"),
        ("image/00001_00.jpg", turned_jpeg(photo(1), 8), "turned"),
        ("agnostic-mask/00001_00_mask.png", encode(photo(1)[:-1]), "size_mismatch"),
    ],
)
def test_a_person_is_on_the_grid_of_their_photo(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    write_viton_hd(tmp_path)
    write_files(tmp_path / "train", {name: data})
    reader = _located(tmp_path)
    assert isinstance(reader, VitonHd)
    rejects = read_all(replace(reader, count=10))[1]
    mine = {(item.ref, reject.reason) for item, reject in rejects if item.ref.startswith("00001")}
    ref = "00001_00.jpg+00002_00.jpg" if "mask" in name else "00001_00.jpg"
    assert (ref, reason) in mine


def test_a_pair_is_kept_without_a_mask_that_is_not_there_or_of_no_use(tmp_path: Path) -> None:
    write_viton_hd(tmp_path)
    (tmp_path / "train/agnostic-mask/00000_00_mask.png").unlink()
    write_files(tmp_path / "train/agnostic-mask", {"00001_00_mask.png": encode(photo(1)[:-7])})
    first, second, third, _ = read_all(_located(tmp_path))[0]
    assert [bool(pair.image("mask")) for pair in (first, second, third)] == [False, False, True]
    assert first.steps == () and second.steps[-1].params["left_out"] == "other_shape"


def test_a_garment_may_have_another_size(tmp_path: Path) -> None:
    write_viton_hd(tmp_path)
    write_files(tmp_path / "train/cloth", {"00001_00.jpg": encode(photo(1)[:40], "JPEG")})
    assert len(read_all(_located(tmp_path))[0]) == 4


def test_folders_of_other_releases(tmp_path: Path) -> None:
    write_viton_hd(tmp_path / "VITON-HD")
    (tmp_path / "VITON-HD/train/agnostic-v3.2").rename(tmp_path / "VITON-HD/train/agnostic")
    pairs, _ = read_all(_located(tmp_path))
    assert len(pairs) == 4


def _located(root: Path) -> Reader:
    reader = VITON_HD.reader.located(str(root), list_files(str(root)))
    assert reader
    return reader


def test_more_pairs_than_photos_are_persons_with_other_garments(tmp_path: Path) -> None:
    write_viton_hd(tmp_path)
    reader = _located(tmp_path)
    assert isinstance(reader, VitonHd)
    items = list(replace(reader, count=12).items(reader.listing()))
    assert items[:5] == list(reader.items(reader.listing()))
    assert [item.ref for item in items[5:7]] == ["00000_00.jpg+00001_00.jpg", "00001_00.jpg+00002_00.jpg"]
    pairs, rejects = read_all(replace(reader, count=12))
    assert {reject.reason for _, reject in rejects} == {"no_cloth"}
    other = next(pair for pair in pairs if pair.source_ref == "00000_00.jpg+00001_00.jpg")
    assert images(other) == {
        "person": (tmp_path / "train/agnostic-v3.2/00000_00.jpg").read_bytes(),
        "cloth": (tmp_path / "train/cloth/00001_00.jpg").read_bytes(),
        "mask": (tmp_path / "train/agnostic-mask/00000_00_mask.png").read_bytes(),
    }
    assert other.group == "00000_00.jpg"
    profile = real_profile("rocket.jpg")
    garment = encode(photo(0), icc_profile=profile)
    names = ("agnostic-v3.2/00000_00.jpg", "cloth/00001_00.jpg", "agnostic-mask/00000_00_mask.png")
    write_files(tmp_path, {f"train/{name}": garment for name in names})
    other = next(pair for pair in read_all(replace(reader, count=12))[0] if pair.source_ref == other.source_ref)
    made_of = decode_rgb(images(other)["cloth"])  # the target is painted in sRGB
    assert (made_of == seen_by_lcms(PILImage.fromarray(photo(0)), profile)).all()
    assert other.steps[1].params["role"] == "cloth" and images(other)["cloth"] != garment
    assert replace(reader, count=12).suffixes(items)["mask"] == "png"
    assert len(list(replace(reader, count=999).items(reader.listing()))) == 25  # each person in each garment
