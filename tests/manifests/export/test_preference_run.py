"""Preferences of small datasets with candidates, read back in the ways of the loaders that they are for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from infra.command import main
from manifests.dataset import Dataset, DatasetError, plan_table
from manifests.export import preference_run
from manifests.export.preference_layouts import PICK_A_PIC, TRL
from manifests.export.preference_run import export_preferences
from manifests.export.preferences import Wanted, rank_of
from manifests.schema import Item
from tests.datasets import sha256_by_file
from tests.manifests.make import HEIGHT_PX, LICENCE, SOURCE, WIDTH_PX, make_dataset, make_plan, photo
from tests.manifests.verify.damage import flip

Load = Callable[..., Any]

BY_SSIM = Wanted(rank="ssim")
"""Of each pair tests.manifests.make keeps three photos, which have 0, 0.1 and 0.2; the second won."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(str(tmp_path_factory.mktemp("derain")), units=2, pairs=3, candidates=True)


def test_the_columns_of_trl(dataset: Dataset, tmp_path: Path, load: Load) -> None:
    """What a preference dataset with images has, by huggingface/trl@f2cd5771:trl/trainer/dpo_trainer.py.

    Line 715: it is one of images if a sample has the key "images"; lines 227-228 and 311-325 of
    DataCollatorForVisionPreference: "images" is a list, beside "prompt", "chosen" and "rejected".
    reward_trainer.py, lines 147-148: "margin" is a number.
    """
    done = export_preferences([dataset], TRL, str(tmp_path / "out"), BY_SSIM)
    rows = load(str(tmp_path / "out"), split="train")
    assert len(rows) == done.description["examples"] == 6
    for row, pair in zip(rows, dataset.pairs(), strict=True):
        assert isinstance(row["prompt"], str) and row["prompt"] == pair.example("forward", "generate").instruction
        (shown,) = row["images"]
        assert np.array_equal(np.asarray(shown), pair.image("input"))
        assert np.array_equal(np.asarray(row["chosen"]), photo(1))
        assert np.array_equal(np.asarray(row["rejected"]), photo(0))
        assert (row["score_chosen"], row["score_rejected"], row["margin"]) == (0.1, 0.0, 0.1)
        assert json.loads(row["scores_chosen"]) == {"ssim": 0.1} and row["rank"] == "ssim"
        assert (row["reason_chosen"], row["reason_rejected"]) == (None, "low_ssim")
        assert json.loads(row["made_by_rejected"])["seed"] == 0
        assert (row["pair"], row["source"], row["licence"]) == (pair.key, SOURCE, LICENCE)


def test_the_columns_of_diffusers(dataset: Dataset, tmp_path: Path, load: Load) -> None:
    """huggingface/diffusers@58eb52c0:examples/research_projects/diffusion_dpo/train_diffusion_dpo.py.

    Line 449: captions are texts, or lists of them; lines 683-694: jpg_0 and jpg_1 are bytes, which Image.open reads,
    and exchanged where label_0 is 0, so that the better one comes first.
    """
    export_preferences([dataset], PICK_A_PIC, str(tmp_path / "out"), BY_SSIM)
    rows = load(str(tmp_path / "out"), split="train")
    labels = [*rows["label_0"]]
    assert set(labels) == {0.0, 1.0}
    for row in rows:
        assert isinstance(row["caption"], str)
        two = [PILImage.open(io.BytesIO(row[name])).convert("RGB") for name in ("jpg_0", "jpg_1")]
        scores = [row["score_0"], row["score_1"]]
        if row["label_0"] == 0:
            two, scores = two[::-1], scores[::-1]
        assert np.array_equal(np.asarray(two[0]), photo(1)) and np.array_equal(np.asarray(two[1]), photo(0))
        assert scores == [0.1, 0.0] and row["label_0"] + row["label_1"] == 1
        assert row["images"][0].size == (WIDTH_PX, HEIGHT_PX)


def test_rejects_margins_and_what_is_left_out(dataset: Dataset, tmp_path: Path) -> None:
    """Of each unit's reject the third photo is better than the two others; both units' rejects have equal pictures."""
    higher, rejected = (
        "whose worse picture ranks higher: another bound refused it",
        "of rejected pairs, whose input is not stored (--rejects takes them)",
    )
    done = export_preferences([dataset], TRL, str(tmp_path / "without"), BY_SSIM)
    assert done.description["left_out"] == {higher: 6, rejected: 4}
    wanted = Wanted(rank="ssim", rejects=True, margin=0.15)
    done = export_preferences([dataset], TRL, str(tmp_path / "with"), wanted)
    (row,) = pq.read_table(tmp_path / "with/data").to_pylist()
    assert row["images"] == [] and row["prompt"] == "a hat" and row["margin"] == 0.2
    assert (row["source"], row["licence"]) == ("not recorded", "not recorded")
    less = "with a margin of less than 0.15"
    assert done.description["left_out"] == {higher: 6, less: 6 + 2, "that are there already": 1}
    assert "not recorded" in (tmp_path / "with/LICENCES.md").read_text()


def test_only_allowed_licences_are_exported(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pairs' source is CC0, and what their candidates say is that FLUX.1 [dev] made them."""
    asked = ["export", dataset.url, "--to", "preference", "--rank", "ssim", "--out"]
    assert main([*asked, str(tmp_path / "out"), "--allow-licence", "commercial"]) != 0
    assert "6 under a licence that is not allowed: LicenseRef-FLUX.1-dev;" in capsys.readouterr().err
    assert main([*asked, str(tmp_path / "out"), "--allow-licence", "research"]) == 0
    assert main([*asked, str(tmp_path / "out"), "--allow-licence", "research"]) == 0
    assert "was there already" in capsys.readouterr().out
    assert "LICENSE-FLUX1-dev) | no | yes | yes | no |" in (tmp_path / "out/LICENCES.md").read_text()


def test_the_limit_counts_preferences(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preference_run, "PART_BYTES", 1)
    export_preferences([dataset], TRL, str(tmp_path / "out"), BY_SSIM, limit=4)
    sizes = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "out/data").iterdir())]
    assert sizes == [3, 1]


def test_interrupted_and_run_again_it_is_the_same(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preference_run, "PART_BYTES", 1)
    wanted, out = Wanted(rank="ssim", rejects=True), tmp_path / "again"
    export_preferences([dataset], TRL, str(tmp_path / "whole"), wanted)
    monkeypatch.setattr(preference_run, "_explained", None)
    with pytest.raises(TypeError):
        export_preferences([dataset], TRL, str(out), wanted)
    (out / ".export/00001.json").unlink()  # of two parts the second was not recorded, whose rejects the first has too
    first = (out / "data/train-00000-of-00002.parquet").stat().st_mtime_ns
    monkeypatch.undo()
    monkeypatch.setattr(preference_run, "PART_BYTES", 1)
    assert not export_preferences([dataset], TRL, str(out), wanted).was_there
    assert sha256_by_file(out) == sha256_by_file(tmp_path / "whole")
    assert (out / "data/train-00000-of-00002.parquet").stat().st_mtime_ns == first
    assert export_preferences([dataset], TRL, str(out), wanted).was_there
    with pytest.raises(ValueError, match=r"another|other"):
        export_preferences([dataset], PICK_A_PIC, str(out), wanted)


def test_what_cannot_be_exported_is_said(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(ValueError, match="--keep-candidates"):
        export_preferences([make_dataset(str(tmp_path / "plain"), units=1)], TRL, out)
    with pytest.raises(ValueError, match="name it by --rank"):
        export_preferences([dataset], TRL, out)
    with pytest.raises(ValueError, match="24 candidates without the score psnr"):
        export_preferences([dataset], TRL, out, Wanted(rank="psnr"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    unfinished = Dataset(str(tmp_path / "unfinished"))
    make_plan(unfinished)
    with pytest.raises(DatasetError, match="unfinished"):
        export_preferences([unfinished], TRL, out)
    for arguments, said in (
        (["--to", "preference", "--kind", "generate"], "no place for --kind"),
        (["--to", "imagefolder", "--margin", "0.1"], "--margin, --rank and --rejects are of preference"),
    ):
        assert main(["export", dataset.url, "--out", out, *arguments]) == 2
        assert said in capsys.readouterr().err


def test_a_changed_candidate_is_found(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path / "derain"), units=1, pairs=1, candidates=True)
    flip(tmp_path / "derain/candidates/derain-000000.tar", 600)
    with pytest.raises(DatasetError, match=r"candidate .*\.0\.png is not what its JSON says"):
        export_preferences([dataset], TRL, str(tmp_path / "out"), BY_SSIM)
    assert not (tmp_path / "out/export.json").exists()


def test_the_score_that_the_dataset_chose_by(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    config = {"operators": [{"name": "swap"}, {"name": "best_edit", "rank": "clip_direction"}]}
    dataset.write_plan("editing", config, "0" * 64, plan_table([[Item(ref="1", files=("1.png",))]]))
    assert rank_of(dataset, None) == "clip_direction" and rank_of(dataset, "dino") == "dino"


def test_the_command(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["export", dataset.url, "--to", "preference-diffusers", "--out", str(out), "--rank", "ssim"]
    assert main([*command, "--margin", "0.05"]) == 0
    assert "6 preferences as preference-diffusers" in capsys.readouterr().out
    assert "jpg_0 where label_0 is 1" in (out / "SAMPLE.md").read_text()
    with PILImage.open(out / "sample/1.png") as sheet:
        assert sheet.size == (900, 300)
    assert main([*command, "--margin", "0.05"]) == 0
    assert "was there already" in capsys.readouterr().out
