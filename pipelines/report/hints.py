"""The command that a user may want next, as it is typed."""

from __future__ import annotations

import os
import shlex

_TARGETS = {"shards": ("TASK",), "tokens": ("TASK",), "browse": ("OUT",), "verify": ("OUT",)}
"""What make has of the commands that are named here, each with the variables of its words."""


def as_typed(command: str, *words: str, **options: str) -> str:
    """A command as a user may type it next, quoted for a shell: a target of make for those who came by way of make."""
    if os.environ.get("XPROMPT_FROM") == "make" and command in _TARGETS:
        given = [f"{name}={shlex.quote(word)}" for name, word in zip(_TARGETS[command], words, strict=True)]
        given += [f"{name.upper()}={shlex.quote(value)}" for name, value in options.items()]
        return " ".join(["make", command, *given])
    given = [f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in options.items()]
    return " ".join(["xprompt", command, *map(shlex.quote, words), *given])
