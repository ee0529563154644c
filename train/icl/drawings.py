"""The report's learning curves (SVG) and its grid of held-out tasks (PNG)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw

from train.icl.pictures import to_levels, to_rgb
from train.icl.runs import Arm, Run

_STROKES: dict[Arm, str] = {"none": "#888888", "causal": "#d62728", "xprompt": "#1f77b4", "averages": "#2ca02c"}
_DASHES = ("none", "7 4", "2 3")
"""Of an arm's lines, from the largest S to the smallest."""
_WIDTH_PX, _HEIGHT_PX, _LEFT_PX, _TOP_PX, _BOTTOM_PX, _RIGHT_PX = 720, 420, 56, 20, 44, 260
_PICTURE_PX, _GAP_PX = 64, 8


def curves(groups: Sequence[tuple[str, Arm, Sequence[Run]]]) -> str:
    """Exact tokens against steps, an SVG. A group is its name, its arm, and its runs by seed, all of as many steps."""
    values = {name: np.array([[score.right for _, _, score in run.curve] for run in runs]) for name, _, runs in groups}
    places = [step for step, _, _ in groups[0][2][0].curve]
    high = np.ceil(10 * max(each.max() for each in values.values()) + 1e-9) / 10
    inner_width, inner_height = _WIDTH_PX - _LEFT_PX - _RIGHT_PX, _HEIGHT_PX - _TOP_PX - _BOTTOM_PX

    def at(step: float, right: float) -> str:
        return f"{_LEFT_PX + inner_width * step / places[-1]:.1f},{_TOP_PX + inner_height * (1 - right / high):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX} {_HEIGHT_PX}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH_PX}" height="{_HEIGHT_PX}" fill="white"/>',
    ]
    for tick in np.linspace(0, high, 6):
        (left, height), (right, _) = (at(step, tick).split(",") for step in (0, places[-1]))
        parts.append(f'<line x1="{left}" y1="{height}" x2="{right}" y2="{height}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT_PX - 8}" y="{float(height) + 4}" text-anchor="end">{tick:.2f}</text>')
    for tick in np.linspace(0, places[-1], 4):
        left, height = at(tick, 0).split(",")
        parts.append(f'<text x="{left}" y="{float(height) + 18}" text-anchor="middle">{tick:,.0f}</text>')
    middle = _LEFT_PX + inner_width / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT_PX - 6}" text-anchor="middle">training steps</text>')
    for row, (name, arm, _) in enumerate(groups):
        band = [
            *zip(places, values[name].max(0), strict=True),
            *reversed([*zip(places, values[name].min(0), strict=True)]),
        ]
        outline, line = (
            " ".join(at(*point) for point in points)
            for points in (band, zip(places, values[name].mean(0), strict=True))
        )
        larger = sum(other == arm for _, other, _ in groups[row + 1 :])
        stroke = f'stroke="{_STROKES[arm]}" stroke-width="2" stroke-dasharray="{_DASHES[larger % len(_DASHES)]}"'
        edge, y = _WIDTH_PX - _RIGHT_PX + 12, _TOP_PX + 14 + 18 * row
        parts.append(f'<polygon points="{outline}" fill="{_STROKES[arm]}" fill-opacity="0.08"/>')
        parts.append(f'<polyline points="{line}" fill="none" {stroke}/>')
        parts.append(f'<line x1="{edge}" y1="{y - 4}" x2="{edge + 24}" y2="{y - 4}" {stroke}/>')
        parts.append(f'<text x="{edge + 30}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def grid(shown: Sequence[tuple[Arm, Run]]) -> PILImage.Image:
    """A row a held-out task: the example, the query, the answer, and the answers of the arms' runs."""
    side = shown[0][1].settings.side
    columns = [*zip(("before", "after", "query", "right"), shown[0][1].pictures[:4], strict=True)]
    columns += [(f"{arm} {run.xp_tokens or ''}", run.pictures[4]) for arm, run in shown]
    tile, header = _PICTURE_PX + _GAP_PX, 20
    rows = len(columns[0][1])
    sheet = PILImage.new("RGB", (tile * len(columns) + _GAP_PX, header + tile * rows + _GAP_PX), "#cccccc")
    drawing = ImageDraw.Draw(sheet)
    for column, (name, pictures) in enumerate(columns):
        drawing.text((_GAP_PX + column * tile, 6), name, fill="black")
        for row, codes in enumerate(pictures):
            small = PILImage.fromarray(_pixels(codes, side)).resize((_PICTURE_PX,) * 2, PILImage.Resampling.NEAREST)
            sheet.paste(small, (_GAP_PX + column * tile, header + _GAP_PX + row * tile))
    return sheet


def _pixels(codes: Sequence[int], side: int) -> NDArray[np.uint8]:
    return to_rgb(to_levels(np.array(codes).reshape(side, side)))
