"""`xprompt demo` from its arguments to its sheet, small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from infra.command import main
from infra.demo.package import package
from infra.demo.tokenizer import psnr_db
from manifests.dataset import Dataset
from xprompt_model.model import XPromptChameleon
from xprompt_model.vqgan import VQGAN

_TASKS = ("recolour-swapped", "recolour-grey")


def _pixels(file: Path) -> np.ndarray:
    return np.asarray(PILImage.open(file))


def _run(out: Path, *more: str) -> int:
    sizes = ["--photos", "6", "--held-out", "1", "--rows", "1", "--steps", "2", "--cpus", "2"]
    tasks = ["infra.demo.tasks:SWAPPED", "infra.demo.tasks:GREY"]
    return main(["demo", "--out", str(out), "--tasks", *tasks, *sizes, *more])


def _check(out: Path, printed: str) -> None:
    """The sheet, and that the table's figures are those of the pictures that lie in the folder."""
    assert PILImage.open(out / "sheet.png").size == (6 + 7 * (128 + 6), 14 + 2 * (128 + 14 + 6))
    query = _pixels(out / "photos-held-out/0000.png")
    truth = query[..., ::-1]
    (pair,) = Dataset(str(out / "data-held-out/recolour-swapped")).pairs()
    (answers,) = (out / "answers").iterdir()
    folders = ("own", "other/recolour-swapped", "none")
    made = [_pixels(answers / folder / f"{pair.key}.forward.png") for folder in folders]
    row = re.search(r"\| recolour-swapped \| 1 \| (\S+) dB \| (\S+) dB \| (\S+) dB \| (\S+) dB \|", printed)
    assert row and row.groups() == tuple(f"{psnr_db(one, truth):.1f}" for one in (query, *made))
    said = [line.split()[2] for line in printed.splitlines() if line.startswith("$ xprompt ")]
    assert said == [*["shards"] * 4, *["tokens"] * 2, "train", *["predict"] * 4]
    _check_contexts(out, answers)


def _check_contexts(out: Path, answers: Path) -> None:
    """Answers were made after an example of the own task, of the other one, and of none."""
    keys = {task: {pair.key for pair in Dataset(str(out / "data" / task)).pairs()} for task in _TASKS}
    for task, other in zip(_TASKS, reversed(_TASKS), strict=True):
        (pair,) = Dataset(str(out / "data-held-out" / task)).pairs()
        shown = {
            folder: json.loads(PILImage.open(answers / folder / f"{pair.key}.forward.png").info["xprompt"])["contexts"]
            for folder in ("own", f"other/{task}", "none")
        }
        assert len(shown["own"]) == 1 and shown["own"][0]["pair"] in keys[task]
        assert len(shown[f"other/{task}"]) == 1 and shown[f"other/{task}"][0]["pair"] in keys[other]
        assert shown["none"] == []


def test_from_the_packaged_model_to_the_sheet(
    local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path / "demo") == 0
    _check(tmp_path / "demo", capfd.readouterr().out)


@pytest.mark.chaos
def test_what_is_done_is_not_done_again(local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path / "demo") == 0
    capfd.readouterr()
    sheet = (tmp_path / "demo/sheet.png").read_bytes()
    assert _run(tmp_path / "demo") == 0
    said = re.findall(r"^\$ xprompt (\w+)", capfd.readouterr().out, re.MULTILINE)
    assert said == [*["tokens"] * 2, "train", *["predict"] * 4]
    assert (tmp_path / "demo/sheet.png").read_bytes() == sheet


@pytest.mark.chaos
def test_from_nothing_to_the_sheet(local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path / "demo", "--from-scratch", "--tokenizer-steps", "2") == 0
    _check(tmp_path / "demo", capfd.readouterr().out)
    package(tmp_path / "demo", tmp_path / "packaged")
    whole, halved = (XPromptChameleon.from_pretrained(tmp_path / name) for name in ("demo/run/model", "packaged"))
    assert torch.equal(whole.xp.half().float(), halved.xp)
    assert VQGAN.load(tmp_path / "packaged").fingerprint == VQGAN.load(tmp_path / "demo/run/model").fingerprint


def test_what_cannot_be_asked_for_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path), "--tasks", "derian", "denoise"]) == 2
    assert capsys.readouterr().err == (
        "xprompt demo: there is no task 'derian': did you mean derain? `xprompt tasks` lists them all\n"
    )
    assert main(["demo", "--out", str(tmp_path), "--tokenizer-steps", "2"]) == 2
    assert "--tokenizer-steps goes with --from-scratch" in capsys.readouterr().err
    assert main(["demo", "--out", str(tmp_path), "--tasks", "derain"]) == 2
    assert "--tasks names two or more" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_only_a_finished_demo_from_scratch_is_packaged(tmp_path: Path) -> None:
    (tmp_path / "demo/run/model").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"there is no .*vqgan\.ckpt: run xprompt demo --out .* --from-scratch"):
        package(tmp_path / "demo", tmp_path / "packaged")
    assert not (tmp_path / "packaged").exists()


def test_stopped_between_commands_it_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infra.command import main as xprompt
    from infra.demo import steps

    def stopped(*arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "run_all", stopped)
    assert xprompt(["demo", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().out == "Stopped: the same command goes on from there.\n"
