"""Evaluation of low-level predictions from end to end, and what is said of those that are not as they should be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from manifests.dataset import Dataset
from manifests.images.pixels import Pixels, encode_lossless
from operators.shared.metrics import psnr_db, ssim_rgb
from operators.shared.square import square
from tests.manifests.make import make_dataset, make_plan
from train.evaluate.command import main
from train.evaluate.predictions import RECORD_FILE, Example, examples


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(str(tmp_path / "derain"), units=1, pairs=3)


def test_scores_are_the_means_over_the_images(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = []
    for example in examples(dataset, "forward"):
        target = example.image("target")
        noisy = (target.astype(int) + np.random.default_rng(0).integers(-9, 10, target.shape)).clip(0, 255)
        expected.append((psnr_db(noisy.astype(np.uint8), target), ssim_rgb(noisy.astype(np.uint8), target)))
        _write(tmp_path, example, noisy.astype(np.uint8))
    report = tmp_path / "report.json"
    assert main(_options(dataset, tmp_path, "--json", str(report))) == 0
    psnr, similarity = np.mean(expected, axis=0)
    # Of three images a resample is one thrice in 1 of 27: so the ends are the least and the greatest.
    (low, low_ssim), (high, high_ssim) = np.min(expected, axis=0), np.max(expected, axis=0)
    assert capsys.readouterr().out.splitlines() == [
        "Restoration (Tab. 2 and 4)",
        "",
        "| task | PSNR (dB) ↑ | SSIM ↑ | scored | missing | malformed |",
        "|---|---|---|---|---|---|",
        f"| derain | {psnr:.2f} ({low:.2f} to {high:.2f}) | {similarity:.3f} ({low_ssim:.3f} to {high_ssim:.3f}) "
        "| 3 | 0 | 0 |",
        "",
        "In parentheses: 95% confidence intervals, by 2,000 resamples of the images.",
    ]
    (written,) = json.loads(report.read_text())
    assert written["values"] == pytest.approx({"psnr_db": psnr, "ssim": similarity})
    assert len(written["scored"]) == written["expected"] == 3


def test_what_is_missing_malformed_or_strange_is_counted_and_named(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = examples(dataset, "forward")
    folder = _write(tmp_path, first, first.image("target"))
    (folder / second.file).write_bytes(encode_lossless("target", second.image("target")).data[:500])
    (folder / "notes.txt").write_text("not a prediction")
    report = tmp_path / "report.json"
    assert main(_options(dataset, tmp_path, "--json", str(report))) == 1
    said = capsys.readouterr()
    assert "| derain | inf | 1.000 | 1 | 1 | 1 |" in said.out
    assert said.err.splitlines() == [
        f"{third.file}: missing",
        said.err.splitlines()[1],
        "notes.txt: belongs to no pair of derain",
    ]
    assert said.err.splitlines()[1].startswith(f"{second.file}: malformed: it cannot be decoded to its end")
    (written,) = json.loads(report.read_text())
    assert (written["missing"], written["strange"]) == ([third.file], ["notes.txt"])
    assert written["values"]["psnr_db"] == "inf"


def test_a_square_prediction_is_compared_with_the_square_that_the_tokenizer_saw(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for example in examples(dataset, "forward"):
        _write(tmp_path, example, square(example.image("target"), 32))
    assert main(_options(dataset, tmp_path)) == 0
    assert "| derain | inf | 1.000 (1.000 to 1.000) | 3 | 0 | 0 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((48, 50, 3), np.uint8), "50 x 48 px: neither the target's 64 x 48 nor a square"),
        (np.zeros((10, 10, 3), np.uint8), "10 x 10 px are too few for SSIM"),
    ],
)
def test_a_prediction_of_a_shape_that_cannot_be_compared_is_malformed(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], pixels: Pixels, message: str
) -> None:
    first, *others = examples(dataset, "forward")
    _write(tmp_path, first, pixels)
    for example in others:
        _write(tmp_path, example, example.image("target"))
    assert main(_options(dataset, tmp_path)) == 1
    assert capsys.readouterr().err == f"{first.file}: malformed: {message}\n"


def test_the_other_direction(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for example in examples(dataset, "reverse"):
        assert (example.inputs, example.output) == (("target",), "input")
        _write(tmp_path, example, example.image("input"))
    assert main(_options(dataset, tmp_path, "--direction", "reverse")) == 0
    assert "| derain, reversed | inf | 1.000 (1.000 to 1.000) | 3 | 0 | 0 |" in capsys.readouterr().out


def test_predictions_may_be_a_dataset_directory(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the dataset itself, of which every prediction is right."""
    assert main(["--dataset", dataset.url, "--predictions", dataset.url]) == 0
    said = capsys.readouterr()
    assert "| derain | inf | 1.000 (1.000 to 1.000) | 3 | 0 | 0 |" in said.out and not said.err


def test_a_prediction_for_another_task_of_the_folder_is_not_strange(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in ("derain", "deblur"):
        for example in examples(make_dataset(str(tmp_path / "all" / task), task=task, units=1, pairs=1), "forward"):
            _write(tmp_path, example, example.image("target"))
    assert main(["--dataset", str(tmp_path / "all"), "--predictions", str(tmp_path / "predictions")]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert [line.split(" | ")[0] for line in said.out.splitlines()[4:6]] == ["| deblur", "| derain"]


def test_several_folders_are_rows_beside_the_papers_figures(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row is called by what its predictions' record says; one without a record by its folder."""
    folders = []
    for name, off in (("none", 9), ("causal", 5), ("mine", 1)):
        for example in examples(dataset, "forward"):
            target = example.image("target")
            _write(tmp_path / name, example, np.where(target < 128, target + off, target - off).astype(np.uint8))
        folders.append(tmp_path / name / "predictions")
    for folder, policy in zip(folders[:2], ("none", "seeded"), strict=True):
        (folder / RECORD_FILE).write_text(json.dumps({"arm": folder.parent.name, "contexts": {"policy": policy}}))
        (folder / ".half.partial").write_bytes(b"a run that was killed leaves this")
    assert main(["--dataset", dataset.url, "--predictions", *map(str, folders)]) == 0
    said = capsys.readouterr()
    rows = [line.split(" | ") for line in said.out.splitlines() if line.startswith("| derain")]
    assert [row[0] for row in rows] == [
        "| derain, none, contexts none",
        "| derain, causal, contexts seeded",
        f"| derain, {folders[2]}",
    ]
    assert [row[1].split()[0] for row in rows] == [f"{20 * np.log10(255 / off):.2f}" for off in (9, 5, 1)]
    assert "a task that training has not seen: none 7.92 dB, causal 18.10 dB, xprompt 18.91 dB." in said.out
    assert said.err == ""
    (folders[0] / RECORD_FILE).write_text("[]")
    assert main(["--dataset", dataset.url, "--predictions", str(folders[0])]) == 2
    assert f"{folders[0] / RECORD_FILE} is not what xprompt predict writes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dataset_path", "predictions", "message"),
    [
        ("nothing", "derain", "no dataset at {}/nothing: neither it nor a folder in it has a plan.parquet"),
        ("derain", "nothing", "{}/nothing is not a folder: predictions are files named <pair>.<direction>.png in one"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    dataset_path: str,
    predictions: str,
    message: str,
) -> None:
    arguments = ["--dataset", str(tmp_path / dataset_path), "--predictions", str(tmp_path / predictions)]
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"xprompt evaluate: {message.format(tmp_path)}\n"


def test_an_unfinished_dataset_without_a_unit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset(str(tmp_path / "derain"))
    make_plan(dataset, units=1)
    (tmp_path / "predictions").mkdir()
    assert main(_options(dataset, tmp_path)) == 2
    assert "has no forward generate examples" in capsys.readouterr().err


def _options(dataset: Dataset, folder: Path, *more: str) -> list[str]:
    return ["--dataset", dataset.url, "--predictions", str(folder / "predictions"), *more]


def _write(folder: Path, example: Example, pixels: Pixels) -> Path:
    predictions = folder / "predictions"
    predictions.mkdir(exist_ok=True, parents=True)
    (predictions / example.file).write_bytes(encode_lossless("target", pixels).data)
    return predictions
