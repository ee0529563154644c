"""Reads datasets published as two folders of files with the same names: Rain13K's `input/` and `target/`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import ClassVar, Self

from manifests.schema import Item, Pair, Reject, pair_key
from operators.files import SourceFile, commonest_ending, list_files, read_file
from operators.read_photos import upright


@dataclass(frozen=True, kw_only=True)
class PairedFolders:
    """Files in two folders, paired by path, the ending aside; stored byte for byte.

    One with an EXIF orientation is turned upright losslessly. A file without its counterpart is an item too, so that
    it is rejected with a reason.
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: str
    licence: str
    root: str = ""
    input: str = "input"
    target: str = "target"
    nested: tuple[str, ...] = ("",)
    """Where below a data root the two folders may be; the first that has both is read."""

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        there = {side: [n for n in self.nested if _below(listing, n, side)] for side in (self.input, self.target)}
        both = [folder for folder in self.nested if all(folder in folders for folders in there.values())]
        if both:
            return replace(self, root=f"{root.rstrip('/')}/{both[0]}".rstrip("/"))
        for side, folders in there.items():
            if folders:
                missing = self.target if side == self.input else self.input
                raise ValueError(f"DATA: {root} has files in {side}/ but none in {missing}/ beside it")
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        inputs, targets = (_by_stem(listing, side) for side in (self.input, self.target))
        for stem in sorted(inputs.keys() | targets.keys()):
            yield from _match(inputs.get(stem, []), targets.get(stem, []))

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {
            "input": commonest_ending(item.files[0] for item in items),
            "target": commonest_ending(item.files[1] for item in items),
        }

    def read(self, item: Item, task: str) -> Pair:
        for role, path in zip(("input", "target"), item.files, strict=True):
            if not path:
                raise Reject(f"no_{role}", f"{item.ref} has no counterpart that would be its {role}")
        before, after = (read_file(self.root, path) for path in item.files)
        input_image, input_steps = upright("input", before)
        target_image, target_steps = upright("target", after)
        return Pair(
            key=pair_key(task, item.ref, before, after),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(input_image, target_image),
            group=item.ref,
            steps=input_steps + target_steps,
        )


def _below(listing: Sequence[SourceFile], folder: str, side: str) -> bool:
    prefix = f"{folder}/{side}/".lstrip("/")
    return any(file.path.startswith(prefix) for file in listing)


def _by_stem(listing: Sequence[SourceFile], side: str) -> Mapping[str, list[SourceFile]]:
    """The files of one side by their path in it without the ending ("a.b.PNG" -> "a.b")."""
    by_stem: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in listing:
        if file.path.startswith(f"{side}/"):
            inner = PurePosixPath(file.path.removeprefix(f"{side}/"))
            by_stem[str(inner.parent / inner.stem)].append(file)
    return by_stem


def _match(inputs: list[SourceFile], targets: list[SourceFile]) -> Iterator[Item]:
    """Items for the files of one stem: one of each side is a pair; where there are more, the full names decide."""
    if len(inputs) == len(targets) == 1:
        matched = [(inputs[0], targets[0])]
    else:
        by_name = {PurePosixPath(file.path).name: file for file in targets}
        matched = [(file, by_name[name]) for file in inputs if (name := PurePosixPath(file.path).name) in by_name]
    for before, after in matched:
        yield Item(ref=before.path, files=(before.path, after.path), bytes=before.bytes + after.bytes)
    paired = {file.path for pair in matched for file in pair}
    for file in inputs:
        if file.path not in paired:
            yield Item(ref=file.path, files=(file.path, ""), bytes=file.bytes)
    for file in targets:
        if file.path not in paired:
            yield Item(ref=file.path, files=("", file.path), bytes=file.bytes)
