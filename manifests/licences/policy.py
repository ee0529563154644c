"""What `--allow-licence` lets through: commercial, research, or licences by name.

    commercial    licences that allow commercial use and training, of competing models too
    research      licences that allow research that is not for money, and training for it; competing models may be
                  forbidden, as by FLUX.1 [dev]: that is for the user to keep to
    NAME          a licence of manifests/licences/records.py by its name, whatever its terms

A licence whose terms are not known or not stated is let through by its name alone, one without a record never.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from manifests.licences.records import LICENCES, SPELLINGS, UNKNOWN, spelled

USES = {"commercial": ("commercial", "train", "train_competing"), "research": ("research", "train")}
"""A use -> the permissions that it needs."""

REASON = "licence"
"""The reason of a reject, and of a row left out, whose licence a policy does not allow."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which licences are allowed."""

    asked: tuple[str, ...]
    """Uses among USES, and names of licences."""

    @classmethod
    def of(cls, asked: Iterable[str]) -> Self:
        """The policy that a user asks for. Raises ValueError, one line, for what is no use and no licence's name."""
        return cls(asked=tuple(dict.fromkeys(map(allowable, asked))))

    @cached_property
    def allowed(self) -> frozenset[str]:
        """The names of the licences that are allowed."""
        by_use = {
            name
            for use in self.asked
            if use in USES
            for name, licence in LICENCES.items()
            if all(licence.term(term).value for term in USES[use])
        }
        return frozenset({*by_use, *(name for name in self.asked if name in LICENCES)})

    def why(self, refused: Mapping[str, str]) -> str:
        """Why licences are not allowed, each with what is under it, and the way out, in one line."""
        told, known = [], []
        for name, of in refused.items():
            told.append(f"{name} of {of} ({self._lacking(name)})")
            known += [name] if name != UNKNOWN else []
        way_out = f"; to allow it all the same: --allow-licence {' '.join((*self.asked, *known))}" if known else ""
        return f"--allow-licence {' '.join(self.asked)} does not allow {', '.join(told)}{way_out}"

    def _lacking(self, name: str) -> str:
        if name == UNKNOWN:
            return "a licence without a record, which no policy allows: xprompt licences lists those that have one"
        uses = [use for use in self.asked if use in USES]
        if not uses:
            return LICENCES[name].title
        lacking = []
        for term in USES[uses[-1]]:
            value = LICENCES[name].term(term).value
            lacking += [] if value else [f"{term.replace('_', ' ')}: {'no' if value is False else 'not stated'}"]
        return "; ".join(lacking)


def allowable(text: str) -> str:
    """The type of --allow-licence: a use, or the name of a licence in any of its spellings.

    Raises ValueError, one line with the nearest name, for anything else.
    """
    if text in USES:
        return text
    found = SPELLINGS.get(spelled(text), ())
    if len(found) == 1:
        return found[0]
    names = [*USES, *LICENCES]
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]}?" if near else f"it is {' or '.join(USES)}, or a name that xprompt licences lists"
    raise ValueError(f"{text or 'an empty word'} is no licence with a record: {guess}")
