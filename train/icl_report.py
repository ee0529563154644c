"""The report of the experiment: a table, learning curves (SVG) and a grid of held-out tasks (PNG)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from train.icl_model import ARMS, XP_TOKENS, Arm
from train.icl_runs import Run
from train.icl_tasks import COLOURS, HELD_OUT, picture, split_tasks

NAMES: dict[Arm, str] = {
    "none": "no context",
    "causal": "context, plain causal mask",
    "xprompt": "context through X-Prompt tokens",
    "pooled": "context through averages",
}
_STROKES: dict[Arm, str] = {"none": "#888888", "causal": "#d62728", "xprompt": "#1f77b4", "pooled": "#2ca02c"}
_WIDTH_PX, _HEIGHT_PX, _LEFT_PX, _TOP_PX, _BOTTOM_PX, _RIGHT_PX = 720, 380, 56, 20, 44, 20
_CELL_PX, _GAP_PX = 20, 12


def write_report(folder: Path, runs: Sequence[Run]) -> Path:
    """Write report.md, curves.svg and grid.png over runs of one setting; the report's path."""
    (folder / "curves.svg").write_text(_curves(runs), "utf-8")
    _grid(runs).save(folder / "grid.png", optimize=True)
    path = folder / "report.md"
    path.write_text(_markdown(runs), "utf-8")
    return path


def _markdown(runs: Sequence[Run]) -> str:
    settings, trained, held_out = runs[0].settings, *map(len, split_tasks())
    lines = [
        "# In-context learning in miniature",
        "",
        f"A small Chameleon (4 layers, width 64) is trained from scratch for {settings.steps:,} steps of "
        f"{settings.batch} examples on permutations of {COLOURS} colours: {trained} tasks, and {held_out} "
        f"({HELD_OUT:.0%}) held out. An image is 2 x 2 colours. One in-context example of four colours is all that "
        f"tells the task; answers are made token by token, greedily, without a look at the true ones. Chance is "
        f"{1 / COLOURS:.3f}, and 0.25 for who has understood that the answer has the example's colours. "
        f"S = {XP_TOKENS}.",
        "",
        "| arm | held-out tasks, cells right | PSNR (dB) | trained tasks, cells right | held-out, by seed |",
        "|---|---|---|---|---|",
    ]
    for arm in ARMS:
        of_arm = _of(runs, arm)
        if of_arm:
            held, decibels, known = (
                [run.accuracy["held_out"] for run in of_arm],
                [run.psnr_db["held_out"] for run in of_arm],
                [run.accuracy["trained"] for run in of_arm],
            )
            seeds = ", ".join(f"{value:.3f}" for value in held)
            lines.append(
                f"| {NAMES[arm]} | {_spread(held, 3)} | {_spread(decibels, 1)} | {_spread(known, 3)} | {seeds} |"
            )
    lines += [
        "",
        "Mean and standard deviation over the seeds. PSNR is that of the mean squared error over all pictures.",
        "",
        *_verdicts(runs),
        "",
        "![Learning curves](curves.svg)",
        "",
        "The share of held-out cells that are right; the line is the mean over the seeds, the band their range.",
        "",
        "![Held-out tasks](grid.png)",
        "",
        "Held-out tasks, one a row: the example before and after, the query, the right answer, and what each arm "
        "says (seed 0).",
        "",
        "Weak evidence by nature: a toy, few seeds, and in-context learning comes in plateaus and jumps, so an arm that "
        "is behind at the last step may only be late. The paper's Tab. 4 (low light / derain, dB): no context "
        "9.14 / 7.92, context without X-Prompt 17.00 / 18.10, with it 17.22 / 18.91.",
        "",
    ]
    return "\n".join(lines)


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
        lines.append(f"- {high_name} ({np.mean(high):.3f}) > {low_name} ({np.mean(low):.3f}), {apart}.")
    return lines


def _spread(values: Sequence[float], digits: int) -> str:
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
        (left, y), (right, _) = (at(step, tick).split(",") for step in (0, steps))
        parts.append(f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT_PX - 8}" y="{float(y) + 4}" text-anchor="end">{tick:.1f}</text>')
    for tick in np.linspace(0, steps, 5):
        x, y = at(tick, 0).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{tick:,.0f}</text>')
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
