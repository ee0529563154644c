"""Candidates are a shard of their own beside the unit's, and change nothing else."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from manifests.dataset import Dataset
from manifests.images.pixels import decode_rgb
from manifests.verify.dataset import verify
from manifests.write.writer import UnitWriter
from tests.manifests.make import finish_dataset, make_dataset, make_plan, photo, write_unit

FILE = "candidates/derain-000001.tar"


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_all_other_files_are_the_same_bytes(tmp_path: Path) -> None:
    make_dataset(str(tmp_path / "without"))
    make_dataset(str(tmp_path / "with"), candidates=True)
    make_dataset(str(tmp_path / "again"), candidates=True)
    without, with_them = content(tmp_path / "without"), content(tmp_path / "with")
    assert with_them == content(tmp_path / "again")
    assert with_them.keys() - without.keys() == {f"candidates/derain-{unit:06d}.tar" for unit in range(3)}
    assert {name: with_them[name] for name in without} == without
    assert list(verify(str(tmp_path / "with"))) == []


def test_a_unit_in_which_nothing_was_chosen_has_no_tar(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset)
    for unit in range(3):
        write_unit(dataset, plan, unit, candidates=unit == 1)
    finish_dataset(dataset, plan)
    assert [path.name for path in (tmp_path / "candidates").iterdir()] == ["derain-000001.tar"]
    assert list(verify(str(tmp_path))) == []


def test_webdataset_reads_a_sample_a_pair_with_what_is_said_of_each_candidate(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path), candidates=True)
    samples = [*wds.WebDataset(str(tmp_path / FILE), shardshuffle=False)]
    pairs = {pair.key: pair for pair in dataset.pairs() if pair.key in {sample["__key__"] for sample in samples}}
    assert len(samples) == 5 and len(pairs) == 4  # and the one that was rejected
    for sample in samples:
        records = [json.loads(sample[f"{number}.json"]) for number in range(3)]
        assert sample.keys() - {"__key__", "__url__", "__local_path__"} == {
            f"{number}.{ending}" for number in range(3) for ending in ("png", "json")
        }
        assert [record["won"] for record in records] == [False, sample["__key__"] in pairs, False]
        for number, record in enumerate(records):
            assert record["pair"] == sample["__key__"]
            assert np.array_equal(decode_rgb(sample[f"{number}.png"]), photo(number))
            assert (record["operator"], record["params"], record["seed"]) == ("paint", {"part": "kontext"}, number)
            assert (record["prompt"], record["model"], record["model_revision"]) == ("a hat", "flux", "main")
            assert (record["scores"], record["reason"]) == ({"ssim": number / 10}, None if number else "low_ssim")
            # By hand: the sha256 of the JSON without it, in its one spelling, and of the picture after that.
            about = {key: value for key, value in record.items() if key != "sha256"}
            spelled = json.dumps(about, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert record["sha256"] == hashlib.sha256(spelled.encode() + sample[f"{number}.png"]).hexdigest()
    rejected = next(sample for sample in samples if sample["__key__"] not in pairs)
    assert json.loads(rejected["0.json"])["source_ref"] == "photo.png#9"


def test_the_pictures_are_not_held_until_the_unit_is_written(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset)
    writer = write_unit(dataset, plan, 0, candidates=True)
    assert [stored.pair.candidates for stored in writer.stored] == [()] * 4


def test_they_appear_before_the_unit_is_committed_and_not_at_all_if_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset)
    monkeypatch.setattr("manifests.write.writer.write_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_unit(dataset, plan, 1, candidates=True)
    assert dataset.committed() == set()
    with tarfile.open(tmp_path / FILE) as tar:
        assert len(tar.getnames()) == 5 * 3 * 2
    for folder in ("candidates", "shards"):
        (tmp_path / f"{folder}/derain-000001.tar").unlink()
    monkeypatch.setattr(UnitWriter, "reject", lambda *_: 1 / 0)  # after the candidates of four pairs
    with pytest.raises(ZeroDivisionError):
        write_unit(dataset, plan, 1, candidates=True)
    assert [*content(tmp_path)] == ["plan.parquet"]


def test_what_a_killed_writer_leaves_is_removed_at_the_end(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path), candidates=True)
    left = tmp_path / "candidates/.derain-000000.tar.0.tmp"
    left.write_bytes(b"half")
    assert [finding.file for finding in verify(str(tmp_path))] == [str(left)]
    (tmp_path / "dataset.json").unlink()
    finish_dataset(dataset, dataset.plan())
    assert list(verify(str(tmp_path))) == []
