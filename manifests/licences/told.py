"""Licences as people read them: tables of Markdown for dataset cards, and lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from manifests.licences.effective import Effective, Parents, effective
from manifests.licences.records import DUTIES, LICENCES, PERMISSIONS, TERMS, UNKNOWN, Licence

FOOTNOTE = "`?`: not read in the licence itself. No legal advice."
_HEADS = ("commercial use", "research", "training", "training competitors", "attribution", "share-alike")
HEADING = [f"| licence | {' | '.join(_HEADS)} |", f"|---|{'---|' * len(_HEADS)}"]


def row(licence: Licence) -> str:
    """The row of a licence, below HEADING."""
    name = f"[{licence.name}]({licence.url})" if licence.url else licence.name
    cells = (f"{word(licence.term(term).value)}{'' if licence.term(term).checked else ' ?'}" for term in TERMS)
    return f"| {name} | {' | '.join(cells)} |"


def table(found: Parents) -> list[str]:
    """The table of a dataset's licences, with what they allow together in the last row."""
    known = [LICENCES[name] for name in found.names if name in LICENCES]
    unknown = f"| a licence without a record | {' | '.join([word(None)] * len(TERMS))} |"
    together = f"| **all of them together** | {' | '.join(_words(effective(found)))} |"
    return [*HEADING, *map(row, known), *([unknown] if UNKNOWN in found.names else []), together]


def lines(licence: Licence) -> list[str]:
    """All that is known of a licence, a line for each term with where it was read."""
    told = [f"{licence.name}: {licence.title}{f', {licence.url}' if licence.url else ''}"]
    told += [f"  {TERMS[term]}: {word(licence.term(term).value)} ({licence.term(term).source})" for term in TERMS]
    return [*told, f"  what a model under it makes: {licence.outputs}"]


def word(value: bool | None) -> str:
    """A term's value as a word."""
    return "not stated" if value is None else "yes" if value else "no"


def _words(together: Effective) -> Iterable[str]:
    return (word(getattr(together, term)) for term in (*PERMISSIONS, *DUTIES))


def merged(every: Iterable[Parents]) -> Parents:
    """The licences of all pairs of a dataset."""
    every = [*every]
    return Parents(
        material=tuple(sorted({name for one in every for name in one.material})),
        makers=tuple(sorted({name for one in every for name in one.makers})),
    )
