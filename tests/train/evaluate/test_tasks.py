"""Evaluation of dense prediction and of edits from end to end, on datasets written through the public contract."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from manifests.dataset import Dataset, plan_table
from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Direction, Example, Item, Pair, Step, pair_key
from manifests.write.writer import UnitWriter
from operators.shared.palettes import encode_depth, encode_labels, encode_normals
from operators.shared.vision import Clip, Dino
from tests.manifests.make import photo
from tests.train import tiny
from train.evaluate.command import main
from train.evaluate.scores import read_captions

_DIRECTIONS: tuple[tuple[Direction, tuple[str], str], ...] = (
    ("forward", ("input",), "target"),
    ("reverse", ("target",), "input"),
)


def test_depth_in_metres_by_the_palette_of_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = [encode_depth(np.full((48, 64), depth, np.float32), "unseen") for depth in (2.0, 4.0)]
    predictions = [encode_depth(np.full((48, 64), depth, np.float32), "unseen") for depth in (2.5, 3.0)]
    step = Step(operator="colour_dense", version=2, params={"palette": "unseen"})
    _write(tmp_path, "depth", "dense prediction", targets, predictions, step)
    assert main(_options(tmp_path, "depth")) == 0
    assert "| task | RMSE (m) ↓ | scored |" in (said := capsys.readouterr().out)
    assert "| depth | 0.75" in said  # (0.5 + 1) / 2


@pytest.mark.parametrize(("source", "rmse_m"), [("NYU Depth v2 labelled", 1.0), ("another", 5.06)])
def test_the_borders_of_nyu_do_not_count(
    source: str, rmse_m: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found_m = np.full((480, 640), 9, np.float32)
    found_m[45:471, 41:601] = 4
    targets = [encode_depth(np.full((480, 640), 3, np.float32))]
    _write(tmp_path, "depth", "dense prediction", targets, [encode_depth(found_m)], source=source)
    assert main(_options(tmp_path, "depth")) == 0
    # 426 x 560 pixels are 1 m off, the other 68,640 are 6 m off
    expected = rmse_m if rmse_m == 1 else ((426 * 560 + 68_640 * 36) / (480 * 640)) ** 0.5
    printed = float(_row(capsys)[1].split()[0])
    assert printed == pytest.approx(expected, abs=0.01)


def test_miou_over_the_whole_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = [np.full((48, 64), label, np.uint8) for label in (7, 8)]
    half = labels[0].copy()
    half[:24] = 8
    _write(tmp_path, "segmentation", "dense prediction", [encode_labels(x) for x in labels], [encode_labels(half)] * 2)
    report = tmp_path / "report.json"
    assert main([*_options(tmp_path, "segmentation"), "--json", str(report)]) == 0
    # Of class 7 and of class 8 a third; of the first image alone, a half and nothing.
    assert _row(capsys)[:3] == ["| segmentation", "0.333 (0.250 to 0.333)", "2"]
    (written,) = json.loads(report.read_text())
    assert [values["pixel_accuracy"] for values in written["scored"].values()] == [0.5, 0.5]


def test_angles_of_normals_of_a_square_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    up, side = (np.broadcast_to(np.array(normal, np.float32), (48, 64, 3)) for normal in ((0, 0, 1), (0, 1, 0)))
    targets = [encode_normals(up)] * 2
    _write(tmp_path, "normal", "dense prediction", targets, [encode_normals(up[:32, :32]), encode_normals(side)])
    assert main(_options(tmp_path, "normal")) == 0
    # 32 x 32 pixels without an error, 48 x 64 with 90 degrees.
    assert float(_row(capsys)[1].split()[0]) == pytest.approx(90 * 3072 / 4096, abs=0.5)  # 8-bit normals


def test_edits_by_clip_and_dino(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "models"
    clip = Clip(tiny.write_clip(folder / "ViT-B-32"), "cpu")
    dino = Dino(tiny.write_dino(folder / "dino"), "cpu")
    targets, predictions = [photo(4), photo(5)], [photo(7), photo(9)]
    keys = _write(tmp_path, "magicbrush", "editing", targets, predictions)
    captions = tmp_path / "captions.jsonl"
    captions.write_text(json.dumps({"pair": keys[1], "input": "a cat", "output": "a cup"}) + "\n")
    report = tmp_path / "report.json"
    options = [*_options(tmp_path, "magicbrush"), "--models", str(folder), "--json", str(report)]
    assert main([*options, "--captions", str(captions)]) == 0
    assert "CLIP_dir ↑ | CLIP_out ↑ | CLIP_img ↑ | DINO ↑" in (said := capsys.readouterr().out)
    assert said.count("(of 1)") == 2  # the captions of one edit are known
    (written,) = json.loads(report.read_text())
    before = [target // 2 for target in targets]
    values = written["values"]
    changes = [*zip(before, predictions, strict=True)]
    images = [clip.embed([*map(clip.seen_by_open_clip, change)]) for change in changes]
    text_before, text_after = clip.embed_texts(["a cat", "a cup"])
    assert values["clip_img"] == pytest.approx(np.mean([x @ y for x, y in images]), abs=1e-5)
    assert values["clip_out"] == pytest.approx(float(images[1][1] @ text_after), abs=1e-5)
    moved, said_to_move = images[1][1] - images[1][0], text_after - text_before
    lengths = np.linalg.norm(moved) * np.linalg.norm(said_to_move)
    assert values["clip_dir"] == pytest.approx(float(moved @ said_to_move / lengths), abs=1e-5)
    dinos = [np.dot(*dino.embed([*map(dino.seen, change)])) for change in changes]
    assert values["dino"] == pytest.approx(np.mean(dinos), abs=1e-5)
    assert main(options) == 0
    assert "| magicbrush | – | – | " in capsys.readouterr().out
    captions.write_text(json.dumps({"pair": "another", "input": "a cat", "output": "a cup"}) + "\n")
    assert main([*options, "--captions", str(captions)]) == 0
    assert "captions.jsonl: no pair that was scored has captions there" in capsys.readouterr().err
    assert main([*options, "--clip", "ViT-L-14"]) == 2
    assert "--clip: there is no folder ViT-L-14/ in --models" in capsys.readouterr().err
    captions.write_text("{}\n")
    assert main([*options, "--captions", str(captions)]) == 2
    assert "captions.jsonl, line 1: expected" in capsys.readouterr().err


def test_captions_are_those_that_the_source_publishes(tmp_path: Path) -> None:
    """MagicBrush's file by session and turn; else those that a test split's manifest has, as InstructPix2Pix'."""
    described = {
        "7": {"7-input.png": "a room", "7-output1.png": "a room, a cat", "7-output2.png": "a room, two cats"},
        "8": {"8-input.png": "a lake", "8-output2.png": "a frozen lake"},
    }
    file = tmp_path / "global_descriptions.json"
    file.write_text(json.dumps(described, indent=2))
    captions = read_captions(file)
    assert captions == {"7#1": ("a room", "a room, a cat"), "7#2": ("a room, a cat", "a room, two cats")}
    folder = tmp_path / "models"
    clip = Clip(tiny.write_clip(folder / "ViT-B-32"), "cpu")
    second = Step(operator="read", version=1, params={"session": "7", "turn": 2})
    own = Step(operator="read", version=1, params={"source_caption": "a cup", "target_caption": "two cups"})
    for name, step, (before, after) in (
        ("magicbrush", second, ("a room, a cat", "a room, two cats")),
        ("instructpix2pix", own, ("a cup", "two cups")),
    ):
        _write(tmp_path / name, name, "editing", [photo(4)], [photo(7)], step)
        report = tmp_path / f"{name}.json"
        options = [*_options(tmp_path / name, name), "--models", str(folder), "--json", str(report)]
        assert main([*options, "--captions", str(file)]) == 0
        images = clip.embed([*map(clip.seen_by_open_clip, (photo(4) // 2, photo(7)))])
        texts = clip.embed_texts([before, after])
        moved, said = images[1] - images[0], texts[1] - texts[0]
        (written,) = json.loads(report.read_text())
        expected = float(moved @ said / (np.linalg.norm(moved) * np.linalg.norm(said)))
        assert written["values"]["clip_dir"] == pytest.approx(expected, abs=1e-5)


def test_models_are_loaded_by_the_tasks_that_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package that is not installed, and a folder that is empty, are no matter for images that need no model."""
    monkeypatch.setitem(sys.modules, "open_clip", None)
    (tmp_path / "models/ViT-B-32").mkdir(parents=True)
    for task, prototype, status in (("derain", "low-level", 0), ("magicbrush", "editing", 2)):
        folder = tmp_path / prototype
        _write(folder, task, prototype, [photo(4)], [photo(7)])
        assert main([*_options(folder, task), "--models", str(tmp_path / "models")]) == status
    assert (
        capsys.readouterr().err.partition(": ")[2].startswith("this needs the package open_clip: install the extra, ")
    )


@pytest.mark.parametrize(
    ("task", "prototype", "direction", "message"),
    [
        (
            "magicbrush",
            "editing",
            "forward",
            "magicbrush is scored by CLIP and DINO: --models needs",
        ),
        ("depth", "dense prediction", "reverse", "depth, reverse, has many right answers, and the paper has no metric"),
        (
            "text2img",
            "text-to-image",
            "forward",
            "text2img makes images of words alone, which GenEval scores: --geneval",
        ),
    ],
)
def test_a_task_without_a_metric_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, prototype: str, direction: str, message: str
) -> None:
    _write(tmp_path, task, prototype, [photo(1)], [photo(2)])
    assert main([*_options(tmp_path, task), "--direction", direction]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("prototype", ["custom", "pairs"])
def test_tasks_and_pairs_of_users_are_scored_by_their_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prototype: str
) -> None:
    """In a table of their own: the paper has none of them. All pixels are 5 of 255 off."""
    _write(tmp_path, "mine", prototype, [np.full((48, 64, 3), 100, np.uint8)], [np.full((48, 64, 3), 105, np.uint8)])
    assert main(_options(tmp_path, "mine")) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("Nearness to the dataset's images") and "not in the paper" in printed[0]
    assert f"| mine | {20 * math.log10(255 / 5):.2f}" in printed[4]


def _row(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The cells of the one row that was printed."""
    return capsys.readouterr().out.splitlines()[4].split(" | ")


def _options(folder: Path, task: str) -> list[str]:
    return ["--dataset", str(folder / task), "--predictions", str(folder / "predictions")]


def _write(
    folder: Path,
    task: str,
    prototype: str,
    targets: Sequence[Pixels],
    predictions: Sequence[Pixels],
    *steps: Step,
    source: str = "made",
) -> list[str]:
    """A dataset of one unit whose inputs are darkened targets, and a prediction of each target; the pairs' keys."""
    dataset = Dataset(str(folder / task))
    items = [Item(ref=f"{number}.png", files=(f"{number}.png",)) for number in range(len(targets))]
    plan = dataset.write_plan(task, {}, "f" * 64, plan_table([items]))
    (folder / "predictions").mkdir()
    keys = []
    with UnitWriter.open(dataset, plan, 0, prototype_task=prototype, suffixes={}) as writer:
        for item, target, prediction in zip(items, targets, predictions, strict=True):
            images = (encode_lossless("input", target // 2), encode_lossless("target", target))
            pair = Pair(
                key=pair_key(task, item.ref, images[1].data),
                source=source,
                source_ref=item.ref,
                licence="CC0",
                images=images,
                group=item.ref,
                examples=(
                    Example(
                        direction="forward", kind="generate", inputs=("input",), output="target", instruction="Do."
                    ),
                    Example(
                        direction="reverse", kind="generate", inputs=("target",), output="input", instruction="Undo."
                    ),
                ),
                steps=steps,
            )
            writer.add(pair)
            keys.append(pair.key)
            for direction, _, _ in _DIRECTIONS:
                file = folder / f"predictions/{pair.key}.{direction}.png"
                file.write_bytes(encode_lossless("target", prediction).data)
    writer.commit({}, 0, {})
    return keys
