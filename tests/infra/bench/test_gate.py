"""The gate of restoration tasks on crops of real photos: what it should keep and reject is known by construction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from infra.bench.gate import DEGRADATIONS, Crop, crops, outcome, pairs_apart
from manifests.images.pixels import remembering
from operators.judge.degraded import Degradation
from operators.read.bundled import PHOTOS

COLOURFUL = [name for name in PHOTOS if "camera" not in name and "brick" not in name and "gra" not in name]


@pytest.fixture(scope="module")
def some() -> Iterator[list[Crop]]:
    with remembering():  # so that no file is decoded again for each pair
        yield list(crops(tuple(PHOTOS), 2, 256))


@pytest.mark.parametrize("by", DEGRADATIONS)
def test_true_pairs_are_kept_and_those_of_two_photos_are_not(by: Degradation, some: list[Crop]) -> None:
    """At half a percent none of 20 true pairs is lost; of 40 false ones 5% are kept at the most."""
    assert Counter(outcome(by, crop.degraded[by], crop.clean) for crop in some) == {"kept": len(some)}
    others = Counter(outcome(by, one.degraded[by], other.clean) for one, other in list(pairs_apart(some))[::4])
    assert others["kept"] <= 0.05 * others.total()
    assert others["other_scene"] >= 0.9 * others.total()


@pytest.mark.parametrize(("by", "least"), {"noise": 0.9, "blur": 0.95, "rain": 0.95, "darkness": 1.0}.items())
def test_exchanged_pairs_are_rejected(by: Degradation, least: float, some: list[Crop]) -> None:
    outcomes = Counter(outcome(by, crop.clean, crop.degraded[by]) for crop in some)
    assert outcomes["swapped"] >= least * len(some)


def test_a_flat_development_the_wrong_way_round_is_found_where_there_are_colours(some: list[Crop]) -> None:
    """Of a gray photo it cannot be: a cast gives it colour."""
    found = [outcome("flatness", crop.clean, crop.degraded["flatness"]) for crop in some if crop.photo in COLOURFUL]
    assert found.count("swapped") >= 0.5 * len(found)
