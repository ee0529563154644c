"""Pairs of a user's own, from a table that no record knows, to a dataset: input, two references, instruction, mask."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.command import main
from infra.tiny.chameleon import write_chameleon
from manifests.dataset import Dataset, DatasetError
from manifests.export.formats import FORMATS
from manifests.schema import NOTHING_KEPT
from pipelines import plan
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.own_pairs import PAIRS
from tests.datasets import examples, make_dataset, nearest, reader_of, reasons, sha256_by_file, stored_bytes, totals
from tests.sources import HEIGHT_PX, WIDTH_PX, encode, jpeg, photo, write_files

ROWS = 50
COLUMNS = {
    "input": ["photo", "refs"],
    "target": "edited",
    "instruction": "prompt",
    "mask": "region",
    "group": "scene",
    "licence": "rights",
}
WORDS = ["input=photo,refs", "target=edited", "instruction=prompt", "mask=region", "group=scene", "licence=rights"]

REFUSED = {
    "instruct-pix2pix": "50 with 3 input images, and the format has place for 1",
    "bagel": "50 with 3 input images, and the format has place for 1",
    "chat": "50 generate",
}
"""What the formats say that have no place for three inputs, or for an image that is to be made."""


def write_own(root: Path, count: int = ROWS) -> list[dict[str, Any]]:
    """A table of pairs and their images: photos of which a region became that of another."""
    rows: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for number in range(count):
        region = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
        region[number % 20 :, : 10 + number % 30] = 255
        one, other, third = (photo(number + step) for step in (0, 100, 200))
        row: dict[str, Any] = {
            "photo": f"photos/{number:03d}.jpg",
            "refs": [f"refs/{number:03d}a.png", f"refs/{number:03d}b.webp"],
            "edited": f"edited/{number:03d}.png",
            "region": f"regions/{number:03d}.png",
        }
        files |= {
            row["photo"]: jpeg(number),
            row["refs"][0]: encode(other),
            row["refs"][1]: encode(third, "WEBP", lossless=True),
            row["edited"]: encode(np.where(region[..., None] > 0, other, one)),
            row["region"]: encode(region),
        }
        words = f"put what image 2 shows into the region, in the light of image 3 ({number})"
        rows.append({**row, "prompt": words, "scene": f"scene {number // 2}", "rights": "CC0-1.0", "ignored": number})
    write_files(root, {**files, "mine.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()})
    return rows


@dataclass(frozen=True, kw_only=True)
class Own:
    """The table and its images in `own/`, and the dataset of it in `out/pairs/`."""

    root: Path
    rows: list[dict[str, Any]]

    @property
    def table(self) -> str:
        return str(self.root / "own/mine.jsonl")

    @property
    def out(self) -> Path:
        return self.root / "out"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Own:
    root = tmp_path_factory.mktemp("walk")
    made = Own(root=root, rows=write_own(root / "own"))
    assert main(["shards", "pairs", "--data", made.table, "--columns", *WORDS, "--out", str(made.out)]) == 0
    return made


def test_without_columns_it_says_which_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own(tmp_path / "own", 1)
    assert main(["shards", "pairs", "--data", str(tmp_path / "own/mine.jsonl"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "mine.jsonl has the columns photo, refs, edited, region, prompt, scene, rights, ignored" in said
    assert said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_table_that_no_record_knows_becomes_a_dataset(own: Own, tmp_path: Path) -> None:
    rows, table, out = own.rows, own.table, own.out
    dataset = Dataset(str(out / "pairs"))
    assert (totals(dataset)["pairs"], totals(dataset)["rejects"]) == (ROWS, 0)
    made = {row["source_ref"]: row for row in examples(dataset)}
    assert made.keys() == {f"mine.jsonl#{number}" for number in range(ROWS)}
    for number, row in enumerate(rows):
        example = made[f"mine.jsonl#{number}"]
        assert (example["direction"], example["kind"], example["output"]) == ("forward", "generate", "target")
        assert example["inputs"] == ["input", "input_2", "input_3"] and example["instruction"] == row["prompt"]
        assert example["source_group"] == row["scene"] and example["licence"] == "CC0-1.0"
        paths = {"input": row["photo"], "input_2": row["refs"][0], "input_3": row["refs"][1]}
        for role, path in {**paths, "target": row["edited"], "mask": row["region"]}.items():
            assert stored_bytes(dataset, example, role) == (own.root / "own" / path).read_bytes()
        shown = next(one for one in made.values() if one["pair"] == nearest(example)["pair"])
        assert shown["source_group"] != row["scene"]
        assert {"visible_change", "mean_abs_diff"} <= dict(example["scores"]).keys()
    assert main(["verify", str(out / "pairs")]) == 0
    # From Python, with a mapping and of the folder, it is the same dataset; with other columns it is not.
    prepared, _ = plan("pairs", data=own.root / "own", columns=COLUMNS)
    made_here = make_dataset(tmp_path / "here", None, task=prepared.task, reader=prepared.reader)
    assert sha256_by_file(tmp_path / "here") == sha256_by_file(out)
    prepared, _ = plan("pairs", data=table, columns=" ".join(["input=photo", *WORDS[1:]]))
    with pytest.raises(DatasetError, match="another configuration"):
        make_dataset(tmp_path / "here", None, task=prepared.task, reader=prepared.reader)
    assert totals(made_here)["pairs"] == ROWS


def test_it_gets_contexts_is_trained_on_and_exported_to_every_format(
    own: Own, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What each format's files hold, tests/manifests/export checks with its reader; here, that all are there."""
    shutil.copytree(own.out, tmp_path / "out")
    url = str(tmp_path / "out/pairs")
    assert main(["contexts", url, "--k", "3"]) == 0
    rows = examples(Dataset(url))
    scenes = {row["pair"]: row["source_group"] for row in rows}
    for row in rows:
        assert len({one["pair"] for one in row["contexts"]}) == 3
        assert row["source_group"] not in {scenes[one["pair"]] for one in row["contexts"]}
    assert main(["verify", url]) == 0

    write_chameleon(tmp_path / "models")
    model = str(tmp_path / "models/chameleon")
    assert main(["tokens", "pairs", "--out", str(tmp_path / "out"), "--models", str(tmp_path / "models")]) == 0
    capsys.readouterr()
    steps = ["--steps", "2", "--warmup-steps", "1", "--workers", "0"]
    assert main(["train", "--data", url, "--model", model, "--out", str(tmp_path / "run"), *steps]) == 0
    said = capsys.readouterr().out
    assert "step     2 of 2" in said and "left out" not in said
    assert (tmp_path / "run/model/config.json").exists()

    for form in FORMATS:
        out = tmp_path / "exports" / form.name
        status = main(["export", url, "--to", form.name, "--out", str(out)])
        printed = capsys.readouterr()
        if form.name in REFUSED:
            assert status == NOTHING_KEPT and REFUSED[form.name] in printed.err and printed.err.count("\n") == 1
            assert not out.exists()
        else:
            assert status == 0 and "50 examples" in printed.out, (form.name, printed)
            assert (out / "SAMPLE.md").exists()


def test_the_first_line_says_what_is_read_and_that_nobody_said_the_licence(tmp_path: Path) -> None:
    write_own(tmp_path, 9)
    prepared, estimated = plan(PAIRS, data=tmp_path / "mine.jsonl", columns=WORDS[:3])
    assert prepared.taken_as.endswith(
        "mine.jsonl; it takes photo as input, refs as input_2, edited as target, prompt as instruction; not read: "
        "region, scene, rights, ignored; licence: unknown"
    )
    assert estimated.pairs == 9 and {role for role, _ in estimated.examples} == {"forward"}
    prepared, _ = plan(PAIRS, data=tmp_path / "*.jsonl", columns=WORDS[:3], licence="MIT")
    assert prepared.reader.licence == "MIT"


def test_rows_that_are_no_pairs_are_rejected_with_their_reasons(tmp_path: Path) -> None:
    rows = write_own(tmp_path, 9)
    rows[1]["prompt"] = "like image 4"
    rows[2]["refs"] = rows[2]["refs"][:1]  # the instruction speaks of image 3
    rows[3]["edited"] = rows[3]["photo"]
    rows[4]["photo"] = "photos/gone.jpg"
    rows[5]["region"] = "/etc/passwd"
    lines = [json.dumps(row) for row in rows]
    lines[6] = lines[6][:-5]
    write_files(tmp_path, {"mine.jsonl": "\n".join(lines).encode(), rows[7]["edited"]: encode(photo(0))[:600]})
    prepared, _ = plan("pairs", data=tmp_path / "mine.jsonl", columns=COLUMNS)
    dataset = make_dataset(tmp_path / "out", None, task=prepared.task, reader=prepared.reader)
    assert reasons(dataset) == {
        "mine.jsonl#1": "other_arity",
        "mine.jsonl#2": "other_arity",
        "mine.jsonl#3": "identical_pair",
        "mine.jsonl#4": "missing",
        "mine.jsonl#5": "outside",
        "mine.jsonl#6": "damaged",
        "mine.jsonl#7": "truncated",
    }
    assert totals(dataset)["pairs"] == 9 - 7


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    write_own(tmp_path, 9)
    for options, said in (
        ({"columns": "input=foto target=edited instruction=prompt"}, "no column foto: did you mean photo"),
        ({"columns": "inpt=photo"}, "--columns: inpt is nothing that a column is taken for: did you mean input"),
        ({"columns": COLUMNS, "as_": "someone"}, "--as someone: there is own pairs"),
        ({"colums": COLUMNS}, "pairs has no option colums: did you mean columns"),
    ):
        with pytest.raises(ValueError, match=r"\A[^\n]*\Z") as refused:
            plan("pairs", data=tmp_path / "mine.jsonl", **options)
        assert said in str(refused.value)
    with pytest.raises(ValueError, match="there is no folder"):
        reader_of(OUR_TASKS["pairs"], tmp_path / "gone.jsonl")
