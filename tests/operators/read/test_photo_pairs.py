from __future__ import annotations

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
