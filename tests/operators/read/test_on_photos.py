"""What a reader on photos says of itself is what was said of the photos, and it goes where they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.read.files import list_files
from operators.read.on_photos import OnPhotos
from operators.read.photo_pairs import PhotoPairs
from operators.read.photos import PhotoFolder
from operators.read.pose_groups import PoseGroups
from tests.sources import write_photos


@pytest.mark.parametrize("kind", [PhotoPairs, PoseGroups])
def test_source_licence_and_place_are_those_of_the_photos(kind: type[OnPhotos], tmp_path: Path) -> None:
    reader = kind(photos=PhotoFolder(source="My photos", licence="CC0-1.0"))
    folder, empty = str(write_photos(tmp_path / "photos", 2)), tmp_path / "empty"
    empty.mkdir()
    found = reader.located(folder, list_files(folder))
    assert isinstance(found, kind)
    assert (found.source, found.licence, found.root) == ("My photos", "CC0-1.0", folder)
    assert [file.path for file in found.listing()] == sorted(path.name for path in Path(folder).iterdir())
    assert reader.located(str(empty), list_files(str(empty))) is None
