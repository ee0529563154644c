"""`xprompt demo` from its arguments to its sheet, small."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from infra.command import main
from infra.demo.tokenizer import psnr_db


def _pixels(file: Path) -> np.ndarray:
    return np.asarray(PILImage.open(file))


def _run(out: Path, *more: str) -> int:
    sizes = ["--photos", "6", "--held-out", "1", "--rows", "1", "--steps", "2", "--cpus", "2"]
    return main(["demo", "--out", str(out), "--tasks", "infra.demo.tasks:RECOLOUR", *sizes, *more])


def _check(out: Path, printed: str) -> None:
    """The sheet, and that the table's figures are those of the pictures that lie in the folder."""
    assert PILImage.open(out / "sheet.png").size == (6 + 6 * (128 + 6), 14 + 128 + 14 + 6)
    (folder,) = (out / "answers").glob("*/recolour-0")
    query, answer, truth = (_pixels(folder / f"{name}.png") for name in ("query", "answer", "truth"))
    assert np.array_equal(query, np.roll(truth, -1, 2))
    row = re.search(r"\| recolour \| 1 \| (\S+) dB \| (\S+) dB \| (\S+) dB \|", printed)
    assert row and row.groups()[:2] == (f"{psnr_db(query, truth):.1f}", f"{psnr_db(answer, truth):.1f}")
    said = [line.split()[2] for line in printed.splitlines() if line.startswith("$ xprompt ")]
    assert said[-1] == "generate" and "train" in said and "tokens" in said and "shards" in said


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
    assert said == ["tokens", "train"]
    assert (tmp_path / "demo/sheet.png").read_bytes() == sheet


@pytest.mark.chaos
def test_from_nothing_to_the_sheet(local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path / "demo", "--from-scratch", "--tokenizer-steps", "2") == 0
    _check(tmp_path / "demo", capfd.readouterr().out)


def test_what_cannot_be_asked_for_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path), "--tasks", "derian"]) == 2
    assert capsys.readouterr().err == (
        "xprompt demo: there is no task 'derian': did you mean derain? `xprompt tasks` lists them all\n"
    )
    assert main(["demo", "--out", str(tmp_path), "--tokenizer-steps", "2"]) == 2
    assert "--tokenizer-steps goes with --from-scratch" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
