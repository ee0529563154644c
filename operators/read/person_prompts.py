"""Reads the recipe of the pose task: a person doing an action. No images yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manifests.schema import Item, Pair, Step, pair_key, seed_for
from operators.option import at_least_one, option
from operators.read.persons import ACTIONS, PERSONS
from operators.read.prompt_recipe import PromptRecipe
from operators.word.instruct import pick


@dataclass(frozen=True, kw_only=True)
class PersonPrompts(PromptRecipe):
    """The actions of operators/read/persons.py over and over, each time done by a person drawn by the item's number."""

    source: ClassVar[str] = "Stable Diffusion 1.5 or FLUX.1 with a pose ControlNet, from prompts"
    licence: ClassVar[str] = (
        "made by models, under their licences: CreativeML OpenRAIL-M or FLUX.1 [dev] non-commercial"
    )
    roles: ClassVar[tuple[str, ...]] = ("input", "pose", "target")
    count: int = option(len(PERSONS) * len(ACTIONS), "how many pairs to begin with", type=at_least_one)

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
