"""Reads datasets published as files that pair by their paths: Rain13K's `input/` and `target/`, and their like."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar, Self

from manifests.schema import Item, Pair, Reject, pair_key
from operators.arrange.dense import Values, dense_on
from operators.read.files import Listing, SourceFile, commonest_ending, list_files, read_file, read_list
from operators.read.photos import alone, together
from operators.read.split import TRAIN, places_below


@dataclass(frozen=True, kw_only=True)
class PairedFolders:
    """Two kinds of files, paired by path, the ending aside; stored byte for byte.

    `input` and `target` are each a folder, below which the paths pair, or a pattern of paths without their ending:

        "{group}/blur/{name}"      files pair that agree in all of {name} and {group}; {group} is one folder, or the
                                   shortest part of one: the scene, from others of which in-context examples come
        "Low/[low]{name}"          what is in brackets may be missing
        "rainy/{name}_{any}"       {any}, without / and _, says nothing; several inputs may have one target then

    What is not in braces is found in upper and lower case.

    What EXIF turns, or what has other colours than its counterpart, becomes upright sRGB without loss
    (operators/read/photos.py), and a map turns with its photo (operators/arrange/grid.py). A file without its
    counterpart is an item too, so that it is rejected with a reason.
    What fits neither pattern is not part of the layout.
    """

    version: ClassVar[int] = 2
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: str
    licence: str
    root: str = ""
    input: str = "input"
    target: str = "target"
    target_values: Values | None = None
    """What a target's numbers mean that is not a picture (operators/arrange/dense.py)."""
    # Which masks there are is in a dataset's fingerprint by the items themselves.
    mask: str = field(default="", metadata={"location": True})
    """Files of the same names, patterns as the other two, that say where a target has values; "" if there are none.
    A target without its mask is read as it is, and its step "read" does not say "masked"."""
    nested: tuple[str, ...] = ("",)
    """Where below a data root the two folders may be, or below a folder on the way there (operators/read/split.py); the
    first that has both is read."""
    split: str = TRAIN
    """What the dataset is read for: TRAIN, or the name of a test split (operators/read/split.py)."""
    # What it chooses is in a dataset's fingerprint by the items themselves.
    listed: str = field(default="", metadata={"location": True})
    """A file beside the two folders that names the pairs to read, a line each; "" for all pairs that are there."""
    marks: tuple[str, str] = field(default=("", ""), metadata={"location": True})
    """What names may begin with on the two sides, where files do not pair by their names as they are: ("rain-",
    "norain-")."""
    only: str = field(default="", metadata={"location": True})
    """The one {group} folder of the root that is read; "" for all of them."""

    def listing(self) -> Sequence[SourceFile]:
        if not self.only:
            return list_files(self.root)
        inside = list_files(f"{self.root}/{self.only}")
        return Listing((replace(file, path=f"{self.only}/{file.path}") for file in inside), inside.passed_over)

    @property
    def by_group(self) -> bool:
        """Whether the layout's topmost folders are groups, one of which may be read alone."""
        return self.input.startswith("{group}") and self.target.startswith("{group}")

    def fitting(self, listing: Iterable[SourceFile]) -> int:
        """How many of some files below the root are of one side or the other."""
        return sum(1 for file in listing if _fit(self.input, file.path) or _fit(self.target, file.path))

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        listing = listing if isinstance(listing, Listing) else Listing(listing)
        folders_there = listing.folders
        places = list(
            dict.fromkeys(folders_there.get(place.lower(), place) for place in places_below(root, self.nested))
        )
        there = {side: [n for n in places if _below(listing, n, side)] for side in (self.input, self.target)}
        both = [folder for folder in places if all(folder in folders for folders in there.values())]
        if both:
            path = f"{both[0]}/{self.listed}".lstrip("/")
            if self.listed and all(file.path != path for file in listing):
                raise ValueError(f"DATA: {root} lacks {path}, which names the pairs of the {self.split} split")
            return replace(self, root=f"{root.rstrip('/')}/{both[0]}".rstrip("/"))
        for side, folders in there.items():
            if folders and (self.by_group or "/" in _shown(side)):  # one rain-*.jpg is no half of Rain100H
                other = self.target if side == self.input else self.input
                raise ValueError(f"DATA: {root} has files in {_shown(side)} but none in {_shown(other)} beside it")
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        inputs, targets = (_by_name(listing, side) for side in (self.input, self.target))
        masks = _by_name(listing, self.mask) if self.mask else {}
        if any(self.marks):
            paired = inputs.keys() & targets.keys()
            inputs, targets = (
                _unmarked(side, mark, paired) for side, mark in zip((inputs, targets), self.marks, strict=True)
            )
        names = inputs.keys() | targets.keys()
        if self.listed:
            lines = read_list(self.root, self.listed).decode("utf-8-sig", "backslashreplace").splitlines()
            wanted = {line.strip() for line in lines}
            names = {name for name in names if name[1] in wanted}
        for name in sorted(names):
            found = _match(inputs.get(name, []), targets.get(name, []), many="{any}" in self.input)
            yield from (_masked(item, masks[name]) for item in found) if name in masks else found

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {
            "input": commonest_ending(item.files[0] for item in items),
            "target": commonest_ending(item.files[1] for item in items),
        }

    def read(self, item: Item, task: str) -> Pair:
        for role, path in zip(("input", "target"), item.files[:2], strict=True):
            if not path:
                raise Reject(f"no_{role}", f"{item.ref} has no counterpart that would be its {role}")
        before, after, *masks = contents = [read_file(self.root, path) for path in item.files]
        if self.target_values is None:
            images, steps = together({"input": before, "target": after})
        else:
            photo, steps = alone("input", before)
            target, step = dense_on(before, after, self.target_values, *masks)
            images, steps = (photo, target), (*steps, step)
        fit = _fit(self.input, item.files[0])
        return Pair(
            key=pair_key(task, item.ref, *contents),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=images,
            group=(fit and fit[0]) or item.ref,
            steps=steps,
        )


_MEANS = {
    # The shortest group: a name's own separators are many ("GOPR0372_07_00-000047-1"), the group's come first.
    "{group}": "(?P<group>[^/]+?)",
    "{name}": "(?P<name>.+)",
    "{any}": "[^/_]+",
    "[": "(?:",
    "]": ")?",
}
"""Expressions of what has a meaning in a pattern."""


@lru_cache(maxsize=64)
def _regex(side: str) -> re.Pattern[str]:
    """The expression that a side's paths fit. A folder is short for all that is below it."""
    parts = re.split(r"(\{\w+\}|[\[\]])", side if "{name}" in side else f"{side}/{{name}}")
    pattern = "".join(_MEANS.get(part, f"(?i:{re.escape(part)})") for part in parts if part)
    return re.compile(pattern, re.DOTALL)


def _fit(side: str, path: str) -> tuple[str, str] | None:
    """Group and name of a path, the ending aside ("input/a.b.PNG" -> "", "a.b"); None if it is not of this side."""
    return _fit_stem(side, posixpath.splitext(path)[0])


def _fit_stem(side: str, stem: str) -> tuple[str, str] | None:
    """The same for a path that has lost its ending."""
    match = _regex(side).fullmatch(stem)
    return (match.groupdict().get("group") or "", match["name"]) if match else None


def _shown(side: str) -> str:
    """A side as users write paths: "input/", "*/blur/*"."""
    if "{name}" not in side:
        return f"{side}/"
    return re.sub(r"\[.*?\]", "", side).replace("{group}", "*").replace("{name}", "*").replace("{any}", "*")


def _below(listing: Listing, folder: str, side: str) -> bool:
    if not folder:
        return any(_fit_stem(side, stem) for stem in listing.stems)
    if folder.lower() not in listing.folders:  # which spares the many places of a large listing
        return False
    prefix = f"{folder}/"
    return any(stem.startswith(prefix) and _fit_stem(side, stem[len(prefix) :]) for stem in listing.stems)


def _by_name(listing: Sequence[SourceFile], side: str) -> Mapping[tuple[str, str], list[SourceFile]]:
    by_name: defaultdict[tuple[str, str], list[SourceFile]] = defaultdict(list)
    for file in listing:
        if found := _fit(side, file.path):
            by_name[found].append(file)
    return by_name


def _masked(item: Item, masks: Sequence[SourceFile]) -> Item:
    """A pair's item with the mask of its target, the first by name where endings differ."""
    mask = min(masks, key=lambda file: file.path)
    return replace(item, files=(*item.files, mask.path), bytes=item.bytes + mask.bytes) if all(item.files) else item


def _unmarked(
    by_name: Mapping[tuple[str, str], list[SourceFile]], mark: str, paired: Set[tuple[str, str]]
) -> Mapping[tuple[str, str], list[SourceFile]]:
    """Files by their names without the mark, except those that pair as they are."""
    found: defaultdict[tuple[str, str], list[SourceFile]] = defaultdict(list)
    for (group, name), files in by_name.items():
        folder, last = posixpath.split(name)
        bare = posixpath.join(folder, last.removeprefix(mark))
        found[(group, name) if (group, name) in paired else (group, bare)] += files
    return found


def _match(inputs: list[SourceFile], targets: list[SourceFile], *, many: bool) -> Iterator[Item]:
    """Items for the files of one name: one of each side is a pair; where there are more, the full names decide.

    With `many`, several inputs may have one target.
    """
    if len(targets) == 1 and (len(inputs) == 1 or (many and inputs)):
        matched = [(before, targets[0]) for before in inputs]
    else:
        by_name = {posixpath.basename(file.path): file for file in targets}
        matched = [(file, by_name[name]) for file in inputs if (name := posixpath.basename(file.path)) in by_name]
    for before, after in matched:
        yield Item(ref=before.path, files=(before.path, after.path), bytes=before.bytes + after.bytes)
    paired = {file.path for pair in matched for file in pair}
    for file in inputs:
        if file.path not in paired:
            yield Item(ref=file.path, files=(file.path, ""), bytes=file.bytes)
    for file in targets:
        if file.path not in paired:
            yield Item(ref=file.path, files=("", file.path), bytes=file.bytes)
