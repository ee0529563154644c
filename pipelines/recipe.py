"""Recipes: which datasets are made together. The paper's Tab. 6 and Tab. 7, entry by entry, and files of users.

A recipe file is TOML, with a table for each dataset:

    [[datasets]]
    task = "derain"                   # one of ours or of an installed package
    pairs = 13_000                    # optional, with factor: the examples that it stands for in the mixture
    factor = 4

    [[datasets]]
    task = "tasks/dehaze.py:DEHAZE"   # or file.py:NAME, beside the recipe file, or module:NAME
    data = "photos/outdoor"           # the folder below the data root (default: those of the task's sources)
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dataset of a recipe, such as a line of Tab. 6 or Tab. 7."""

    task: str
    source: str = ""
    data: str = ""
    """The dataset's folder below the data root; "" for the folders of the task's sources."""
    pairs: int = 0
    """Original pairs, as printed; 0 if the recipe does not count them."""
    factor: int = 1
    """Examples a pair: 4 = {generate, describe} x {forward, reverse}, 2 = {generate, describe}, 1 in Tab. 7."""

    @property
    def examples(self) -> int:
        return self.pairs * self.factor


TAB_6 = (
    Entry(task="denoise", source="DFWB", pairs=72_000, factor=4),
    Entry(task="deblur", source="GoPro", pairs=17_000, factor=4),
    Entry(task="derain", source="Rain13K", pairs=13_000, factor=4),
    Entry(task="retouch", source="MIT-Adobe FiveK", pairs=5_000, factor=4),
    Entry(task="lowlight", source="LOL", pairs=6_000, factor=4),
    Entry(task="text2img", source="LAION-Aesthetics", pairs=500_000, factor=2),
    Entry(task="ultraedit", source="UltraEdit", pairs=500_000, factor=4),
    Entry(task="magicbrush", source="MagicBrush", pairs=1_700, factor=4),
    Entry(task="depth", source="NYU-v2", pairs=48_000, factor=4),
    Entry(task="segmentation", source="ADE20K", pairs=20_000, factor=4),
    Entry(task="normal", source="ScanNet", pairs=260_000, factor=4),
    # Printed "100K 20"; read as 5 x 100K pairs, x4, like the lines above it.
    Entry(task="depth2img", source="NYU-v2", pairs=100_000, factor=4),
    Entry(task="seg2img", source="ADE20K", pairs=100_000, factor=4),
    Entry(task="normal2img", source="ScanNet", pairs=100_000, factor=4),
    Entry(task="hed2img", source="LAION-Aesthetics", pairs=100_000, factor=4),
    Entry(task="mlsd2img", source="LAION-Aesthetics", pairs=100_000, factor=4),
)
"""Where the source of a controllable generation task is not named, it is our choice."""

TAB_7 = (
    Entry(task="style", source="RB-Modulation", pairs=10_000, factor=1),
    Entry(task="composition", source="IP-Adapter", pairs=50_000, factor=1),
    Entry(task="tryon", source="VITON-HD", pairs=120_000, factor=1),
    Entry(task="pose", source="FLUX + ControlNet", pairs=10_000, factor=1),
    Entry(task="mimicbrush", source="MimicBrush", pairs=50_000, factor=1),
)

FULL_8M = TAB_6 + TAB_7

PAPER_PAIRS, PAPER_EXAMPLES = 5_000_000, 8_000_000
"""What section 4 says ("about 5 million pairs, about 8 million after augmentation"); its tables add up to less."""


def read_recipe(path: str) -> tuple[Entry, ...]:
    """The entries of a recipe file. Raises ValueError, one line that names the file, for what is none."""
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))["datasets"]
        known = {field.name for field in fields(Entry)}
        if wrong := sorted({name for table in tables for name in table} - known):
            raise ValueError(f"a dataset has no {', '.join(wrong)}; it has {', '.join(sorted(known))}")
        entries = tuple(Entry(**{**table, "task": _beside(path, table["task"])}) for table in tables)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no recipe: {error}") from error
    if not entries:
        raise ValueError(f"{path} is no recipe: it has no [[datasets]]")
    return entries


def _beside(path: str, task: str) -> str:
    """The name of a task; a file of it lies beside the recipe file."""
    file, colon, name = task.rpartition(":")
    return f"{Path(path).parent / file}:{name}" if colon and file.endswith(".py") else task
