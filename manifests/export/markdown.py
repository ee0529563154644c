"""Text from data as Markdown may be given it: anybody may have written an instruction or the name of a source."""

from __future__ import annotations

import re

from manifests.printing import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")


def cell(text: str) -> str:
    """A text as one line that Markdown shows as it is, also in a table."""
    return _SPECIAL.sub(r"\\\1", printable(" ".join(text.split()))).replace("\\<", "&lt;").replace("\\&", "&amp;")
