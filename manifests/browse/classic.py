"""The page's modules as one classic script, for a page that is opened from a disk: browsers load no module from there.

It reads the modules as they are written here, not all of JavaScript: an import or export stands at the beginning of a
line, names what it takes, and exports are functions or constants. What is written otherwise is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(
    r'^import\s+(?:\{([^}]*)\}|\*\s+as\s+([\w$]+))\s+from\s+"\./([\w.-]+)";[^\S\n]*(?://[^\n]*)?$', re.MULTILINE
)
_EXPORT = re.compile(
    r"^export\s+((?:async\s+)?function\s*\*?\s+([\w$]+)|const\s+([\w$]+)\s*=|class\s+([\w$]+))", re.MULTILINE
)
_LATER = re.compile(r'\bimport\("\./([\w.-]+)"\)')
"""A module that is loaded when it is wanted; here it is there from the beginning."""

_LEFT = re.compile(r"^\s*(import\b(?!\()|export\b).*", re.MULTILINE)


def classic(modules: Mapping[str, str], main: str) -> str:
    """One script that does what the module `main` does, with those that it imports, by their names.

    Raises ValueError for what it cannot read, and for modules that import each other in a circle.
    """
    order: list[str] = []
    _add(main, modules, order, ())
    for name in order:  # which grows
        for match in _LATER.finditer(modules[name]):
            _add(match[1], modules, order, (name,))
    parts = [f"modules[{_quoted(name)}] = (() => {{\n{_body(name, modules[name])}}})();\n" for name in order]
    return f'"use strict";\n(() => {{\nconst modules = {{}};\n{"".join(parts)}}})();\n'


def _add(name: str, modules: Mapping[str, str], order: list[str], above: tuple[str, ...]) -> None:
    """Put a module into the order, after those that it imports."""
    if name in order:
        return
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' -> '.join([*above, name])}")
    if name not in modules:
        raise ValueError(f"{above[-1] if above else 'the page'} imports {name}, which is not there")
    for match in _IMPORT.finditer(modules[name]):
        _add(match[3], modules, order, (*above, name))
        taken = [one.split()[0] for one in (match[1] or "").split(",") if one.strip()]
        if missing := [one for one in taken if one not in _exported(modules[match[3]])]:
            raise ValueError(
                f"{name} imports {missing[0]} from {match[3]}, which exports no function or constant of it"
            )
    order.append(name)


def _body(name: str, text: str) -> str:
    exported = _exported(text)
    text = _EXPORT.sub(lambda match: match[1], _IMPORT.sub(_taken, text))
    text = _LATER.sub(lambda match: f"Promise.resolve().then(() => modules[{_quoted(match[1])}])", text)
    if left := _LEFT.search(text):
        raise ValueError(f"{name}: this cannot be made part of a classic script: {left[0].strip()}")
    return f"{text.rstrip()}\nreturn {{ {', '.join(exported)} }};\n"


def _exported(text: str) -> list[str]:
    return [match[2] or match[3] or match[4] for match in _EXPORT.finditer(text)]


def _taken(match: re.Match[str]) -> str:
    names = match[2] or "{ " + re.sub(r"(\w+)\s+as\s+(\w+)", r"\1: \2", " ".join(match[1].split())) + " }"
    return f"const {names} = modules[{_quoted(match[3])}];"


def _quoted(name: str) -> str:
    return f'"{name}"'
