"""Runs GenEval over a folder of generated images and adds up its score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from manifests.images.pixels import Pixels
from manifests.text_files import read_text
from train.evaluate.geneval import ColourOf, Detector, check
from train.evaluate.intervals import RESAMPLES, SHARE, Interval, Sums, with_interval
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

    def intervals(self) -> dict[str, Interval]:
        """The confidence interval of each score, by resamples of the prompts, in each task as many as it has."""
        tags = [tag for tag in TAGS if self.wrong.get(tag)]
        rows: dict[tuple[int, str], list[bool]] = {}  # task and prompt -> which of its images are right
        for column, tag in enumerate(tags):
            for name, wrong in self.wrong[tag].items():
                rows.setdefault((column, _prompt_of(name)), []).append(not wrong)
        columns = np.array([column for column, _ in rows])
        above, below = np.zeros((2, len(rows), len(tags)))
        above[range(len(rows)), columns] = [sum(right) for right in rows.values()]
        below[range(len(rows)), columns] = [len(right) for right in rows.values()]
        found = {}
        for column, tag in enumerate(tags):
            mine = columns == column
            found[tag] = Sums(above=above[mine, column, None], below=below[mine, column, None]).interval()
        return {**found, "overall": Sums(above=above, below=below).interval(columns)} if tags else {}

    def table(self) -> str:
        """Markdown, in the form of the paper's GenEval table (Tab. 1)."""
        scores, intervals = self.scores, self.intervals()
        columns = (*TAGS, "overall")
        cells = [with_interval(scores[tag], intervals[tag], 2) if tag in scores else "–" for tag in columns]
        headings = [*(tag.replace("_", " ") for tag in columns), "prompts", "images"]
        prompts = {(tag, _prompt_of(name)) for tag, names in self.wrong.items() for name in names}
        cells += [f"{len(prompts):,}", f"{sum(map(len, self.wrong.values())):,}"]
        lines = [f"| {' | '.join(row)} |" for row in (headings, cells)]
        lines.insert(1, f"|{'---|' * len(cells)}")
        return "\n".join(
            [
                "GenEval (Tab. 1)",
                "",
                *lines,
                "",
                f"In parentheses: {SHARE:.0%} confidence intervals, by {RESAMPLES:,} resamples of the prompts.",
            ]
        )


def geneval(metadata: Path, folder: Path, detector: Detector, colour_of: ColourOf) -> GenevalReport:
    """Check every image of every prompt: files whose names are digits, as GenEval takes them.

    Raises ValueError for metadata that is not GenEval's.
    """
    report = GenevalReport()
    for number, prompt in enumerate(read_prompts(metadata)):
        files = sorted((folder / f"{number:05d}" / "samples").glob("*.png"))
        images = [path for path in files if path.stem.isdecimal()]
        report.problems += [f"{path}: belongs to no sample" for path in files if not path.stem.isdecimal()]
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


def _prompt_of(name: str) -> str:
    """The folder of an image's prompt."""
    return name.partition("/")[0]


def read_prompts(metadata: Path) -> list[Mapping[str, Any]]:
    """The lines of GenEval's metadata. Raises ValueError for another file."""
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
    if not prompts:
        raise ValueError(f"{metadata} has no prompt")
    return prompts
