"""One picture of a dataset: a grid of pairs, inputs beside output, each with its instruction and its operators."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image as PILImage
from PIL import ImageDraw

from manifests.browse.drawing import BACK, FONT, QUIET, TEXT, beside, fit
from manifests.dataset import Dataset, DatasetError
from manifests.images.pixels import decode_rgb
from manifests.read.query import connect, datasets_by_task, read_image, select
from manifests.read.shards import verify_hint
from manifests.records import parse_json
from manifests.schema import MASK

COLUMNS = 3
_CELL_PX, _IMAGE_PX, _CAPTION_PX = 440, 216, 54  # two images and a gap are as wide as a cell
_MARGIN_PX = 16

# One row a pair: of the examples that generate an image, forward ones are the task as it is named.
_SHOWN = "FROM examples WHERE task = ? AND kind = 'generate' AND direction = 'forward'"


def contact_sheet(url: str, *, pairs: int, seed: int = 0) -> bytes:
    """A PNG of `pairs` pairs, shared among the tasks and spread over each; `seed` picks others.

    Raises DatasetError if there is none to show.
    """
    datasets = datasets_by_task(url)
    rows = list(_sample(url, sorted(datasets), pairs, seed))
    if not rows:
        raise DatasetError(f"{url} has no committed pair to show")
    columns = min(COLUMNS, len(rows))
    cell_height_px = _IMAGE_PX + _CAPTION_PX
    width_px = 2 * _MARGIN_PX + columns * _CELL_PX + (columns - 1) * _MARGIN_PX
    height_px = _MARGIN_PX + -(-len(rows) // columns) * (cell_height_px + _MARGIN_PX)
    sheet = PILImage.new("RGB", (width_px, height_px), BACK)
    for index, row in enumerate(rows):
        left_px = _MARGIN_PX + index % columns * (_CELL_PX + _MARGIN_PX)
        top_px = _MARGIN_PX + index // columns * (cell_height_px + _MARGIN_PX)
        sheet.paste(_cell(datasets[row["task"]], row), (left_px, top_px))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def write_contact_sheet(url: str, out: Path, *, pairs: int, seed: int = 0) -> None:
    """Write the sheet to a PNG file. Raises DatasetError if there is no pair to show."""
    out.write_bytes(contact_sheet(url, pairs=pairs, seed=seed))


def _sample(url: str, tasks: list[str], pairs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of examples: one drawn from each of equal slices of a task, so that the sample is even and yet random."""
    connection = connect(url)
    draw = random.Random(seed)
    for position, task in enumerate(tasks):
        total = select(connection, f"SELECT count(*) AS total {_SHOWN}", [task])[0]["total"]
        share = min(total, pairs // len(tasks) + (position < pairs % len(tasks)))
        for number in range(share):
            chosen = draw.randrange(number * total // share, (number + 1) * total // share)
            yield from select(connection, f"SELECT * {_SHOWN} LIMIT 1 OFFSET ?", [task, chosen])


def _cell(dataset: Dataset, row: Mapping[str, Any]) -> PILImage.Image:
    """Images of one pair, and its mask if it has one, side by side above two lines of caption."""
    cell = PILImage.new("RGB", (_CELL_PX, _IMAGE_PX + _CAPTION_PX), BACK)
    roles = [*row["inputs"], row["output"]]
    stored = {image["role"]: image for image in row["images"]}
    if MASK in stored and MASK not in roles:
        roles.insert(len(row["inputs"]), MASK)
    if missing := [role for role in roles if role not in stored]:
        raise DatasetError(f"{dataset.url}: pair {row['pair']} has no image {missing[0]}; {verify_hint(dataset.url)}")
    pictures = [decode_rgb(read_image(dataset, row["shard"], stored[role])) for role in roles]
    cell.paste(beside(pictures, _CELL_PX, _IMAGE_PX))
    draw = ImageDraw.Draw(cell)
    draw.text((0, _IMAGE_PX + 8), fit(f"{row['task']}: {row['instruction']}", _CELL_PX), TEXT, FONT)
    draw.text((0, _IMAGE_PX + 30), fit(_operators(row["steps"]), _CELL_PX), QUIET, FONT)
    return cell


def _parameters(text: str) -> dict[str, Any]:
    """The parameters of a step; none if what is stored is not what we write, which `verify` is for."""
    try:
        values = parse_json(text.encode())
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _operators(steps: list[dict[str, Any]]) -> str:
    """The operators that have parameters, in words, the last first: what made the pair rather than cut it out."""
    texts = []
    for step in reversed(steps):
        parameters = [
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in _parameters(step["params"]).items()
            if isinstance(value, int | float | str)
        ]
        if parameters and step["seed"] is not None:
            texts.append(f"{step['operator']} {', '.join(parameters)}")
    return "; ".join(texts)
