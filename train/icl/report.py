"""The report of the experiment: a table, learning curves (SVG) and a grid of held-out tasks (PNG)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from train.icl.model import ARMS, XP_TOKENS, Arm
from train.icl.runs import Run
from train.icl.tasks import FAMILIES, HELD_OUT, Family, picture, split_tasks

NAMES: dict[Arm, str] = {
    "none": "no context",
    "causal": "context, plain causal mask",
    "xprompt": "context through X-Prompt tokens",
    "pooled": "context through averages",
}
_STROKES: dict[Arm, str] = {"none": "#888888", "causal": "#d62728", "xprompt": "#1f77b4", "pooled": "#2ca02c"}
_WIDTH_PX, _HEIGHT_PX, _LEFT_PX, _TOP_PX, _BOTTOM_PX, _RIGHT_PX = 720, 380, 56, 20, 44, 20
_CELL_PX, _GAP_PX = 20, 12
_ENOUGH_SEEDS = 2  # for a word on whether two arms are apart


_ABOUT: dict[Family, str] = {
    "stencil": "Each cell of the image is kept, or painted over in a colour. Whoever ignores the example does best by "
    "copying the query, which is right in 2/7 = 0.286 of the cells.",
    "recolour": "The six colours are permuted, and each cell must be looked up by its colour. Chance is 0.167, and "
    "0.25 for who has understood no more than that the answer has the colours of the example's output.",
}

_CAVEAT = """\
Weak evidence by nature: a toy with few seeds, and in-context learning comes in plateaus and jumps, so an arm that is
behind at the last step may only be late. The paper's Tab. 4 (low light / derain, dB): no context 9.14 / 7.92, context
without X-Prompt 17.00 / 18.10, with it 17.22 / 18.91."""


def write_report(folder: Path, runs: Sequence[Run]) -> None:
    """Write report.md, and curves-<family>.svg and grid-<family>.png for each family of the runs."""
    lines = [
        "# In-context learning in miniature",
        "",
        "A small Chameleon (4 layers, width 64) is trained from scratch on image tasks of 2 x 2 colours; "
        f"{HELD_OUT:.0%} of each family's tasks are held out. Nothing but one in-context example tells which task is "
        "meant. Answers are made token by token, greedily, without a look at the true ones. "
        f"S = {XP_TOKENS}. Figures are the mean and standard deviation over the seeds; PSNR is that of the mean "
        f"squared error over all pictures. Runs finished: {len(runs)}.",
    ]
    for family in FAMILIES:
        if of_family := [run for run in runs if run.settings.family == family]:
            (folder / f"curves-{family}.svg").write_text(_curves(of_family), "utf-8")
            _grid(of_family).save(folder / f"grid-{family}.png", optimize=True)
            lines += ["", *_section(family, of_family)]
    lines += ["", _CAVEAT, ""]
    (folder / "report.md").write_text("\n".join(lines), "utf-8")


def _section(family: Family, runs: Sequence[Run]) -> list[str]:
    settings, (trained, held_out) = runs[0].settings, map(len, split_tasks(family))
    lines = [
        f"## {family.capitalize()}",
        "",
        f"{_ABOUT[family]} {trained:,} tasks are trained on and {held_out:,} held out; {settings.steps:,} steps of "
        f"{settings.batch} examples.",
        "",
        "| arm | held-out tasks, cells right | PSNR (dB) | trained tasks, cells right | held-out, by seed | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        if of_arm := _of(runs, arm):
            held = [run.accuracy["held_out"] for run in of_arm]
            cells = (
                NAMES[arm],
                _spread(held, 3),
                _spread([run.psnr_db["held_out"] for run in of_arm], 1),
                _spread([run.accuracy["trained"] for run in of_arm], 3),
                ", ".join(f"{value:.3f}" for value in held),
                f"{np.mean([run.seconds for run in of_arm]):.0f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return [
        *lines,
        "",
        *_verdicts(runs),
        "",
        f"![Learning curves](curves-{family}.svg)",
        "",
        "Share of held-out cells that are right; the line is the mean over the seeds, the band their range.",
        "",
        f"![Held-out tasks](grid-{family}.png)",
        "",
        "Held-out tasks, one a row: the example before and after, the query, the right answer, and what each arm says.",
    ]


def _verdicts(runs: Sequence[Run]) -> list[str]:
    """What came out, in words: each pair of arms is apart only if no seed of one reaches a seed of the other."""
    lines = []
    present = [arm for arm in ARMS if _of(runs, arm)]
    for first, second in itertools.combinations(present, 2):
        a, b = ([run.accuracy["held_out"] for run in _of(runs, arm)] for arm in (first, second))
        (low, high), (low_name, high_name) = (a, b), (NAMES[first], NAMES[second])
        if np.mean(a) > np.mean(b):
            (low, high), (low_name, high_name) = (b, a), (NAMES[second], NAMES[first])
        apart = "in every seed" if max(low) < min(high) else "but the seeds overlap: no difference is shown"
        if min(len(low), len(high)) < _ENOUGH_SEEDS:
            apart = f"but with {min(len(low), len(high))} finished seed(s) that says little"
        lines.append(f"- {high_name} ({np.mean(high):.3f}) > {low_name} ({np.mean(low):.3f}), {apart}.")
    return lines


def _spread(values: Sequence[float], digits: int) -> str:
    if np.isinf(values).any():  # the PSNR of a seed that has every cell right
        return ", ".join("all right" if np.isinf(value) else f"{value:.{digits}f}" for value in values)
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def _of(runs: Sequence[Run], arm: Arm) -> list[Run]:
    return sorted((run for run in runs if run.arm == arm), key=lambda run: run.seed)


def _curves(runs: Sequence[Run]) -> str:
    """Held-out accuracy against steps, an SVG."""
    steps = runs[0].settings.steps
    inner_width = _WIDTH_PX - _LEFT_PX - _RIGHT_PX
    inner_height = _HEIGHT_PX - _TOP_PX - _BOTTOM_PX

    def at(step: float, accuracy: float) -> str:
        return f"{_LEFT_PX + inner_width * step / steps:.1f},{_TOP_PX + inner_height * (1 - accuracy):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX} {_HEIGHT_PX}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH_PX}" height="{_HEIGHT_PX}" fill="white"/>',
    ]
    for tick in np.linspace(0, 1, 6):
        (left, height), (right, _) = (at(step, tick).split(",") for step in (0, steps))
        parts.append(f'<line x1="{left}" y1="{height}" x2="{right}" y2="{height}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT_PX - 8}" y="{float(height) + 4}" text-anchor="end">{tick:.1f}</text>')
    for tick in np.linspace(0, steps, 5):
        left, height = at(tick, 0).split(",")
        parts.append(f'<text x="{left}" y="{float(height) + 18}" text-anchor="middle">{tick:,.0f}</text>')
    middle = _LEFT_PX + inner_width / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT_PX - 6}" text-anchor="middle">training steps</text>')
    for row, arm in enumerate(arm for arm in ARMS if _of(runs, arm)):
        curves = np.array([[accuracy for _, _, accuracy in run.curve] for run in _of(runs, arm)])
        places = [step for step, _, _ in _of(runs, arm)[0].curve]
        band = [*zip(places, curves.max(0), strict=True), *reversed([*zip(places, curves.min(0), strict=True)])]
        outline, line = (
            " ".join(at(*point) for point in points) for points in (band, zip(places, curves.mean(0), strict=True))
        )
        stroke, y = _STROKES[arm], _TOP_PX + 14 + 18 * row
        parts.append(f'<polygon points="{outline}" fill="{stroke}" fill-opacity="0.15"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="{stroke}" stroke-width="2"/>')
        parts.append(f'<rect x="{_LEFT_PX + 10}" y="{y - 9}" width="16" height="4" fill="{stroke}"/>')
        parts.append(f'<text x="{_LEFT_PX + 32}" y="{y - 3}">{NAMES[arm]}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _grid(runs: Sequence[Run]) -> PILImage.Image:
    """A row a held-out task; the example, the query, the answer, and the arms' answers."""
    shown = {arm: of_arm[0] for arm in ARMS if (of_arm := _of(runs, arm))}
    common = next(iter(shown.values())).pictures
    columns = [*zip(("example", "becomes", "query", "answer"), common[:4], strict=True)]
    columns += [(arm, run.pictures[4]) for arm, run in shown.items()]
    tile, header = 2 * _CELL_PX + _GAP_PX + 16, 20
    sheet = PILImage.new("RGB", (tile * len(columns) + _GAP_PX, header + tile * len(common[0]) + _GAP_PX), "#cccccc")
    drawing = ImageDraw.Draw(sheet)
    for column, (name, images) in enumerate(columns):
        drawing.text((_GAP_PX + column * tile, 6), name, fill="black")
        for row, codes in enumerate(images):
            place = (_GAP_PX + column * tile, header + _GAP_PX + row * tile)
            sheet.paste(PILImage.fromarray(picture(np.array(codes), _CELL_PX)), place)
    return sheet
