"""LICENCES.md: what licences are on what was exported, by the pairs' own records."""

from __future__ import annotations

from collections import Counter

from manifests.export.markdown import cell


def licences_text(licences: Counter[tuple[str, str, str]], with_contexts: bool) -> str:
    """The listing, of counts by licence, source and whether samples are an example or the context of one."""
    rows = sorted({(licence, source) for licence, source, _ in licences})
    heads = ["licence", "source", "examples", *(["as in-context examples"] if with_contexts else [])]
    lines = [
        "# Licences",
        "",
        "As the pairs' manifests have them. An export is under all of them together.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]
    for licence, source in rows:
        counts = [licences[licence, source, what] for what in ("examples", "contexts")][: len(heads) - 2]
        lines.append(f"| {cell(licence)} | {cell(source)} | {' | '.join(f'{count:,}' for count in counts)} |")
    return "\n".join(lines) + "\n"
