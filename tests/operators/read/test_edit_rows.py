from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as PILImage

from manifests.schema import Pair
from operators.read.edit_rows import EditRows, Tables
from operators.read.edit_shapes import NumberedTurns, OneEdit, SideBySide
from operators.read.files import list_files
from tests.edit_datasets import IMAGE, on_hub, write_lines, write_table
from tests.readers import images, read_all
from tests.sources import encode, jpeg, photo, write_files

_EDITS = EditRows(
    source="edits",
    licence="CC0-1.0",
    tables=(Tables(files="*.jsonl", images=("", "images")),),
    shape=OneEdit(inputs=("before",), target="after", texts=(("instruction", "words"),)),
)
_SESSIONS = replace(_EDITS, shape=NumberedTurns(first="first", image="image_", instruction="words_"))


def test_images_are_looked_up_where_the_layout_has_them_and_lead_nowhere_else(tmp_path: Path) -> None:
    write_files(tmp_path, {"secret.jpg": jpeg(9)})
    root = tmp_path / "data"
    write_files(root, {"a.jpg": jpeg(1), "images/b.jpg": jpeg(2), "other/c.jpg": jpeg(3)})
    names = ["b.jpg", "./b.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), f"/{root}/a.jpg", "c.jpg", "", None, 7]
    rows = [{"before": "a.jpg", "after": name, "words": "x"} for name in names]
    write_lines(root / "edits.jsonl", [*rows, {**rows[0], "before": "https://x.org/a.jpg"}, {**rows[0], "before": []}])
    pairs, rejects = read_all(_located(_EDITS, root))
    assert [(pair.source_ref, images(pair)) for pair in pairs] == [
        (f"edits.jsonl#{row}", {"input": jpeg(1), "target": jpeg(2)}) for row in (0, 1)
    ]
    assert [reject.reason for _, reject in rejects] == ["no_target"] * 7 + ["no_input"] * 2
    assert "img2dataset" in rejects[7][1].message


def test_paths_of_another_machine_are_found_by_their_end(tmp_path: Path) -> None:
    write_files(tmp_path, {"photos/train_0/a.jpg": jpeg(1), "train_0/a.jpg": jpeg(3), "images/b.jpg": jpeg(2)})
    rows = [{"before": "/mnt/x/photos/train_0/a.jpg", "after": "images/b.jpg", "words": "x"}]
    write_lines(tmp_path / "edits.jsonl", [*rows, {**rows[0], "before": "/mnt/../train_0/a.jpg"}])
    pairs, _ = read_all(_located(replace(_EDITS, foreign_paths=True), tmp_path))
    assert [images(pair)["input"] for pair in pairs] == [jpeg(1), jpeg(3)]
    assert read_all(_located(_EDITS, tmp_path))[0] == []


def test_turns_are_a_group_with_their_original_and_name_the_turn_before(tmp_path: Path) -> None:
    """The second session begins with the same picture, under another name; in the third one a turn is lost."""
    write_files(tmp_path, {f"{name}.jpg": jpeg(name % 10) for name in (0, 1, 2, 10, 3, 4, 6)})
    sessions = [["0", "1", "2"], ["10", "3"], ["4", "5", "6", "0"]]
    rows = [
        {"first": f"{names[0]}.jpg"}
        | {f"image_{turn}": f"{name}.jpg" for turn, name in enumerate(names[1:], 1)}
        | {f"words_{turn}": f"to {name}" for turn, name in enumerate(names[1:], 1)}
        for names in sessions
    ]
    write_lines(tmp_path / "edits.jsonl", rows)
    pairs, rejects = read_all(_located(_SESSIONS, tmp_path))
    assert [_session(pair) for pair in pairs] == [
        ("edits.jsonl#0", 1, "to 1"),
        ("edits.jsonl#0", 2, "to 2"),
        ("edits.jsonl#1", 1, "to 3"),
        ("edits.jsonl#2", 3, "to 0"),
    ]
    assert [(item.ref, reject.reason) for item, reject in rejects] == [
        ("edits.jsonl#2.1", "no_target"),
        ("edits.jsonl#2.2", "no_input"),
    ]
    assert [pair.group for pair in pairs] == [hashlib.sha256(jpeg(n)).hexdigest()[:16] for n in (0, 0, 0, 4)]
    assert [pair.parents for pair in pairs] == [(), (pairs[0].key,), (), ()]


def test_an_original_that_is_lost_leaves_later_turns_their_own_group(tmp_path: Path) -> None:
    write_files(tmp_path, {"1.jpg": jpeg(1), "2.jpg": jpeg(2)})
    row = {"first": "0.jpg", "image_1": "1.jpg", "words_1": "a", "image_2": "2.jpg", "words_2": "b"}
    write_lines(tmp_path / "edits.jsonl", [row])
    (pair,), rejects = read_all(_located(_SESSIONS, tmp_path))
    assert (pair.group, pair.parents) == (hashlib.sha256(jpeg(1)).hexdigest()[:16], ())
    assert [reject.reason for _, reject in rejects] == ["no_input"]


def test_a_damaged_row_costs_itself_alone(tmp_path: Path) -> None:
    row = {"before": "a.jpg", "after": "b.jpg", "words": "x"}
    lines = [
        json.dumps(row),
        '{"before": ',
        "[1]",
        json.dumps({**row, "after": ["a.jpg", "b.jpg"]}),
        "",
        json.dumps(row),
    ]
    write_files(tmp_path, {"edits.jsonl": "\n".join(lines).encode(), "a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    pairs, rejects = read_all(_located(_EDITS, tmp_path))
    assert [pair.source_ref for pair in pairs] == ["edits.jsonl#0", "edits.jsonl#4"]
    assert [reject.reason for _, reject in rejects] == ["damaged", "damaged", "no_edit"]


def test_texts_that_no_file_can_hold_and_inputs_without_end_are_rejected(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    row = {"before": "a.jpg", "after": "b.jpg", "words": "x"}
    rows = [{**row, "words": "\ud800"}, {**row, "after": "\ud800.jpg"}, {**row, "before": ["a.jpg"] * 17}, row]
    write_files(tmp_path, {"edits.jsonl": "\n".join(map(json.dumps, rows)).encode()})
    pairs, rejects = read_all(_located(_EDITS, tmp_path))
    assert [pair.source_ref for pair in pairs] == ["edits.jsonl#3"]
    assert [reject.reason for _, reject in rejects] == ["unencodable", "no_target", "too_many_inputs"]
    assert all(reject.message.encode() for _, reject in rejects)


def test_a_text_of_a_parquet_file_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    """As a disk or a program leaves it: pyarrow itself writes none."""
    write_files(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    rows = [{"before": "a.jpg", "after": "b.jpg", "words": words} for words in ("first", "second", "third")]
    write_table(tmp_path / "1.parquet", rows, dict.fromkeys(("before", "after", "words"), pa.string()))
    file = tmp_path / "1.parquet"
    file.write_bytes(file.read_bytes().replace(b"second", b"se\xffond"))
    pairs, rejects = read_all(_located(replace(_EDITS, tables=(Tables(files="*.parquet"),)), tmp_path))
    assert [pair.texts["instruction"] for pair in pairs] == ["first", "third"]
    assert [(reject.reason, "not UTF-8" in reject.message) for _, reject in rejects] == [("damaged", True)]


def test_data_may_be_one_of_its_files(tmp_path: Path) -> None:
    for name in ("1.jsonl", "2.jsonl"):
        write_lines(tmp_path / name, [{"before": "a.jpg", "after": "b.jpg", "words": "x"}])
    write_files(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    assert [pair.source_ref for pair in read_all(_located(_EDITS.of_file("2.jsonl"), tmp_path))[0]] == ["2.jsonl#0"]
    assert len(read_all(_located(_EDITS.of_file("?.jsonl"), tmp_path))[0]) == 2
    assert _EDITS.of_file("a.jpg").located(str(tmp_path), list_files(str(tmp_path))) is None


def test_a_table_of_another_revision_is_an_error_and_of_another_shape_may_lie_among_mixed_ones(tmp_path: Path) -> None:
    row = {"before": "a.jpg", "after": "b.jpg", "words": "x"}
    write_lines(tmp_path / "1.jsonl", [row])
    write_lines(tmp_path / "2.jsonl", [row], without="words")
    write_files(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    reader = _located(_EDITS, tmp_path)
    with pytest.raises(ValueError, match=r"2\.jsonl lacks words, which edits has.*it has before, after$") as caught:
        list(reader.items(reader.listing()))
    assert "\n" not in str(caught.value)
    mixed = _located(replace(_EDITS, mixed=True), tmp_path)
    assert [pair.source_ref for pair in read_all(mixed)[0]] == ["1.jsonl#0"]
    assert mixed.told(mixed.listing()).endswith("with other columns, and not read: 2.jsonl")


def test_what_lacks_nothing_but_what_a_script_adds_says_which(tmp_path: Path) -> None:
    write_lines(tmp_path / "1.jsonl", [{"after": "b.jpg", "words": "x"}])
    reader = replace(_EDITS, prepared=("before", "run the script"))
    with pytest.raises(ValueError, match=r"1\.jsonl is of edits, and lacks before: run the script$"):
        reader.located(str(tmp_path), list_files(str(tmp_path)))
    write_lines(tmp_path / "1.jsonl", [{"after": "b.jpg"}])
    assert reader.located(str(tmp_path), list_files(str(tmp_path))) is None


def test_parts_are_cut_out_of_a_lossy_file_without_further_loss(tmp_path: Path) -> None:
    shape = SideBySide(image="image", side_px=64, padding_px=4, left="left", right="right")
    reader = replace(_EDITS, tables=(Tables(files="*.parquet"),), shape=shape)
    whole = encode(np.kron(photo(1, 36, 18), np.ones((4, 4, 1), np.uint8)), "JPEG", quality=80)
    other = encode(photo(2, 140, 72), "JPEG")
    rows = [{"image": on_hub(data), "left": "a", "right": "b"} for data in (whole, other, b"no image", None)]
    write_table(tmp_path / "1.parquet", rows, {"image": IMAGE, "left": pa.string(), "right": pa.string()})
    pairs, rejects = read_all(_located(reader, tmp_path))
    assert [reject.reason for _, reject in rejects] == ["other_size", "not_image", "no_input"]
    decoded = np.asarray(PILImage.open(io.BytesIO(whole)))
    (pair,) = pairs
    for role, left_px in (("input", 4), ("target", 72)):
        image = pair.image(role)
        assert image and image.format == "png"
        assert np.array_equal(np.asarray(PILImage.open(io.BytesIO(image.data))), decoded[4:68, left_px : left_px + 64])


def test_losers_that_are_not_there_make_no_candidates(tmp_path: Path) -> None:
    shape = OneEdit(inputs=("before",), target="after", texts=(("instruction", "words"),), losers="lost")
    write_files(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2), "c.jpg": jpeg(3)})
    row = {"before": "a.jpg", "after": "b.jpg", "words": "x"}
    lost: list[Any] = [["c.jpg", "gone.jpg"], ["gone.jpg"], [], None]
    write_lines(tmp_path / "edits.jsonl", [{**row, "lost": one} for one in lost])
    pairs, rejects = read_all(_located(replace(_EDITS, shape=shape), tmp_path))
    assert not rejects
    assert [[(one.image.data, one.won, one.reason) for one in pair.candidates] for pair in pairs] == [
        [(jpeg(2), True, None), (jpeg(3), False, "published_as_worse")],
        [],
        [],
        [],
    ]
    assert {one.pair for one in pairs[0].candidates} == {pairs[0].key}


def test_refs_do_not_depend_on_the_level_of_the_tree_that_data_is(tmp_path: Path) -> None:
    reader = replace(_EDITS, nested=("", "data"))
    write_lines(tmp_path / "data/1.jsonl", [{"before": "a.jpg", "after": "b.jpg", "words": "x"}])
    write_files(tmp_path / "data", {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    above, inside = (read_all(_located(reader, root))[0] for root in (tmp_path, tmp_path / "data"))
    assert above == inside


def test_a_layout_that_is_told_by_its_folder_is_found_from_inside_it(tmp_path: Path) -> None:
    reader = replace(_EDITS, nested=("auto/photos",))
    write_lines(tmp_path / "auto/photos/1.jsonl", [{"before": "a", "after": "b", "words": "x"}])
    for root in (tmp_path, tmp_path / "auto", tmp_path / "auto/photos"):
        assert _located(reader, root).root == str(tmp_path / "auto/photos")
    assert reader.located(str(tmp_path / "auto/photos"), []) is None
    write_lines(tmp_path / "mine/1.jsonl", [{"before": "a", "after": "b", "words": "x"}])
    assert reader.located(str(tmp_path / "mine"), list_files(str(tmp_path / "mine"))) is None


def _located(reader: EditRows, root: Path) -> EditRows:
    found = reader.located(str(root), list_files(str(root)))
    assert found
    return found


def _session(pair: Pair) -> tuple[str, int, str]:
    step = pair.step("read")
    assert step
    return step.params["session"], step.params["turn"], pair.texts["instruction"]
