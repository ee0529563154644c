"""SAMPLE.md: some samples of an export with their pictures, and where in it each thing is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageOps

from manifests.browse.drawing import BACK, FONT, GAP_PX, TEXT, fit
from manifests.dataset import Dataset
from manifests.export.format import Format, Place
from manifests.export.markdown import cell
from manifests.export.sample import Picture, Sample
from manifests.images.png import encode_png
from manifests.schema import in_short

SHOWN = 6
"""Most samples that are shown: the first of each task, direction, kind, number of inputs and contexts, with a mask or
without."""

_PICTURE_PX = 224
_LABEL_PX = 22
_A_ROW = 4
_MAX_TEXT_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What SAMPLE.md is about."""

    datasets: Sequence[Dataset]
    samples: Sequence[Sample]
    description: dict[str, Any]
    """What export.json says."""


def explain(form: Format, explained: Explained) -> Iterator[tuple[str, bytes]]:
    """The files that explain an export, by path: SAMPLE.md and its pictures."""
    said = explained.description
    tasks = ", ".join(dict.fromkeys(cell(source["task"]) for source in said["config"]["datasets"]))
    lines = [
        f"# {form.name}: {said['examples']:,} examples of {tasks}",
        "",
        f"{form.summary} Read by `{form.reader}`.",
        "",
        form.how_to().strip("\n"),
        "",
    ]
    for title, counts in (
        ("Left out, examples", said["left_out"]),
        ("Not carried, as the format has no place for them", said["without"]),
        ("Pictures that were made PNG anew, of the same pixels", said["converted"]),
    ):
        if counts:
            listed = "; ".join(f"{count:,} {cell(what)}" for what, count in counts.items())
            lines += [f"{title}: {listed}.", ""]
    for number, sample in enumerate(explained.samples, 1):
        places = [*form.places(sample)]
        pictures = [place for place in places if isinstance(place.shows, Picture)]
        inputs = f"{len(sample.inputs)} input{'' if len(sample.inputs) == 1 else 's'}"
        lines += [f"## {cell(sample.example.pair.task)}, {sample.kind} {sample.direction}, {inputs}", ""]
        if pictures:
            path = f"sample/{number}.png"
            yield path, _strip(pictures)
            lines += [f"![{cell(', '.join(place.ours for place in pictures))}]({path})", ""]
        lines += ["| here | there | what it is taken for | |", "|---|---|---|---|"]
        for place in places:
            shows = place.shows
            text = (
                f"{shows.width_px} x {shows.height_px} px, stored as {cell(shows.format)}"
                if isinstance(shows, Picture)
                else cell(in_short(shows, _MAX_TEXT_CHARS))
            )
            lines.append(f"| {cell(place.ours)} | {place.theirs} | {cell(place.meaning)} | {text} |")
        lines.append("")
    yield "SAMPLE.md", "\n".join(lines).encode()


def _strip(places: Sequence[Place]) -> bytes:
    """A PNG of the pictures side by side, each below what it is."""
    columns = min(_A_ROW, len(places))
    rows = -(-len(places) // columns)
    cell_px = _PICTURE_PX + GAP_PX
    size = (columns * cell_px - GAP_PX, rows * (_LABEL_PX + cell_px) - GAP_PX)
    strip = PILImage.new("RGB", size, BACK)
    draw = ImageDraw.Draw(strip)
    for number, place in enumerate(places):
        left, top = number % columns * cell_px, number // columns * (_LABEL_PX + cell_px)
        draw.text((left, top), fit(f"{place.ours}: {place.meaning}", _PICTURE_PX), TEXT, FONT)
        assert isinstance(place.shows, Picture)
        image = place.shows.pair.pil(place.shows.role)
        strip.paste(ImageOps.contain(image, (_PICTURE_PX, _PICTURE_PX)), (left, top + _LABEL_PX))
    return encode_png(np.asarray(strip))
