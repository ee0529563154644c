"""The command that a user may want next, as it is typed."""

from __future__ import annotations

import os
import shlex


def as_typed(command: str, *words: str, **options: str) -> str:
    """A command as a user may type it next, quoted for a shell: a target of make for those who came by way of make."""
    if os.environ.get("XPROMPT_FROM") == "make":
        names = ("OUT",) if command in ("browse", "verify") else ("TASK",)
        given = [f"{name}={shlex.quote(word)}" for name, word in zip(names, words, strict=True)]
        given += [f"{name.upper()}={shlex.quote(value)}" for name, value in options.items()]
        return " ".join(["make", command, *given])
    given = [f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in options.items()]
    return " ".join(["xprompt", command, *map(shlex.quote, words), *given])
