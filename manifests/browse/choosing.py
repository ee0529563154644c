"""What the page asks of decisions: those of pairs, how many there are, and how far reviewers agree; and a new one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from manifests.browse.pairs import BadRequest, NotThere, Only
from manifests.browse.snapshot import Snapshot
from manifests.choose.agreement import MOST_GATES, Gate, agreement
from manifests.choose.decisions import BadDecision, Decision, Ledger, Place, Standing, now
from manifests.choose.verdict import FILTERS, verdict
from manifests.records import parse_json

MOST_ASKED = 200
"""Pairs whose decisions are asked for together; a page of cards has fewer."""

_ASKED = {"pair", "decision", "reviewer", "instruction", "direction", "kind"}


class Choosing:
    """The decisions on the datasets that a page shows. Threads share it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._ledger = Ledger(place.path)
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._filters: dict[str, list[str]] = {}
        """The filters that each pair goes by which has a decision and is shown."""
        self._counts: Counter[str] = Counter()

    def of(self, pairs: Sequence[str], snapshot: Snapshot) -> dict[str, Any]:
        """The decisions on some pairs, the counts of all, and where they go.

        Raises BadDecision, naming file and line, if somebody else wrote the file.
        """
        if len(pairs) > MOST_ASKED:
            raise BadRequest(f"decisions of {len(pairs):,} pairs, and {MOST_ASKED} are answered together")
        with self._lock:
            standing = self._read(snapshot)
            return {
                "file": str(self.place.path),
                "why": self.place.why,
                "told": self._ledger.told(),
                "reviewers": self._ledger.reviewers,
                "counts": self._counted(snapshot),
                "pairs": {
                    pair: {
                        **vars(found := verdict(standing[pair])),
                        "instructions": _listed(found.instructions),
                        "reviewers": {name: one.as_json() for name, one in sorted(standing[pair].items())},
                    }
                    for pair in pairs
                    if standing.get(pair)
                },
            }

    def add(self, body: bytes, snapshot: Snapshot) -> dict[str, Any]:
        """Add a decision, of a JSON object; what there then is on its pair. Time and task are not the client's to say.

        Raises BadRequest for what is no decision, NotThere for a pair that is not shown, BadDecision if the file cannot
        take it.
        """
        try:
            values = parse_json(body)
        except ValueError as error:
            raise BadRequest(f"this is no JSON: {error}") from None
        if not isinstance(values, dict) or not values.keys() <= _ASKED:
            raise BadRequest(f"a decision has {', '.join(sorted(_ASKED))}, and nothing else")
        key = values.get("pair")
        if not isinstance(key, str):
            raise BadRequest("a decision names its pair")
        row = snapshot.pair(key)
        if row is None:
            raise NotThere("no manifest names this pair")
        try:
            decision = Decision.of({**values, "task": row["task"], "time": now()})
        except BadDecision as error:
            raise BadRequest(str(error)) from None
        if decision.decision == "fix" and not any(
            (one["direction"], one["kind"]) == (decision.direction, decision.kind) for one in row["examples"]
        ):
            raise BadRequest(f"the pair has no example {decision.direction} {decision.kind}")
        with self._lock:
            self._read(snapshot)  # or a file that is none of decisions would get a line
            self._counted(snapshot)  # or what was decided could not be answered
            try:
                self._ledger.append(decision)
            except OSError as error:
                raise BadDecision(
                    f"nothing was decided, for {self.place.path} cannot be written: {error.strerror or error}. When "
                    "that is mended, decide again; or start xprompt browse with another --decisions"
                ) from None
        return self.of([decision.pair], snapshot)

    def only(self, name: str, reviewer: str, snapshot: Snapshot) -> Only | None:
        """The pairs that a filter names; None for "", which is no filter.

        "undecided" with a reviewer are those of which that reviewer has said nothing.
        """
        if not name:
            return None
        if name not in FILTERS:
            raise BadRequest(f"decision is none of {', '.join(FILTERS)}: {name}")
        with self._lock:
            standing = self._read(snapshot)
            if name == "undecided" and reviewer:
                return Only(keys=[pair for pair, said in standing.items() if reviewer in said], inside=False)
            if name == "undecided":
                decided = [pair for pair, named in self._filters.items() if name not in named]
                return Only(keys=decided, inside=False)
            return Only(keys=[pair for pair, named in self._filters.items() if name in named], inside=True)

    def agreement(self, gates: Sequence[str], snapshot: Snapshot) -> dict[str, Any]:
        """Who decided how much, and how far raters agree; `gates` are bounds on scores. Raises BadGate."""
        if len(gates) > MOST_GATES:
            raise BadRequest(f"{len(gates)} bounds, and {MOST_GATES} are compared at most")
        with self._lock:
            standing = {pair: {**reviewers} for pair, reviewers in self._ledger.read().standing.items()}
        return agreement(standing, snapshot.connection, [Gate.of(text) for text in gates]).as_json()

    def _read(self, snapshot: Snapshot) -> Mapping[str, Mapping[str, Standing]]:
        """What reviewers decided by now, the counts brought up to it. The lock is held."""
        standing = self._ledger.read().standing
        changed = self._ledger.changed
        if snapshot is not self._snapshot:
            self._snapshot, self._filters, self._counts = snapshot, {}, Counter()
            changed.update(standing)
        for pair in changed:
            self._counts.subtract(self._filters.pop(pair, ()))
        for pair in snapshot.shown([pair for pair in changed if standing.get(pair)]):
            self._filters[pair] = filters = verdict(standing[pair]).filters
            self._counts.update(filters)
        changed.clear()
        return standing

    def _counted(self, snapshot: Snapshot) -> dict[str, int]:
        """How many of the pairs that are shown go by each filter, and how many there are."""
        pairs = sum(dataset["pairs"] for dataset in snapshot.overview)
        counts = {name: self._counts[name] for name in FILTERS}
        decided = sum(counts[name] for name in ("kept", "dropped")) + self._counts["disputed"]
        return {**counts, "undecided": pairs - decided, "pairs": pairs}


def _listed(instructions: Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    return [{"direction": one[0], "kind": one[1], "instruction": text} for one, text in instructions.items()]
