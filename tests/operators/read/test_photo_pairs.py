from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from operators.read.bundled import BundledPhotos
from operators.read.files import list_files
from operators.read.photo_pairs import PhotoPairs
from operators.read.photos import PhotoFolder
from tests.readers import images, read_all
from tests.sources import write_files, write_photos


def test_each_photo_once_with_another_one(tmp_path: Path) -> None:
    write_photos(tmp_path, 5)
    write_files(tmp_path, {"broken+name.jpg": b"\xff\xd8"})
    reader = PhotoPairs(photos=PhotoFolder(source="photos", licence="mine")).located(
        str(tmp_path), list_files(str(tmp_path))
    )
    assert reader
    pairs, rejects = read_all(reader)
    items = list(reader.items(reader.listing()))
    assert [item.files[0] for item in items] == [*(f"{index:04d}.jpg" for index in range(5)), "broken+name.jpg"]
    assert len(pairs) + len(rejects) == 6 and 1 <= len(rejects) <= 3
    for pair in pairs:
        first, second = pair.source_ref.split("+")
        assert first != second
        assert images(pair) == {
            "input1": (tmp_path / first).read_bytes(),
            "input2": (tmp_path / second).read_bytes(),
        }
        assert (pair.licence, pair.group) == ("mine", first)
    assert len({pair.key for pair in pairs}) == len(pairs)
    assert reader.suffixes(items) == {"input1": "jpg", "input2": "jpg"}


def test_crops_come_from_two_photos() -> None:
    pairs, rejects = read_all(PhotoPairs(photos=BundledPhotos(crops_per_photo=1)))
    assert (len(pairs), rejects) == (10, [])
    for pair in pairs:
        first, second = pair.source_ref.split("+")
        assert first.partition("#")[0] != second.partition("#")[0]
        assert [step.operator for step in pair.steps] == ["crop", "crop"]


def test_more_pairs_than_photos_are_photos_with_others_beside_them(tmp_path: Path) -> None:
    write_photos(tmp_path, 4)
    reader = PhotoPairs(photos=PhotoFolder(source="photos", licence="mine", root=str(tmp_path)))
    once = _refs(reader)
    assert _refs(replace(reader, count=4)) == once
    six = _refs(replace(reader, count=6))
    assert six[:4] == once and len(set(six)) == 6
    for count, most in ((1, 1), (3, 1), (6, 2), (12, 3)):
        refs = _refs(replace(reader, count=count))
        assert len(set(refs)) == count
        assert max(Counter(ref.partition("+")[0] for ref in refs).values()) == most
    every = {f"{a:04d}.jpg+{b:04d}.jpg" for a in range(4) for b in range(4) if a != b}
    assert set(_refs(replace(reader, count=99))) == every


def test_another_frame_is_of_the_same_clip(tmp_path: Path) -> None:
    for clip, frames in (("a", 3), ("b", 2), ("alone", 1)):
        write_photos(tmp_path / clip, frames)
    reader = PhotoPairs(
        photos=PhotoFolder(source="clips", licence="mine", root=str(tmp_path)),
        roles=("target", "reference"),
        within_folder=True,
    )
    refs = _refs(reader)
    assert [ref.partition("+")[0] for ref in refs] == [
        "a/0000.jpg",
        "a/0001.jpg",
        "a/0002.jpg",
        "b/0000.jpg",
        "b/0001.jpg",
    ]
    assert all(
        first.partition("/")[0] == second.partition("/")[0] for first, _, second in (r.partition("+") for r in refs)
    )
    assert len(set(_refs(replace(reader, count=99)))) == 3 * 2 + 2 * 1


def test_fewer_pairs_than_photos_are_drawn_from_all(tmp_path: Path) -> None:
    write_photos(tmp_path, 40)
    reader = PhotoPairs(photos=PhotoFolder(source="photos", licence="mine", root=str(tmp_path)))
    drawn = _refs(replace(reader, count=10))
    assert set(drawn) < set(_refs(reader)) and drawn != _refs(reader)[:10]


def _refs(reader: PhotoPairs) -> list[str]:
    return [item.ref for item in reader.items(reader.listing())]
