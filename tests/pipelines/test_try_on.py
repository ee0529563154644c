"""The try-on task from end to end: pairs as published, and pairs whose target is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from operators.option import with_options
from operators.paint.try_on import TryOn
from operators.read.bundled_person import BundledPerson
from pipelines.tasks.personalisation import TRY_ON
from tests.datasets import nearest, reader_of
from tests.fixtures import write_viton_hd
from tests.generated import generate
from tests.tiny import tiny_models

FAST = replace(TRY_ON, chain=(TryOn(steps=2), *TRY_ON.chain[1:])).keeping_all()


def test_pairs_as_published_need_no_model(tmp_path: Path) -> None:
    write_viton_hd(tmp_path / "source")
    out = generate(TRY_ON, reader_of(TRY_ON, str(tmp_path / "source")), "/nowhere", tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 4
    for row in rows:
        assert (row["direction"], row["kind"], row["inputs"]) == ("forward", "generate", ["person", "cloth"])
        assert (row["output"], bool(nearest(row)["pair"])) == ("target", True)
        assert {image["role"] for image in row["images"]} == {"person", "cloth", "target", "mask"}
        assert dict(row["scores"])["changed_area"] >= 0.01


def test_missing_ones_are_made(tmp_path: Path) -> None:
    write_viton_hd(tmp_path / "source")
    reader = with_options(reader_of(FAST, tmp_path / "source"), {"count": 7})
    out = generate(FAST, reader, tiny_models("sd15-inpaint", "sd15-tryon"), tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    made = [row for row in rows if "+" in row["source_ref"]]
    assert (len(rows), len(made)) == (6, 2)
    for row in made:
        assert {image["role"] for image in row["images"]} == {"person", "cloth", "mask", "target"}
        assert {step["model"] for step in row["steps"] if step["model"]} == {"sd15-inpaint", "sd15-tryon"}
        assert all(step["seed"] for step in row["steps"] if step["model"])


def test_the_bundled_input(tmp_path: Path) -> None:
    reader = reader_of(FAST, None)
    assert isinstance(reader, BundledPerson)
    out = generate(FAST, replace(reader, crops_per_photo=1), tiny_models("sd15-inpaint", "sd15-tryon"), tmp_path)
    assert len(pq.read_table(out / "manifest").to_pylist()) == 4
