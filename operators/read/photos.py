"""Reads a folder of clean photos: each becomes the target of a pair whose input is synthesised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from manifests.images.pixels import (
    MIN_SIDE_PX,
    NEW_IMAGE_FORMAT,
    Header,
    decode_rgb,
    encode_lossless,
    read_header,
    stored,
)
from manifests.schema import Image, Item, Pair, Reject, Step, pair_key
from operators.read.files import IMAGE_ENDINGS, SourceFile, commonest_ending, ending, list_files, read_file


@dataclass(frozen=True, kw_only=True)
class PhotoFolder:
    """All files below the root, or below the `folders` in it, all of which must be there.

    A photo is stored byte for byte where its pixels mean the same to every decoder. One with an EXIF orientation,
    colours other than sRGB, transparency, a palette, CMYK or single-channel 16-bit pixels is stored as the RGB image
    that the synthesis starts from, losslessly, with a step "to_rgb" in its provenance.
    """

    version: ClassVar[int] = 2
    paired: ClassVar[bool] = False
    contiguous: ClassVar[bool] = False
    source: str
    licence: str
    root: str = ""
    folders: tuple[str, ...] = ()
    nested: tuple[str, ...] = ("",)
    """Where below a data root the `folders` may be; the first that has one of them is read."""

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        images = [file.path for file in listing if ending(file.path) in IMAGE_ENDINGS]
        if not self.folders:
            return replace(self, root=root) if images else None
        for parent in self.nested:
            paths = {name: f"{parent}/{name}".lstrip("/") for name in self.folders}
            there = [name for name, path in paths.items() if any(image.startswith(f"{path}/") for image in images)]
            if len(there) == len(self.folders):
                return replace(self, root=f"{root.rstrip('/')}/{parent}".rstrip("/"))
            if there:
                missing = ", ".join(name for name in self.folders if name not in there)
                raise ValueError(
                    f"DATA: {root} has {', '.join(there)}, but of {self.source} {missing} is missing; "
                    f"to read {there[0]} alone, point DATA at {paths[there[0]]} in it"
                )
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for file in listing:
            if not self.folders or file.path.startswith(tuple(f"{folder}/" for folder in self.folders)):
                yield Item(ref=file.path, files=(file.path,), bytes=file.bytes)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"input": NEW_IMAGE_FORMAT, "target": commonest_ending(item.files[0] for item in items)}

    def read(self, item: Item, task: str) -> Pair:
        data = read_file(self.root, item.files[0])
        image, steps = alone("target", data)
        return Pair(
            key=pair_key(task, item.ref, data),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(image,),
            group=item.ref,
            steps=steps,
        )


def alone(role: str, data: bytes) -> tuple[Image, tuple[Step, ...]]:
    """An image of which others are made, or beside which others are: as it is where every decoder sees the same in it.

    Otherwise the lossless RGB image that is seen, in sRGB, and the step that made it (manifests/images/colour.py).
    Raises Reject: too_small, and as `decode_rgb` does.
    """
    header = _large_enough(role, data)
    return (stored(role, data, header), ()) if header.plain else _to_rgb(role, data, header)


def together(files: Mapping[str, bytes]) -> tuple[tuple[Image, ...], tuple[Step, ...]]:
    """The images of a pair that comes complete, by role: as they are if all are upright and have the same colours.

    Colours are compared by what the files declare: where all carry the same profile, each is what the others are.
    Otherwise what is turned, or has colours of its own, becomes an upright sRGB image without loss, with a step for
    each. Raises Reject: too_small, and as `decode_rgb` does.
    """
    headers = {role: _large_enough(role, data) for role, data in files.items()}
    agree = all(header.upright for header in headers.values()) and len({h.colours for h in headers.values()}) == 1
    images: list[Image] = []
    steps: tuple[Step, ...] = ()
    for role, header in headers.items():
        as_it_is = agree or (header.upright and header.colours is None)
        image, made = (stored(role, files[role], header), ()) if as_it_is else _to_rgb(role, files[role], header)
        images.append(image)
        steps += made
    return tuple(images), steps


def _large_enough(role: str, data: bytes) -> Header:
    header = read_header(data)
    if min(header.width_px, header.height_px) < MIN_SIDE_PX:
        size = f"{header.width_px} x {header.height_px} px"
        raise Reject("too_small", f"its {role} has {size}, and a side under {MIN_SIDE_PX}")
    return header


def _to_rgb(role: str, data: bytes, header: Header) -> tuple[Image, tuple[Step, ...]]:
    params = {"role": role, "mode": header.mode, "turned": not header.upright}
    if header.colours:
        params["colours"] = header.colours.name
    return encode_lossless(role, decode_rgb(data)), (Step(operator="to_rgb", version=2, params=params),)
