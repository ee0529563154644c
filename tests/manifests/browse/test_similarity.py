"""The report of retrieved contexts, against numbers counted by hand, and its picture against the stored pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from infra.command import main
from manifests.browse.similarity import Similarities, similarity_sheet
from manifests.dataset import Dataset, DatasetError
from manifests.write.contexts import finish_rewriting, read_columns, write_contexts
from tests.datasets import contexts_of
from tests.edits import make_edits

TEXTS = ["add a dog", "add a dog", "add a cat", "make it snow", "let it snow", "paint it red"]
SCORES = [1.0, 1.0, 0.72, 0.5, 0.5, -0.25]
"""Of each text, with the one before it: the first with the second."""


@pytest.fixture
def edits(tmp_path: Path) -> Dataset:
    """A dataset of TEXTS whose contexts have SCORES; the fourth's is of another dataset, "more"."""
    dataset = make_edits(tmp_path / "edit", TEXTS)
    more = next(make_edits(tmp_path / "more", ["make it snow"]).pairs()).key
    keys = [pair.key for pair in dataset.pairs()]
    chosen: dict[str, tuple[str, float, str | None]] = {
        keys[n]: (keys[n - 1] if n else keys[1], SCORES[n], None) for n in range(len(keys))
    }
    chosen[keys[3]] = (more, SCORES[3], "more")
    for name in dataset.unit_names():
        found = [chosen[pair] for pair in read_columns(dataset, name, ["pair"])["pair"].to_pylist()]
        ranked = ([(pair, place, score)] for pair, score, place in found)
        write_contexts(dataset, name, contexts_of(*ranked, method="raie:x"))
    finish_rewriting(dataset, dataset.plan())
    return dataset


def test_each_pair_counts_once_and_instructions_are_compared(edits: Dataset) -> None:
    found = Similarities.of(edits)
    assert found.scores.tolist() == SCORES
    # The first two have each other's, and the fourth the same words of the other dataset.
    assert [one.is_identical for one in found.nearest] == [True, True, False, True, False, False]
    assert found.identical == 3
    first, average, identical, *bins = found.lines()
    assert first == "edit: 6 pairs with a retrieved in-context example"
    # 3.47 / 6; sorted: -0.25, 0.5, 0.5, 0.72, 1, 1, of which shares are at 0.5, 2.5 and 4.5
    assert average == "similarity: 0.578 on average, 10% below 0.125, 50% below 0.610, 90% below 1.000"
    assert identical == "identical instructions: 3, 50.0%"
    # 20 bins from -0.25 to 1 are 0.0625 wide: 0.72 is in the 16th, 0.5 begins the 13th, 1 ends the 20th.
    numbers, edges = found.histogram()
    assert numbers.tolist() == [1, *[0] * 11, 2, 0, 0, 1, 0, 0, 0, 2]
    assert edges[[0, -1]].tolist() == [-0.25, 1.0]
    assert bins[0] == "  0.94 to  1.00         2  33.3%" and bins[-1] == " -0.25 to -0.19         1  16.7%"


def test_pairs_are_shown_from_the_most_to_the_least_similar(edits: Dataset) -> None:
    shown = Similarities.of(edits).spread(3)
    assert [one.score for one in shown] == [1.0, 0.72, -0.25]  # the first, the third and the last of six
    assert len(Similarities.of(edits).spread(50)) == 6


def test_the_picture_has_each_pair_beside_its_context(edits: Dataset) -> None:
    found = Similarities.of(edits)
    (most, least) = found.spread(2)
    sheet = np.asarray(PILImage.open(io.BytesIO(similarity_sheet(edits, found, pairs=2))).convert("RGB"))
    by_key = {pair.key: number for number, pair in enumerate(edits.pairs())}
    rows = sheet.shape[0] - 2 * (216 + 2 * 22 + 16)  # below the head
    for place, one in enumerate((most, least)):
        top = rows + place * (216 + 2 * 22 + 16) + 108
        for left, key in ((16, one.pair), (16 + 440 + 16, one.context)):
            # Each edit is a flat picture of its own number, and of nine more: see tests/edits.py.
            assert sheet[top, left + 108].tolist() == [by_key[key]] * 3
            assert sheet[top, left + 224 + 108].tolist() == [by_key[key] + 9] * 3


def test_the_command_prints_it_and_writes_the_picture(
    edits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sheet.png"
    assert main(["similarity", edits.url, "--out", str(out), "--pairs", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [*Similarities.of(edits).lines(), str(out)]
    assert out.read_bytes() == similarity_sheet(edits, Similarities.of(edits), pairs=2)


def test_without_retrieval_there_is_nothing_to_tell(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no retrieved in-context examples"):
        Similarities.of(make_edits(tmp_path / "edit", TEXTS))
