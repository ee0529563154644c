"""Which metrics the paper takes for which task, and how they add up over a dataset."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels
from manifests.text_files import read_text
from operators.shared.ade20k import CLASSES
from operators.shared.metrics import SSIM_WINDOW_PX, psnr_db, ssim_rgb
from operators.shared.square import square
from operators.shared.vectors import cosine
from operators.shared.vision import Clip, Dino
from train.evaluate.dense_metrics import NYU_SIZE_PX, angles_deg, depth_rmse_m, inside_eigen_crop, overlaps
from train.evaluate.intervals import Sums
from train.evaluate.predictions import Example, Malformed

Values = dict[str, float]

_OF_USERS = ("custom", "pairs")
"""The prototype tasks of what is no task of the paper's (pipelines/tasks/task.py, own_pairs.py)."""

_NYU = "NYU Depth v2"
"""What the names of NYU-v2's sources begin with, whatever the layout."""

HEADINGS = {
    "psnr_db": "PSNR (dB) ↑",
    "ssim": "SSIM ↑",
    "depth_rmse_m": "RMSE (m) ↓",
    "miou": "mIoU ↑",
    "angle_deg": "mean angular error (°) ↓",
    "clip_dir": "CLIP_dir ↑",
    "clip_out": "CLIP_out ↑",
    "clip_img": "CLIP_img ↑",
    "dino": "DINO ↑",
}
"""Metric -> its heading in tables; the arrow points to where it is better."""

DECIMALS = {"psnr_db": 2, "angle_deg": 2}
"""Of metrics that have not 3 in tables."""


class Score(Protocol):
    """The metrics of one task, added up."""

    title: ClassVar[str]
    """Of the table that has them."""
    metrics: ClassVar[tuple[str, ...]]

    def add(self, prediction: Pixels, example: Example) -> Values:
        """Score one prediction, H x W x 3, and return its own values. Raises Malformed."""
        ...

    def result(self) -> Mapping[str, Sums]:
        """The metrics over all that was added, in its order. A metric that could not be taken is absent."""
        ...


class RestorationScore:
    """Low-level tasks: PSNR and SSIM of all channels, the mean over the images (Tab. 2 and 4)."""

    title: ClassVar[str] = "Restoration (Tab. 2 and 4)"
    metrics: ClassVar[tuple[str, ...]] = ("psnr_db", "ssim")

    def __init__(self) -> None:
        self._rows: list[Values] = []

    def add(self, prediction: Pixels, example: Example) -> Values:
        if min(prediction.shape[:2]) < SSIM_WINDOW_PX:
            raise Malformed(f"{prediction.shape[1]} x {prediction.shape[0]} px are too few for SSIM")
        target = _like(example.image(example.output), prediction, nearest=False)
        self._rows.append({"psnr_db": psnr_db(prediction, target), "ssim": ssim_rgb(prediction, target)})
        return self._rows[-1]

    def result(self) -> Mapping[str, Sums]:
        return _means(self._rows)


class OtherScore(RestorationScore):
    """Tasks and pairs of users: how near an image is to the dataset's, which need not be the only right one."""

    title: ClassVar[str] = "Nearness to the dataset's images (tasks and pairs of your own, not in the paper)"


class DepthScore:
    """Depth: root mean squared error in metres, the mean over the images that have depth.

    Of the images of NYU-v2 that have its size the borders do not count, as is usual (dense_metrics.inside_eigen_crop).
    """

    title: ClassVar[str] = "Depth (Tab. 2)"
    metrics: ClassVar[tuple[str, ...]] = ("depth_rmse_m",)

    def __init__(self) -> None:
        self._rows: list[Values] = []

    def add(self, prediction: Pixels, example: Example) -> Values:
        whole = example.image(example.output)
        target = _like(whole, prediction, nearest=True)
        cropped = example.source.startswith(_NYU) and whole.shape[:2] == NYU_SIZE_PX
        counts = inside_eigen_crop(*target.shape[:2]) if cropped else None
        self._rows.append({"depth_rmse_m": depth_rmse_m(prediction, target, example.palette, counts)})
        return self._rows[-1]

    def result(self) -> Mapping[str, Sums]:
        return _means(self._rows)


class SegmentationScore:
    """Semantic segmentation: intersection over union of ADE20K's classes over all pixels of the dataset."""

    title: ClassVar[str] = "Semantic segmentation (Tab. 2)"
    metrics: ClassVar[tuple[str, ...]] = ("miou",)

    def __init__(self) -> None:
        self._both: list[npt.NDArray[np.int64]] = []
        self._either: list[npt.NDArray[np.int64]] = []

    def add(self, prediction: Pixels, example: Example) -> Values:
        target = _like(example.image(example.output), prediction, nearest=True)
        both, either, labelled = overlaps(prediction, target)
        self._both.append(both)
        self._either.append(either)
        return {"pixel_accuracy": float(both.sum() / labelled) if labelled else math.nan}

    def result(self) -> Mapping[str, Sums]:
        above, below = (np.array(rows, np.float64).reshape(-1, len(CLASSES)) for rows in (self._both, self._either))
        return {"miou": Sums(above=above, below=below)}


class NormalScore:
    """Surface normals: the mean angle over all pixels of the dataset that have one."""

    title: ClassVar[str] = "Surface normals (Tab. 2)"
    metrics: ClassVar[tuple[str, ...]] = ("angle_deg",)

    def __init__(self) -> None:
        self._sums_deg: list[float] = []
        self._pixels: list[int] = []

    def add(self, prediction: Pixels, example: Example) -> Values:
        angles = angles_deg(prediction, _like(example.image(example.output), prediction, nearest=True))
        self._sums_deg.append(float(angles.sum()))
        self._pixels.append(angles.size)
        return {"angle_deg": float(angles.mean()) if angles.size else math.nan}

    def result(self) -> Mapping[str, Sums]:
        above, below = (np.array(column, np.float64)[:, None] for column in (self._sums_deg, self._pixels))
        return {"angle_deg": Sums(above=above, below=below)}


class EditScore:
    """Edits: cosines of CLIP's and DINO's vectors, the mean over the images.

    They are named as by Emu Edit (https://arxiv.org/abs/2311.10089, section 5) and UltraEdit, and compare with the
    *input* image, not with a reference:

        CLIP_dir   the change of the image and the change of its caption
        CLIP_out   the edited image and its caption
        CLIP_img   the edited image and the input
        DINO       the edited image and the input

    The captions of the images before and after an edit are those that `read_captions` found, by a pair's key or by the
    session and turn that a test split's manifest has, else those in the manifest of a test split, where its source
    publishes them. Without captions CLIP_dir and CLIP_out are absent, and without a model its metrics are.
    """

    title: ClassVar[str] = "Edits (Tab. 3)"
    metrics: ClassVar[tuple[str, ...]] = ("clip_dir", "clip_out", "clip_img", "dino")

    def __init__(self, clip: Clip | None, dino: Dino | None, captions: Mapping[str, tuple[str, str]]) -> None:
        self._clip, self._dino, self._captions = clip, dino, captions
        self._rows: list[Values] = []

    def add(self, prediction: Pixels, example: Example) -> Values:
        before = example.image(example.inputs[0])
        row: Values = {}
        if self._clip:
            image_before, image_after = self._clip.embed([*map(self._clip.seen_by_open_clip, (before, prediction))])
            row["clip_img"] = cosine(image_before, image_after)
            if known := _captions_of(example, self._captions):
                captions = known[:: 1 if example.direction == "forward" else -1]
                text_before, text_after = self._clip.embed_texts(captions)
                row["clip_dir"] = cosine(image_after - image_before, text_after - text_before)
                row["clip_out"] = cosine(image_after, text_after)
        if self._dino:
            row["dino"] = cosine(*self._dino.embed([*map(self._dino.seen, (before, prediction))]))
        self._rows.append(row)
        return row

    def result(self) -> Mapping[str, Sums]:
        return _means(self._rows)


def read_captions(path: Path) -> dict[str, tuple[str, str]]:
    """The captions before and after of pairs, from JSON lines {"pair", "input", "output"}, by the pair's key; or from
    MagicBrush's global_descriptions.json, by "<session>#<turn>". Raises ValueError for anything else.

    That file has {"<session>": {"<session>-input.png": ..., "<session>-output1.png": ..., ...}}, as evaluation/
    image_eval.py of https://github.com/OSU-NLP-Group/MagicBrush reads it: what each image shows as a whole. A turn
    begins with the output of the one before it.
    """
    text = read_text(path)
    described = _described(text)
    if described is not None:
        return described
    captions = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            captions[str(row["pair"])] = (str(row["input"]), str(row["output"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f'{path}, line {number}: expected {{"pair": ..., "input": ..., "output": ...}}') from None
    return captions


def _described(text: str) -> dict[str, tuple[str, str]] | None:
    """The captions of a file of global descriptions; None if it is no such file."""
    try:
        sessions = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(sessions, dict) or not sessions or not all(isinstance(one, dict) for one in sessions.values()):
        return None
    found = {}
    for session, images in sessions.items():
        shown = {Path(name).stem.removeprefix(f"{session}-"): str(caption) for name, caption in images.items()}
        for name, caption in shown.items():
            turn = int(name.removeprefix("output")) if re.fullmatch(r"output\d+", name) else 0
            before = shown.get("input" if turn == 1 else f"output{turn - 1}")
            if turn and before and caption:
                found[f"{session}#{turn}"] = (before, caption)
    return found


def _captions_of(example: Example, known: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    """The captions of an example's images before and after, by those that are known and by its manifest."""
    told = example.told
    for key in (example.pair, f"{told.get('session')}#{told.get('turn')}"):
        if key in known:
            return known[key]
    if "source_caption" in told and "target_caption" in told:
        return str(told["source_caption"]), str(told["target_caption"])
    return None


def score_for(
    example: Example,
    load_clip: Callable[[], Clip] | None,
    load_dino: Callable[[], Dino] | None,
    captions: Mapping[str, tuple[str, str]],
) -> Score:
    """The metrics of an example's task, whose models are loaded if it needs them.

    Raises ValueError for a task that is not scored by a dataset's images, or if a model that it needs cannot be loaded.
    """
    dense: dict[str, type[DepthScore | SegmentationScore | NormalScore]] = {
        "depth": DepthScore,
        "segmentation": SegmentationScore,
        "normal": NormalScore,
    }
    if example.prototype_task == "low-level":
        return RestorationScore()
    if example.task in dense and example.direction == "forward":
        return dense[example.task]()
    if example.prototype_task == "editing":
        if not load_clip and not load_dino:
            raise ValueError(f"{example.task} is scored by CLIP and DINO: --models needs ViT-B-32/ or dino/")
        return EditScore(load_clip and load_clip(), load_dino and load_dino(), captions)
    if example.prototype_task in _OF_USERS:
        return OtherScore()
    if example.prototype_task == "text-to-image":
        raise ValueError(f"{example.task} makes images of words alone, which GenEval scores: --geneval")
    raise ValueError(
        f"{example.task}, {example.direction}, has many right answers, and the paper has no metric that compares with "
        "a dataset's images"
    )


def _like(target: Pixels, prediction: Pixels, *, nearest: bool) -> Pixels:
    """The target in the shape of its prediction: as it is, or the square that the tokenizer saw. Raises Malformed."""
    if prediction.shape == target.shape:
        return target
    height_px, width_px, _ = prediction.shape
    if height_px != width_px:
        raise Malformed(
            f"{width_px} x {height_px} px: neither the target's {target.shape[1]} x {target.shape[0]} nor a square"
        )
    return square(target, height_px, nearest=nearest)


def _means(rows: Sequence[Values]) -> dict[str, Sums]:
    """The mean of each metric over the rows that have it and are not NaN."""
    metrics = dict.fromkeys(metric for row in rows for metric in row)
    return {metric: Sums.mean([row.get(metric, math.nan) for row in rows]) for metric in metrics}
