"""Pictures come from the photos of their split; a task is what its family says, and held out where it must be."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from train.icl.pictures import COLOURS, LEVELS, PHOTOS, crops, to_codes, to_levels, to_rgb
from train.icl.tasks import EXAMINED, NEW, TRAINED, Examined, draw, split_tasks


def test_pictures_are_crops_of_their_own_photos() -> None:
    """Some picture of the test split is found in its photo, by the means of the photo's squares of any size."""
    assert not {*PHOTOS["train"]} & {*PHOTOS["test"]}
    train, test = crops("train", 4), crops("test", 4)
    assert len(train) == 4_096 and len(test) == 1_024
    assert train.min() == 0 and train.max() == LEVELS - 1
    assert not {picture.tobytes() for picture in train} & {picture.tobytes() for picture in test}
    sums = np.pad(data.astronaut().astype(np.float64), ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
    assert any(_is_in(sums, test[:8], cell) for cell in range(20, 128, 4))


def test_codes_and_pictures_are_the_same() -> None:
    codes = np.arange(COLOURS).reshape(8, 8)
    assert np.array_equal(to_codes(to_levels(codes)), codes)
    assert to_rgb(to_levels(codes))[-1, -1].tolist() == [255, 255, 255]
    assert to_rgb(to_levels(np.array(LEVELS))).tolist() == [0, 85, 0]


@pytest.mark.parametrize(
    ("family", "tasks"), [("tone", 30), ("channels", 47), ("colours", 1_000), ("geometry", 127), ("specks", 192)]
)
def test_tasks_are_split_once_and_for_all(family: str, tasks: int) -> None:
    trained, held_out = split_tasks(family, 4)
    assert len(held_out) == round(0.3 * tasks)
    assert len({*trained, *held_out}) == tasks
    assert split_tasks(family, 4)[1] == held_out


def test_held_out_tasks_are_not_trained_on() -> None:
    """Told by the examples themselves: each curve that training draws is a curve of its own set."""
    trained, held_out = ({*part} for part in split_tasks("tone", 4))
    for examined, allowed in ((None, trained), ("trained", trained), ("parameters", held_out)):
        examples = draw(examined, 200, 4, np.random.default_rng(5))  # type: ignore[arg-type]
        assert {*examples.family} == {*TRAINED}
        for row in np.flatnonzero(np.array(examples.family) == "tone").tolist():
            seen = dict(zip(_levels(examples.query, row), _levels(examples.answer, row), strict=True))
            assert any(all(curve[old] == new for old, new in seen.items()) for curve in allowed)
    assert {*draw("families", 20, 4, np.random.default_rng(5)).family} == {*NEW}
    orders = {*split_tasks("channels", 4)[1]}
    assert {*NEW["both"].tasks(4)} == orders


@pytest.mark.parametrize("family", [*TRAINED, *NEW])
def test_example_and_query_have_one_task(family: str) -> None:
    """What can be told of a family from its examples alone, without a look at the parameters."""
    examined: Examined = "families" if family in NEW else "trained"
    assert examined in EXAMINED
    examples = draw(examined, 300, 4, np.random.default_rng(7))
    rows = np.flatnonzero(np.array(examples.family) == family)
    assert len(rows) > 50
    differing = 0
    for row in rows:
        pairs = [
            (to_levels(before[row]), to_levels(after[row]))
            for before, after in (
                (examples.context_input, examples.context_output),
                (examples.query, examples.answer),
            )
        ]
        differing += not np.array_equal(*pairs[1])
        if family in ("tone", "solarise", "low light"):
            if family == "low light":
                pairs = [(after, before) for before, after in pairs]
            rule = dict(zip(*(image.ravel().tolist() for image in pairs[0]), strict=True))
            assert all(
                rule.get(old, new) == new for old, new in zip(*(i.ravel().tolist() for i in pairs[1]), strict=True)
            )
            values = [rule[old] for old in sorted(rule)]
            assert family == "solarise" or values == sorted(values)
        elif family in ("channels", "both"):
            if family == "both":
                pairs = [(before[:, ::-1], after) for before, after in pairs]
            assert any(
                all(_is_channel(before, after[..., to], channel, negated) for before, after in pairs)
                for to in (0,)
                for channel in range(3)
                for negated in (False, True)
            )
        elif family == "colours":
            assert len({*examples.answer[row].ravel()} | {*examples.context_output[row].ravel()}) <= LEVELS
        elif family == "geometry":
            assert all(sorted(to_codes(before).ravel()) == sorted(to_codes(after).ravel()) for before, after in pairs)
        else:
            spoiled = {tuple(before[place]) for before, after in pairs for place in _places(before, after)}
            assert len(spoiled) <= 1
            share = [len(_places(*pair)) for pair in pairs]
            assert max(share) <= (6 if family == "specks" else 4)
            if family == "rain" and share[0]:
                assert len({*next(iter(spoiled))}) == 1
    assert differing > len(rows) / 2


def _is_in(sums: np.ndarray, pictures: np.ndarray, cell: int) -> bool:
    """Whether one of the pictures is somewhere in the photo, a pixel of it `cell` x `cell` of the photo's."""
    means = (sums[cell:, cell:] - sums[:-cell, cell:] - sums[cell:, :-cell] + sums[:-cell, :-cell]) / cell**2
    levels = np.rint(means * 3 / 255).astype(np.int64) @ np.array([16, 4, 1])
    places = len(levels) - 3 * cell
    for codes in to_codes(pictures):
        tops, lefts = np.nonzero(levels[:places, :places] == codes[0, 0])
        for row, column in np.ndindex(4, 4):
            kept = levels[tops + row * cell, lefts + column * cell] == codes[row, column]
            tops, lefts = tops[kept], lefts[kept]
        if len(tops):
            return True
    return False


def _levels(codes: np.ndarray, row: int) -> list[int]:
    return [int(level) for level in to_levels(codes[row]).ravel()]


def _is_channel(before: np.ndarray, after: np.ndarray, channel: int, negated: bool) -> bool:
    wanted = before[..., channel]
    return np.array_equal(LEVELS - 1 - wanted if negated else wanted, after)


def _places(before: np.ndarray, after: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(place) for place in np.argwhere((before != after).any(-1))]
