"""Reads VITON-HD: a person without their garment, the garment, and the person wearing it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from manifests.images.pixels import orientation
from manifests.schema import Item, Pair, Reject, pair_key
from manifests.storage import Store
from operators.arrange.grid import turn_onto
from operators.option import at_least_one, option
from operators.read.files import SourceFile, commonest_ending, list_files, read_file, read_list
from operators.read.photos import alone, together
from operators.read.region_mask import with_mask
from operators.read.split import TRAIN

_ROLES = ("person", "cloth", "target")
_UNPAIRED_ROLES = ("person", "cloth", "mask")


@dataclass(frozen=True, kw_only=True)
class VitonHd:
    """The images named by train_pairs.txt, or as a test split by test_pairs.txt, with roles person (garment masked
    out), cloth and target.

    Each line names a person and, for the unpaired setting, another garment, which is not read: the garment of the
    photo has the photo's name, as the official loaders have it (https://github.com/sangyun884/HR-VITON).

    With a `count` above that of the photos, further pairs are persons with other garments than their photo's, which
    come without a target; their mask is that of agnostic-mask/. Pairs with a target have it too, where it is there and
    usable (operators/read/region_mask.py): white is where the garment goes.

    Person, target and mask are of one photo, and must lie on one grid. Rejects: size_mismatch, turned (only one of them
    follows the photo's EXIF orientation), and those of what is missing or cannot be read.
    """

    version: ClassVar[int] = 3
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: str = "VITON-HD"
    licence: str = "CC-BY-NC-4.0, research use only"
    root: str = ""
    agnostic: tuple[str, ...] = ("agnostic-v3.2", "agnostic")
    """Names that releases have for the folder of persons without garment; the first that is there is read."""
    count: int | None = option(None, "how many pairs to make (default: one for each photo)", type=at_least_one)
    nested: tuple[str, ...] = ("", "VITON-HD", "zalando-hd-resized")
    split: str = TRAIN
    """What the dataset is read for: TRAIN, or the name of a test split (operators/read/split.py)."""

    @property
    def _list(self) -> str:
        return f"{self.split}_pairs.txt"

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        for parent in self.nested:
            prefix = f"{parent}/" if parent else ""
            paths = [file.path.removeprefix(prefix) for file in listing if file.path.startswith(prefix)]
            image, cloth = f"{self.split}/image", f"{self.split}/cloth"
            there = {self._list: self._list in paths} | {
                wanted: any(path.startswith(f"{self.split}/{name}/") for path in paths for name in names)
                for wanted, names in (
                    (image, ("image",)),
                    (cloth, ("cloth",)),
                    (f"{self.split}/{self.agnostic[0]}", self.agnostic),
                )
            }
            if all(there.values()):
                return replace(self, root=f"{root.rstrip('/')}/{parent}".rstrip("/"))
            if there[self._list] or (there[image] and there[cloth]):
                missing = ", ".join(name for name, is_there in there.items() if not is_there)
                raise ValueError(f"DATA: {root} has {self.source} in part; {missing} is missing")
        above, name = posixpath.split(root.rstrip("/"))
        if name == self.split and Store(above).exists(self._list):  # the list lies beside the folder that it is of
            return self.located(above, list_files(above))
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        folders = {posixpath.dirname(file.path) for file in listing}
        agnostic = next((name for name in self.agnostic if f"{self.split}/{name}" in folders), self.agnostic[0])
        wanted = tuple(f"{self.split}/{name}" for name in (agnostic, "cloth", "image"))
        by_stem = {posixpath.splitext(file.path)[0]: file for file in listing if file.path.startswith(f"{self.split}/")}
        lines = read_list(self.root, self._list).decode("utf-8-sig", "backslashreplace").splitlines()
        names = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
        stems = [posixpath.splitext(name)[0] for name in names]
        for number in range(len(names) if self.count is None else min(self.count, len(names) ** 2)):
            # Each round gives every person the garment of one further along the list; the first, their own.
            further, place = divmod(number, len(names))
            cloth = (place + further) % len(names)
            mask, photo = f"{self.split}/agnostic-mask/{stems[place]}_mask", f"{wanted[2]}/{stems[place]}"
            # Names are looked up in the listing, endings aside: they lead nowhere else.
            paths = (f"{wanted[0]}/{stems[place]}", f"{wanted[1]}/{stems[cloth]}", mask if further else photo)
            found = [by_stem.get(path) for path in paths]
            if not further and mask in by_stem:
                found.append(by_stem[mask])
            yield Item(
                ref=f"{names[place]}+{names[cloth]}" if further else names[place],
                files=tuple(file.path if file else "" for file in found),
                index=further,
                bytes=sum(file.bytes for file in found if file),
            )

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        own = [item for item in items if not item.index]
        endings = {role: commonest_ending(item.files[place] for item in own) for place, role in enumerate(_ROLES)}
        masks = [item.files[2 if item.index else 3] for item in items if item.index or len(item.files) > 3]
        return {**endings, "mask": commonest_ending(masks)} if masks else endings

    def read(self, item: Item, task: str) -> Pair:
        roles = _UNPAIRED_ROLES if item.index else _ROLES
        for role, path in zip(roles, item.files[:3], strict=True):
            if not path:
                raise Reject(f"no_{role}", f"{item.ref} has no {role}")
        contents = [read_file(self.root, path) for path in item.files[:3]]
        files = dict(zip(roles, contents, strict=True))
        # The target is the photo, of which the person was made; without it, that is what the mask was made for.
        photo, drawn = (0, 2) if item.index else (2, 0)
        own = orientation(contents[drawn])
        if (turn := turn_onto(contents[photo], contents[drawn], roles[drawn])) != own:
            raise Reject("turned", f"EXIF orientation {turn} turns its {roles[photo]}, not its {roles[drawn]}")
        if item.index:  # the target is made of them
            found, made = zip(*(alone(role, data) for role, data in files.items()), strict=True)
            images, steps = found, sum(made, ())
        else:
            images, steps = together(files)
        pair = Pair(
            key=pair_key(task, item.ref, *contents),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=images,
            group=item.ref.partition("+")[0],
            steps=steps,
        )
        extra = [read_file(self.root, path) for path in item.files[3:]]
        return with_mask(pair, contents[0], extra[0] if extra else None, "white")
