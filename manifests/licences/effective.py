"""Which licences a pair is under, and what they allow together: the strictest of all its parents.

Parents are the licence of the source's files, the licences of the models that made the source, and those of the models
that painted an image of the pair or wrote a text of it. They are found in a manifest's columns `licence`, `source` and
`steps`; nothing else is stored. A model that judged the pair alone made nothing of it and is no parent, and neither are
in-context examples, which have rows of their own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from manifests.licences.records import (
    DUTIES,
    LICENCES,
    MODEL_FAMILIES,
    MODELS,
    PERMISSIONS,
    SOURCES,
    SPELLINGS,
    UNKNOWN,
    spelled,
)

JUDGES = frozenset(
    {
        "allowed_licences",
        "arity",
        "check_pose",
        "degraded",
        "gate",
        "guard",
        "hold_out_edits",
        "hold_out_examples",
        "judge_own_pairs",
        "scores",
        "vlm_filter",
    }
)
"""The operators that judge pairs and make nothing of them (operators/judge/)."""

SEPARATOR, AND = ";-", "-and-"
"""Between the licences of a pair that has several, as `spelled` writes them: "CC0-1.0; CC-BY-2.0", and SPDX's AND."""

JOINED = tuple(
    sorted((text for text in SPELLINGS if SEPARATOR in text or AND in text), key=lambda text: (-len(text), text))
)
"""The spellings that hold a separator themselves, longest first."""


@dataclass(frozen=True, kw_only=True)
class Parents:
    """The licences that a pair is under, by the names of their records; UNKNOWN for one of which there is none."""

    material: tuple[str, ...]
    """Of the source: as its files state, and of the models that made it."""
    makers: tuple[str, ...] = ()
    """Of the models that painted or wrote something of the pair."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({*self.material, *self.makers}))

    def refused(self, allowed: Collection[str]) -> tuple[str, ...]:
        """The names among them that are not allowed."""
        return tuple(name for name in self.names if name not in allowed)


@dataclass(frozen=True, kw_only=True)
class Effective:
    """What all licences of a pair allow and ask for together; None where one of them does not say, and none forbids."""

    commercial: bool | None
    research: bool | None
    train: bool | None
    train_competing: bool | None
    attribution: bool | None
    share_alike: bool | None


@lru_cache(maxsize=4_096)
def named(licence: str) -> tuple[str, ...]:
    """The records of what a source or a user calls a licence, or several with "; " between them."""
    text = spelled(licence)
    for joined in JOINED:
        text = text.replace(joined, SEPARATOR.join(spelled(name) for name in SPELLINGS[joined]))
    found = [name for part in text.replace(AND, SEPARATOR).split(SEPARATOR) for name in SPELLINGS.get(part, (UNKNOWN,))]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4_096)
def of_model(model: str) -> str:
    """The record of a model's licence, by the model's name in a step."""
    if model in MODELS:
        return MODELS[model]
    return next((name for pattern, name in MODEL_FAMILIES if re.search(pattern, model)), UNKNOWN)


@lru_cache(maxsize=4_096)
def parents(licence: str, source: str, models: frozenset[str] = frozenset()) -> Parents:
    """The licences of what is under `licence`, of a source, with something of it made by models (no judges)."""
    material = dict.fromkeys((*named(licence), *SOURCES.get(source, ())))
    return Parents(material=tuple(material), makers=tuple(sorted({of_model(model) for model in models})))


def makers(steps: Iterable[tuple[str, str | None]]) -> frozenset[str]:
    """The models that made something, of the operators and models of a pair's steps."""
    return frozenset(model for operator, model in steps if model and operator not in JUDGES)


def parents_of_row(row: Mapping[str, Any]) -> Parents:
    """The licences of a manifest's row, which has the columns `licence`, `source` and `steps`."""
    steps = ((step["operator"], step["model"]) for step in row["steps"])
    return parents(row["licence"], row["source"], makers(steps))


@lru_cache(maxsize=4_096)
def effective(found: Parents) -> Effective:
    """What licences allow together: a permission that one denies is denied, a duty that one has is a duty."""
    values: dict[str, bool | None] = {}
    for term in PERMISSIONS:
        said = [_said(name, term) for name in found.names]
        values[term] = False if False in said else None if None in said else True
    for term in DUTIES:
        of_makers = [name for name in found.makers if name == UNKNOWN or LICENCES[name].duties_of_outputs]
        said = [_said(name, term) for name in (*found.material, *of_makers)]
        values[term] = True if True in said else None if None in said else False
    return Effective(**values)


def _said(name: str, term: str) -> bool | None:
    return LICENCES[name].term(term).value if name in LICENCES else None
