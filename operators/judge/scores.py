"""Quality scores of a pair, and the gate that keeps pairs whose scores lie between a lower and an upper bound.

Scores are stored for kept pairs and for rejected ones, so that other bounds can be cut from Parquet without a new run.
Bounds have two sides: identical pairs are as useless as unrelated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject, Step
from operators.batching import PAIRS, each_pair, in_batches
from operators.models.checkpoints import folder, identity
from operators.models.device import prepared_device
from operators.shared.metrics import ssim_luma
from operators.shared.pixels import changed_area, mean_abs_diff, same_size, sharpness
from operators.shared.vectors import Vector, cosine


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a score is computed: from pixels, by LPIPS too, or from vectors of a checkpoint."""

    checkpoint: str = ""
    """Its role in the table of models, if it takes one."""
    images: tuple[str, ...]
    """Roles of the images that `of` is given; "before" is whatever the pair's target is compared with."""
    texts: tuple[str, ...] = ()
    """Names of the texts whose vectors it is given after those of the images."""
    of: Callable[..., float]

    @property
    def of_vectors(self) -> bool:
        return self.checkpoint not in ("", "lpips")


_BOTH = ("before", "target")

MEASURES: Mapping[str, Measure] = {
    "mean_abs_diff": Measure(images=_BOTH, of=mean_abs_diff),
    "ssim": Measure(images=_BOTH, of=ssim_luma),
    "changed_area": Measure(images=_BOTH, of=changed_area),
    "sharpness": Measure(images=("target",), of=sharpness),
    "clip_image": Measure(checkpoint="clip", images=_BOTH, of=cosine),
    "clip_text": Measure(checkpoint="clip", images=("target",), texts=("target_caption",), of=cosine),
    "clip_direction": Measure(
        checkpoint="clip",
        images=_BOTH,
        texts=("source_caption", "target_caption"),
        of=lambda before, target, source, wanted: cosine(target - before, wanted - source),
    ),
    "dino": Measure(checkpoint="dino", images=_BOTH, of=cosine),
    "lpips": Measure(checkpoint="lpips", images=_BOTH, of=lambda lpips, before, target: lpips.distance(before, target)),
    "aesthetic": Measure(checkpoint="aesthetic", images=("target",), of=lambda rating: float(rating[0])),
    "style": Measure(checkpoint="csd", images=("target", "style"), of=cosine),
    "style_gain": Measure(
        checkpoint="csd",
        images=("before", "target", "style"),
        of=lambda before, target, style: cosine(target, style) - cosine(before, style),
    ),
}
"""By score. Of pixels: operators/shared/pixels.py and metrics.py; two images are brought to one size. clip_text is the
cosine with what the target should show; clip_direction that of what changes in the images with what changes in the
captions (arXiv 2108.00946); style the cosine of the target's style with that of the image "style"; style_gain how much
nearer it is than that of the image before. No task of ours measures "lpips" or "aesthetic": they are for tasks of users.
"""

_DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The values of a score, both ends included, at which a pair is kept."""

    score: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Adds `measures` to a pair's scores. Rejects a pair with a score out of its bounds: "low_<score>", "high_<score>".

    The first bound that is not met names the reason; all scores are stored.
    """

    name: ClassVar[str] = "scores"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = PAIRS
    measures: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    before: str = "input"
    """Role of the image that the target is compared with."""
    at_once: int = 16
    """How many images or texts a network embeds together: ours, a few hundred MB of a ViT-L's activations. Last bits of
    scores depend on it."""
    models: tuple[tuple[str, str, str], ...] = ()
    """Role, name and revision of each checkpoint."""
    folders: tuple[tuple[str, str], ...] = field(default=(), metadata={"location": True})

    @property
    def gpus(self) -> float:
        return 0.25 if self._roles else 0.0

    @property
    def gpu_s(self) -> float:
        return 0.1 if self._roles else 0.0

    @property
    def _roles(self) -> list[str]:
        return sorted({role for measure in self.measures if (role := MEASURES[measure].checkpoint)})

    def bound(self, models: str | None) -> Self:
        folders = tuple((role, folder(models, role)) for role in self._roles)
        return replace(self, folders=folders, models=tuple((role, *identity(found, role)) for role, found in folders))

    def lenient(self) -> Self:
        return replace(self, bounds=())

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        return each_pair(pairs, seeds, self._looks, self._embedded, self._scored)

    @property
    def _wanted(self) -> list[tuple[str, str, bool]]:
        """What has to be embedded: checkpoint, name of an image or text, whether it is a text."""
        measures = [one for one in map(MEASURES.__getitem__, self.measures) if one.of_vectors]
        names = [(one.checkpoint, name, False) for one in measures for name in one.images]
        names += [(one.checkpoint, name, True) for one in measures for name in one.texts]
        return [*dict.fromkeys(names)]

    def _looks(self, pair: Pair, seed: int) -> Sequence[_Look]:
        return [
            _Look(role, pair.texts[name] if is_text else self._model(role).seen(self._pixels(pair, name)))
            for role, name, is_text in self._wanted
        ]

    def _embedded(self, looks: Sequence[_Look]) -> Sequence[Vector | Reject]:
        def embed(batch: Sequence[_Look]) -> Sequence[Vector]:
            model, given = self._model(batch[0].role), [look.given for look in batch]
            vectors: Sequence[Vector] = model.embed_texts(given) if batch[0].is_text else model.embed(given)
            return vectors

        return in_batches(embed, looks, self.at_once, alike=lambda look: (look.role, look.is_text))

    def _scored(self, pair: Pair, seed: int, vectors: Sequence[Vector]) -> Pair:
        by_name = dict(zip(self._wanted, vectors, strict=True))
        of_pixels = [MEASURES[name] for name in self.measures if not MEASURES[name].of_vectors]
        pixels = {role: self._pixels(pair, role) for role in {role for one in of_pixels for role in one.images}}
        found = {name: round(self._score(MEASURES[name], pixels, by_name), _DECIMALS) for name in self.measures}
        scores = {**pair.scores, **found}
        for limit in self.bounds:
            value = scores[limit.score]
            if not limit.low <= value <= limit.high:  # NaN is out of all bounds
                side = "high" if value > limit.high else "low"
                message = f"{limit.score} {value} is not in [{limit.low}, {limit.high}]"
                raise Reject(f"{side}_{limit.score}", message, scores)
        bounds = [vars(limit) for limit in self.bounds]
        params = {"measures": list(self.measures), "bounds": bounds, "before": self.before}
        plain = Step(operator=self.name, version=self.version, params=params)
        steps = [
            replace(plain, params={**params, "role": role}, model=model, model_revision=revision)
            for role, model, revision in self.models
        ]
        return replace(pair, scores=scores, steps=(*pair.steps, *(steps or [plain])))

    def _score(
        self, measure: Measure, pixels: Mapping[str, Pixels], vectors: Mapping[tuple[str, str, bool], Vector]
    ) -> float:
        role = measure.checkpoint
        if measure.of_vectors:
            images = [vectors[role, name, False] for name in measure.images]
            return float(measure.of(*images, *(vectors[role, name, True] for name in measure.texts)))
        shown = [pixels[name] for name in measure.images]
        if len(shown) == 2:
            shown = [*same_size(*shown)]
        return float(measure.of(self._model(role), *shown) if role else measure.of(*shown))

    def _pixels(self, pair: Pair, name: str) -> Pixels:
        role = self.before if name == "before" else name
        image = pair.image(role)
        assert image, f"a pair with no {role} cannot be compared with it"
        return decode_rgb(image.data)

    def _model(self, role: str) -> Any:
        from operators.models.embedders import load

        return load(role, dict(self.folders)[role], prepared_device())


@dataclass(frozen=True)
class _Look:
    """Something to be embedded by the checkpoint of a role: a text, or an image as its network sees it."""

    role: str
    given: Any

    @property
    def is_text(self) -> bool:
        return isinstance(self.given, str)
