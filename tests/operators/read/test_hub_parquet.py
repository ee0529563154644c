from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import MAX_BYTES
from manifests.parquet import ParquetFile
from manifests.schema import Reject
from operators.read import hub_parquet
from operators.read.files import list_files
from operators.read.hub_parquet import HubParquet
from operators.read.parquet import open_parquet
from pipelines.sources.datasets import ULTRAEDIT
from tests.fixtures import FIXTURES, write_ultraedit
from tests.readers import count_bytes, images, located, read_all
from tests.sources import encode, jpeg, photo, rainy_jpeg, real_profile, seen_by_lcms, turned_jpeg

FILE = "FreeForm-00000-of-00002.parquet"


def test_images_texts_and_scores_of_a_row(tmp_path: Path) -> None:
    reader, _ = located("ultraedit", tmp_path)
    pairs, rejects = read_all(reader)
    first = pairs[0]
    assert first.source_ref == f"{FILE}#0"
    assert images(first) == {"input": jpeg(0), "target": rainy_jpeg(0)}
    assert first.texts == {
        "instruction": "make photo 0 pale",
        "source_caption": "A photo, number 0.",
        "target_caption": "A pale photo, number 0.",
    }
    # Columns that are not there have no score, nor has NaN.
    assert first.scores == {"clip_sim_source": 0.25, "clip_sim_dir": 0.2, "dinov2_sim": 0.9, "ssim": 0.7}
    assert "dinov2_sim" not in pairs[2].scores
    assert [reject.message for _, reject in rejects] == ["its target is null"] * 2


def test_edits_of_one_image_are_one_group(tmp_path: Path) -> None:
    pairs, _ = read_all(located("ultraedit", tmp_path)[0])
    groups = [pair.group for pair in pairs]
    assert groups[0] == groups[1] and groups[3] == groups[4]
    assert len(set(groups)) == 4


def test_a_turn_follows_the_one_before_it(tmp_path: Path) -> None:
    pairs, _ = read_all(located("magicbrush", tmp_path)[0])
    assert [(pair.group, pair.texts["instruction"][-1]) for pair in pairs] == [
        *(("100", "1"), ("100", "2"), ("100", "3"), ("200", "1"), ("300", "1"), ("300", "2")),
    ]
    assert images(pairs[1]).items() >= {"input": encode(photo(100) // 2), "target": encode(photo(100) // 3)}.items()
    parents = [pair.parents for pair in pairs]
    # The second and third turn lie in different row groups; the last session goes on in another file.
    assert parents == [(), (pairs[0].key,), (pairs[1].key,), (), (), ()]
    assert all("dev-" not in pair.source_ref for pair in pairs)


def test_turns_are_listed_in_order_wherever_they_lie(tmp_path: Path) -> None:
    reader, _ = located("magicbrush", tmp_path)
    for path in (tmp_path / "data").glob("train-*"):
        table = pq.read_table(path)
        pq.write_table(table.take(list(reversed(range(table.num_rows)))), path)
    open_parquet.cache_clear()
    pairs, _ = read_all(reader)
    assert [(pair.group, pair.texts["instruction"][-1]) for pair in pairs] == [
        *(("300", "1"), ("300", "2"), ("200", "1"), ("100", "1"), ("100", "2"), ("100", "3")),
    ]


@pytest.mark.parametrize("name", ["ultraedit", "magicbrush"])
def test_planning_reads_no_image(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _ = located(name, tmp_path)
    assert isinstance(reader, HubParquet)
    for path in (tmp_path / "data").iterdir():  # as large as images are
        rows = pq.read_table(path).to_pylist()
        for row in rows:
            row[reader.input]["bytes"] = encode(photo(0, 440, 290))
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2, compression="none")
    counts = count_bytes(monkeypatch)
    items = list(reader.items(reader.listing()))
    assert len(items) == FIXTURES[name][1](tmp_path / "again").pairs + 2 * (name == "ultraedit")
    assert counts.keys() == {item.files[0] for item in items}
    for file in reader.listing():
        if file.path in counts:
            assert counts[file.path] < 70_000  # a footer is sought in the last 64 KiB
    assert max(file.bytes for file in reader.listing()) > 300_000


def test_a_unit_reads_its_row_groups_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _ = located("ultraedit", tmp_path)
    items = list(reader.items(reader.listing()))
    read: list[tuple[int, int, list[int], list[str]]] = []
    iter_batches = ParquetFile.iter_batches

    def spy(file: ParquetFile, at_once: int, row_groups: list[int], columns: list[str]) -> object:
        assert at_once * MAX_BYTES < 2**31  # Arrow's limit of a column
        for batch in iter_batches(file, at_once, row_groups=row_groups, columns=columns):
            read.append((file.metadata.num_rows, batch.num_rows, row_groups, columns))
            yield batch

    count_bytes(monkeypatch)
    monkeypatch.setattr(ParquetFile, "iter_batches", spy)
    for item in items[:3]:  # rows 0 and 1 of one row group, 2 of the next
        reader.read(item, "edit")
    assert [rows[:3] for rows in read] == [(4, 2, [0]), (4, 2, [1])]
    assert all("mask_image" not in columns for *_, columns in read)


def test_a_damaged_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    path = tmp_path / "data" / FILE
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 32] = b"\xff" * 32
    path.write_bytes(data)
    pairs, rejects = read_all(_located(tmp_path))
    assert [(item.ref, reject.reason) for item, reject in rejects[:2]] == [
        (f"{FILE}#0", "damaged"),
        (f"{FILE}#1", "damaged"),
    ]
    assert len(pairs) == 4


def test_a_cut_off_file_is_named_before_anything_is_made(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    path = tmp_path / "data" / FILE
    path.write_bytes(path.read_bytes()[:-100])
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=rf"{FILE} is not a complete Parquet file.*download it again"):
        list(reader.items(reader.listing()))


def test_another_schema_is_an_error_that_names_the_columns(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    path = tmp_path / "data" / FILE
    pq.write_table(pq.read_table(path).rename_columns({"edited_image": "target_image"}), path)
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=r"needs the columns edited_image; there are .*target_image"):
        list(reader.items(reader.listing()))


def test_a_file_that_is_gone_is_a_reject(tmp_path: Path) -> None:
    reader, _ = located("ultraedit", tmp_path)
    item = next(iter(reader.items(reader.listing())))
    (tmp_path / "data" / FILE).unlink()
    open_parquet.cache_clear()
    with pytest.raises(Reject) as caught:
        reader.read(item, "edit")
    assert caught.value.reason == "missing"


def test_a_cell_that_is_too_large_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _ = located("ultraedit", tmp_path)
    sizes = [len(image.data) for image in read_all(reader)[0][0].images]
    monkeypatch.setattr(hub_parquet, "MAX_BYTES", max(sizes) - 1)
    _, rejects = read_all(reader)
    assert "too_large" in {reject.reason for _, reject in rejects}
    monkeypatch.setattr(hub_parquet, "MAX_BYTES", 10**6)
    assert "too_large" not in {reject.reason for _, reject in read_all(reader)[1]}


def test_a_pipe_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    reader = _located(tmp_path)
    (tmp_path / "data" / FILE).unlink()
    os.mkfifo(tmp_path / "data" / FILE)
    open_parquet.cache_clear()
    with pytest.raises(ValueError, match=rf"{FILE}: it is a named pipe, not a file; remove it"):
        list(reader.items(reader.listing()))


def test_missing_files_are_told_by_the_names_of_the_others(tmp_path: Path) -> None:
    reader, _ = located("magicbrush", tmp_path)
    assert isinstance(reader, HubParquet)
    listing = list(reader.listing())
    assert reader.missing(listing) == []
    assert reader.missing([file for file in listing if "00000-of-00002" in file.path]) == ["train-00001-of-00002"]


def test_members_end_as_the_files_did_before_they_were_packed(tmp_path: Path) -> None:
    reader, _ = located("ultraedit", tmp_path / "jpg")
    assert reader.suffixes(list(reader.items(reader.listing()))) == {"input": "jpg", "target": "jpg"}
    reader, _ = located("magicbrush", tmp_path / "png")
    assert reader.suffixes(list(reader.items(reader.listing()))) == dict.fromkeys(("input", "target", "mask"), "png")


def test_members_end_alike_where_the_first_row_group_is_empty(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    for path in (tmp_path / "data").iterdir():
        table = pq.read_table(path)
        with pq.ParquetWriter(path, table.schema) as writer:
            writer.write_table(table.slice(0, 0))
            writer.write_table(table)
    reader = ULTRAEDIT.reader.located(str(tmp_path), list_files(str(tmp_path)))
    assert reader
    assert reader.suffixes(list(reader.items(reader.listing()))) == {"input": "jpg", "target": "jpg"}


def test_parquet_files_of_other_names_are_told_of(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "data" / "train-00000-of-00024.parquet")
    reader = ULTRAEDIT.reader.located(str(tmp_path), list_files(str(tmp_path)))
    assert isinstance(reader, HubParquet)
    told = reader.told(reader.listing())
    assert told.endswith("; other Parquet files, not read: 1 (as train-00000-of-00024.parquet)")


def test_what_exif_turns_is_stored_upright(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    path = tmp_path / "data" / FILE
    rows = pq.read_table(path).to_pylist()
    rows[0]["source_image"]["bytes"] = turned_jpeg(photo(0), 6)
    pq.write_table(pq.read_table(path).from_pylist(rows), path)
    open_parquet.cache_clear()
    pair = read_all(_located(tmp_path))[0][0]
    assert pair.images[0].format == "png"
    assert pair.steps[0].operator == "to_rgb"


_BYTES_AND_PATH = (("bytes", pa.binary()), ("path", pa.string()))


@pytest.mark.parametrize(
    "kind",
    [
        pa.struct(_BYTES_AND_PATH),
        pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())]),
        pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())]),
        pa.struct([("bytes", pa.binary())]),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int32(), pa.binary()),
    ],
    ids=str,
)
def test_images_of_any_type_that_holds_bytes(kind: pa.DataType, tmp_path: Path) -> None:
    _write_edits(tmp_path, images=kind)
    reader = _located(tmp_path)
    pairs, rejects = read_all(reader)
    assert [images(pair) for pair in pairs] == [{"input": encode(photo(0)), "target": rainy_jpeg(n)} for n in range(3)]
    assert [reject.reason for _, reject in rejects] == ["no_input"]
    # By the names where there are some, else by the first image
    assert reader.suffixes(list(reader.items(reader.listing()))) == {"input": "png", "target": "jpg"}


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.list_(pa.uint8()), pa.struct([("path", pa.string())])])
def test_a_column_that_holds_no_bytes_is_an_error_that_names_it(kind: pa.DataType, tmp_path: Path) -> None:
    _write_edits(tmp_path)
    path = tmp_path / "data" / FILE
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "source_image", pa.nulls(table.num_rows, kind)), path)
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=rf"{FILE}: its column source_image is .*, not struct<bytes: binary"):
        list(reader.items(reader.listing()))


def test_edits_without_a_column_of_instructions_are_an_error_that_names_it(tmp_path: Path) -> None:
    _write_edits(tmp_path)
    path = tmp_path / "data" / FILE
    pq.write_table(pq.read_table(path).rename_columns({"edit_prompt": "instruction"}), path)
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=rf"{FILE}: UltraEdit needs the columns edit_prompt; there are .*instruction"):
        list(reader.items(reader.listing()))


@pytest.mark.parametrize(
    "scores",
    [
        pa.array([7, 8, 9, None], pa.int8()),
        pa.array([7, 8, 9, None]).cast(pa.decimal128(22, 2)),
        pa.array(["7", "8.0", "9", "nan"]),
        pa.array(["7", "8", "9", ""], pa.string_view()),
        pa.array([7, 8, 9, np.nan], pa.float32()).cast(pa.float16()),
        pa.array(["7", "8", "9", None]).dictionary_encode(),
    ],
    ids=lambda scores: str(scores.type),
)
def test_scores_and_texts_of_any_type_that_says_the_same(scores: pa.Array, tmp_path: Path) -> None:
    _write_edits(tmp_path, ssim=scores, edit_prompt=pa.array([b"make it 0", b" ", b"nan", b"3"]))
    pairs, _ = read_all(_located(tmp_path))
    assert [pair.scores for pair in pairs] == [{"ssim": 7.0}, {"ssim": 8.0}, {"ssim": 9.0}]
    assert [pair.texts.get("instruction") for pair in pairs] == ["make it 0", None, None]


@pytest.mark.parametrize(
    ("sessions", "turns"),
    [
        (pa.string(), pa.int32()),
        (pa.int64(), pa.float64()),
        (pa.float64(), pa.string()),
        (pa.decimal128(22, 2), pa.decimal128(22, 2)),
        (pa.large_string(), pa.uint8()),
    ],
    ids=str,
)
def test_sessions_and_turns_of_any_type_that_counts(sessions: pa.DataType, turns: pa.DataType, tmp_path: Path) -> None:
    reader, _ = located("magicbrush", tmp_path)
    for path in (tmp_path / "data").glob("train-*"):
        table = pq.read_table(path)
        for name, kind in (("img_id", sessions), ("turn_index", turns)):
            column = pa.array([int(value) for value in table.column(name).to_pylist()])
            cast = (column.cast(pa.string()) if "string" in str(kind) else column).cast(kind)
            table = table.set_column(table.schema.get_field_index(name), name, cast)
        pq.write_table(table, path)
    open_parquet.cache_clear()
    pairs, _ = read_all(reader)
    assert [pair.group for pair in pairs] == ["100", "100", "100", "200", "300", "300"]
    assert [pair.parents for pair in pairs] == [(), (pairs[0].key,), (pairs[1].key,), (), (), ()]


def test_a_row_without_a_session_is_its_own(tmp_path: Path) -> None:
    reader, _ = located("magicbrush", tmp_path)
    for path in (tmp_path / "data").glob("train-*"):
        table = pq.read_table(path)
        pq.write_table(table.set_column(0, "img_id", pa.nulls(table.num_rows, pa.string())), path)
    open_parquet.cache_clear()
    pairs, _ = read_all(reader)
    assert [pair.source_ref[-1] for pair in pairs] == ["0", "1", "2", "3", "4", "0"]
    assert all(pair.parents == () for pair in pairs)
    assert len({pair.group for pair in pairs}) == 6


def _write_edits(root: Path, images: pa.DataType | None = None, **columns: pa.Array) -> None:
    """Four edits in one file, the last without an input, with images of a type and some columns replaced."""
    kind = images or pa.struct(_BYTES_AND_PATH)

    def column(contents: list[bytes | None], ending: str) -> pa.Array:
        if not pa.types.is_struct(kind):
            return pa.array(contents).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(contents, kind)
        return pa.array([{"bytes": data, "path": f"x.{ending}"} for data in contents], kind)

    table = {
        "source_image": column([encode(photo(0))] * 3 + [None], "png"),
        "edited_image": column([rainy_jpeg(index) for index in range(4)], "jpg"),
        "edit_prompt": pa.array([f"make it {index}" for index in range(4)]),
    }
    (root / "data").mkdir(parents=True)
    pq.write_table(pa.table({**table, **columns}), root / "data" / FILE)


def test_both_sides_mean_the_same_colours(tmp_path: Path) -> None:
    write_ultraedit(tmp_path)
    path = tmp_path / "data" / FILE
    rows = pq.read_table(path).to_pylist()
    rows[0]["source_image"]["bytes"] = other = encode(photo(0), icc_profile=real_profile("rocket.jpg"))
    pq.write_table(pq.read_table(path).from_pylist(rows), path)
    open_parquet.cache_clear()
    pair = read_all(_located(tmp_path))[0][0]
    assert pair.images[0].data != other and pair.images[1].data == rows[0]["edited_image"]["bytes"]
    expected = seen_by_lcms(PILImage.fromarray(photo(0)), real_profile("rocket.jpg"))
    with PILImage.open(io.BytesIO(pair.images[0].data)) as stored:
        assert (np.asarray(stored) == expected).all()


def _located(root: Path) -> HubParquet:
    open_parquet.cache_clear()
    reader = ULTRAEDIT.reader.located(str(root), list_files(str(root)))
    assert isinstance(reader, HubParquet)
    return reader
