"""The demo's own tasks: one photo in three ways, and nothing but the example to tell them apart."""

from __future__ import annotations

import numpy as np
import pytest

from infra.demo.tasks import GREY, NEGATIVE, SWAPPED, recoloured
from manifests.images.pixels import decode_rgb, encode_lossless
from manifests.schema import Pair

_PIXELS = np.array([[[10, 20, 30], [255, 0, 128]]], np.uint8)


def _made(task) -> Pair:  # type: ignore[no-untyped-def]
    pair = Pair(
        key="p",
        source="photos",
        source_ref="p.png",
        licence="CC0-1.0",
        images=(encode_lossless("target", _PIXELS),),
        group="p",
    )
    for operator in task.chain:
        pair = operator(pair, 5)
    return pair


@pytest.mark.parametrize(
    ("colours", "by_hand"),
    [
        ("negative", [[245, 235, 225], [0, 255, 127]]),
        ("swapped", [[30, 20, 10], [128, 0, 255]]),
        ("grey", [[18, 18, 18], [91, 91, 91]]),  # 2.99 + 11.74 + 3.42 = 18.15; 76.245 + 14.592 = 90.84
    ],
)
def test_colours_are_those_computed_by_hand(colours: str, by_hand: list[list[int]]) -> None:
    found = recoloured(_PIXELS, colours)  # type: ignore[arg-type]
    assert found.dtype == np.uint8 and found.tolist() == [by_hand]


def test_pairs_of_the_three_differ_in_their_targets_alone() -> None:
    pairs = [_made(task) for task in (NEGATIVE, SWAPPED, GREY)]
    asked = [[(one.direction, one.kind, one.instruction) for one in pair.examples] for pair in pairs]
    assert asked[0] == asked[1] == asked[2] and len(asked[0]) == 1
    images = [{role: decode_rgb(pair.image(role).data) for role in ("input", "target")} for pair in pairs]  # type: ignore[union-attr]
    assert all(np.array_equal(one["input"], _PIXELS) for one in images)
    targets = {one["target"].tobytes() for one in images}
    assert len(targets) == 3 and _PIXELS.tobytes() not in targets
