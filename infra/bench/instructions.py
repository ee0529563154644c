"""Edit instructions in the manner of UltraEdit's, from a template grammar, with the duplicates that such a set has.

What matters to a search is how many texts are equal, how many are nearly so, and how long they are. Words are drawn
with Zipf's weights 1 / (rank + 3), so that a few things ("dog", "sky") are in many instructions and most combinations
in one: of 508,000 some 361,000 (71%) are distinct, and one is about 9 words long. Both are our assumption: the real
set was not at hand. The words and templates are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

ULTRAEDIT_INSTRUCTIONS = 508_000
"""The paper's 500K pairs of UltraEdit (Tab. 6) and its 8K of MagicBrush (section 4.3)."""

_WORDS = {
    "thing": "dog|cat|horse|bird|man|woman|car|tree|flower|child|boat|cow|sheep|bus|bicycle|elephant|train|truck|"
    "umbrella|motorcycle|giraffe|zebra|bear|rabbit|fox|duck|swan|butterfly|bee|dragon|unicorn|couple|crowd|cyclist|"
    "skateboarder|surfer|chef|farmer|sailor|knight|astronaut|robot|scarecrow|ship|kayak|hot air balloon|airplane|"
    "helicopter|tractor|scooter|pine tree|palm tree|rose|sunflower|tulip|cactus|bush|hedge|vine|mushroom|pumpkin|apple|"
    "orange|banana|pizza|cake|sandwich|donut|bowl of soup|cup of coffee|wine glass|bottle|teapot|plate|vase|candle|"
    "lantern|lamp|book|laptop|keyboard|phone|clock|mirror|painting|poster|rug|curtain|sofa|armchair|chair|bench|table|"
    "bed|desk|backpack|suitcase|hat|scarf|necklace|pair of sunglasses|kite|frisbee|ball|guitar|piano|violin|drum|"
    "rainbow|moon|comet|firework|waterfall|river|lake|pond|fountain|bridge|castle|lighthouse|windmill|tower|barn|"
    "cottage|tent|cabin|church|statue|fence|gate|road sign|traffic light|street lamp|mountain|volcano|iceberg|"
    "sand dune|field of lavender|snowman|campfire|stone wall|wooden door|window|balcony|squirrel|owl|deer|goat|pig|"
    "dolphin|whale|shark|turtle|penguin|parrot|peacock|lion|tiger|monkey|panda|kangaroo|wolf|eagle|snake|frog|snail",
    "look": "red|blue|green|golden|white|black|yellow|pink|purple|orange|silver|wooden|small|large|old|tiny|huge|"
    "colourful|glowing|striped|fluffy|rusty|vintage|modern|marble|glass|metallic|transparent|spotted|broken|floating|"
    "sleeping|flowering|snow-covered|neon|turquoise|crimson|ivory|bronze|velvet",
    "place": "in the sky|in the background|on the table|on the grass|in the foreground|next to the man|on the beach|"
    "in the water|on the left|on the right|in the middle|under the tree|near the window|on the road|by the lake|"
    "on the roof|behind the house|beside the woman|in the corner|on the wall|on the bench|at the horizon|"
    "across the street|along the path|on the hill|in front of the building|between the trees|on the bridge|"
    "near the fence|over the mountains|in the garden|on the shelf|on the boat|inside the room|around the table|"
    "at the end of the pier|in the distance|on the plate|among the flowers|in the shop window",
    "scene": "sunset|beach|forest|snowy landscape|desert|city at night|rainy day|starry sky|meadow|autumn park|"
    "mountain range|jungle|foggy morning|medieval village|underwater world|tropical island|spaceship|canyon|"
    "vineyard|busy market|harbour|library|thunderstorm|cherry orchard|frozen lake|aurora|savannah|quiet street",
    "style": "watercolour|oil painting|pencil sketch|cartoon|pop art|mosaic|impressionist|cubist|anime|pixel art|"
    "stained glass|comic book|charcoal|art deco|surrealist|ukiyo-e|graffiti|low poly|vintage photograph|origami",
}

_TEMPLATES = (
    "add a {look} {thing} {place}|Add a {thing} {place}|add a {thing} and a {look} {thing} {place}|"
    "put a {look} {thing} next to the {thing} {place}|replace the {thing} {place} with a {look} {thing}|"
    "Replace the {thing} with a {thing}|change the {look} {thing} to a {look} {thing}|make the {thing} {place} {look}|"
    "change the colour of the {thing} {place} to {look}|remove the {look} {thing} {place}|"
    "change the background to a {scene} with a {look} {thing}|turn the {scene} into a {scene}|"
    "make it look like a {style} of a {thing} at a {scene}|turn the {thing} {place} into a {style} {thing}|"
    "add a {look} {thing} and a {thing} {place}|let the {thing} {place} hold a {look} {thing}|"
    "replace the {look} {thing} {place} with a {look} {thing}|set the {look} {thing} in a {scene}|"
    "have the {thing} look at the {look} {thing} {place}|place a {look} {thing} {place} during a {scene}|"
    "let a {thing} appear {place} and make it a {scene}"
)

_SLOT = re.compile(r"\{(\w+)\}")
_RANK_OFFSET = 3
_BLOCK = 65_536


def instructions(count: int, seed: int = 0) -> list[str]:
    """The first `count` texts of an endless sequence: a larger count only adds to it."""
    return [text for block in range(-(-count // _BLOCK)) for text in _block(seed, block)][:count]


def _block(seed: int, block: int) -> list[str]:
    random = np.random.default_rng([seed, block])
    draws = {name: iter(_draw(random, words.split("|"), 4 * _BLOCK)) for name, words in _WORDS.items()}
    return [_fill(template, draws) for template in _draw(random, _TEMPLATES.split("|"), _BLOCK)]


def _draw(random: np.random.Generator, words: list[str], count: int) -> list[str]:
    weights = 1 / (np.arange(len(words)) + _RANK_OFFSET)
    return [words[index] for index in random.choice(len(words), count, p=weights / weights.sum())]


def _fill(template: str, draws: dict[str, Iterator[str]]) -> str:
    return _SLOT.sub(lambda slot: next(draws[slot[1]]), template)
