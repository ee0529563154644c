"""derain with a door that a test may close: no further pair passes, so that a run can be stopped in its middle.

The file that the variable CLOSED_DOOR names is the closed door. Without the variable the door is open.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import ClassVar

from manifests.schema import Pair
from operators.base import Operator
from pipelines.tasks.low_level import DERAIN

CLOSED_DOOR = "CLOSED_DOOR"


@dataclass(frozen=True, kw_only=True)
class Door(Operator):
    """Lets pairs pass unchanged, and none while its door is closed."""

    name: ClassVar[str] = "door"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        while (door := os.environ.get(CLOSED_DOOR)) and os.path.exists(door):
            time.sleep(0.02)
        return pair


DOORED = replace(DERAIN, name="doored", chain=(*DERAIN.chain, Door()))
