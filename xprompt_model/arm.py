"""The arms of the paper's Tab. 4: what of an in-context example a model sees when it answers.

xprompt   the X-Prompt tokens, which have seen the example; the example's own keys and values are dropped
causal    the example too: "in context without X-Prompt"
none      no example
"""

from __future__ import annotations

from typing import Literal, get_args

Arm = Literal["xprompt", "causal", "none"]
ARMS: tuple[Arm, ...] = get_args(Arm)
DEFAULT_ARM: Arm = "xprompt"
"""The arm of a model directory that says nothing, such as the one that training starts from."""
