"""Runs GenEval over a folder of generated images and adds up its score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.images.pixels import Pixels
from manifests.text_files import read_text
from train.evaluate.geneval import ColourOf, Detector, check
from train.evaluate.predictions import Malformed, decode

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
"""GenEval's six tasks, in its order."""


@dataclass(kw_only=True)
class GenevalReport:
    """Which images are as their prompts ask, by task."""

    wrong: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Tag -> image, relative to the folder -> what is wrong with it; nothing if it is as asked."""
    problems: list[str] = field(default_factory=list)
    """Prompts without an image, and images that cannot be read."""

    @property
    def scores(self) -> dict[str, float]:
        """Share of the right images of each task, and "overall": the mean of the tasks, as GenEval defines it."""
        found = {
            tag: sum(not wrong for wrong in self.wrong[tag].values()) / len(self.wrong[tag])
            for tag in TAGS
            if self.wrong.get(tag)
        }
        return {**found, "overall": sum(found.values()) / len(found)} if found else {}

    def table(self) -> str:
        """Markdown, in the form of the paper's GenEval table."""
        cells = [f"{self.scores[tag]:.2f}" if tag in self.scores else "–" for tag in (*TAGS, "overall")]
        headings = " | ".join(tag.replace("_", " ") for tag in (*TAGS, "overall"))
        images = sum(map(len, self.wrong.values()))
        return f"| {headings} | images |\n|{'---|' * (len(cells) + 1)}\n| {' | '.join(cells)} | {images:,} |"


def geneval(metadata: Path, folder: Path, detector: Detector, colour_of: ColourOf) -> GenevalReport:
    """Check every image of every prompt. Raises ValueError for metadata that is not GenEval's."""
    report = GenevalReport()
    for number, prompt in enumerate(_prompts(metadata)):
        images = sorted((folder / f"{number:05d}" / "samples").glob("*.png"))
        if not images:
            report.problems.append(f"{folder}/{number:05d}/samples: no image of {prompt['prompt']!r}")
        for path in images:
            try:
                pixels: Pixels = decode(path.read_bytes())
            except Malformed as malformed:
                report.problems.append(f"{path}: malformed: {malformed}")
                continue
            name = str(path.relative_to(folder))
            wrong = check(pixels, detector(pixels), prompt, colour_of)
            report.wrong.setdefault(prompt["tag"], {})[name] = wrong
    return report


def _prompts(metadata: Path) -> list[Mapping[str, Any]]:
    prompts = []
    for number, line in enumerate(read_text(metadata).splitlines(), 1):
        try:
            prompt = json.loads(line)
            known = prompt["tag"] in TAGS and prompt["prompt"] and isinstance(prompt["include"], list)
        except (ValueError, KeyError, TypeError, RecursionError):
            known = False
        if not known:
            raise ValueError(f"{metadata}, line {number}: not a prompt of GenEval's evaluation_metadata.jsonl")
        prompts.append(prompt)
    return prompts
