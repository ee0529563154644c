"""Reads the recipe of the pose task: a person doing an action. No images yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from manifests.images import NEW_IMAGE_FORMAT
from manifests.schema import Item, Pair, Step, pair_key, seed_for
from operators.files import SourceFile
from operators.instruct import pick
from operators.persons import ACTIONS, PERSONS


@dataclass(frozen=True, kw_only=True)
class PersonPrompts:
    """The actions of operators/persons.py over and over, each time done by a person drawn by the item's number."""

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: ClassVar[str] = "Stable Diffusion 1.5 or FLUX.1 with a pose ControlNet, from prompts"
    licence: ClassVar[str] = (
        "made by models, under their licences: CreativeML OpenRAIL-M or FLUX.1 [dev] non-commercial"
    )
    root: ClassVar[str] = ""
    count: int = len(PERSONS) * len(ACTIONS)

    def listing(self) -> Sequence[SourceFile]:
        return ()

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return None  # it reads nothing

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for index in range(self.count):
            yield Item(ref=f"{index:06d}", files=(), index=index)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return dict.fromkeys(("input", "pose", "target"), NEW_IMAGE_FORMAT)

    def read(self, item: Item, task: str) -> Pair:
        seed = seed_for(0, "person prompts", item.ref)
        params = {"person": pick(PERSONS, seed, "person"), "action": ACTIONS[item.index % len(ACTIONS)]}
        return Pair(
            key=pair_key(task, item.ref, *(text.encode() for text in params.values())),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(),
            group=item.ref,
            texts={**params, "person_prompt": f"a full body photo of {params['person']} {params['action']}"},
            steps=(Step(operator="person_prompts", version=1, params=params, seed=seed),),
        )
