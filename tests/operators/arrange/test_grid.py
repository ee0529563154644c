from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageOps

from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.arrange.grid import turn_onto, turned
from tests.sources import encode, photo


@pytest.mark.parametrize("orientation", range(1, 9))
def test_values_are_turned_as_pillow_turns_pictures(orientation: int) -> None:
    pixels = photo(0)
    with PILImage.open(io.BytesIO(_png(pixels, orientation))) as opened:
        seen = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(turned(pixels, orientation), seen)
    assert np.array_equal(turned(pixels[..., 1], orientation), seen[..., 1])


@pytest.mark.parametrize("orientation", range(5, 9))
def test_where_sides_change_places_sizes_tell_what_was_drawn_on(orientation: int) -> None:
    """48 x 40 px as stored, 40 x 48 px as seen."""
    stored, seen = photo(1), photo(1, 40, 48)
    turn = _png(photo(0), orientation)
    assert turn_onto(turn, _png(stored), "map") == orientation
    assert turn_onto(turn, _png(seen), "map") == 1
    assert turn_onto(turn, _png(stored, orientation), "map") == orientation  # it says so itself
    assert turn_onto(_png(seen), _png(stored, orientation), "map") == orientation
    assert turn_onto(_png(photo(0)), _png(stored), "map") == 1


@pytest.mark.parametrize(
    ("orientation", "size_px", "reason"),
    [
        *((orientation, (48, 40), "turned") for orientation in (2, 3, 4)),
        *((orientation, (40, 40), "turned") for orientation in range(2, 9)),
    ],
)
def test_where_sizes_do_not_tell_nothing_is_guessed(orientation: int, size_px: tuple[int, int], reason: str) -> None:
    with pytest.raises(Reject, match=f"orientation {orientation} turns it") as caught:
        turn_onto(_png(photo(0, *size_px), orientation), _png(photo(1, *size_px)), "map")
    assert caught.value.reason == reason
    assert turn_onto(_png(photo(0, *size_px), orientation), _png(photo(1, *size_px), orientation), "map") == orientation


@pytest.mark.parametrize(("orientation", "size_px"), [(1, (47, 40)), (1, (40, 48)), (6, (48, 41)), (3, (40, 48))])
def test_another_size_is_rejected(orientation: int, size_px: tuple[int, int]) -> None:
    with pytest.raises(Reject, match="its mask") as caught:
        turn_onto(_png(photo(0), orientation), _png(photo(1, *size_px)), "mask")
    assert caught.value.reason == "size_mismatch"


def _png(pixels: Pixels, orientation: int = 1) -> bytes:
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    return encode(pixels, exif=exif)
