"""Which of two pictures is preferred, told from the candidates that a dataset keeps (`--keep-candidates`).

Of a pair that was kept, the target that was chosen is preferred to each other candidate that ranks lower. Of a pair
that was rejected because no candidate was good enough, the one that ranks highest is preferred to the others of its
prompt; its input image is not stored, so these are there only for those who want them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from manifests.dataset import Dataset
from manifests.export.sample import Picture
from manifests.licences.effective import Parents, makers, parents
from manifests.read.candidates import StoredCandidate, candidates_of
from manifests.read.pairs import StoredExample, StoredPair
from manifests.schema import canonical_json

NOT_RECORDED = "not recorded"
"""The licence, or the source, of a rejected pair whose dataset does not state it."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which preferences are taken."""

    rank: str | None = None
    """The score that tells which is better; None: that by which the dataset's operator chose."""
    margin: float = 0.0
    """The least difference of that score; it is always more than nothing."""
    rejects: bool = False
    """Whether those of rejected pairs are taken, whose input image is not stored."""
    allowed: tuple[str, ...] | None = None
    """The names of the licences that a preference may be under, sorted. None: any."""


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Two pictures made of the same, of which one is better."""

    prompt: str
    inputs: tuple[Picture, ...]
    """The images that were edited, in order; none if the pair was rejected, or made of the prompt alone."""
    input_sha256s: tuple[str, ...]
    win: StoredCandidate
    lose: StoredCandidate
    rank: str
    licence: str
    source: str
    steps: Sequence[tuple[str, str | None]]
    """The operators and models of the pair's steps; none of a rejected pair."""

    @property
    def parents(self) -> Parents:
        """The licences that it is under: the source's, and those of the models that made something of it."""
        said = ((str(one.said.get("operator")), one.said.get("model")) for one in (self.win, self.lose))
        made_by = ((operator, model) for operator, model in said if isinstance(model, str))
        return parents(self.licence, self.source, makers((*self.steps, *made_by)))

    @property
    def margin(self) -> float:
        """How much higher the better one ranks, rounded as scores are."""
        return round(self.win.scores[self.rank] - self.lose.scores[self.rank], 6)

    @property
    def identity(self) -> str:
        """The same for the same two pictures of the same prompt and inputs, whichever is better: 32 hex digits."""
        two = sorted((self.win.picture_sha256, self.lose.picture_sha256))
        return hashlib.sha256(canonical_json([self.prompt, self.input_sha256s, two]).encode()).hexdigest()[:32]


def rank_of(dataset: Dataset, wanted: str | None) -> str:
    """The score by which the dataset's candidates were ranked, or the one that is wanted.

    Raises ValueError if none is wanted and the dataset does not say it.
    """
    operators = dataset.plan().config.get("operators", [])
    ranks = [one["rank"] for one in operators if isinstance(one, Mapping) and isinstance(one.get("rank"), str)]
    rank = wanted or next(iter(ranks), None)
    if rank is None:
        raise ValueError(f"{dataset.url} does not say by which score its candidates were ranked: name it by --rank")
    return rank


def preferences_of(dataset: Dataset, unit: str, wanted: Wanted, left_out: Counter[str]) -> Iterator[Preference]:
    """The preferences of a unit, in stored order; what is left out is counted by the reason. Raises DatasetError."""
    rank = rank_of(dataset, wanted.rank)
    kept = {pair.key: pair for pair in dataset.pairs_of(unit)}
    source = dataset.plan().config.get("source", {})
    licence, name = (source.get(what, NOT_RECORDED) for what in ("licence", "source"))
    for key, candidates in candidates_of(dataset, unit):
        unscored = [one for one in candidates if rank not in one.scores]
        left_out.update({f"candidates without the score {rank}": len(unscored)} if unscored else {})
        ranked = [one for one in candidates if rank in one.scores]
        pair = kept.get(key)
        about: dict[str, Any] = {"rank": rank, "licence": licence, "source": name, "steps": ()}
        about |= {"inputs": (), "input_sha256s": ()}
        if pair is None:
            for prompt, win, others in _best_of_each_prompt(ranked, rank):
                if wanted.rejects:
                    yield from _above(wanted, win, others, left_out, {**about, "prompt": prompt})
                else:
                    left_out["of rejected pairs, whose input is not stored (--rejects takes them)"] += len(others)
            continue
        example = _forward(pair)
        winner = next((one for one in ranked if one.won), None)
        if example is None or winner is None:
            left_out["of pairs without an example that generates, or a candidate that won"] += len(ranked)
            continue
        others = [one for one in ranked if one is not winner]
        steps = [(step["operator"], step["model"]) for step in pair.value("steps")]
        about |= {"licence": pair.value("licence"), "source": pair.value("source"), "steps": steps}
        about["prompt"] = example.instruction
        yield from _above(wanted, winner, others, left_out, about | _inputs(pair, example))


def _above(
    wanted: Wanted,
    win: StoredCandidate,
    others: Sequence[StoredCandidate],
    left_out: Counter[str],
    about: Mapping[str, Any],
) -> Iterator[Preference]:
    """The preferences of one picture to others, as far as their margins and licences allow."""
    for lose in others:
        preference = Preference(win=win, lose=lose, **about)
        if win.picture_sha256 == lose.picture_sha256:
            left_out["of two equal pictures"] += 1
        elif preference.margin < 0:
            left_out["whose worse picture ranks higher: another bound refused it"] += 1
        elif preference.margin == 0 or preference.margin < wanted.margin:
            left_out[f"with a margin of {'0' if preference.margin == 0 else f'less than {wanted.margin:g}'}"] += 1
        elif wanted.allowed is not None and (refused := preference.parents.refused(wanted.allowed)):
            left_out[f"under a licence that is not allowed: {', '.join(refused)}"] += 1
        else:
            yield preference


def _best_of_each_prompt(
    candidates: Sequence[StoredCandidate], rank: str
) -> Iterator[tuple[str, StoredCandidate, list[StoredCandidate]]]:
    """Prompt, the candidate that ranks highest, and the others. Candidates of one prompt are neighbours."""
    for prompt, group in groupby(candidates, key=lambda one: one.prompt):
        of_prompt = list(group)
        if prompt is not None and len(of_prompt) > 1:
            best = max(of_prompt, key=lambda one: one.scores[rank])
            yield prompt, best, [one for one in of_prompt if one is not best]


def _forward(pair: StoredPair) -> StoredExample | None:
    return next((one for one in pair.examples if (one.direction, one.kind) == ("forward", "generate")), None)


def _inputs(pair: StoredPair, example: StoredExample) -> dict[str, Any]:
    headers = {image["role"]: image for image in pair.value("images")}
    pictures = (
        Picture(
            pair=pair,
            role=role,
            format=headers[role]["format"],
            width_px=headers[role]["width_px"],
            height_px=headers[role]["height_px"],
        )
        for role in example.inputs
    )
    return {"inputs": tuple(pictures), "input_sha256s": tuple(headers[role]["sha256"] for role in example.inputs)}
