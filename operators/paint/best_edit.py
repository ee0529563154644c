"""Edits a photo by FLUX.1 Kontext and FLUX.1 Fill, several times over, and keeps the best edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Candidate, Image, Pair, Reject, Step, seed_for
from operators.judge.scores import Scores
from operators.models.checkpoints import folders_and_identities
from operators.models.diffusion import (
    AT_ONCE,
    FILL,
    Denoising,
    alone,
    painting_gib,
    painting_s,
    steps_of,
)
from operators.option import option
from operators.paint.edit_pictures import by_fill, by_kontext
from operators.pictures import kept_or_painted, sha256_of
from operators.word.propose_edit import EVERYWHERE

Editor = Literal["kontext", "fill"]

_ROLES: Mapping[Editor, str] = {"kontext": "flux-kontext", "fill": "flux-fill"}
_TEXTS: Mapping[Editor, str] = {"kontext": "instruction", "fill": "target_caption"}
"""Name of the text that is each editor's prompt."""

_KONTEXT = Denoising(steps=28, guidance=2.5)
"""The steps are the default of diffusers' FluxKontextPipeline.__call__, the guidance is that of its example, and of
https://huggingface.co/black-forest-labs/FLUX.1-Kontext-dev."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One edit of a photo, and what the scores say of it."""

    editor: Editor
    seed: int
    image: Image
    """The edit, as the target that it may become."""
    judged: Pair | Reject
    """The pair with the edit as its target, and with scores; a Reject, with scores too, where one is out of bounds."""

    @property
    def reason(self) -> str | None:
        """Why it cannot be chosen; None if it can."""
        return self.judged.reason if isinstance(self.judged, Reject) else None

    def described(self) -> dict[str, Any]:
        """As the winner's step lists it."""
        reason = {"reason": self.reason} if self.reason else {}
        return {"editor": self.editor, "seed": self.seed, **reason, "scores": dict(self.judged.scores)}


@dataclass(frozen=True, kw_only=True)
class BestEdit:
    """Makes the target from the input as `ProposeEdit` proposes: of all candidates, the best by the score `rank`.

    FLUX.1 Kontext makes `candidates` of them from the instruction. Where the proposal has a box, FLUX.1 Fill makes as
    many, which are the photo outside of the box. Only candidates within all bounds of `scores` count. There is a step
    for each editor that made some: that of the winner is first, with its seed and prompt, and lists all candidates.
    Rejects: no_candidate, with the scores of the one that ranks highest; out_of_memory.

    With `keep_candidates` the pair, or the Reject no_candidate, carries all candidates, to be stored beside the shard.
    """

    name: ClassVar[str] = "best_edit"
    version: ClassVar[int] = 3
    gpus: ClassVar[float] = 1.0
    scores: Scores
    rank: str = "clip_direction"
    candidates: int = 4
    kontext: Denoising = _KONTEXT
    fill: Denoising = FILL
    keep_candidates: bool = option(
        False, "store the edits that were not chosen too, with their scores, as preference pairs", in_fingerprint=False
    )
    at_once: int = 0
    """Pictures in a batch (AT_ONCE), set by `bound`: bytes depend on it."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of Kontext and of Fill."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})
    in_turns: bool = field(default=False, metadata={"location": True})
    """Whether one editor is on the GPU at a time and the other in main memory, as long as it is not needed."""

    @property
    def loads(self) -> tuple[str, ...]:
        editors = (_ROLES["fill"],) if self.in_turns else tuple(_ROLES.values())  # the larger one, by 2 MiB
        return (*editors, *self.scores.loads)

    @property
    def working_gib(self) -> float:
        return painting_gib("flux")

    def taking_turns(self) -> Self:
        return replace(self, in_turns=True)

    @property
    def gpu_s(self) -> float:
        return self.candidates * painting_s("flux", self.kontext.steps + self.fill.steps)

    def bound(self, models: str | None) -> Self:
        folders, identities = folders_and_identities(models, tuple(_ROLES.values()))
        return replace(
            self, folders=folders, models=identities, at_once=AT_ONCE["flux"], scores=self.scores.bound(models)
        )

    def lenient(self) -> Self:
        return replace(self, scores=self.scores.lenient())

    def __call__(self, pair: Pair, seed: int) -> Pair:
        proposal = pair.step("propose_edit")
        assert proposal, "there is a proposal how to edit"
        where = proposal.params["where"]
        editors: tuple[Editor, ...] = ("kontext",) if where == EVERYWHERE else ("kontext", "fill")
        edits = [one for editor in editors for one in self._judged(editor, pair, where, seed)]
        best = self._best(pair, edits)
        assert isinstance(best.judged, Pair)
        made, before = best.judged, len(pair.steps)
        steps = self._steps(pair, sorted(editors, key=lambda editor: editor != best.editor), best.seed, edits)
        candidates = self._candidates(pair, edits, best)
        return replace(made, steps=(*pair.steps, *steps, *made.steps[before:]), candidates=candidates)

    def _judged(self, editor: Editor, pair: Pair, where: Any, seed: int) -> list[Edit]:
        """One editor's edits, judged. Raises Reject if one of them cannot be made."""
        photo = pair.image("input")
        assert photo, "there is a photo to edit"
        seeds = [seed_for(seed, editor, str(number)) for number in range(self.candidates)]
        images: list[Image] = []
        for edit in self._edits(editor, decode_rgb(photo.data), pair.texts[_TEXTS[editor]], where, seeds):
            if isinstance(edit, Reject):
                raise edit
            images.append(encode_lossless("target", edit))
        judged = self.scores.many([replace(pair, images=(*pair.images, image)) for image in images], seeds)
        return [
            Edit(editor=editor, seed=own, image=image, judged=one)
            for own, image, one in zip(seeds, images, judged, strict=True)
        ]

    def _edits(
        self, editor: Editor, photo: Pixels, prompt: str, where: Any, seeds: Sequence[int]
    ) -> list[Pixels | Reject]:
        """One editor's edits, those that are kept (operators/pictures.py) without the editor."""
        kontext, fill = self.folders

        def paint(seeds: Sequence[int]) -> list[Pixels | Reject]:
            if self.in_turns:
                alone(kontext if editor == "kontext" else fill)
            if editor == "kontext":
                return by_kontext(kontext, photo, prompt, self.kontext, seeds, self.at_once)
            return by_fill(fill, photo, prompt, where, self.fill, seeds, self.at_once)

        same = {
            "operator": self.name,
            "version": self.version,
            "editor": editor,
            "model": self._models[editor],
            "sampling": self._sampling[editor],
            "at_once": self.at_once,
            "photo": sha256_of(photo),
            "prompt": prompt,
            "where": where if editor == "fill" else None,
        }
        return kept_or_painted(seeds, lambda seed: {**same, "seed": seed}, paint, self.at_once)

    @property
    def _models(self) -> Mapping[Editor, tuple[str, str]]:
        """Name and revision of each editor's checkpoint."""
        return dict(zip(_ROLES, self.models, strict=True))

    @property
    def _sampling(self) -> Mapping[Editor, dict[str, Any]]:
        """How each editor is run, as steps record it."""
        return {"kontext": self.kontext.params, "fill": self.fill.params}

    def _best(self, pair: Pair, edits: Sequence[Edit]) -> Edit:
        """The edit within all bounds that ranks highest. Raises Reject if there is none, or one has no rank."""
        for one in edits:
            if isinstance(one.judged, Reject) and self.rank not in one.judged.scores:
                raise one.judged
        highest = max(edits, key=lambda one: (isinstance(one.judged, Pair), one.judged.scores[self.rank]))
        if isinstance(highest.judged, Reject):
            message = f"none of {len(edits)}; the best: {highest.judged.message}"
            lost = self._candidates(pair, edits, None)
            raise Reject("no_candidate", message, highest.judged.scores, lost, output=highest.image)
        return highest

    def _candidates(self, pair: Pair, edits: Sequence[Edit], best: Edit | None) -> tuple[Candidate, ...]:
        """The edits as they are stored, if they are to be; `best` is the one that won, if one did."""
        if not self.keep_candidates:
            return ()
        return tuple(
            Candidate(
                pair=pair.key,
                image=edit.image,
                step=Step(
                    operator=self.name,
                    version=self.version,
                    params={"part": edit.editor, **self._sampling[edit.editor]},
                    seed=edit.seed,
                    model=self._models[edit.editor][0],
                    model_revision=self._models[edit.editor][1],
                    prompt=pair.texts[_TEXTS[edit.editor]],
                ),
                scores=edit.judged.scores,
                reason=edit.reason,
                won=edit is best,
            )
            for edit in edits
        )

    def _steps(self, pair: Pair, editors: Sequence[Editor], seed: int, edits: Sequence[Edit]) -> tuple[Step, ...]:
        """One step for each editor, the winner's first, with the winner's seed."""
        first, *others = steps_of(
            self.name,
            self.version,
            editors,
            [self._models[editor] for editor in editors],
            params={
                "rank": self.rank,
                "sampling": {editor: self._sampling[editor] for editor in editors},
                "candidates": [one.described() for one in edits],
            },
            seed=seed,
            prompt=pair.texts[_TEXTS[editors[0]]],
        )
        return first, *(replace(step, seed=None) for step in others)  # what they made has seeds in `candidates`
