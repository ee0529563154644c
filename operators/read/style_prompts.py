"""Reads the recipe of the style task: a style, a base picture's subject, a style exemplar's subject. No images yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from manifests.schema import Item, Pair, Step, pair_key, seed_for
from operators.option import at_least_one, option
from operators.read.prompt_recipe import PromptRecipe

STYLES = (
    "Rendering", "Sketch", "Poster", "Mosaic", "Cyberpunk", "Line Drawing", "Impressionism", "Cubism", "Surrealism",
    "Pop Art", "Minimalism", "Abstract Expressionism", "Pointillism", "Graffiti", "Neo-Futurism", "Baroque",
    "Melting Gold", "Melting Silver", "Gold Material", "Made by Gold", "Made by Bronze", "Fantasy", "Glow Rendering",
    "Low-Poly",
)  # fmt: skip
"""The styles of X-Prompt (arXiv 2412.01824), Tab. 8."""

SUBJECTS = (
    "a cat on a windowsill", "a dog running on a beach", "a horse in a meadow", "an owl on a branch",
    "a fox in the snow", "an elephant at a waterhole", "a parrot in a rainforest", "a goldfish in a bowl",
    "a butterfly on a flower", "a turtle on the sea floor", "a woman reading a book", "a man playing the guitar",
    "a child flying a kite", "an old fisherman mending a net", "a dancer on a stage", "a chef in a kitchen",
    "a cyclist on a mountain road", "an astronaut on the moon", "a violinist in a street", "a gardener among tulips",
    "a lighthouse on a cliff", "a castle on a hill", "a wooden cabin by a lake", "a windmill in a field",
    "a stone bridge over a river", "a city skyline at night", "a narrow street in an old town", "a temple in a forest",
    "a market square", "a railway station", "a sailing boat on the sea", "a steam train in the mountains",
    "a red car on a country road", "a bicycle against a wall", "a hot air balloon over a valley", "a plane in clouds",
    "a bowl of fruit on a table", "a cup of coffee and a croissant", "a vase of sunflowers", "a birthday cake",
    "a mountain lake at sunrise", "a waterfall in a jungle", "a desert with dunes", "a forest path in autumn",
    "a field of lavender", "a stormy sea", "a snowy village", "a volcano at night",
)  # fmt: skip
"""Our subjects: animals, people, buildings, vehicles, things and landscapes that each style can show."""

BLOCK = 8
"""Consecutive items of one style, with different subjects: an in-context example of the same style is then in the same
shard, since units are slices of the listing."""


@dataclass(frozen=True, kw_only=True)
class StylePrompts(PromptRecipe):
    """Blocks of one style each, in Tab. 8's order, over and over; subjects are drawn by the block's number.

    The prompt of the target names the style, as the prompts of RB-Modulation's authors do: data/prompts.txt and the
    notebook of https://github.com/google/RB-Modulation.
    """

    version: ClassVar[int] = 2
    contiguous: ClassVar[bool] = True
    source: ClassVar[str] = "FLUX.1 and RB-Modulation on Stable Cascade, from style prompts"
    licence: ClassVar[str] = "made by FLUX.1 [dev] and Stable Cascade, under their non-commercial licences"
    roles: ClassVar[tuple[str, ...]] = ("style", "input", "target")
    count: int = option(len(STYLES) * BLOCK, "how many pairs to begin with", type=at_least_one)

    def read(self, item: Item, task: str) -> Pair:
        block, place = divmod(item.index, BLOCK)
        style = STYLES[block % len(STYLES)]
        seed = seed_for(0, "style prompts", str(block))
        drawn = np.random.default_rng(seed).permutation(len(SUBJECTS))
        subject, other = SUBJECTS[drawn[place]], SUBJECTS[drawn[BLOCK + place]]
        params = {"style": style, "subject": subject, "exemplar_subject": other}
        return Pair(
            key=pair_key(task, item.ref, *(text.encode() for text in params.values())),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(),
            group=item.ref,
            context_group=style,
            texts={
                "prompt": f"{subject} in {style} style",
                "base_prompt": f"{subject}, photo",
                "style_prompt": f"{other}, {style} style",
            },
            steps=(Step(operator="style_prompts", version=self.version, params=params, seed=seed),),
        )
