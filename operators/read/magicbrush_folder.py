"""Reads MagicBrush as its zip files hold it, the form in which its test split is published."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

from manifests.images.pixels import NEW_IMAGE_FORMAT
from manifests.schema import MASK, Item, Pair, Reject, Step, pair_key
from operators.read.files import SourceFile, commonest_ending, list_files, read_file, read_list
from operators.read.photos import together
from operators.read.region_mask import with_mask
from operators.read.split import caption_params

_TURNS = "edit_turns.json"
_DESCRIPTIONS = "global_descriptions.json"
_OUTPUT = re.compile(r"(?P<session>.+)-output(?P<turn>\d+)\.\w+")


@dataclass(frozen=True, kw_only=True)
class MagicBrushFolder:
    """The turns of edit_turns.json: a list of {"input", "mask", "output", "instruction"}, whose files are in
    images/<session>/ with names such as 139306-input.png and 139306-output1.png.

    A step "read" says which turn of which session a pair is, and, where global_descriptions.json lies beside, what the
    images show before and after the edit, for evaluation. Masks are the input, transparent where it is to be edited
    (operators/read/region_mask.py). Local descriptions are not read.
    """

    version: ClassVar[int] = 3
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = True
    source: str = "MagicBrush"
    licence: str = "CC-BY-4.0"
    root: str = ""
    split: str
    """The split, "test" or "dev"; the folder that the zip file makes has its name."""

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        paths = {file.path for file in listing}
        for folder in ("", self.split, f"MagicBrush/{self.split}"):
            prefix = f"{folder}/" if folder else ""
            if f"{prefix}{_TURNS}" in paths:
                if not any(path.startswith(f"{prefix}images/") for path in paths):
                    raise ValueError(f"DATA: {root} has {prefix}{_TURNS} but no files in {prefix}images/ beside it")
                return replace(self, root=f"{root.rstrip('/')}/{folder}".rstrip("/"))
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        bytes_of = {file.path: file.bytes for file in listing}
        for index, turn in enumerate(_turns(self.root)):
            names = [str(turn.get(what, "")) for what in ("input", "output", "mask")]
            paths = [f"images/{name.rpartition('-')[0]}/{name}" for name in names]
            # Names are looked up in the listing: they lead nowhere else.
            files = tuple(path if path in bytes_of else "" for path in (*paths[:2], _DESCRIPTIONS, paths[2]))
            yield Item(
                ref=f"{_TURNS}#{index}", files=files, index=index, bytes=sum(bytes_of.get(path, 0) for path in files)
            )

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        endings = {
            role: commonest_ending(item.files[place] for item in items)
            for place, role in enumerate(("input", "target"))
        }
        return {**endings, MASK: NEW_IMAGE_FORMAT} if any(item.files[3] for item in items) else endings

    def read(self, item: Item, task: str) -> Pair:
        turn = _turns(self.root)[item.index]
        before_path, after_path, descriptions, mask_path = item.files
        for role, path in (("input", before_path), ("target", after_path)):
            if not path:
                raise Reject(f"no_{role}", f"{item.ref}: its {role} is not below images/")
        before, after = read_file(self.root, before_path), read_file(self.root, after_path)
        images, steps = together({"input": before, "target": after})
        named = _OUTPUT.fullmatch(posixpath.basename(after_path))
        if not named:
            raise Reject("wrong_values", f"{item.ref}: {after_path} does not say of which turn it is")
        texts = {"instruction": str(turn.get("instruction", ""))}
        if descriptions:
            of_images = _descriptions(self.root).get(named["session"], {})
            captions = {"source_caption": of_images.get(posixpath.basename(before_path))}
            captions["target_caption"] = of_images.get(posixpath.basename(after_path))
            texts |= {name: caption for name, caption in captions.items() if caption}
        told = {"session": named["session"], "turn": int(named["turn"]), **caption_params(texts)}
        pair = Pair(
            key=pair_key(task, item.ref, before, after),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=images,
            group=named["session"],
            texts=texts,
            steps=(Step(operator="read", version=1, params=told), *steps),
        )
        return with_mask(pair, before, read_file(self.root, mask_path) if mask_path else None, "transparent")


@lru_cache(maxsize=2)
def _turns(root: str) -> Sequence[Mapping[str, Any]]:
    """The turns of a folder. Raises ValueError, naming the file, if they are not as published."""
    try:
        turns = json.loads(read_list(root, _TURNS))
        if not all(isinstance(turn, dict) for turn in turns):
            raise TypeError("a turn is no object")
    except (ValueError, TypeError) as error:
        raise ValueError(f"DATA: {root}/{_TURNS} is not a list of turns: {error}") from error
    return list(turns)


@lru_cache(maxsize=2)
def _descriptions(root: str) -> Mapping[str, Mapping[str, str]]:
    """Session -> name of an image -> what it shows. Raises ValueError, naming the file, if it is not as published."""
    try:
        found = json.loads(read_file(root, _DESCRIPTIONS))
        return {str(session): dict(images) for session, images in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"DATA: {root}/{_DESCRIPTIONS} does not describe images: {error}") from error
