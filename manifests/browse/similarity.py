"""How near retrieved in-context examples are, in numbers and in one picture (paper, appendix D and Fig. 11).

A pair counts once, by the example that it is searched by: the forward generate example, or the next that it has. What
is told is how the similarities are distributed, how many pairs have been given an example of the very same instruction,
and, in the picture, what pairs look like beside their nearest, from the most to the least similar.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageDraw

from manifests.browse.drawing import BACK, BAR, FONT, QUIET, TEXT, beside, fit
from manifests.dataset import Dataset, DatasetError
from manifests.read.pairs import StoredExample
from manifests.read.places import url_at
from manifests.schema import Direction, Kind

BINS = 20
"""Of the histogram, from 0 to 1, or as far as similarities go beyond."""

_SEARCHED_BY: tuple[tuple[Direction, Kind], ...] = (
    ("forward", "generate"),
    ("reverse", "generate"),
    ("forward", "describe"),
    ("reverse", "describe"),
)
"""By which example's instruction a pair is searched (operators/retrieve/raie.py): the first that it has."""

_COLUMNS = ["pair", "direction", "kind", "instruction", "contexts"]
_QUANTILES = (0.1, 0.5, 0.9)
_SIDE_PX, _IMAGE_PX, _LINE_PX, _MARGIN_PX = 440, 216, 22, 16
_CHART_PX = 160


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """A pair, by the example that it is searched by, and what was found for it."""

    pair: str
    direction: Direction
    kind: Kind
    instruction: str
    context: str
    place: str | None
    """Where the dataset of the context lies (manifests/read/places.py); None for the pair's own."""
    score: float
    context_instruction: str

    @property
    def is_identical(self) -> bool:
        """Whether both have the very same instruction."""
        return self.instruction == self.context_instruction


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """The pairs of a dataset that have a retrieved in-context example."""

    task: str
    nearest: Sequence[Nearest]

    @classmethod
    def of(cls, dataset: Dataset) -> Similarities:
        """Read them of the manifests. Raises DatasetError if no in-context example has a similarity, or one is lost."""
        found = _searched(dataset)
        elsewhere: dict[str | None, Mapping[str, str]] = {None: {pair: row.instruction for pair, row in found.items()}}
        nearest = []
        for pair, row in found.items():
            if row.score is None or row.context is None:
                continue
            if row.place is not None and row.place not in elsewhere:
                other = Dataset(url_at(dataset.url, row.place))
                elsewhere[row.place] = {key: there.instruction for key, there in _searched(other).items()}
            if row.context not in elsewhere[row.place]:
                raise DatasetError(f"{dataset.url}: pair {row.context}, an in-context example, is not there")
            nearest.append(
                Nearest(
                    pair=pair,
                    direction=row.direction,
                    kind=row.kind,
                    instruction=row.instruction,
                    context=row.context,
                    place=row.place,
                    score=row.score,
                    context_instruction=elsewhere[row.place][row.context],
                )
            )
        if not nearest:
            raise DatasetError(f"{dataset.url} has no retrieved in-context examples: xprompt contexts finds them")
        return cls(task=dataset.plan().task, nearest=nearest)

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        return np.array([one.score for one in self.nearest])

    @property
    def identical(self) -> int:
        """How many pairs have an in-context example of the very same instruction."""
        return sum(one.is_identical for one in self.nearest)

    def histogram(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """How many similarities there are in each bin, and the bins' edges, one more."""
        scores = self.scores
        return np.histogram(scores, BINS, (min(0.0, scores.min()), max(1.0, scores.max())))

    def lines(self) -> Iterator[str]:
        """The report, a line at a time; the histogram from the most similar down."""
        count, scores = len(self.nearest), self.scores
        yield f"{self.task}: {count:,} pairs with a retrieved in-context example"
        below = ", ".join(f"{share:.0%} below {np.quantile(scores, share):.3f}" for share in _QUANTILES)
        yield f"similarity: {scores.mean():.3f} on average, {below}"
        yield f"identical instructions: {self.identical:,}, {self.identical / count:.1%}"
        numbers, edges = self.histogram()
        for number, low, high in reversed([*zip(numbers, edges, edges[1:], strict=False)]):
            yield f"{low:6.2f} to {high:5.2f} {number:>9,} {number / count:6.1%}"

    def spread(self, pairs: int) -> list[Nearest]:
        """So many of them, at equal distances from the most similar to the least."""
        ordered = sorted(self.nearest, key=lambda one: (-one.score, one.pair))
        places = np.linspace(0, len(ordered) - 1, min(pairs, len(ordered))).round().astype(int)
        return [ordered[place] for place in places]


def similarity_sheet(dataset: Dataset, found: Similarities, *, pairs: int) -> bytes:
    """A PNG: the report's first lines, the histogram, and `pairs` pairs, each beside its in-context example."""
    rows = found.spread(pairs)
    text = [*found.lines()][:3]
    row_px = _IMAGE_PX + 2 * _LINE_PX + _MARGIN_PX
    width_px = 2 * _SIDE_PX + 3 * _MARGIN_PX
    head_px = _MARGIN_PX + len(text) * _LINE_PX + _CHART_PX + 2 * _LINE_PX
    sheet = PILImage.new("RGB", (width_px, head_px + len(rows) * row_px), BACK)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(text):
        draw.text((_MARGIN_PX, _MARGIN_PX + number * _LINE_PX), fit(line, width_px - 2 * _MARGIN_PX), TEXT, FONT)
    _chart(draw, found, _MARGIN_PX + len(text) * _LINE_PX, width_px - 2 * _MARGIN_PX)
    for number, one in enumerate(rows):
        top_px = head_px + number * row_px
        asked = dataset[one.pair].example(one.direction, one.kind)
        context = asked.context()
        assert context, "it has a similarity"
        sides = (
            (asked, one.instruction, "identical instructions" if one.is_identical else ""),
            (context, one.context_instruction, f"similarity {one.score:.3f}"),
        )
        for side, (example, instruction, said) in enumerate(sides):
            left_px = _MARGIN_PX + side * (_SIDE_PX + _MARGIN_PX)
            sheet.paste(beside(_pictures(example), _SIDE_PX, _IMAGE_PX), (left_px, top_px))
            draw.text((left_px, top_px + _IMAGE_PX + 4), fit(instruction, _SIDE_PX), TEXT, FONT)
            draw.text((left_px, top_px + _IMAGE_PX + 4 + _LINE_PX), said, QUIET, FONT)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _pictures(example: StoredExample) -> list[npt.NDArray[np.uint8]]:
    roles = (*example.inputs, *([example.output] if example.output else []))
    try:
        return [example.pair.image(role) for role in roles]
    except KeyError as error:
        raise DatasetError(str(error.args[0])) from None


def _chart(draw: ImageDraw.ImageDraw, found: Similarities, top_px: int, width_px: int) -> None:
    """The histogram, with its edges below."""
    numbers, edges = found.histogram()
    bar_px, floor_px = width_px // BINS, top_px + _CHART_PX
    for place, number in enumerate(numbers):
        left_px = _MARGIN_PX + place * bar_px
        height_px = round(int(number) / int(numbers.max()) * (_CHART_PX - _LINE_PX))
        if number:
            draw.rectangle((left_px + 1, floor_px - height_px, left_px + bar_px - 2, floor_px), BAR)
            draw.text((left_px + 1, floor_px - height_px - 18), f"{number:,}", QUIET, FONT)
        draw.text((left_px, floor_px + 4), f"{edges[place]:.2f}", QUIET, FONT)


@dataclass(frozen=True, kw_only=True)
class _Searched:
    """What a manifest says of the example that a pair is searched by."""

    direction: Direction
    kind: Kind
    instruction: str
    context: str | None
    place: str | None
    score: float | None


def _searched(dataset: Dataset) -> dict[str, _Searched]:
    """By pair, in the manifests' order."""
    found: dict[str, _Searched] = {}
    ranks: dict[str, int] = {}
    for row in dataset.rows(_COLUMNS):
        if (row["direction"], row["kind"]) not in _SEARCHED_BY:
            raise DatasetError(f"{dataset.url}: pair {row['pair']} has an example of no known direction and kind")
        rank, pair = _SEARCHED_BY.index((row["direction"], row["kind"])), row["pair"]
        if rank < ranks.get(pair, len(_SEARCHED_BY)):
            ranks[pair] = rank
            nearest = row["contexts"][0] if row["contexts"] else {}
            found[pair] = _Searched(
                direction=row["direction"],
                kind=row["kind"],
                instruction=row["instruction"],
                context=nearest.get("pair"),
                place=nearest.get("dataset"),
                score=nearest.get("score"),
            )
    return found
