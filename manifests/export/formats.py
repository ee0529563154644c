"""All formats of `xprompt export`, by name."""

from __future__ import annotations

from manifests.export.format import Format

FORMATS: tuple[Format, ...] = ()
"""In the order of --help."""


def format_named(name: str) -> Format:
    """The format of a name. Raises ValueError, with the names that there are."""
    for one in FORMATS:
        if one.name == name:
            return one
    raise ValueError(f"there is no format {name}: there are {', '.join(one.name for one in FORMATS)}")
