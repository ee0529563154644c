"""The 100 edits that section 4.4 is tested on, from the hub's files to a dataset that nothing trains on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.prepare import prepare
from pipelines.run.plan import folder_name, make_job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.editing import INSTRUCTPIX2PIX
from tests.datasets import examples
from tests.fixtures import write_instructpix2pix


def test_the_list_becomes_a_dataset_to_test_with(tmp_path: Path) -> None:
    write_instructpix2pix(tmp_path / "source")
    prepared = prepare(INSTRUCTPIX2PIX, {"data": str(tmp_path / "source"), "split": "test"})
    folder = folder_name(prepared.task, prepared.reader)
    job = make_job(prepared.task, prepared.reader, str(tmp_path / folder), 0)
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    rows = [row for row in examples(job.dataset) if (row["direction"], row["kind"]) == ("forward", "generate")]
    assert (folder, job.plan.test_split, len(rows)) == ("instructpix2pix-test", "test", 100)
    assert all(row["instruction"].startswith(("add ", "remove ")) for row in rows)


def test_nothing_trains_on_it(tmp_path: Path) -> None:
    write_instructpix2pix(tmp_path)
    with pytest.raises(ValueError, match="test split of InstructPix2Pix, which is for evaluation alone"):
        prepare(INSTRUCTPIX2PIX, {"data": str(tmp_path)})
