from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.images.pixels import decode_rgb
from operators.read.files import list_files
from operators.read.magicbrush_folder import MagicBrushFolder
from tests.readers import images, read_all
from tests.sources import HEIGHT_PX, WIDTH_PX, encode, photo, write_files

_TURN = {"input": "7-input.png", "mask": "7-mask1.png", "output": "7-output1.png", "instruction": "add a cat"}
_SECOND = {"input": "7-output1.png", "mask": "7-mask2.png", "output": "7-output2.png", "instruction": "make it red"}


def test_turns_are_pairs_that_say_which_they_are(tmp_path: Path) -> None:
    pairs, rejects = read_all(_written(tmp_path, [_TURN, _SECOND, {**_TURN, "output": "8-output1.png"}]))
    assert [(pair.source_ref, pair.texts["instruction"]) for pair in pairs] == [
        ("edit_turns.json#0", "add a cat"),
        ("edit_turns.json#1", "make it red"),
    ]
    assert images(pairs[1]) == {"input": _image(1), "target": _image(2)}
    assert [(pair.group, pair.steps[0].params) for pair in pairs] == [
        ("7", {"session": "7", "turn": 1}),
        ("7", {"session": "7", "turn": 2}),
    ]
    assert [(item.ref, reject.reason) for item, reject in rejects] == [("edit_turns.json#2", "no_target")]


def test_the_mask_of_each_turn_is_white_where_the_published_one_is_transparent(tmp_path: Path) -> None:
    reader = _written(tmp_path, [_TURN, _SECOND, {**_TURN, "mask": "../../secret.png"}])
    rgba = np.dstack([photo(0), np.full((HEIGHT_PX, WIDTH_PX), 255, np.uint8)])
    rgba[5:15, 20:30, 3] = 0
    write_files(tmp_path / "test/images/7", {"7-mask1.png": encode(rgba)})
    write_files(tmp_path, {"secret.png": encode(rgba)})
    found = MagicBrushFolder(split="test").located(str(tmp_path), list_files(str(tmp_path)))
    assert found
    first, second, third = read_all(found)[0]
    mask = first.image("mask")
    assert mask and np.array_equal(decode_rgb(mask.data)[..., 0] == 255, rgba[..., 3] == 0)
    assert first.scores == {"mask_area": round(100 / rgba[..., 3].size, 6)}
    assert found.suffixes(list(found.items(found.listing())))["mask"] == "png"
    assert not second.image("mask") and not third.image("mask")
    assert first.key == read_all(reader)[0][0].key  # as it is without masks


def test_what_the_images_show_is_told_where_it_is_published(tmp_path: Path) -> None:
    reader = _written(tmp_path, [_TURN, _SECOND])
    described = {"7": {"7-input.png": "a room", "7-output1.png": "a room with a cat"}}
    write_files(tmp_path / "test", {"global_descriptions.json": json.dumps(described).encode()})
    first, second = read_all(reader)[0]
    captions = {"source_caption": "a room", "target_caption": "a room with a cat"}
    assert first.steps[0].params == {"session": "7", "turn": 1, **captions}
    assert second.steps[0].params == {"session": "7", "turn": 2}  # its output is not described


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "..-output1.png"])
def test_names_that_lead_elsewhere_lead_nowhere(name: str, tmp_path: Path) -> None:
    reader = _written(tmp_path, [{**_TURN, "output": name}])
    write_files(tmp_path, {"secret.png": b"secret"})
    pairs, rejects = read_all(reader)
    assert pairs == [] and [reject.reason for _, reject in rejects] == ["no_target"]


@pytest.mark.parametrize("turns", [b"{", b"7", b'["a"]'])
def test_what_is_no_list_of_turns_is_refused(turns: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, {"edit_turns.json": turns, "images/7/7-input.png": _image(0)})
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=r"edit_turns\.json is not a list of turns"):
        list(reader.items(reader.listing()))


def test_turns_without_images_are_a_part(tmp_path: Path) -> None:
    write_files(tmp_path, {"test/edit_turns.json": b"[]"})
    with pytest.raises(ValueError, match="no files in test/images/"):
        MagicBrushFolder(split="test").located(str(tmp_path), list_files(str(tmp_path)))


def _image(index: int) -> bytes:
    return encode(photo(index))


def _written(root: Path, turns: list[dict[str, Any]]) -> MagicBrushFolder:
    files = {name: _image(place) for place, name in enumerate(("7-input.png", "7-output1.png", "7-output2.png"))}
    write_files(root / "test", {f"images/7/{name}": data for name, data in files.items()})
    write_files(root / "test", {"edit_turns.json": json.dumps(turns).encode()})
    return _located(root)


def _located(root: Path) -> MagicBrushFolder:
    found = MagicBrushFolder(split="test").located(str(root), list_files(str(root)))
    assert found
    return found
