"""GenEval's rules on objects put there by hand, and a whole run with tiny models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

from manifests.images.pixels import Pixels, encode_lossless
from operators.shared.vision import Clip
from tests.train import tiny
from train.evaluate.command import main
from train.evaluate.detector import TransformersDetector
from train.evaluate.geneval import COLOURS, ClipColours, Found, check, relations
from train.evaluate.geneval_run import geneval

BLANK: Pixels = np.zeros((100, 100, 3), np.uint8)


def thing(name: str, left: float = 0, top: float = 0, score: float = 0.95, side: float = 20) -> Found:
    return Found(name=name, score=score, box=(left, top, left + side, top + side))


def red(pixels: Pixels, found: Found) -> str:
    return "red"


def test_presence_and_count() -> None:
    one_dog = _prompt("single_object", {"class": "dog", "count": 1})
    assert check(BLANK, [thing("dog", score=0.31)], one_dog, red) == []
    assert check(BLANK, [thing("dog", score=0.29), thing("cat")], one_dog, red) == ["expected 1 dog, found 0"]
    two_dogs = _prompt("counting", {"class": "dog", "count": 2}, exclude={"class": "dog", "count": 3})
    dogs = [thing("dog", 30 * place) for place in range(3)]
    assert check(BLANK, dogs[:2], two_dogs, red) == []
    assert check(BLANK, dogs[:1], two_dogs, red) == ["expected 2 dog, found 1"]
    assert check(BLANK, dogs, two_dogs, red) == ["expected fewer than 3 dog, found 3"]
    unsure = [dogs[0], dogs[1], thing("dog", 60, score=0.89)]  # counting asks for 0.9
    assert check(BLANK, unsure, two_dogs, red) == []


def test_colour_is_that_of_the_surest_objects() -> None:
    asked: list[Found] = []

    def by_place(pixels: Pixels, found: Found) -> str:
        asked.append(found)
        return "red" if found.box[0] < 50 else "blue"

    prompt = _prompt("colors", {"class": "dog", "count": 1, "color": "red"})
    sure, unsure = thing("dog", 60, score=0.9), thing("dog", 0, score=0.8)
    assert check(BLANK, [unsure, sure], prompt, by_place) == ["expected 1 red dog, found blue"]
    assert asked == [sure]
    assert check(BLANK, [thing("dog", 0, score=0.99), sure], prompt, by_place) == []


def test_position_is_that_to_the_group_named() -> None:
    prompt = _prompt("position", {"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]})
    assert check(BLANK, [thing("dog", 60), thing("cat", 0)], prompt, red) == []
    assert check(BLANK, [thing("dog", 0), thing("cat", 60)], prompt, red) == ["expected cat left of the other"]
    assert check(BLANK, [thing("cat", 0)], prompt, red) == ["expected 1 dog, found 0", "nothing for cat to be left of"]


@pytest.mark.parametrize(
    ("left", "top", "expected"),
    [
        (60, 0, {"right of"}),
        (-60, 0, {"left of"}),
        (0, -60, {"above"}),
        (0, 60, {"below"}),
        (60, 60, {"right of", "below"}),
        (4, 3, set()),  # within a tenth of both sizes
        (60, 10, {"right of"}),
    ],
)
def test_relations(left: float, top: float, expected: set[str]) -> None:
    assert relations(thing("a", left, top), thing("b", 0, 0)) == expected


def test_colours_are_told_by_clip_on_the_object_alone(tmp_path: Path) -> None:
    """What surrounds a box, or lies beside a mask in it, makes no difference; what is in it does."""
    tell = ClipColours(Clip(tiny.write_clip(tmp_path / "clip"), "cpu"))
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (60, 60, 3)).astype(np.uint8)
    box = Found(name="dog", score=1, box=(10, 10, 40, 40))
    assert tell(pixels, box) in COLOURS
    outside = pixels.copy()
    outside[:10] = 0
    features: list[Any] = []
    inner = Found(name="dog", score=1, box=box.box, mask=np.zeros((60, 60), np.bool_))
    assert inner.mask is not None
    inner.mask[15:35, 15:35] = True
    masked = pixels.copy()
    masked[12:14, 12:14] = 0
    clip = _Recording(features)
    for image, found in ((pixels, box), (outside, box), (pixels, inner), (masked, inner), (masked, box)):
        ClipColours(clip)(image, found)  # type: ignore[arg-type]  # what it is asked for is all that counts
    first, second, third, fourth, fifth = features
    assert np.array_equal(first, second) and np.array_equal(third, fourth)
    assert not np.array_equal(first, third) and not np.array_equal(first, fifth)
    assert third[0, 0].tolist() == [0x99] * 3


def test_scores_are_means_over_tags_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    prompts = [
        _prompt("single_object", {"class": "dog", "count": 1}),
        _prompt("single_object", {"class": "cat", "count": 1}),
        _prompt("two_object", {"class": "dog", "count": 1}, {"class": "cat", "count": 1}),
        _prompt("two_object", {"class": "dog", "count": 1}),
    ]
    metadata = _write(tmp_path, prompts, images=3)
    (tmp_path / "images/00002/samples/0001.png").write_bytes(b"none")
    (tmp_path / "images/00000/samples/grid.png").write_bytes(b"none")
    report = geneval(metadata, tmp_path / "images", lambda pixels: [thing("dog")], red)
    assert report.scores == {"single_object": 0.5, "two_object": 0.0, "overall": 0.25}
    # Of two prompts, one right and one wrong; of the mean of both tasks; of one prompt there is none.
    intervals = report.intervals()
    assert (intervals["single_object"], intervals["overall"]) == ((0, 1), (0, 0.5))
    assert np.isnan(intervals["two_object"]).all()
    strange, malformed, missing = report.problems
    assert strange.endswith("images/00000/samples/grid.png: belongs to no sample")
    assert missing.endswith("images/00003/samples: no image of 'a prompt'")
    assert "images/00002/samples/0001.png: malformed: no known image format" in malformed
    cells = "0.50 (0.00 to 1.00) | 0.00 | – | – | – | – | 0.25 (0.00 to 0.50)"
    assert f"| {cells} | 3 | 3 |" in report.table()


def test_samples_of_one_prompt_are_drawn_together(tmp_path: Path) -> None:
    """Two prompts of two images each, all right of one and none of the other: as uncertain as two images."""
    prompts = [_prompt("single_object", {"class": name, "count": 1}) for name in ("dog", "cat")]
    metadata = _write(tmp_path, prompts, images=2)
    for number in (0, 1):
        samples = tmp_path / f"images/{number:05d}/samples"
        (samples / "0001.png").write_bytes((samples / "0000.png").read_bytes())
    report = geneval(metadata, tmp_path / "images", lambda pixels: [thing("dog")], red)
    assert report.scores["overall"] == 0.5 and report.intervals()["overall"] == (0, 1)
    assert "| 2 | 4 |" in report.table()


ORIGINAL = "39c24946a4620281400963ef230b8ca381897a48d346e497481e431148120044494b827094506866cd62a060174814054089"
"""Which of the 400 prompts of `_drawn` are met by what is found, a bit each: by GenEval's own `evaluate_image`, run
with objects and colours put in (https://github.com/djghosh13/geneval, evaluation/evaluate_images.py, at 16f1681)."""


def test_the_rules_are_those_of_the_original() -> None:
    random = np.random.default_rng(0)
    met = []
    for _ in range(400):
        prompt, found = _drawn(random)
        met.append(not check(BLANK, found, prompt, lambda pixels, one: _HUES[int(sum(one.box)) % 3]))
    assert np.packbits(np.array(met)).tobytes().hex() == ORIGINAL


_NAMES = ("dog", "cat", "bench")
_HUES = ("red", "green", "blue")
_RELATIONS = ("left of", "right of", "above", "below")


def _drawn(random: np.random.Generator) -> tuple[dict[str, Any], list[Found]]:
    """A prompt of any of the six tasks, and objects, most of the classes that it names."""
    tag = ("single_object", "two_object", "counting", "colors", "position", "color_attr")[random.integers(6)]
    wanted = [str(name) for name in random.permutation(_NAMES)[: 1 + (tag in ("two_object", "position", "color_attr"))]]
    include: list[dict[str, Any]] = [
        {"class": name, "count": int(random.integers(1, 4)) if tag == "counting" else 1} for name in wanted
    ]
    exclude = {"class": wanted[0], "count": include[0]["count"] + 1} if tag == "counting" else None
    if tag in ("colors", "color_attr"):
        for clause in include:
            clause["color"] = _HUES[random.integers(3)]
    if tag == "position":
        include[1]["position"] = [_RELATIONS[random.integers(4)], 0]
    found = []
    for _ in range(int(random.integers(1, 6))):
        left, top, width, height = (int(edge) for edge in random.integers(1, 60, 4))
        score = float(random.choice([0.2, 0.31, 0.5, 0.88, 0.91, 0.97]) + random.random() * 0.005)
        name = wanted[random.integers(len(wanted))] if random.random() < 0.8 else _NAMES[random.integers(3)]
        found.append(Found(name=name, score=score, box=(left, top, left + width, top + height)))
    return _prompt(tag, *include, exclude=exclude), found


def test_the_whole_with_tiny_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_clip(tmp_path / "models/ViT-B-32")
    detector = TransformersDetector(tiny.write_detector(tmp_path / "models/detector"))
    found = detector(BLANK)
    assert len(found) == 5 and {thing.name for thing in found} <= set(tiny.CLASSES)
    metadata = _write(tmp_path, [_prompt("single_object", {"class": "dog", "count": 1})], images=1)
    options = ["--geneval", str(metadata), "--predictions", str(tmp_path / "images")]
    assert main([*options, "--models", str(tmp_path / "models"), "--json", str(tmp_path / "out.json")]) == 0
    assert "\n| single object | two object | counting |" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "out.json").read_text())["wrong"]) == ["single_object"]
    assert main(options) == 2
    assert "GenEval needs --models with detector/ and ViT-B-32/" in capsys.readouterr().err
    metadata.write_text('{"tag": "taste"}\n')
    assert main([*options, "--models", str(tmp_path / "models")]) == 2
    assert f"{metadata}, line 1: not a prompt of GenEval's" in capsys.readouterr().err


def test_objects_of_a_mask2former_have_masks(tmp_path: Path) -> None:
    """Compared with transformers' own post-processing, which goes by way of 384 x 384 px: with a network and an image
    of that size."""
    folder = tiny.write_mask2former(tmp_path / "detector", side_px=384)
    pixels = np.random.default_rng(0).integers(0, 256, (384, 384, 3), np.uint8)
    found = TransformersDetector(folder)(pixels)
    model = Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        outputs = model(**processor(images=pixels, return_tensors="pt"))
    (theirs,) = processor.post_process_instance_segmentation(
        outputs, threshold=0.0, target_sizes=[(384, 384)], return_binary_maps=True
    )
    names = {"bench": "bench", "remote": "tv remote", "apple": "apple"}
    expected = [
        (segment["score"], names[model.config.id2label[segment["label_id"]]], mask.numpy() > 0)
        for segment, mask in zip(theirs["segments_info"], theirs["segmentation"], strict=True)
    ]
    assert len(found) == len(expected) > 1 and any(thing.name == "tv remote" for thing in found)
    pairs = zip(sorted(found, key=lambda one: one.score), sorted(expected, key=lambda one: one[0]), strict=True)
    for thing, (score, name, mask) in pairs:
        assert thing.mask is not None
        assert thing.name == name and thing.score == pytest.approx(score, abs=1e-4)
        assert np.array_equal(thing.mask, mask)
        left, top, right, bottom = (int(edge) for edge in thing.box)
        assert thing.mask[top:bottom, left:right].sum() == thing.mask.sum()
        edges = (thing.mask[top], thing.mask[bottom - 1], thing.mask[:, left], thing.mask[:, right - 1])
        assert all(edge.any() for edge in edges)


def test_masks_go_by_way_of_what_the_network_saw(tmp_path: Path) -> None:
    """Scaled by hand in the two steps of mmdetection, of an image of another size that is padded for the network."""
    folder = tiny.write_mask2former(tmp_path / "detector", pad_to=96)
    pixels = np.random.default_rng(0).integers(0, 256, (100, 130, 3), np.uint8)
    model = Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    seen = AutoImageProcessor.from_pretrained(folder)(images=pixels, return_tensors="pt")
    assert seen.pixel_values.shape[-2:] == (96, 96) and seen.pixel_mask.sum() == 64 * 83
    with torch.inference_mode():
        logits = model(**seen).masks_queries_logits
    whole = torch.nn.functional.interpolate(logits, size=(96, 96), mode="bilinear")[..., :64, :83]
    masks = (torch.nn.functional.interpolate(whole, size=(100, 130), mode="bilinear")[0] > 0).numpy()
    found = TransformersDetector(folder)(pixels)
    assert found and all(
        one.mask is not None and any(np.array_equal(one.mask, mask) for mask in masks) for one in found
    )


def test_another_clip_tells_the_colours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_clip(tmp_path / "models/ViT-L-14")
    tiny.write_mask2former(tmp_path / "models/detector")
    metadata = _write(tmp_path, [_prompt("colors", {"class": "bench", "count": 1, "color": "red"})], images=1)
    options = ["--geneval", str(metadata), "--predictions", str(tmp_path / "images")]
    options += ["--models", str(tmp_path / "models")]
    assert main([*options, "--clip", "ViT-L-14"]) == 0
    assert main(options) == 2
    assert "GenEval needs --models with detector/ and ViT-B-32/" in capsys.readouterr().err


class _Recording:
    """A CLIP that keeps what it is shown."""

    def __init__(self, seen: list[Pixels]) -> None:
        self._seen = seen

    def seen_by_open_clip(self, pixels: Pixels) -> Pixels:
        self._seen.append(pixels)
        return pixels

    def embed(self, seen: Sequence[Pixels]) -> list[np.ndarray]:
        return [np.ones(4) / 2 for _ in seen]

    def embed_texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.ones(4) / 2 for _ in texts]


def _prompt(tag: str, *include: dict[str, Any], exclude: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"tag": tag, "prompt": "a prompt", "include": list(include), "exclude": [exclude] if exclude else []}


def _write(folder: Path, prompts: Sequence[dict[str, Any]], images: int) -> Path:
    """GenEval's metadata, and a blank image for each of the first prompts."""
    metadata = folder / "evaluation_metadata.jsonl"
    metadata.write_text("".join(f"{json.dumps(prompt)}\n" for prompt in prompts))
    for number in range(images):
        samples = folder / f"images/{number:05d}/samples"
        samples.mkdir(parents=True)
        (samples / "0000.png").write_bytes(encode_lossless("target", BLANK).data)
    return metadata
