"""LICENCES.md: what licences are on what was exported, by the pairs' own records."""

from __future__ import annotations

from manifests.export.markdown import cell
from manifests.export.part import Counts
from manifests.licences import told


def licences_text(counts: Counts, with_contexts: bool) -> str:
    """What the licences allow, those of models too, and how many samples are under which by their sources."""
    rows = sorted({(licence, source) for licence, source, _ in counts.licences})
    heads = ["licence", "source", "examples", *(["as in-context examples"] if with_contexts else [])]
    lines = [
        "# Licences",
        "",
        "An export is under all of these together: those of the sources, and of the models that made something of it.",
        "",
        *told.table(told.merged(counts.parents)),
        "",
        told.FOOTNOTE,
        "",
        "What the pairs' manifests have of their sources:",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]
    for licence, source in rows:
        found = [counts.licences[licence, source, what] for what in ("examples", "contexts")][: len(heads) - 2]
        lines.append(f"| {cell(licence)} | {cell(source)} | {' | '.join(f'{count:,}' for count in found)} |")
    return "\n".join(lines) + "\n"
