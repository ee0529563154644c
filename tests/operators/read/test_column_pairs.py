"""Pairs in each format are read back as they were written, and what cannot be a pair is rejected with its reason."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from operators.base import Reader
from operators.option import parameters
from operators.read.column_pairs import OwnPairs, is_tested_on
from operators.read.columns import Columns
from operators.read.files import list_files
from operators.read.parquet import open_parquet
from tests.readers import images, read_all
from tests.sources import HEIGHT_PX, WIDTH_PX, encode, jpeg, photo, turned_jpeg, write_files

COLUMNS = "input=before,refs target=after instruction=meta.prompt caption=says mask=where group=scene licence=terms"
ROWS = 5


def rows() -> list[dict[str, Any]]:
    """Pairs with their images as bytes: two inputs each, one more in the last."""
    return [
        {
            "before": jpeg(number),
            "refs": [encode(photo(50 + number)), encode(photo(80 + number), "WEBP")][: 2 if number == 4 else 1],
            "after": encode(255 - photo(number)),
            "where": encode(photo(number)[..., 0]),
            "meta": {"prompt": f'say "{number}", then\nstop; ü, 图', "other": number},
            "says": f"a caption of {number}" if number else None,
            "scene": number // 2,
            "terms": "CC0-1.0" if number % 2 else None,
        }
        for number in range(ROWS)
    ]


def expected() -> list[dict[str, bytes]]:
    """The images of each pair, by role."""
    found = []
    for row in rows():
        refs = {f"input_{place}": data for place, data in enumerate(row["refs"], 2)}
        found.append({"input": row["before"], **refs, "target": row["after"], "mask": row["where"]})
    return found


def with_files(root: Path, folder: str = "") -> list[dict[str, Any]]:
    """The rows with their images written to files, and the paths of these in their place."""
    found = []
    for number, row in enumerate(rows()):
        files = {f"img/{number}.jpg": row["before"], f"img/after {number}ü.png": row["after"]}
        files |= {f"masks/{number}.png": row["where"]}
        refs = {f"refs/{number}-{place}.x": data for place, data in enumerate(row["refs"])}
        write_files(root / folder, files | refs)
        before, after, where = files
        found.append({**row, "before": before, "after": f"./{after}", "where": where, "refs": [*refs]})
    return found


def as_jsonl(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_jsonl(root: Path) -> None:
    lines = as_jsonl(with_files(root, "sub")).splitlines(keepends=True)
    write_files(root / "sub", {"a.jsonl": b"\xef\xbb\xbf" + lines[0] + b"\n  \r\n" + lines[1]})
    write_files(root / "sub", {"b.jsonl": b"".join(lines[2:]).rstrip()})


def write_csv(root: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["", "before", "refs", "ref2", "after", "where", "prompt", "says", "scene", "terms"])
    for number, row in enumerate(with_files(root)):
        refs = [*row["refs"], ""][:2]
        values = [row["after"], row["where"], row["meta"]["prompt"], row["says"], row["scene"], row["terms"]]
        writer.writerow([number, row["before"], *refs, *values])
    write_files(root, {"x.csv": b"\xef\xbb\xbf" + text.getvalue().encode()})


def write_parquet(root: Path) -> None:
    """As the hub has it: images as structs, and as plain bytes, in lists and alone; a file to test with beside."""
    (root / "data").mkdir(parents=True)
    table = [
        {
            **row,
            "before": {"bytes": row["before"], "path": f"{number}.jpg"},
            "refs": [{"bytes": data, "path": None} for data in row["refs"]],
        }
        for number, row in enumerate(rows())
    ]
    pq.write_table(pa.Table.from_pylist(table[:3]), root / "data/train-00000-of-00002.parquet", row_group_size=2)
    pq.write_table(pa.Table.from_pylist(table[3:]), root / "data/train-00001-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(table[:1]), root / "data/test-00000-of-00001.parquet")


def write_parquet_of_paths(root: Path) -> None:
    write_files(root, {})
    pq.write_table(pa.Table.from_pylist(with_files(root)), root / "x.parquet", row_group_size=2)


def write_tars(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, part in (("00000.tar", slice(0, 3)), ("00001.tar", slice(3, ROWS))):
        with tarfile.open(root / name, "w") as tar:
            for number, row in [*enumerate(rows())][part]:
                fields = {"meta": row["meta"], "says": row["says"], "scene": row["scene"], "terms": row["terms"]}
                members = {"before.jpg": row["before"], "after.PNG": row["after"], "where.png": row["where"]}
                members |= {f"ref{place}.webp": data for place, data in enumerate(row["refs"])}
                for ending, data in {**members, "json": json.dumps(fields).encode()}.items():
                    info = tarfile.TarInfo(f"part/{number:06d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def write_json_list(root: Path) -> None:
    write_files(root, {"x.json": b"\xef\xbb\xbf\n" + json.dumps(with_files(root), indent=2).encode()})


IN_CSV = COLUMNS.replace("meta.prompt", "prompt")
FORMATS: dict[str, tuple[Callable[[Path], None], str]] = {
    "jsonl": (write_jsonl, COLUMNS),
    "json list": (write_json_list, COLUMNS),
    "csv": (write_csv, IN_CSV),
    "parquet": (write_parquet, COLUMNS),
    "parquet of paths": (write_parquet_of_paths, COLUMNS),
    "tars": (write_tars, COLUMNS.replace("refs", "ref0")),
}

NAMED = {"json list": "*.json"}
"""Of files that may be anything, which to read."""


def own(root: Path, columns: str = COLUMNS, file: str = "", **options: Any) -> Reader:
    open_parquet.cache_clear()
    reader = OwnPairs(columns=Columns.of(columns), **options)
    reader = reader.of_file(file) if file else reader
    found = reader.located(str(root), list_files(str(root)))
    assert found
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_pairs_are_read_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    write, columns = FORMATS[name]
    write(tmp_path)
    reader = own(tmp_path, columns, NAMED.get(name, ""))
    pairs, rejects = read_all(reader)
    assert [(item.ref, reject.reason) for item, reject in rejects] == []
    only_first = name in ("csv", "tars")  # which have no lists
    wanted = [{role: data for role, data in of_one.items() if role != "input_3"} for of_one in expected()]
    assert [images(pair) for pair in pairs] == (wanted if only_first else expected())
    assert list(images(pairs[0])) == ["input", "input_2", "target", "mask"]  # in this order
    texts = [" ".join(row["meta"]["prompt"].split()) for row in rows()]
    assert [pair.texts["instruction"] for pair in pairs] == texts
    assert [pair.texts.get("caption") for pair in pairs] == [row["says"] for row in rows()]
    assert [pair.group for pair in pairs] == ["0", "0", "1", "1", "2"]
    assert [pair.licence for pair in pairs] == [row["terms"] or "unknown" for row in rows()]
    assert len({pair.key for pair in pairs}) == ROWS
    assert reader.suffixes([*reader.items(reader.listing())])["input"] == "jpg"


def test_the_references_say_where_a_row_is(tmp_path: Path) -> None:
    for name, (write, columns) in FORMATS.items():
        write(tmp_path / name)
        items = [*own(tmp_path / name, columns, NAMED.get(name, "")).items(list_files(str(tmp_path / name)))]
        found = {
            "jsonl": ["sub/a.jsonl#0", "sub/a.jsonl#1", "sub/b.jsonl#0", "sub/b.jsonl#1", "sub/b.jsonl#2"],
            "json list": [f"x.json#{number}" for number in range(ROWS)],
            "csv": [f"x.csv#{number}" for number in range(ROWS)],
            "parquet": [f"data/train-0000{n}-of-00002.parquet#{row}" for n in range(2) for row in range(3 - n)],
            "parquet of paths": [f"x.parquet#{number}" for number in range(ROWS)],
            "tars": [f"0000{number // 3}.tar/part/{number:06d}" for number in range(ROWS)],
        }[name]
        assert [item.ref for item in items] == found
        paths = [path for item in items for path in item.files[1:]]
        assert len(paths) == (0 if name in ("parquet", "tars") else 20 if name == "csv" else 21)
        assert all((tmp_path / name / path).is_file() for path in paths)


def test_the_first_line_says_what_was_taken_for_what(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    reader = own(tmp_path, "input=before target=after instruction=meta.prompt", licence="CC-BY-4.0")
    assert isinstance(reader, OwnPairs)
    assert reader.told(reader.listing()) == (
        "2 files of rows; it takes before as input, after as target, meta.prompt as instruction; not read: refs, "
        "where, meta.other, says, scene, terms; left out, to test with: data/test-00000-of-00001.parquet; "
        "licence: CC-BY-4.0"
    )
    assert is_tested_on("val/x.jsonl") and is_tested_on("a/validation-0.csv") and not is_tested_on("contest.jsonl")
    file = own(tmp_path, file="data/test-00000-of-00001.parquet")  # who names it wants it
    assert len(read_all(file)[0]) == 1


def test_the_map_is_in_the_fingerprint_and_where_it_lies_is_not(tmp_path: Path) -> None:
    write_jsonl(tmp_path)
    one = parameters(own(tmp_path))
    assert one["columns"]["input"] == ["before", "refs"] and one["columns"]["mask"] == "where"
    assert one != parameters(own(tmp_path, COLUMNS.replace("before,refs", "refs,before")))


def minimal(root: Path, **changed: Any) -> dict[str, Any]:
    write_files(root, {"a.jpg": jpeg(0), "b.png": encode(photo(1))})
    return {"before": "a.jpg", "after": "b.png", "prompt": "do it", **changed}


MINIMAL = "input=before target=after instruction=prompt"


@pytest.mark.parametrize(
    ("changed", "reason", "said"),
    [
        ({"before": None}, "no_input", "its before, the input, has no value"),
        ({"before": []}, "no_input", "before"),
        ({"after": ""}, "no_target", "its after, the target, has no value"),
        ({"prompt": None}, "no_instruction", "prompt has no value"),
        ({"prompt": "  \n"}, "no_instruction", "prompt has no value"),
        ({"prompt": 7}, "wrong_type", "prompt is int, not text"),
        ({"prompt": []}, "wrong_type", "prompt is list"),
        ({"before": 7}, "wrong_type", "before, the input, is int"),
        ({"before": {"x": 1}}, "no_input", "before"),
        ({"before": True}, "wrong_type", "bool"),
        ({"before": "gone.jpg"}, "missing", "gone.jpg"),
        ({"before": "x.jsonl"}, "not_image", ""),
        ({"before": "/etc/passwd"}, "outside", "/etc/passwd: only paths beside"),
        ({"before": "../secret.jpg"}, "outside", "../secret.jpg"),
        ({"before": "sub/../../secret.jpg"}, "outside", "secret.jpg"),
        ({"before": "..\\secret.jpg"}, "outside", "secret.jpg"),
        ({"before": "C:\\a.jpg"}, "outside", "a.jpg"),
        ({"before": "~/a.jpg"}, "outside", "a.jpg"),
        ({"before": "a\0.jpg"}, "outside", ""),
        ({"before": "out.jpg"}, "outside", "out.jpg is a link that leads out"),
        ({"before": "folder/out.jpg"}, "outside", "is a link"),
        ({"before": "https://host/a.jpg"}, "url", "https://host/a.jpg is behind a URL"),
        ({"before": "data:image/png;base64,iVBO"}, "url", "data:"),
        ({"before": ["a.jpg"] * 17}, "too_many_inputs", "17 input images"),
        ({"prompt": "half \ud800"}, "unencodable", "half"),
        ({"before": "a\udcff.jpg"}, "unencodable", ""),
        ({"before": "broken.jpg"}, "truncated", ""),
        ({"before": "small.png"}, "too_small", ""),
    ],
)
def test_a_row_that_cannot_be_a_pair_is_rejected_and_the_run_goes_on(
    changed: dict[str, Any], reason: str, said: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    good = minimal(root)
    write_files(tmp_path, {"secret.jpg": jpeg(9), "beside/out.jpg": jpeg(9)})
    write_files(root, {"broken.jpg": jpeg(3)[:400], "small.png": encode(photo(0, 8, 8))})
    os.symlink(tmp_path / "secret.jpg", root / "out.jpg")
    os.symlink(tmp_path / "beside", root / "folder")
    write_files(root, {"x.jsonl": as_jsonl([good, {**good, **changed}, good])})
    pairs, rejects = read_all(own(root, MINIMAL, "x.jsonl"))
    assert [(item.ref, reject.reason) for item, reject in rejects] == [("x.jsonl#1", reason)]
    assert said in rejects[0][1].message and "\n" not in rejects[0][1].message
    assert len(pairs) == 2
    assert all(".." not in path and not path.startswith("/") for path in rejects[0][0].files)


def test_a_link_within_the_root_is_followed_and_the_hubs_cache_is_read(tmp_path: Path) -> None:
    row = minimal(tmp_path / "blobs")
    root = tmp_path / "snapshots/0123"
    write_files(tmp_path / "blobs", {"t": as_jsonl([row])})
    root.mkdir(parents=True)
    for name, blob in (("x.jsonl", "t"), ("a.jpg", "a.jpg"), ("b.png", "b.png")):
        os.symlink(f"../../blobs/{blob}", root / name)
    pairs, rejects = read_all(own(root, MINIMAL))
    assert len(pairs) == 1 and not rejects
    (root / "real.jpg").write_bytes(jpeg(0))
    (root / "b.png").unlink()
    os.symlink("real.jpg", root / "b.png")
    assert len(read_all(own(root, MINIMAL))[0]) == 1


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_urls_are_refused_with_the_way_out(kind: str, tmp_path: Path) -> None:
    row = minimal(tmp_path, before="https://host/a.jpg")
    table = pa.Table.from_pylist([row])
    if kind == "parquet":
        pq.write_table(table, tmp_path / "x.parquet")
    text = ",".join(row) + "\n" + ",".join(row.values()) + "\n" if kind == "csv" else as_jsonl([row]).decode()
    if kind != "parquet":
        write_files(tmp_path, {f"x.{kind}": text.encode()})
    reader = own(tmp_path, MINIMAL)
    with pytest.raises(ValueError, match=r"\A[^\n]*\Z") as refused:
        list(reader.items(reader.listing()))
    said = str(refused.value)
    assert "the column before of" in said and f"img2dataset --url_list x.{kind} --input_format {kind}" in said
    assert "--url_col before --output_format webdataset --output_folder images/before" in said


@pytest.mark.parametrize("name", FORMATS)
def test_an_unknown_column_is_refused_with_the_nearest(name: str, tmp_path: Path) -> None:
    write, columns = FORMATS[name]
    write(tmp_path)
    for wrong in (columns.replace("after", "aftr"), columns.replace("prompt", "promt")):
        reader = own(tmp_path, wrong, NAMED.get(name, ""))
        with pytest.raises(ValueError, match=r"has no column \S+: did you mean \S*(after|prompt)\?"):
            list(reader.items(reader.listing()))


def test_without_a_map_the_columns_are_listed_with_an_example(tmp_path: Path) -> None:
    write_files(tmp_path, {"x.jsonl": as_jsonl([minimal(tmp_path)])})
    with pytest.raises(ValueError, match=r"\A[^\n]*\Z") as refused:
        OwnPairs().located(str(tmp_path), list_files(str(tmp_path)))
    assert "x.jsonl has the columns before, after, prompt," in str(refused.value)
    assert str(refused.value).endswith("as in --columns input=before target=after instruction=prompt")
    assert OwnPairs().located(str(tmp_path), []) is None
    write_files(tmp_path, {"x.jsonl": as_jsonl([{"input": "a cat", "input_image": "a.jpg", "output_image": "b.png"}])})
    with pytest.raises(ValueError, match="input=input_image target=output_image instruction=PROMPT"):
        OwnPairs().located(str(tmp_path), list_files(str(tmp_path)))


def test_tables_to_test_with_alone_are_named_with_the_way_to_read_them(tmp_path: Path) -> None:
    write_files(tmp_path, {"test/x.jsonl": as_jsonl([minimal(tmp_path / "test")]), "test/about.json": b"{}"})
    with pytest.raises(ValueError, match=rf"to test with alone, test/x\.jsonl, .* --data {tmp_path}/test/x\.jsonl"):
        own(tmp_path, MINIMAL)
    assert len(read_all(own(tmp_path, MINIMAL, "test/x.jsonl"))[0]) == 1


def test_a_file_without_rows_says_so(tmp_path: Path) -> None:
    write_files(tmp_path, {"x.jsonl": b"\n"})
    with pytest.raises(ValueError, match="has no column before: it has no columns, being empty or of another format"):
        list((reader := own(tmp_path, MINIMAL)).items(reader.listing()))


def test_tables_of_several_formats_are_refused_and_one_may_be_named(tmp_path: Path) -> None:
    row = minimal(tmp_path)
    write_files(tmp_path, {"x.jsonl": as_jsonl([row]), "y.csv": b"before,after,prompt\na.jpg,b.png,do\n"})
    with pytest.raises(ValueError, match=r"several formats, x\.jsonl and y\.csv: point DATA at one file"):
        own(tmp_path, MINIMAL)
    assert read_all(own(tmp_path, MINIMAL, "y.csv"))[0][0].texts == {"instruction": "do"}
    assert read_all(own(tmp_path, MINIMAL, "*.jsonl"))[0][0].texts == {"instruction": "do it"}


def test_a_column_that_cannot_hold_images_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"before": [1], "after": [b"x"], "prompt": ["p"]}), tmp_path / "x.parquet")
    reader = own(tmp_path, MINIMAL)
    with pytest.raises(ValueError, match=r"its column before is int64, not images .* of images it has after"):
        list(reader.items(reader.listing()))


def test_a_mask_has_the_size_of_its_input_and_turns_with_it(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    mask[:5, :9] = 255
    upright = np.ascontiguousarray(np.rot90(photo(0), 1))  # orientation 6 turns it back by 90 degrees clockwise
    write_files(
        tmp_path,
        {
            "plain.jpg": jpeg(0),
            "turned.jpg": turned_jpeg(upright, 6),
            "drawn.png": encode(np.ascontiguousarray(np.rot90(mask, 1))),
            "mask.png": encode(mask),
            "other.png": encode(mask[:-1]),
            "t.png": encode(photo(1)),
        },
    )
    wanted = [("plain.jpg", "mask.png"), ("turned.jpg", "mask.png"), ("turned.jpg", "drawn.png"), ("plain.jpg", None)]
    table = [{"before": one, "after": "t.png", "prompt": "p", "m": m} for one, m in wanted]
    table.append({**table[0], "m": "other.png"})
    write_files(tmp_path, {"x.jsonl": as_jsonl(table)})
    pairs, rejects = read_all(own(tmp_path, f"{MINIMAL} mask=m"))
    assert [reject.reason for _, reject in rejects] == ["size_mismatch"]
    masks = [images(pair).get("mask") for pair in pairs]
    assert masks[0] == masks[1] == encode(mask) and masks[3] is None
    assert masks[2] and np.array_equal(np.asarray(PILImage.open(io.BytesIO(masks[2])).convert("L")), mask)
    assert [step.operator for step in pairs[2].steps] == ["to_rgb", "turn_mask"]


def test_a_list_of_texts_gives_its_first_and_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    row = minimal(tmp_path, prompt=["first", "second"], back=None)
    write_files(tmp_path, {"x.jsonl": as_jsonl([row, {**row, "back": " undo\nit ", "score": "6.5"}])})
    reader = own(tmp_path, f"{MINIMAL} reverse=back", scores=("score",))
    pairs, _ = read_all(reader)
    assert [pair.texts for pair in pairs] == [
        {"instruction": "first"},
        {"instruction": "first", "reverse": "undo it"},
    ]
    assert [dict(pair.scores) for pair in pairs] == [{}, {"score": 6.5}]
    assert pairs[0].group == pairs[1].group and len(pairs[0].group) == 16  # the same input
    second = own(tmp_path, MINIMAL.replace("prompt", "prompt.1"))
    assert {pair.texts["instruction"] for pair in read_all(second)[0]} == {"second"}
