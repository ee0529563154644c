"""Writes what a unit's targets were chosen among, as a WebDataset shard of its own: preference pairs for later.

    candidates/<task>-000000.tar
      <pair>.0.png  <pair>.0.json  <pair>.1.png  <pair>.1.json ...      one sample a pair

Pairs that were rejected because no candidate was good enough are among them; what a later operator rejects is not: a
guard or a hold-out may have been the reason.

The folder is no part of what a dataset is planned to hold: no manifest names it, and a dataset with it has in all other
files the bytes of one without it. So each candidate vouches for itself: its JSON has a sha256 of the picture and of
everything else that it says. `manifests/verify/candidates.py` looks at it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from manifests.schema import Candidate, canonical_json
from manifests.write.tar import TarWriter

FOLDER = "candidates"
"""The folder of a dataset directory that candidates are in."""


class CandidateWriter:
    """Appends candidates to an open file, those of a pair one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = TarWriter(file)

    def add(self, source_ref: str, candidates: Sequence[Candidate]) -> None:
        """Append the candidates of the pair that was made from an item of the source."""
        for number, candidate in enumerate(candidates):
            about = {
                "pair": candidate.pair,
                "source_ref": source_ref,
                "won": candidate.won,
                "reason": candidate.reason,
                "scores": dict(candidate.scores),
                **vars(candidate.step),
            }
            record = {**about, "sha256": candidate_sha256(about, candidate.image.data)}
            self._tar.append(f"{candidate.pair}.{number}.{candidate.image.format}", candidate.image.data)
            self._tar.append(f"{candidate.pair}.{number}.json", canonical_json(record).encode())

    def finish(self) -> None:
        """End the archive."""
        self._tar.finish()


def candidate_sha256(about: Mapping[str, Any], picture: bytes) -> str:
    """The sha256, in hex digits, of what is said of a candidate (without "sha256") and, after it, of its file."""
    return hashlib.sha256(canonical_json(about).encode() + picture).hexdigest()
