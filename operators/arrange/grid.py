"""Whether what was drawn of a photo, a map or a mask, lies on the photo's grid of pixels once both are upright.

A camera stores a photo as its sensor saw it, and says by an EXIF orientation how to turn it. Maps have none, as a rule,
and programs differ in which of the two pictures they draw on. Where the orientation exchanges the sides, sizes tell it;
elsewhere nothing does, and a wrong guess would put every pixel of the map on another thing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import orientation, read_header
from manifests.schema import Reject

_SWAP_SIDES = (5, 6, 7, 8)
"""The orientations by which width and height change places: Exif 2.32, section 4.6.4, tag Orientation."""

# After the exchange of sides, 6 is mirrored from left to right, 8 from top to bottom, 7 both ways.
_MIRROR_X, _MIRROR_Y = (2, 3, 6, 7), (3, 4, 7, 8)


def turn_onto(photo: bytes, drawn: bytes, role: str) -> int:
    """The EXIF orientation, 1 to 8, by which what was drawn of a photo lies on the upright photo.

    It is that of the file itself, if it has one; else none, or the photo's, whichever the sizes show. `role` names what
    was drawn, in messages. Raises Reject: turned, where the photo is turned and sizes cannot show whether the other was
    drawn before or after that; size_mismatch; and as `read_header` does.
    """
    seen, own, turn = read_header(photo), orientation(drawn), orientation(photo)
    size, header = (seen.width_px, seen.height_px), read_header(drawn)
    drawn_size = (header.width_px, header.height_px)
    if own == 1 and turn in _SWAP_SIDES and drawn_size == size[::-1] != size:
        return turn
    if drawn_size != size:
        raise Reject(
            "size_mismatch",
            f"the photo is {size[0]} x {size[1]} px, its {role} {drawn_size[0]} x {drawn_size[1]} px",
        )
    if own == 1 and turn != 1 and (turn not in _SWAP_SIDES or size[0] == size[1]):
        raise Reject(
            "turned",
            f"the photo's EXIF orientation {turn} turns it, and nothing tells whether its {role} was drawn before that "
            "or after; store the photo upright",
        )
    return own


def turned(values: npt.NDArray[Any], by: int) -> npt.NDArray[Any]:
    """H x W or H x W x C values of a map as they lie once an EXIF orientation, 1 to 8, is followed."""
    if by in _SWAP_SIDES:
        values = values.swapaxes(0, 1)
    return np.ascontiguousarray(values[:: -1 if by in _MIRROR_Y else 1, :: -1 if by in _MIRROR_X else 1])


def vectors_turned(pixels: npt.NDArray[Any], by: int) -> npt.NDArray[Any]:
    """H x W x 3 unsigned x, y, z, whose zero is the middle of their range, as they point once an EXIF orientation, 1 to
    8, is followed by the camera too: x points right and y down in the picture that is seen. Black, which is no vector,
    stays black."""
    order = (1, 0, 2) if by in _SWAP_SIDES else (0, 1, 2)
    found = np.ascontiguousarray(pixels[..., order])
    highest = np.iinfo(pixels.dtype).max
    known = pixels.any(axis=-1)
    for channel, mirroring in enumerate((_MIRROR_X, _MIRROR_Y)):
        if by in mirroring:
            found[known, channel] = highest - found[known, channel]
    return found
