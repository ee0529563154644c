"""Read back by Hugging Face datasets' imagefolder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from manifests.dataset import Dataset
from manifests.export.formats import format_named
from manifests.export.run import export
from manifests.export.select import Choice
from tests.manifests.export.make import ODD, PLAIN, encoded, key, pixels


def test_datasets_opens_every_image(mixed: Dataset, tmp_path: Path, load: Callable[..., Any]) -> None:
    """By the folder alone, which has other files and pictures too, and as diffusers' scripts do, by `**` in a folder.

    datasets tells a column's type by the first 10 MB of lines, so the first line that has a column is ahead of others.
    """
    out = tmp_path / "out"
    export([mixed], format_named("imagefolder"), str(out), Choice(kind="generate"))
    rows = load(str(out))["train"]
    assert [row["pair"] for row in rows] == [key(0), key(2), key(3), key(1)]
    images = ("input", "input_2", "output", "mask", "context_1_input", "context_1_input_2", "context_1_output")
    assert [name for name in rows.column_names if type(rows.features[name]).__name__ == "Image"] == [
        *images,
        "context_1_mask",
    ]
    for row in rows:
        number, other = int(row_number(row)), {0: 1, 1: 0, 2: 3, 3: 2}[int(row_number(row))]
        assert row["instruction"] == (ODD if number == 3 else PLAIN)
        assert row["context_1_instruction"] == (ODD if other == 3 else PLAIN)
        roles = ["input", *(["reference"] if number == 2 else [None]), "target", "mask" if number == 2 else None]
        theirs = ["input", *(["reference"] if other == 2 else [None]), "target"]
        for column, role in zip(images, [*roles, *theirs], strict=True):
            if role is None:
                assert row[column] is None, column
            else:
                expected = pixels(number if column in images[:4] else other, role)
                np.testing.assert_array_equal(np.asarray(row[column].convert("RGB")), expected)
    again = load("imagefolder", data_files={"train": str(out / "train/**")})["train"]
    assert again.features == rows.features
    assert [*again["pair"]] == [*rows["pair"]]


def test_a_picture_of_several_examples_is_one_file(mixed: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export([mixed], format_named("imagefolder"), str(out), Choice(direction="both"))
    names = sorted(path.name for path in (out / "train/images").iterdir())
    assert len(names) == 4 * 2 + 2
    assert done.description["converted"] == {"turned, transparent, deep, or of other colours than sRGB": 1}
    assert _only(out, f"{key(1)}-target-*.webp").read_bytes() == encoded(1, "target")
    assert _only(out, f"{key(3)}-target-*.tif").read_bytes() == encoded(3, "target")
    lines = [json.loads(line) for line in (out / "train/metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 16 and len({tuple(line) for line in lines}) == 1
    assert sorted(
        {value for line in lines for name, value in line.items() if value and name.endswith("file_name")}
    ) == [f"images/{name}" for name in names]


def row_number(row: dict[str, Any]) -> int:
    return [key(number) for number in range(4)].index(row["pair"])


def _only(out: Path, pattern: str) -> Path:
    (path,) = (out / "train/images").glob(pattern)
    return path
