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
    train, test = crops("train", 3), crops("test", 3)
    assert len(train) == 3_072 and len(test) == 512
    assert train.min() == 0 and train.max() == LEVELS - 1
    assert not {picture.tobytes() for picture in train} & {picture.tobytes() for picture in test}
    sums = np.pad(data.astronaut().astype(np.float64), ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
    assert any(_is_in(sums, test[:8], cell) for cell in range(20, 171, 6))


def test_codes_and_pictures_are_the_same() -> None:
    codes = np.arange(COLOURS).reshape(9, 3)
    assert np.array_equal(to_codes(to_levels(codes)), codes)
    assert to_rgb(to_levels(codes))[-1, -1].tolist() == [255, 255, 255]
    assert to_rgb(to_levels(np.array(LEVELS))).tolist() == [0, 127, 0]


@pytest.mark.parametrize(("family", "tasks"), [("tone", 342), ("channels", 47), ("colours", 1_000), ("geometry", 71)])
def test_tasks_are_split_once_and_for_all(family: str, tasks: int) -> None:
    trained, held_out = split_tasks(family, 3)
    assert len(held_out) == round(0.3 * tasks)
    assert len({*trained, *held_out}) == tasks
    assert split_tasks(family, 3)[1] == held_out


def test_held_out_tasks_are_not_trained_on() -> None:
    """Told by the examples themselves: each curve that training draws is a curve of its own set."""
    trained, held_out = ({*part} for part in split_tasks("tone", 3))
    for examined, allowed in ((None, trained), ("trained", trained), ("parameters", held_out)):
        examples = draw(examined, 200, 3, np.random.default_rng(5))  # type: ignore[arg-type]
        assert {*examples.family} == {*TRAINED}
        for row in np.flatnonzero(np.array(examples.family) == "tone").tolist():
            before, after = (to_levels(codes[row]).reshape(-1, 3) for codes in (examples.query, examples.answer))
            changes = (np.stack([np.array(curves[c])[before[:, c]] for c in range(3)], 1) for curves in allowed)
            assert any(np.array_equal(after, changed) for changed in changes)
    assert {*draw("families", 20, 3, np.random.default_rng(5)).family} == {*NEW}
    orders = {*split_tasks("channels", 3)[1]}
    assert {*NEW["both"].tasks(3)} == orders


@pytest.mark.parametrize("family", [*TRAINED, *NEW])
def test_example_and_query_have_one_task(family: str) -> None:
    """What can be told of a family from its examples alone, without a look at the parameters."""
    examined: Examined = "families" if family in NEW else "trained"
    assert examined in EXAMINED
    examples = draw(examined, 300, 3, np.random.default_rng(7))
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
            channels = [[(before[..., c], after[..., c]) for before, after in pairs] for c in range(3)]
            for of in channels if family == "tone" else [[pair for channel in channels for pair in channel]]:
                rule = _rule(of)
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
            rule = _rule([(to_codes(before), to_codes(after)) for before, after in pairs])
            assert len({*rule.values()}) == len(rule)
        elif family == "geometry":
            assert all(sorted(to_codes(before).ravel()) == sorted(to_codes(after).ravel()) for before, after in pairs)
        else:
            spoiled = {tuple(before[place]) for before, after in pairs for place in _places(before, after)}
            share = [len(_places(*pair)) for pair in pairs]
            assert max(share) <= 4 and spoiled <= {(LEVELS - 1,) * 3}
    assert differing > len(rows) / 2


def _is_in(sums: np.ndarray, pictures: np.ndarray, cell: int) -> bool:
    """Whether one of the pictures is somewhere in the photo, a pixel of it `cell` x `cell` of the photo's."""
    means = (sums[cell:, cell:] - sums[:-cell, cell:] - sums[cell:, :-cell] + sums[:-cell, :-cell]) / cell**2
    levels = np.rint(means * 2 / 255).astype(np.int64) @ np.array([9, 3, 1])
    places = len(levels) - 2 * cell
    for codes in to_codes(pictures):
        tops, lefts = np.nonzero(levels[:places, :places] == codes[0, 0])
        for row, column in np.ndindex(3, 3):
            kept = levels[tops + row * cell, lefts + column * cell] == codes[row, column]
            tops, lefts = tops[kept], lefts[kept]
        if len(tops):
            return True
    return False


def _rule(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[int, int]:
    """What each value becomes in all of the pairs, one and the same."""
    rule: dict[int, int] = {}
    for before, after in pairs:
        for old, new in zip(before.ravel().tolist(), after.ravel().tolist(), strict=True):
            assert rule.setdefault(old, new) == new
    return rule


def _is_channel(before: np.ndarray, after: np.ndarray, channel: int, negated: bool) -> bool:
    wanted = before[..., channel]
    return np.array_equal(LEVELS - 1 - wanted if negated else wanted, after)


def _places(before: np.ndarray, after: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(place) for place in np.argwhere((before != after).any(-1))]
