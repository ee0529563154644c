"""Edits a photo by FLUX.1 Kontext and FLUX.1 Fill, several times over, and keeps the best edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject, Step, seed_for
from operators.judge.scores import Scores
from operators.models.diffusion import AT_ONCE, PICTURE_GPU_S, SAMPLING, Sampling, found, steps_of
from operators.paint.edit_pictures import by_fill, by_kontext
from operators.word.propose_edit import EVERYWHERE

Editor = Literal["kontext", "fill"]

_ROLES: Mapping[Editor, str] = {"kontext": "flux-kontext", "fill": "flux-fill"}
_TEXTS: Mapping[Editor, str] = {"kontext": "instruction", "fill": "target_caption"}
"""Name of the text that is the prompt."""

_FILL = Sampling(steps=50, guidance=30.0)
"""Of the model card: https://huggingface.co/black-forest-labs/FLUX.1-Fill-dev."""


@dataclass(frozen=True, kw_only=True)
class BestEdit:
    """Makes the target from the input as `ProposeEdit` proposes: of all candidates, the best by the score `rank`.

    FLUX.1 Kontext makes `candidates` of them from the instruction. Where the proposal has a box, FLUX.1 Fill makes as
    many, which are the photo outside of the box. Only candidates within all bounds of `scores` count. There is a step
    for each editor that made some: that of the winner is first, with its seed and prompt, and lists all candidates.
    Rejects: no_candidate, with the scores of the one that ranks highest; out_of_memory.
    """

    name: ClassVar[str] = "best_edit"
    version: ClassVar[int] = 2
    gpus: ClassVar[float] = 1.0
    scores: Scores
    rank: str = "clip_direction"
    candidates: int = 4
    kontext: Sampling = SAMPLING["flux"]
    """Diffusers' defaults for Kontext too: FluxKontextPipeline.__call__."""
    fill: Sampling = _FILL
    at_once: int = 0
    """Pictures in a batch (AT_ONCE), set by `bound`: bytes depend on it."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of Kontext and of Fill."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    @property
    def gpu_s(self) -> float:
        steps = self.kontext.steps + self.fill.steps
        return self.candidates * PICTURE_GPU_S["flux"] * steps / SAMPLING["flux"].steps

    def bound(self, models: str | None) -> Self:
        folders, identities = found(models, tuple(_ROLES.values()))
        return replace(
            self, folders=folders, models=identities, at_once=AT_ONCE["flux"], scores=self.scores.bound(models)
        )

    def lenient(self) -> Self:
        return replace(self, scores=self.scores.lenient())

    def __call__(self, pair: Pair, seed: int) -> Pair:
        photo, proposal = pair.image("input"), pair.step("propose_edit")
        assert photo and proposal, "there is a photo to edit, and a proposal how"
        pixels, where = decode_rgb(photo.data), proposal.params["where"]
        editors: tuple[Editor, ...] = ("kontext",) if where == EVERYWHERE else ("kontext", "fill")
        kept: list[tuple[Pair, Editor, int]] = []
        rejected: list[Reject] = []
        tried: list[dict[str, Any]] = []
        for editor in editors:
            seeds = [seed_for(seed, editor, str(number)) for number in range(self.candidates)]
            made = self._edits(editor, pixels, pair.texts[_TEXTS[editor]], where, seeds)
            if rejects := [edited for edited in made if isinstance(edited, Reject)]:
                raise rejects[0]
            edits = [_with_target(pair, edited) for edited in made if not isinstance(edited, Reject)]
            for own, judged in zip(seeds, self.scores.many(edits, seeds), strict=True):
                said = {"editor": editor, "seed": own}
                if isinstance(judged, Reject):
                    rejected.append(judged)
                    tried.append({**said, "reason": judged.reason, "scores": judged.scores})
                else:
                    kept.append((judged, editor, own))
                    tried.append({**said, "scores": dict(judged.scores)})
        if unscored := [reject for reject in rejected if self.rank not in reject.scores]:
            raise unscored[0]
        if not kept:
            nearest = max(rejected, key=lambda reject: reject.scores[self.rank])
            raise Reject("no_candidate", f"none of {len(tried)}; the best: {nearest.message}", nearest.scores)
        best, winner, own = max(kept, key=lambda one: one[0].scores[self.rank])
        steps = self._steps(pair, sorted(editors, key=lambda editor: editor != winner), own, tried)
        return replace(best, steps=(*pair.steps, *steps, *best.steps[len(pair.steps) :]))

    def _edits(
        self, editor: Editor, photo: Pixels, prompt: str, where: Any, seeds: Sequence[int]
    ) -> list[Pixels | Reject]:
        kontext, fill = self.folders
        if editor == "kontext":
            return by_kontext(kontext, photo, prompt, self.kontext, seeds, self.at_once)
        return by_fill(fill, photo, prompt, where, self.fill, seeds, self.at_once)

    def _steps(self, pair: Pair, editors: Sequence[Editor], seed: int, tried: Sequence[Any]) -> tuple[Step, ...]:
        """Of the editors, the winner's first."""
        models = dict(zip(_ROLES, self.models, strict=True))
        sampling = {"kontext": vars(self.kontext), "fill": vars(self.fill)}
        first, *others = steps_of(
            self.name,
            self.version,
            editors,
            [models[editor] for editor in editors],
            params={
                "rank": self.rank,
                "sampling": {editor: sampling[editor] for editor in editors},
                "candidates": tried,
            },
            seed=seed,
            prompt=pair.texts[_TEXTS[editors[0]]],
        )
        return first, *(replace(step, seed=None) for step in others)  # what they made has seeds in `candidates`


def _with_target(pair: Pair, target: Pixels) -> Pair:
    return replace(pair, images=(*pair.images, encode_lossless("target", target)))
