from __future__ import annotations

from collections import Counter
from pathlib import Path

from operators.read.bundled import BundledPhotos
from operators.read.files import list_files
from operators.read.persons import GROUP, PERSONS
from operators.read.photos import PhotoFolder
from operators.read.pose_groups import PoseGroups
from tests.readers import images, read_all
from tests.sources import write_photos


def test_each_photo_comes_for_several_persons_one_after_the_other(tmp_path: Path) -> None:
    photos = PhotoFolder(source="photos of people", licence="mine")
    write_photos(tmp_path, 6)
    (tmp_path / "a@b.png").write_bytes(next(tmp_path.glob("*.*")).read_bytes())  # "@" is what we write behind a name
    reader = PoseGroups(photos=photos).located(str(tmp_path), list_files(str(tmp_path)))
    assert reader and (reader.source, reader.licence, reader.block) == ("photos of people", "mine", GROUP)
    pairs, rejects = read_all(reader)
    assert rejects == [] and len(pairs) == 7 * GROUP
    assert len({pair.key for pair in pairs}) == len(pairs)
    for start in range(0, len(pairs), GROUP):
        group = pairs[start : start + GROUP]
        (name,) = {pair.context_group for pair in group}
        assert {images(pair)["target"] for pair in group} == {(tmp_path / name).read_bytes()}
        assert [pair.source_ref for pair in group] == [f"{name}@{place}" for place in range(GROUP)]
        assert len({pair.texts["person"] for pair in group}) == GROUP
        assert {pair.texts["person"] for pair in group} <= set(PERSONS)
        assert all(pair.steps[-1].params == {"person": pair.texts["person"]} for pair in group)
    order = [pair.context_group for pair in pairs[::GROUP]]
    assert sorted(order) == sorted(path.name for path in tmp_path.iterdir()) and order != sorted(order)


def test_crops_of_a_photo_are_groups_of_their_own() -> None:
    reader = PoseGroups(photos=BundledPhotos(photos=("skimage/data/astronaut.png",), crops_per_photo=3, side_px=64))
    pairs, _ = read_all(reader)
    assert set(Counter(pair.context_group for pair in pairs).values()) == {GROUP}
    assert len({images(pair)["target"] for pair in pairs}) == 3
    assert {pair.group for pair in pairs} == {"skimage/data/astronaut.png"}
