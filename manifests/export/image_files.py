"""The image files of samples, for formats that keep them in one folder beside an index.

They are named by what they are, not by who shows them: the pictures of a pair are stored once, for its examples of both
directions and for all of which it is the in-context example.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from manifests.export.format import Made, Part
from manifests.export.sample import ALL_ENCODINGS, Picture, Sample

PILLOW_ENCODINGS = ALL_ENCODINGS - {"avif"}
"""What Pillow opens, also that of before version 11.3, to which trainers are pinned."""

_FOLDER = "images"


@dataclass(frozen=True, kw_only=True)
class ImagePaths:
    """The paths of a sample's images below the export's folder, with forward slashes."""

    inputs: tuple[str, ...]
    """In the sample's order."""
    output: str | None
    """None for a describe example."""
    mask: str | None
    """None if there is none."""


def write_images(sample: Sample, part: Part) -> ImagePaths:
    """Write a sample's images, but not those of its contexts, and say where. Raises DatasetError for a damaged one."""
    return ImagePaths(
        inputs=tuple(part.picture(stem_of(picture), picture) for picture in sample.inputs),
        output=part.picture(stem_of(sample.output), sample.output) if sample.output else None,
        mask=part.picture(stem_of(sample.mask), sample.mask) if sample.mask else None,
    )


def paths_of(sample: Sample) -> ImagePaths:
    """Where `write_images` puts a sample's images. They are read for it: only then are their encodings known."""

    def path(picture: Picture) -> str:
        return f"{stem_of(picture)}.{picture.file().ending}"

    return ImagePaths(
        inputs=tuple(map(path, sample.inputs)),
        output=path(sample.output) if sample.output else None,
        mask=path(sample.mask) if sample.mask else None,
    )


def located(path: str, made: Made) -> str:
    """Where a file of the export is for a reader that knows nothing of its folder."""
    return f"{made.place}/{path}"


def stem_of(picture: Picture) -> str:
    """A picture's path without ending: pair, role, and digits of the hash, since two datasets may have a pair's key."""
    (digest,) = (image["sha256"] for image in picture.pair.value("images") if image["role"] == picture.role)
    return f"{_FOLDER}/{picture.pair.key}-{re.sub(r'[^A-Za-z0-9_]', '_', picture.role)[:32]}-{digest[:8]}"
