"""Writes small pictures of what gates rejected, so that a bound can be chosen by looking at what it keeps out.

    reject_pictures/<task>-000000.tar
      000000.input.webp  000000.output.webp  000003.input.webp ...      by the row of the unit's rejects, from 0

A row of `rejects/` names its pictures by place and sha256, and the manifest records the sha256 of that file: so they
are committed with their unit, and `manifests/verify/reject_pictures.py` finds whatever was changed. A unit whose
rejects have no pictures has no such tar.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, BinaryIO

from manifests.schema import Image
from manifests.write.tar import TarWriter

FOLDER = "reject_pictures"
"""The folder of a dataset directory that the pictures are in."""

SIDES = ("input", "output")
"""What a picture may show of a reject."""


def member_name(row: int, side: str) -> str:
    """The name of the picture of one side of the reject in a row."""
    return f"{row:06d}.{side}.webp"


class PictureWriter:
    """Appends pictures to an open file, those of a reject one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = TarWriter(file)

    def add(self, row: int, pictures: Sequence[Image]) -> list[dict[str, Any]]:
        """Append the pictures of the reject in a row, whose roles are sides; what its column `pictures` says."""
        return [
            {
                "side": picture.role,
                "member": (member := member_name(row, picture.role)),
                "offset": self._tar.append(member, picture.data),
                "bytes": len(picture.data),
                "sha256": hashlib.sha256(picture.data).hexdigest(),
                "width_px": picture.width_px,
                "height_px": picture.height_px,
            }
            for picture in pictures
        ]

    def finish(self) -> None:
        """End the archive."""
        self._tar.finish()
