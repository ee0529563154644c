"""Scores predictions against a dataset: `xprompt evaluate --dataset data/derain-test --predictions DIR`.

It prints the paper's tables: Tab. 2 (dense prediction, restoration), Tab. 3 (edits) and, of several folders of
predictions, the rows of Tab. 4; with --geneval Tab. 1. Tab. 5 is `xprompt reconstruct`. Behind each figure stands its
confidence interval (intervals.py).

A prediction is a file <pair>.<direction>.png in a folder, or the output image of the same pair in another dataset
directory. It has the target's shape, or is a square of any size: then the target is cropped and scaled as the
tokenizer does it (operators/shared/square.py). Missing, malformed and strange predictions are counted and named; means
are over what was scored, so a table that lacks some says so, and the exit status is 1.

Text-to-image is scored by GenEval: `--geneval evaluation_metadata.jsonl --predictions DIR`, where the images of the
prompt in line i (from 0) are DIR/<i, five digits>/samples/*.png, as GenEval's own programs write them.

--models DIR holds, as far as they are needed: ViT-B-32/ (open_clip), dino/ and detector/ (transformers). --clip names
another folder in it. GenEval's published figures are those of ViT-L-14/ and of a Mask2Former as the detector.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from manifests.dataset import Dataset, find_datasets
from manifests.printing import say
from manifests.schema import Direction
from manifests.text_files import file_to_write
from operators.shared.extras import MissingExtra
from operators.shared.vision import Clip, Dino
from train.evaluate.detector import TransformersDetector
from train.evaluate.geneval import ClipColours
from train.evaluate.geneval_run import geneval
from train.evaluate.intervals import RESAMPLES, SHARE, Interval, with_interval
from train.evaluate.predictions import Malformed, Predictions, decode, examples, find_predictions
from train.evaluate.scores import DECIMALS, HEADINGS, Score, Values, read_captions, score_for

_OTHER: dict[Direction, Direction] = {"forward": "reverse", "reverse": "forward"}
_Model = TypeVar("_Model")
_CLIP = "ViT-B-32"
_NAMED = 10  # problems printed; the JSON names all

_NOVEL_DB = {
    "derain": {"none": 7.92, "causal": 18.10, "xprompt": 18.91},
    "lowlight": {"none": 9.14, "causal": 17.00, "xprompt": 17.22},
}
"""The PSNR of the paper's Tab. 4, by task and arm."""


@dataclass(kw_only=True)
class Report:
    """The scores of one task in one direction."""

    task: str
    direction: Direction
    predictions: str = ""
    """What made the predictions."""
    title: str = ""
    """Of the table that it is a row of."""
    metrics: tuple[str, ...] = ()
    expected: int = 0
    values: Values = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    """Metric -> the ends of its confidence interval; absent if it has none."""
    counts: Counter[str] = field(default_factory=Counter)
    """Metric -> how many images it was taken over."""
    scored: dict[str, Values] = field(default_factory=dict)
    """Prediction -> its own values."""
    missing: list[str] = field(default_factory=list)
    malformed: dict[str, str] = field(default_factory=dict)
    """Prediction -> what is wrong with it."""
    strange: list[str] = field(default_factory=list)
    """What lies among the predictions and belongs to no pair."""

    @property
    def complete(self) -> bool:
        return not (self.missing or self.malformed)


def evaluate(dataset: Dataset, predictions: Predictions, direction: Direction, scorer: Callable[..., Score]) -> Report:
    """Score what a dataset's generate examples of one direction should have given.

    Raises ValueError if there are none, if they are scored otherwise, or if the dataset is damaged.
    """
    report, score = Report(task=dataset.plan().task, direction=direction, predictions=predictions.made_by), None
    strange = predictions.names()
    for example in examples(dataset, direction):
        score = score or scorer(example)
        report.expected += 1
        strange -= {example.file, replace(example, direction=_OTHER[direction]).file}
        data = predictions.read(example)
        if data is None:
            report.missing.append(example.file)
            continue
        try:
            values = score.add(decode(data), example)
        except Malformed as malformed:
            report.malformed[example.file] = str(malformed)
            continue
        report.scored[example.file] = values
        report.counts.update(metric for metric, value in values.items() if not math.isnan(value))
    if score is None:
        raise ValueError(f"{dataset.url} has no {direction} generate examples")
    report.title, report.metrics, report.strange = score.title, score.metrics, sorted(strange)
    for metric, sums in score.result().items():
        report.values[metric] = sums.value()
        interval = sums.interval()
        if not math.isnan(interval[0]):
            report.intervals[metric] = interval
    return report


def table(reports: Sequence[Report]) -> str:
    """Markdown as in the paper's tables: a row a task; one table for all tasks that are scored alike."""
    blocks = []
    for title, metrics in dict.fromkeys((report.title, report.metrics) for report in reports):
        lines = [
            title,
            "",
            f"| task | {' | '.join(HEADINGS[metric] for metric in metrics)} | scored | missing | malformed |",
            f"|---|{'---|' * (len(metrics) + 3)}",
        ]
        for report in reports:
            if report.title == title:
                cells = [_cell(metric, report) for metric in metrics]
                counts = f"{len(report.scored):,} | {len(report.missing):,} | {len(report.malformed):,}"
                lines.append(f"| {_name(report)} | {' | '.join(cells)} | {counts} |")
        blocks.append("\n".join(lines))
    if any(report.intervals for report in reports):
        blocks.append(f"In parentheses: {SHARE:.0%} confidence intervals, by {RESAMPLES:,} resamples of the images.")
    for task, published in _NOVEL_DB.items():
        if any(report.task.startswith(task) and report.predictions for report in reports):
            figures = ", ".join(f"{arm} {psnr_db:.2f} dB" for arm, psnr_db in published.items())
            blocks.append(f"The paper's Tab. 4, where {task} is a task that training has not seen: {figures}.")
    return "\n\n".join(blocks)


def _name(report: Report) -> str:
    """How a row is called."""
    parts = [report.task, "reversed" if report.direction == "reverse" else "", report.predictions]
    return ", ".join(part for part in parts if part)


def _cell(metric: str, report: Report) -> str:
    """A value and its interval; over how many images if not all; a dash if it could not be taken."""
    if metric not in report.values or math.isnan(report.values[metric]):
        return "–"
    decimals = DECIMALS.get(metric, 3)
    shown = with_interval(report.values[metric], report.intervals.get(metric, (math.nan, math.nan)), decimals)
    count = report.counts[metric]
    return shown if count in (0, len(report.scored)) else f"{shown} (of {count:,})"


def as_json(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """The reports as JSON values; what is not finite is a string."""
    return [plain(vars(report)) for report in reports]


def plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _print_problems(report: Report) -> None:
    problems = [f"{name}: missing" for name in report.missing]
    problems += [f"{name}: malformed: {why}" for name, why in report.malformed.items()]
    problems += [f"{name}: belongs to no pair of {report.task}" for name in report.strange]
    for problem in problems[:_NAMED]:
        say(problem, error=True)
    if len(problems) > _NAMED:
        print(f"... and {len(problems) - _NAMED:,} more", file=sys.stderr)


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt evaluate") -> int:
    """Score as the arguments say; `prog` is the command as the user typed it.

    Returns the exit status: 0, 1 if a prediction is missing or malformed, 2 with one line if it cannot do what was
    asked.
    """
    options = _parser(prog).parse_args(arguments)
    try:
        complete, values = _geneval(options) if options.geneval else _datasets(options)
        if options.json:
            options.json.write_text(json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    except (ValueError, OSError, MissingExtra) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2
    return 0 if complete else 1


def _datasets(options: argparse.Namespace) -> tuple[bool, Any]:
    clip, dino = _clip(options), _model(options, "dino", Dino)
    captions = read_captions(options.captions) if options.captions else {}
    datasets = find_datasets(options.dataset)
    reports: list[Report] = []
    for folder in options.predictions:
        predictions = find_predictions(folder)
        of_folder = [
            evaluate(dataset, predictions, options.direction, lambda example: score_for(example, clip, dino, captions))
            for dataset in datasets
        ]
        # What is strange to one dataset may be another's.
        everywhere = set.intersection(*(set(report.strange) for report in of_folder))
        for report in of_folder:
            report.strange = sorted(everywhere)
            if len(options.predictions) > 1 and not report.predictions:
                report.predictions = folder
        reports += of_folder
    print(table(reports))
    for report in reports:
        _print_problems(report)
    if options.captions and not any(report.counts["clip_out"] for report in reports):
        why = "no pair that was scored has captions there" if clip else "captions need a CLIP in --models"
        say(f"{options.captions}: {why}", error=True)
    return all(report.complete for report in reports), as_json(reports)


def _geneval(options: argparse.Namespace) -> tuple[bool, Any]:
    detector, clip = _model(options, "detector", TransformersDetector), _clip(options)
    if not detector or not clip:
        raise ValueError(f"GenEval needs --models with detector/ and {_CLIP}/")
    if len(options.predictions) > 1:
        raise ValueError("GenEval is run on one folder of --predictions at a time")
    report = geneval(options.geneval, Path(options.predictions[0]), detector(), ClipColours(clip()))
    print(report.table())
    for problem in report.problems[:_NAMED]:
        say(problem, error=True)
    return not report.problems, plain({**vars(report), "scores": report.scores, "intervals": report.intervals()})


def _clip(options: argparse.Namespace) -> Callable[[], Clip] | None:
    """What loads the CLIP of --models; None if there is none. Raises ValueError for one that is named and not there."""
    found = _model(options, options.clip or _CLIP, Clip)
    if options.clip and not found:
        raise ValueError(f"--clip: there is no folder {options.clip}/ in --models {options.models or ''}".rstrip())
    return found


def _model(options: argparse.Namespace, name: str, kind: Callable[[Path, str], _Model]) -> Callable[[], _Model] | None:
    """What loads the model in a folder of --models, once; None if there is no such folder."""
    folder = Path(options.models or "", name)
    return cache(partial(kind, folder, options.device)) if options.models and folder.is_dir() else None


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, prog=prog, description="Score predictions.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", help="a dataset directory, or a folder of them")
    what.add_argument("--geneval", type=Path, help="GenEval's evaluation_metadata.jsonl")
    parser.add_argument(
        "--predictions",
        required=True,
        nargs="+",
        help="folders of <pair>.<direction>.png, or dataset directories, each in rows of its own",
    )
    parser.add_argument("--direction", choices=("forward", "reverse"), default="forward")
    parser.add_argument("--models", help="folder with ViT-B-32/, dino/, detector/, for tasks that need them")
    parser.add_argument(
        "--clip",
        help=f"folder of the CLIP in --models; GenEval's is ViT-L-14 (default: {_CLIP})",
    )
    parser.add_argument(
        "--captions",
        type=Path,
        help='for CLIP_dir and CLIP_out: MagicBrush\'s global_descriptions.json, or lines {"pair", "input", "output"}',
    )
    parser.add_argument("--device", default="cpu", help="where models run (default: %(default)s)")
    parser.add_argument("--json", type=file_to_write, help="write everything here, value by value")
    return parser
