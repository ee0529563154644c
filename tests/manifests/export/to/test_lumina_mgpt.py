"""Lumina-mGPT's conversations, read as Lumina-mGPT reads them.

Lines are of Alpha-VLLM/Lumina-mGPT@104abe453ec1acca5863698629c4db2111b0b3fc.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manifests.export.run import export
from manifests.export.select import Choice
from manifests.export.to.lumina_mgpt import LuminaMgpt
from manifests.images.pixels import Pixels
from manifests.read.pairs import StoredExample
from tests.manifests.export.to.varied import make_varied

Said = list[str | Pixels]
"""Texts and images as they follow each other: first who speaks, and again after each turn."""


def test_all_is_read_as_lumina_mgpt_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_varied(tmp_path / "dataset")
    export([dataset], LuminaMgpt(), str(tmp_path / "out"), Choice(direction="both"))
    monkeypatch.chdir(tmp_path)
    items = json.loads((tmp_path / "out" / "data.json").read_text())  # lumina_mgpt/pre_tokenize/pre_tokenize.py:68-69
    meant = [_meant(example) for pair in dataset for example in pair.examples]
    assert len(items) == len(meant) == 8
    for item, one in zip(items, meant, strict=True):
        assert _is_same(_process(item), one)
    said = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (said["left_out"], said["without"]) == ({}, {"masks": 1})


@pytest.mark.parametrize("mark", ["<|image|>", "<reserved08706>"])  # the second: lumina_mgpt/data/convertsation.py:5
def test_a_text_with_a_mark_is_left_off_and_counted(tmp_path: Path, mark: str) -> None:
    dataset = make_varied(tmp_path / "dataset", mark=f"What is {mark} here?")
    export([dataset], LuminaMgpt(), str(tmp_path / "out"), Choice(kind="describe"))
    said = json.loads((tmp_path / "out" / "export.json").read_text())
    assert said["without"] == {
        "examples with <|image|> or <reserved08706> in a text": 2
    }  # its own, and where it is shown
    assert json.loads((tmp_path / "out" / "data.json").read_text()) == []


def _meant(example: StoredExample) -> Said:
    context = example.context()
    return [said for one in ([context] if context else []) + [example] for said in _turn(one)]


def _turn(example: StoredExample) -> Said:
    answer = example.text if example.output is None else example.pair.image(example.output)
    assert answer is not None
    inputs = [example.pair.image(role) for role in example.inputs]
    return ["human", *inputs, example.instruction, "gpt", answer]


def _process(item: dict[str, Any]) -> Said:
    """MMConvItemProcessor.process_item of xllmx/data/item_processor.py: media are opened in order (65-89), and put in
    the places of their symbols in the text of all turns (97-103)."""
    images = [np.asarray(Image.open(path)) for path in item["image"]]  # lumina_mgpt/data/item_processor.py:106-109
    symbols = "".join(turn["value"] for turn in item["conversations"]).count("<|image|>")  # 123
    assert symbols == len(images)  # 125, 103
    shown = iter(images)
    said: Said = []
    for number, turn in enumerate(item["conversations"]):
        assert turn["from"] == ("human", "gpt")[number % 2]
        said.append(turn["from"])
        first, *rest = turn["value"].split("<|image|>")
        said += [first] if first else []
        for text in rest:
            said += [next(shown), *([text] if text else [])]
    return said


def _is_same(one: Said, other: Said) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))
