"""Judges pairs of which nothing is known but that an input became a target: an edit, a restoration, another scene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self, get_args

from manifests.schema import Pair, Reject
from operators.judge.degraded import Degradation, Degraded
from operators.judge.gate import Gate
from operators.option import option

ANY = -1.0
"""The least correlation that there can be: a bound that rejects nothing."""


@dataclass(frozen=True, kw_only=True)
class JudgeOwnPairs:
    """Stores how far target and first input are alike, and rejects for it only what a user has asked for.

    Where the two have one size, the scores are those of `Gate` and `Degraded`: "mean_abs_diff", "visible_change" and
    "alignment". Pairs of one size and the same pixels are rejected; alignment is none of what edits must have: a person
    in another place has another scene. With `min_alignment` or `degraded` the two must have one size. Rejects:
    identical_pair; as asked for size_mismatch, other_scene, turned, swapped.
    """

    name: ClassVar[str] = "judge_own_pairs"
    version: ClassVar[int] = 1
    shows_rejects: ClassVar[bool] = True
    min_alignment: float = option(
        ANY, "least correlation of the structures of input and target: below it they show different scenes; -1: any"
    )
    degraded: str | None = option(
        None, "what the inputs suffer from: pairs are rejected whose target suffers more", choices=get_args(Degradation)
    )

    def lenient(self) -> Self:
        return replace(self, min_alignment=ANY, degraded=None)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        before, after = pair.image("input"), pair.image("target")
        assert before and after, "a pair has an input and a target"
        sizes = [(image.width_px, image.height_px) for image in (before, after)]
        if sizes[0] != sizes[1]:
            if self.min_alignment > ANY or self.degraded:
                (width, height), (other_width, other_height) = sizes
                raise Reject("size_mismatch", f"input {width} x {height} px, target {other_width} x {other_height} px")
            return pair
        by: Degradation | None = next((one for one in get_args(Degradation) if one == self.degraded), None)
        judged = Gate()(pair, seed)
        return Degraded(by=by, min_visible=0.0, min_alignment=self.min_alignment)(judged, seed)
