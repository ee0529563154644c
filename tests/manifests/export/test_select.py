"""What of datasets is exported: in-context examples in their ranks, of other datasets too; manifests of version 1."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.dataset import Dataset
from manifests.export.formats import format_named
from manifests.export.run import export
from manifests.export.select import Choice
from manifests.schema import CONTEXT
from manifests.write.contexts import Contexts, finish_rewriting, read_columns, write_contexts
from tests.commands import ROOT
from tests.manifests.export.make import encoded, key, make_mixed


def test_contexts_are_in_their_ranks_and_of_other_datasets(tmp_path: Path) -> None:
    make_mixed(tmp_path / "other", task="other")
    dataset = make_mixed(tmp_path / "mixed")
    ranks = [("other", key(2, "other")), (None, key(3)), ("other", key(1, "other"))]
    entries = [{"dataset": place, "pair": pair, "score": 0.5} for place, pair in ranks]
    for unit in dataset.unit_names():
        rows = read_columns(dataset, unit, ["pair"]).num_rows
        write_contexts(dataset, unit, Contexts(ranked=pa.array([entries] * rows, pa.list_(CONTEXT)), method="m"))
    finish_rewriting(dataset, dataset.plan())

    def exported(form: str, most: int | None) -> Path:
        out = tmp_path / f"{form}-{most}"
        export(
            [dataset],
            format_named(form),
            str(out),
            Choice(where="source_ref = '0' AND kind = 'generate'", contexts=most),
        )
        return out

    (row,) = pq.read_table(exported("parquet", None) / "data").to_pylist()
    assert [context["pair"] for context in row["contexts"]] == [pair for _, pair in ranks]
    assert [context["output"]["bytes"] for context in row["contexts"]] == [encoded(n, "target") for n in (2, 3, 1)]
    assert [len(context["inputs"]) for context in row["contexts"]] == [2, 1, 1]
    (line,) = (exported("imagefolder", 2) / "train/metadata.jsonl").read_text().splitlines()
    assert fnmatch(json.loads(line)["context_2_output_file_name"], f"images/{key(3)}-target-????????.tif")
    assert "context_3" not in line and f"{key(2, 'other')}-mask-" in line
    licences = (tmp_path / "parquet-None/LICENCES.md").read_text().splitlines()
    assert licences[-2:] == ["| CC-BY-4.0 | photos | 0 | 2 |", "| CC0 | photos | 1 | 1 |"]
    said = json.loads((exported("musubi-tuner", None) / "export.json").read_text())
    assert said["without"] == {"in-context examples": 3}


def test_manifests_of_version_1(tmp_path: Path) -> None:
    dataset = Dataset(str(ROOT / "tests/data/version-1/derain"))
    choice = Choice(kind="generate", where="len(contexts) = 1", limit=2)
    export([dataset], format_named("parquet"), str(tmp_path / "out"), choice)
    rows = pq.read_table(tmp_path / "out/data").to_pylist()
    stored = {pair.key: pair.example("forward", "generate") for pair in dataset.pairs()}
    assert len(rows) == 2
    for row in rows:
        (context,) = row["contexts"]
        (named,) = stored[row["pair"]].ranked
        assert context["pair"] == named["pair"] != row["pair"]
