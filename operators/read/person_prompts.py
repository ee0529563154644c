"""Reads the recipe of the pose task: persons doing the same action. No images yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manifests.schema import Item, Pair, Step, pair_key
from operators.option import at_least_one, option
from operators.read.persons import ACTIONS, GROUP, PERSONS, drawn_persons
from operators.read.prompt_recipe import PromptRecipe


@dataclass(frozen=True, kw_only=True)
class PersonPrompts(PromptRecipe):
    """The actions of operators/read/persons.py over and over, each time done by a first person and GROUP others.

    An item is one of the others; those of one first person follow each other and are a context group.
    """

    version: ClassVar[int] = 2
    contiguous: ClassVar[bool] = True
    block: ClassVar[int] = GROUP
    source: ClassVar[str] = "Stable Diffusion 1.5 or FLUX.1 with a pose ControlNet, from prompts"
    licence: ClassVar[str] = (
        "made by models, under their licences: CreativeML OpenRAIL-M or FLUX.1 [dev] non-commercial"
    )
    roles: ClassVar[tuple[str, ...]] = ("input", "pose", "target")
    count: int = option(len(PERSONS) * len(ACTIONS), "how many pairs to begin with", type=at_least_one)

    def read(self, item: Item, task: str) -> Pair:
        block, place = divmod(item.index, GROUP)
        pose, action = f"pose {block:06d}", ACTIONS[block % len(ACTIONS)]
        first, *others = drawn_persons(pose)
        params = {"first_person": first, "person": others[place], "action": action}
        return Pair(
            key=pair_key(task, item.ref, *(text.encode() for text in params.values())),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(),
            group=pose,
            context_group=pose,
            texts={
                "person_prompt": f"a full body photo of {first} {action}",
                "person": others[place],
                "action": action,
            },
            steps=(Step(operator="person_prompts", version=self.version, params=params),),
        )
