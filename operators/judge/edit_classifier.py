"""What kind of edit an instruction asks for: the question that decides the "object_edits" hold-out (paper 4.4).

    object_addition   afterwards something is there that was not: a thing, a being, clothing, a beard, a text, fire
    object_removal    afterwards something is gone
    other             all else: attributes, style, light, weather (snow and fog have no outline), expression, pose,
                      backgrounds, moving; and replacement, since the paper counts it apart (C.1)

Of an instruction with several clauses the first that adds or removes an object decides: either class is held out.
"""

from __future__ import annotations

from typing import Literal, get_args

EditLabel = Literal["object_addition", "object_removal", "other"]
LABELS: tuple[EditLabel, ...] = get_args(EditLabel)
