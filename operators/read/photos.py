"""Reads a folder of clean photos: each becomes the target of a pair whose input is synthesised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from manifests.images.pixels import NEW_IMAGE_FORMAT, Header, decode_rgb, encode_lossless, read_header, stored
from manifests.schema import Image, Item, Pair, Step, pair_key
from operators.read.files import IMAGE_ENDINGS, SourceFile, commonest_ending, ending, list_files, read_file


@dataclass(frozen=True, kw_only=True)
class PhotoFolder:
    """All files below the root, or below the `folders` in it, all of which must be there.

    A photo is stored byte for byte where its pixels mean the same to every decoder. One with an EXIF orientation,
    transparency, a palette, CMYK or single-channel 16-bit pixels is stored as the RGB image that the synthesis starts
    from, losslessly, with a step "to_rgb" in its provenance.
    """

    version: ClassVar[int] = 1
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
        image, steps = _eight_bit_rgb("target", data)
        return Pair(
            key=pair_key(task, item.ref, data),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(image,),
            group=item.ref,
            steps=steps,
        )


def upright(role: str, data: bytes) -> tuple[Image, tuple[Step, ...]]:
    """An image as it is, or, if an EXIF orientation turns it, the lossless upright RGB image and the step that made it.

    Decoders differ in whether they follow the orientation; both images of a pair must be seen the same way up.
    """
    header = read_header(data)
    return (stored(role, data, header), ()) if header.upright else _to_rgb(role, data, header)


def _eight_bit_rgb(role: str, data: bytes) -> tuple[Image, tuple[Step, ...]]:
    header = read_header(data)
    plain = header.upright and header.mode in ("RGB", "L") and not header.transparent
    return (stored(role, data, header), ()) if plain else _to_rgb(role, data, header)


def _to_rgb(role: str, data: bytes, header: Header) -> tuple[Image, tuple[Step, ...]]:
    params = {"role": role, "mode": header.mode, "turned": not header.upright}
    return encode_lossless(role, decode_rgb(data)), (Step(operator="to_rgb", version=1, params=params),)
