"""How the command lines of `xprompt` are read: errors of one line, and variables in the way of make, NAME=value.

The Makefile passes variables on as they were typed.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from manifests.printing import say

VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.DOTALL)

_PLACES = {"OUT": "path"}
"""Variables of make that some commands take as an argument and not as an option."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest name, and which takes no beginning of a name for it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        if unknown := re.search(r"unrecognized arguments: (\S+)", message):
            flag = unknown[1].partition("=")[0]
            message = f"there is no option {flag}{self._nearest(flag)}"
        invalid = re.search(r"argument (\S+): invalid choice: '?([^' ]*)'? \(choose from (.*)\)", message)
        if invalid:
            choices = invalid[3].replace("'", "").split(", ")
            near = difflib.get_close_matches(invalid[2], choices, n=1)
            what = "command" if invalid[1] == "COMMAND" else invalid[1]
            message = f"there is no {what} {invalid[2]}: " + (f"did you mean {near[0]}?" if near else invalid[3])
        message = message.replace("the following arguments are required:", "missing:").replace("argument -", "-")
        say(f"{self.prog}: {' '.join(message.split())} ({self.prog} --help)", error=True)
        self.exit(2)

    def _nearest(self, flag: str) -> str:
        known = [known for action in self._actions for known in action.option_strings]
        near = difflib.get_close_matches(flag, known, n=1)
        return f": did you mean {near[0]}?" if near else ""


def as_options(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """Arguments of a command with variables turned into the parser's options, and into its arguments, which come first.

    Raises ValueError for a variable that the command does not have, with the nearest name.
    """
    places: dict[str, str] = {}
    options: list[str] = []
    for one in arguments:
        match = VARIABLE.fullmatch(one)
        if not match:
            options.append(one)
            continue
        name, value = match.groups()
        action = _action(parser, name)
        if action is None:
            known = _variables(parser)
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise ValueError(f"there is no variable {name}: {guess}")
        if value and action.option_strings:
            many = action.nargs == "+"
            options += [action.option_strings[0], *value.split()] if many else [f"{action.option_strings[0]}={value}"]
        elif value:
            places[action.dest] = value
    return [*places.values(), *options]


def task_of(arguments: Sequence[str]) -> str | None:
    """The task that a command's arguments name as a variable, TASK=derain; None if they do not."""
    named = (match[2] for one in arguments if (match := VARIABLE.fullmatch(one)) and match[1] == "TASK")
    return next(named, None)


def _action(parser: argparse.ArgumentParser, variable: str) -> argparse.Action | None:
    names = {variable.lower(), _PLACES.get(variable, variable.lower())}
    return next((action for action in parser._actions if action.dest in names), None)


def _variables(parser: argparse.ArgumentParser) -> list[str]:
    back = {place: name for name, place in _PLACES.items()}
    return [back.get(action.dest, action.dest.upper()) for action in parser._actions if action.dest != "help"]
