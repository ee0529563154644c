"""Whom and what the generated pictures of the pose task show (paper section 4.5: varied human actions). Ours.

Each can follow "a photo of" and be followed by an action. Actions are such that the body shows what is done. Several
persons are made in each pose: an in-context example shows two of them, and a further one is asked for.
"""

from __future__ import annotations

import numpy as np

from manifests.schema import seed_for

PERSONS = (
    "a young woman with curly hair in a red coat",
    "an old man with a white beard in a grey suit",
    "a boy in a striped T-shirt and shorts",
    "a girl with braids in a yellow dress",
    "a firefighter in uniform",
    "a chef in a white jacket",
    "a ballet dancer in a blue leotard",
    "a construction worker with a helmet",
    "an astronaut in an orange space suit",
    "a woman in a green sari",
    "a man in a kilt",
    "a nurse in blue scrubs",
    "a punk with a mohawk and a leather jacket",
    "a tall man in a black hoodie",
    "an elderly woman in a flowered dress",
    "a knight in shining armour",
    "a samurai in traditional armour",
    "a businesswoman in a navy suit",
    "a farmer in dungarees and a straw hat",
    "a teenager in a basketball jersey",
)

ACTIONS = (
    "running",
    "jumping with both arms raised",
    "dancing",
    "doing a yoga tree pose",
    "doing a lunge",
    "doing a squat",
    "kicking a ball",
    "throwing a ball",
    "swinging a tennis racket",
    "swinging a golf club",
    "boxing",
    "doing a cartwheel",
    "sitting on a chair with crossed legs",
    "sitting on the ground, hugging the knees",
    "kneeling on one knee",
    "walking up a flight of stairs",
    "climbing a wall",
    "riding a bicycle",
    "skateboarding",
    "bowing",
    "saluting",
    "waving with one hand",
    "pointing into the distance",
    "stretching both arms to the sides",
    "holding a box with both hands",
    "playing the guitar",
    "playing the violin",
    "taking a photo with a camera",
    "drinking from a cup",
    "lifting a barbell overhead",
)

GROUP = 4
"""How many persons are painted in the pose of a first one. Three persons are enough for an in-context example and what
is asked for; with five some may be rejected, and the first is shared by more. The paper gives no number."""


def drawn_persons(pose: str) -> tuple[str, ...]:
    """The persons of a pose, drawn by its name: the first one, then the GROUP that are painted after it, all others."""
    drawn = np.random.default_rng(seed_for(0, "persons", pose)).permutation(len(PERSONS))
    return tuple(PERSONS[number] for number in drawn[: GROUP + 1])
