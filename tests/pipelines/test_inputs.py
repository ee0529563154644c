"""Every state that a user's files can be in: kept as it should be, or a reject row with the right reason."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.dataset import Dataset
from manifests.images.pixels import decode_rgb
from manifests.verify.dataset import verify
from pipelines.report.terminal import SILENT
from pipelines.run.dataset import Work, make_datasets
from pipelines.run.plan import make_job
from pipelines.tasks.low_level import DERAIN
from tests.datasets import Row, examples, image, make_dataset, params, reader_of, reasons, rejects, stored_bytes, totals
from tests.sources import (
    bomb,
    encode,
    encode_image,
    jpeg,
    photo,
    rainy_jpeg,
    turned_jpeg,
    write_files,
)

NOT_UTF8 = os.fsdecode(b"caf\xe9.jpg")


def _gray16() -> bytes:
    return encode_image(PILImage.fromarray(photo(2)[:, :, 0].astype(np.uint16) << 8))


def _alpha() -> bytes:
    image = PILImage.fromarray(photo(3))
    image.putalpha(128)
    return encode_image(image)


GOOD = {
    "plain.jpg": jpeg(0),
    "gray.png": encode(photo(1)[:, :, 0].copy()),
    "16 bit.png": _gray16(),
    "alpha.png": _alpha(),
    "cmyk.jpg": encode_image(PILImage.fromarray(photo(4)).convert("CMYK"), "JPEG"),
    "turned.jpg": turned_jpeg(photo(5), 6),
    "UPPER.JPG": jpeg(6),
    "with spaces .jpg": jpeg(7),
    "v1.2.final.jpg": jpeg(8),
    "été–雨.jpg": jpeg(9),
}
"""Photos that are kept."""

_LONG = encode(photo(0, 300, 200), "JPEG", quality=90)
BAD = {
    "truncated.jpg": _LONG[: len(_LONG) // 2],
    "empty.jpg": b"",
    "text.jpg": b"no image at all, but long enough to be one",
    "bomb.png": bomb(),
}
"""Photos that are not, whatever they are paired with."""
BAD_REASONS = {"truncated.jpg": "truncated", "empty.jpg": "empty", "text.jpg": "not_image", "bomb.png": "oversized"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    folder = tmp_path_factory.mktemp("photos")
    data = write_files(folder / "data", GOOD | BAD)
    (data / "dangling.jpg").symlink_to("nowhere.jpg")
    (data / NOT_UTF8).write_bytes(jpeg(0))
    return data, make_dataset(folder / "out", data)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> tuple[Path, Dataset]:
    """Made as the command line makes it, whose exit status is 0."""
    folder = tmp_path_factory.mktemp("pairs")
    rainy = {name: encode(photo(number) // 2, "JPEG", quality=90) for number, name in enumerate(GOOD)}
    rainy["turned.jpg"] = turned_jpeg(photo(5) // 2, 6)
    files = {f"input/{name}": file for name, file in rainy.items()}
    files |= {f"target/{name}": file for name, file in GOOD.items()}
    for name, broken in BAD.items():  # once on either side
        files |= {f"input/{name}": broken, f"target/{name}": _LONG}
        files |= {f"input/target {name}": _LONG, f"target/target {name}": broken}
    files |= {"input/no target.jpg": rainy_jpeg(0), "target/no input.jpg": jpeg(0)}
    files |= {"input/smaller.jpg": encode(photo(0, 40, 40), "JPEG"), "target/smaller.jpg": jpeg(0)}
    files |= {"input/same.png": encode(photo(0)), "target/same.png": encode(photo(0), compress_level=1)}
    data = write_files(folder / "data", files)
    job = make_job(DERAIN, reader_of(DERAIN, str(data)), str(folder / "out" / "derain"), 0)
    make_datasets([Work(job=job, models=None, taken_as="pairs", prices=None)], nullcontext, SILENT)
    return data, Dataset(str(folder / "out/derain"))


PAIR_REASONS = {
    **{f"input/{name}": reason for name, reason in BAD_REASONS.items()},
    **{f"input/target {name}": reason for name, reason in BAD_REASONS.items()},
    "input/no target.jpg": "no_target",
    "target/no input.jpg": "no_input",
    "input/smaller.jpg": "size_mismatch",
    "input/same.png": "identical_pair",
}


def test_bad_photos_are_rejected_for_the_right_reason(photos: tuple[Path, Dataset]) -> None:
    _, dataset = photos
    expected = {**BAD_REASONS, "dangling.jpg": "missing"}
    assert reasons(dataset) == expected
    _assert_counted(dataset, expected, kept=len(GOOD) + 1)  # with the one whose name is not UTF-8


def test_bad_pairs_are_rejected_for_the_right_reason(pairs: tuple[Path, Dataset]) -> None:
    _, dataset = pairs
    assert reasons(dataset) == PAIR_REASONS
    _assert_counted(dataset, PAIR_REASONS)


def test_a_reject_names_the_files_the_step_and_the_scores(pairs: tuple[Path, Dataset]) -> None:
    rows = {row["source_ref"]: row for row in rejects(pairs[1])}
    for ref, files, operator in (
        ("input/no target.jpg", ["input/no target.jpg", ""], "read"),
        ("target/no input.jpg", ["", "target/no input.jpg"], "read"),
        ("input/empty.jpg", ["input/empty.jpg", "target/empty.jpg"], "read"),
        ("input/truncated.jpg", ["input/truncated.jpg", "target/truncated.jpg"], "gate"),
        ("input/same.png", ["input/same.png", "target/same.png"], "gate"),
    ):
        assert (rows[ref]["files"], rows[ref]["operator"]) == (files, operator)
        assert rows[ref]["task"] == "derain" and rows[ref]["source"] == "Rain13K" and rows[ref]["message"]
    assert rows["input/same.png"]["scores"] == [("mean_abs_diff", 0.0)]


def test_good_photos_are_all_kept_and_stored_as_they_should(photos: tuple[Path, Dataset]) -> None:
    data, dataset = photos
    rows = _one_row_each(dataset)
    assert rows.keys() == {*GOOD, r"caf\xe9.jpg"}
    converted = {"16 bit.png", "alpha.png", "cmyk.jpg", "turned.jpg"}
    for ref, row in rows.items():
        on_disk = NOT_UTF8 if ref not in GOOD else ref
        source, stored = (data / on_disk).read_bytes(), stored_bytes(dataset, row, "target")
        assert (stored != source) is (ref in converted)
        assert ("to_rgb" in {step["operator"] for step in row["steps"]}) is (ref in converted)
        assert np.array_equal(decode_rgb(stored), decode_rgb(source))
        assert decode_rgb(stored_bytes(dataset, row, "input")).shape == decode_rgb(source).shape
    assert params(rows["turned.jpg"], "to_rgb")["turned"] is True


def test_good_pairs_are_all_kept_and_stored_as_they_should(pairs: tuple[Path, Dataset]) -> None:
    data, dataset = pairs
    rows = _one_row_each(dataset)
    assert rows.keys() == {f"input/{name}" for name in GOOD}
    for ref, row in rows.items():
        for role in ("input", "target"):
            source = (data / role / ref.removeprefix("input/")).read_bytes()
            stored = stored_bytes(dataset, row, role)
            assert (stored == source) is (ref != "input/turned.jpg")
            assert np.array_equal(decode_rgb(stored), decode_rgb(source))


def test_both_sides_of_a_turned_pair_are_upright(pairs: tuple[Path, Dataset]) -> None:
    row = _one_row_each(pairs[1])["input/turned.jpg"]
    for role in ("input", "target"):
        assert (image(row, role)["width_px"], image(row, role)["height_px"]) == (40, 48)
        with PILImage.open(io.BytesIO(stored_bytes(pairs[1], row, role))) as stored:
            assert stored.size == (40, 48)
            assert not stored.getexif()


def _one_row_each(dataset: Dataset) -> dict[str, Row]:
    """A manifest row of each pair, by source reference."""
    return {row["source_ref"]: row for row in examples(dataset)}


def _assert_counted(dataset: Dataset, expected: dict[str, str], kept: int = len(GOOD)) -> None:
    counts = Counter(expected.values())
    found = totals(dataset)
    assert (found["pairs"], found["rejects"]) == (kept, len(expected))
    assert found["rejects_by_reason"] == counts
    card = dataset.store.read("README.md").decode()
    assert all(f"| {reason} | {count} |" in card for reason, count in counts.items())
    assert json.loads(dataset.store.read("dataset.json"))["config"]["items"] == kept + len(expected)
    assert list(verify(dataset.url)) == []
