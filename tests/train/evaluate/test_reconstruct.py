"""What the VQ tokenizer alone loses, against transformers' codes and scores computed from their definitions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from transformers import ChameleonForConditionalGeneration

from infra.tiny.chameleon import write_chameleon
from manifests.images.pixels import Pixels
from tests.manifests.make import make_dataset
from tests.sources import photo
from train.evaluate.reconstruct import main
from xprompt_model.vqgan import VQGAN

SIZES = ((64, 96), (150, 80), (64, 64))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chameleon(tmp_path_factory.mktemp("tiny"))


def _photos(folder: Path) -> Path:
    for number, (height, width) in enumerate(SIZES):
        path = folder / "images" / f"{number % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(number, height, width)).save(path)
    return folder / "images"


def _scores(checkpoint: Path, path: Path, side_px: int) -> tuple[float, float]:
    """PSNR and SSIM of one image, with transformers' encoder, by hand."""
    image: Image.Image = Image.open(path)
    scale = side_px / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - side_px) // 2, (image.height - side_px) // 2
    seen: Pixels = np.asarray(image.crop((left, top, left + side_px, top + side_px)))
    theirs = ChameleonForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).model.vqmodel.eval()
    with torch.no_grad():
        indices = theirs.encode(torch.from_numpy(seen / 127.5 - 1).float().permute(2, 0, 1)[None])[2]
    decoded = VQGAN.load(checkpoint).decode(indices.view(1, side_px // 16, side_px // 16))[0]
    made = ((decoded + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
    error = np.mean((made.astype(float) - seen.astype(float)) ** 2)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = np.mean([structural_similarity(made[..., c], seen[..., c], data_range=255, **window) for c in range(3)])
    return float(10 * np.log10(255**2 / error)), float(ssim)


def test_scores_are_of_the_codes_at_each_resolution(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, report = _photos(tmp_path), tmp_path / "report.json"
    sides = ["--resolution", "64", "128"]
    out = ["--out", str(tmp_path / "out"), "--json", str(report)]
    assert main(["--vqgan", str(checkpoint), "--images", str(folder), *sides, *out]) == 0
    expected = [
        [_scores(checkpoint, folder / f"{number % 2}/{number}.png", side) for number in range(3)] for side in (64, 128)
    ]
    means, lows, highs = np.mean(expected, axis=1), np.min(expected, axis=1), np.max(expected, axis=1)
    assert capsys.readouterr().out.splitlines()[2:] == [
        *(
            f"| {side} | {psnr:.2f} ({low:.2f} to {high:.2f}) | {ssim:.3f} ({low_ssim:.3f} to {high_ssim:.3f}) | 3 |"
            for side, (psnr, ssim), (low, low_ssim), (high, high_ssim) in zip(
                (64, 128), means, lows, highs, strict=True
            )
        ),
        "",
        "In parentheses: 95% confidence intervals, by 2,000 resamples of the images.",
    ]
    at_128 = json.loads(report.read_text())[1]
    assert at_128["psnr_db"]["1/1.png"] == pytest.approx(expected[1][1][0])
    assert Image.open(tmp_path / "out/128/1/1.png.png").size == (128, 128)


def test_images_of_a_dataset_are_those_of_a_role(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(str(tmp_path / "derain"), units=1, pairs=2)
    options = ["--vqgan", str(checkpoint), "--dataset", dataset.url, "--resolution", "64"]
    assert main(options) == 0
    target = capsys.readouterr().out
    assert main([*options, "--role", "input"]) == 0
    assert capsys.readouterr().out != target and "| 2 |" in target
    assert main([*options, "--role", "mask"]) == 2
    assert "has no image 'mask', only input, target" in capsys.readouterr().err


def test_what_cannot_be_done_is_one_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _photos(tmp_path)
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    options = ["--vqgan", str(checkpoint), "--images", str(folder)]
    assert main([*options, "--resolution", "64"]) == 1
    said = capsys.readouterr()
    assert "| 64 |" in said.out and "| 3 |\n" in said.out and said.err.startswith("torn.jpg: ")
    assert main([*options, "--resolution", "100"]) == 2
    assert "images of 100 x 100 px: multiples of 16" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert main(["--vqgan", str(checkpoint), "--images", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"xprompt reconstruct: {tmp_path / 'none'} has no image\n"
    (checkpoint / "vqgan.ckpt").rename(checkpoint / "elsewhere")
    assert main([*options, "--resolution", "64"]) == 2
    assert "have no decoder: put Meta's vqgan.ckpt beside" in capsys.readouterr().err
    (checkpoint / "elsewhere").rename(checkpoint / "vqgan.ckpt")
