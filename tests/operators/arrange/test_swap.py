from __future__ import annotations

from operators.arrange.swap import Swap
from tests.readers import images
from tests.sources import lossless, pair_of, photo


def test_input_and_target_change_places_and_nothing_else_does() -> None:
    roles = ("input", "target", "cloth")
    pair = pair_of(*(lossless(role, photo(index)) for index, role in enumerate(roles)))
    swapped = Swap()(pair, 1)
    before, after = images(pair), images(swapped)
    assert after == {"target": before["input"], "input": before["target"], "cloth": before["cloth"]}
    (step,) = swapped.steps
    assert (step.operator, step.version, step.seed, step.params) == ("swap", 1, None, {})


def test_twice_is_as_before() -> None:
    pair = pair_of(lossless("input", photo(0)), lossless("target", photo(1)))
    twice = Swap()(Swap()(pair, 1), 2)
    assert twice.images == pair.images
    assert [step.operator for step in twice.steps] == ["swap", "swap"]
