"""The image files of a sample, for formats that keep them beside an index: how they are called, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.export.format import Part
from manifests.export.sample import Picture, Sample

FOLDER = "images"


@dataclass(frozen=True, kw_only=True)
class ImagePaths:
    """The paths of a sample's images below the export's folder, with forward slashes."""

    inputs: tuple[str, ...]
    """In the sample's order."""
    output: str | None
    """None for a describe example."""
    mask: str | None
    """None if there is none."""


def paths_of(sample: Sample) -> ImagePaths:
    """Where `write_images` puts a sample's images. They are read for it: only then is their encoding known."""
    return _each(sample, None)


def write_images(sample: Sample, part: Part) -> ImagePaths:
    """Write a sample's images, but not those of its contexts, and say where. Raises DatasetError for a damaged one."""
    return _each(sample, part)


def _each(sample: Sample, part: Part | None) -> ImagePaths:
    def place(picture: Picture, what: str) -> str:
        file = picture.file()
        path = f"{FOLDER}/{sample.name}-{what}.{file.ending}"
        if part:
            part.file(path, file.data)
        return path

    return ImagePaths(
        inputs=tuple(place(picture, f"input-{number}") for number, picture in enumerate(sample.inputs, start=1)),
        output=place(sample.output, "output") if sample.output else None,
        mask=place(sample.mask, "mask") if sample.mask else None,
    )
