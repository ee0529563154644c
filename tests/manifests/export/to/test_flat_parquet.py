"""Read back by Hugging Face datasets, whose features the schema's metadata names, and by DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from manifests.dataset import Dataset
from manifests.export.formats import format_named
from manifests.export.run import export
from manifests.export.select import Choice
from tests.manifests.export.make import ANSWER, ASKED, BACK, ODD, PLAIN, encoded, key, pixels


def test_datasets_opens_every_image(mixed: Dataset, tmp_path: Path, load: Callable[..., Any]) -> None:
    import datasets

    out = tmp_path / "out"
    export([mixed], format_named("parquet"), str(out), Choice(direction="both"))
    rows = load(str(out))["train"]
    assert rows.features["output"] == datasets.Image() == rows.features["mask"]
    assert rows.features["inputs"] == datasets.List(datasets.Image())
    assert rows.features["contexts"].feature["output"] == datasets.Image()
    texts = {(row["pair"], row["direction"], row["kind"]): (row["instruction"], row["text"]) for row in rows}
    assert texts == {
        (key(number), direction, kind): said
        for number in range(4)
        for direction, kind, said in (
            ("forward", "generate", (ODD if number == 3 else PLAIN, None)),
            ("reverse", "generate", (BACK, None)),
            ("forward", "describe", (ASKED, ANSWER)),
            ("reverse", "describe", (ASKED, "Dry.")),
        )
    }
    other = {0: 1, 1: 0, 2: 3, 3: 2}
    forward = [row for row in rows if (row["direction"], row["kind"]) == ("forward", "generate")]
    for number, row in enumerate(forward):
        inputs = ["input", "reference"] if number == 2 else ["input"]
        assert row["input_roles"] == inputs
        _assert_same([*row["inputs"], row["output"]], number, [*inputs, "target"])
        (context,) = row["contexts"]
        assert (context["pair"], context["instruction"]) == (key(other[number]), ODD if other[number] == 3 else PLAIN)
        theirs = ["input", "reference"] if other[number] == 2 else ["input"]
        _assert_same([*context["inputs"], context["output"]], other[number], [*theirs, "target"])
        assert (row["licence"], row["source_ref"]) == (("CC0", "CC-BY-4.0")[number % 2], str(number))
        assert row["scores"] == [{"name": "ssim", "value": number / 10}]
        assert (row["mask"] is not None) is (number == 2)
    _assert_same([forward[2]["mask"].convert("RGB")], 2, ["mask"])


def test_files_are_those_that_are_stored(mixed: Dataset, tmp_path: Path) -> None:
    done = export([mixed], format_named("parquet"), str(tmp_path / "out"), Choice(contexts=0))
    sql = f"""SELECT pair, inputs[1].bytes, output.bytes, len(contexts) FROM '{tmp_path}/out/data/*.parquet'
              WHERE kind = 'generate'"""
    found = duckdb.execute(sql).fetchall()
    assert found == [(key(n), encoded(n, "input"), encoded(n, "target"), 0) for n in range(4)]
    assert done.description["converted"] == {}


def _assert_same(images: list[Any], number: int, roles: list[str]) -> None:
    for image, role in zip(images, roles, strict=True):
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels(number, role))
