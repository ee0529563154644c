"""What sources have in common from which models make all images: so many items, each a recipe, and nothing to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from manifests.images.pixels import NEW_IMAGE_FORMAT
from manifests.schema import Item
from operators.read.files import SourceFile


@dataclass(frozen=True, kw_only=True)
class PromptRecipe:
    """A reader of `count` items without files. A recipe adds `source`, `licence` and `read`."""

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    root: ClassVar[str] = ""
    roles: ClassVar[tuple[str, ...]]
    """The roles of the images that are made."""
    count: int

    def listing(self) -> Sequence[SourceFile]:
        return ()

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return None  # it reads nothing

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for index in range(self.count):
            yield Item(ref=f"{index:06d}", files=(), index=index)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return dict.fromkeys(self.roles, NEW_IMAGE_FORMAT)
