"""What the reviewers of a pair come to together.

To keep a pair, or to fix an instruction of it, is a vote for it; to drop it is one against it; to flag it is none. The
greater number counts; of as many for as against, the pair is disputed, and no derived dataset has it. Of fixes of one
example the instruction counts that most reviewers wrote; where several have as many, the pair is disputed too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from manifests.choose.decisions import Standing

FOR, AGAINST = frozenset({"keep", "fix"}), "drop"

Status = Literal["undecided", "kept", "dropped", "disputed"]
FILTERS = ("undecided", "kept", "dropped", "flagged", "disagree")
"""What pairs can be asked for by: what they come to, those that somebody flagged, and those that reviewers see
differently, whoever is in the majority."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a pair's reviewers come to."""

    status: Status
    flagged: bool
    differ: bool
    """Whether one votes for it and another against it, or two want different instructions for one example."""
    instructions: Mapping[tuple[str, str], str]
    """Direction and kind of an example -> the instruction that it is to have instead of its own."""

    @property
    def filters(self) -> list[str]:
        """Its status, and the other names in FILTERS that the pair goes by."""
        others = {"flagged": self.flagged, "disagree": self.differ}
        return [self.status, *(name for name, applies in others.items() if applies)]


def verdict(reviewers: Mapping[str, Standing]) -> Verdict:
    """The verdict on a pair of what each reviewer decided."""
    said = Counter(one.decision for one in reviewers.values())
    votes, against = sum(said[name] for name in FOR), said[AGAINST]
    wanted: dict[tuple[str, str], Counter[str]] = {}
    for one in reviewers.values():
        for example, text in one.fixes.items():
            wanted.setdefault(example, Counter())[text] += 1
    status: Status = "undecided"
    if votes or against:
        status = "kept" if votes > against else "dropped" if against > votes else "disputed"
    instructions = {}
    for example, texts in sorted(wanted.items()):
        (text, most), *others = texts.most_common()
        if others and others[0][1] == most and status == "kept":
            status = "disputed"
        instructions[example] = text
    return Verdict(
        status=status,
        flagged=bool(said["flag"]),
        differ=bool(votes and against) or any(len(texts) > 1 for texts in wanted.values()),
        instructions=instructions if status == "kept" else {},
    )
