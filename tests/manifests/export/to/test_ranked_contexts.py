"""Formats that carry in-context examples: the best one stands next to the example."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from manifests.export.format import Format, Part
from manifests.export.sample import Picture
from manifests.export.select import Choice, sample_of
from manifests.export.to.chat import Chat
from manifests.export.to.lumina_mgpt import LuminaMgpt
from manifests.export.to.visualcloze import VisualCloze
from manifests.schema import Kind
from tests.manifests.make import make_dataset


class _Part:
    """Keeps lines, and tells what a picture would be called."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Any]] = {}

    def picture(self, stem: str, picture: Picture) -> str:
        return f"{stem}.{picture.file().ending}"

    def line(self, index: str, value: Any) -> None:
        self.lines.setdefault(index, []).append(value)


@pytest.mark.parametrize(
    ("form", "kind", "index"),
    [(VisualCloze(), "generate", "grids"), (Chat(), "describe", "messages"), (LuminaMgpt(), "generate", "data")],
    ids=["visualcloze", "chat", "lumina-mgpt"],
)
def test_the_best_stands_next_to_the_example(tmp_path: Path, form: Format, kind: Kind, index: str) -> None:
    pairs = [*make_dataset(str(tmp_path / "dataset"), units=1, pairs=3)]
    own, best, second = (
        sample_of(pair.example("forward", kind), form.carries, Choice(contexts=0), Counter()) for pair in pairs
    )
    part = _Part()
    form.write(iter([replace(own, contexts=(best, second))]), cast(Part, part))
    (line,) = part.lines[index]
    images = line["images"] if "images" in line else line["image"]
    paths = [*itertools.chain.from_iterable(images)] if isinstance(images[0], list) else images
    keys = [Path(path).name.partition("-")[0] for path in paths]
    assert [key for key, _ in itertools.groupby(keys)] == [pairs[2].key, pairs[1].key, pairs[0].key]
    assert len(paths) == 6
    shown = [
        place.shows.pair.key
        for place in form.places(replace(own, contexts=(best, second)))
        if not isinstance(place.shows, str)
    ]
    assert shown == keys
