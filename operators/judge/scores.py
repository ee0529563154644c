"""Quality scores of a pair, and the gate that keeps pairs whose scores lie between a lower and an upper bound.

Scores are stored for kept pairs and for rejected ones, so that other bounds can be cut from Parquet without a new run.
Bounds have two sides: identical pairs are as useless as unrelated ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar, Self

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject, Step
from operators.batching import PAIRS, each_pair, in_batches
from operators.models.checkpoints import folder, identity
from operators.models.device import prepared_device
from operators.shared.finite import not_finite
from operators.shared.metrics import ssim_luma
from operators.shared.pixels import changed_area, mean_abs_diff, same_size, sharpness
from operators.shared.vectors import Vector, cosine

_BOTH = ("before", "target")
"""What most measures compare. "before" is whatever image the pair's target is compared with: `Scores.before`."""


@dataclass(frozen=True, kw_only=True)
class OfPixels:
    """A measure of the pixels of images; two images are brought to one size before."""

    images: tuple[str, ...] = _BOTH
    """Roles of the images, one or two, whose pixels `of` is given."""
    of: Callable[..., float]

    def score(self, seen: Seen) -> float:
        return float(self.of(*seen.same_size(self.images)))


@dataclass(frozen=True, kw_only=True)
class OfVectors:
    """A measure of the vectors that a network makes of images and texts."""

    role: str
    """The role of the network's checkpoint in the table of models."""
    images: tuple[str, ...] = _BOTH
    """Roles of the images whose vectors `of` is given."""
    texts: tuple[str, ...] = ()
    """Names of the texts whose vectors `of` is given after those of the images."""
    of: Callable[..., float]

    @property
    def wanted(self) -> list[Wanted]:
        """The vectors, in the order in which `of` is given them."""
        images = [Wanted(role=self.role, name=name, is_text=False) for name in self.images]
        return [*images, *(Wanted(role=self.role, name=name, is_text=True) for name in self.texts)]

    def score(self, seen: Seen) -> float:
        return float(self.of(*(seen.vectors[wanted] for wanted in self.wanted)))


@dataclass(frozen=True, kw_only=True)
class OfNetwork:
    """A measure by a network that compares two images, which are brought to one size before."""

    role: str
    """The role of the network's checkpoint in the table of models."""
    images: tuple[str, str] = _BOTH

    def score(self, seen: Seen) -> float:
        return float(seen.model(self.role).distance(*seen.same_size(self.images)))


MEASURES: Mapping[str, OfPixels | OfVectors | OfNetwork] = {
    "mean_abs_diff": OfPixels(of=mean_abs_diff),
    "ssim": OfPixels(of=ssim_luma),
    "changed_area": OfPixels(of=changed_area),
    "sharpness": OfPixels(images=("target",), of=sharpness),
    "clip_image": OfVectors(role="clip", of=cosine),
    "clip_text": OfVectors(role="clip", images=("target",), texts=("target_caption",), of=cosine),
    "clip_direction": OfVectors(
        role="clip",
        texts=("source_caption", "target_caption"),
        of=lambda before, target, source, wanted: cosine(target - before, wanted - source),
    ),
    "dino": OfVectors(role="dino", of=cosine),
    "lpips": OfNetwork(role="lpips"),
    "aesthetic": OfVectors(role="aesthetic", images=("target",), of=lambda rating: rating[0]),
    "style": OfVectors(role="csd", images=("target", "style"), of=cosine),
    "style_gain": OfVectors(
        role="csd",
        images=("before", "target", "style"),
        of=lambda before, target, style: cosine(target, style) - cosine(before, style),
    ),
}
"""Name of a score -> how it is measured (of pixels: operators/shared/pixels.py and metrics.py).

clip_text is the cosine with what the target should show; clip_direction that of what changes in the images with what
changes in the captions (arXiv 2108.00946); style the cosine of the target's style with that of the image "style";
style_gain how much nearer it is than that of the image before.
No task of ours measures "lpips" or "aesthetic": they are for tasks of users.
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A vector that a measure needs: by the network of which role, of the image or the text of which name."""

    role: str
    name: str
    is_text: bool


@dataclass(frozen=True, kw_only=True)
class Look:
    """Something that the network of a role is to embed."""

    role: str
    is_text: bool
    given: Any
    """What the network is given: a text, or an image as it sees it."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What measures see of one pair."""

    pixels: Callable[[str], Pixels]
    """Role of an image, or "before" -> its pixels."""
    vectors: Mapping[Wanted, Vector]
    model: Callable[[str], Any]
    """Role of a checkpoint -> the network."""

    def same_size(self, images: Sequence[str]) -> Sequence[Pixels]:
        """The pixels of one or two images; those of two are brought to one size."""
        pixels = [self.pixels(image) for image in images]
        return same_size(*pixels) if len(pixels) == 2 else pixels


_DECIMALS = 6

_WORKING_GIB = 1.0
"""Memory that networks embed `Scores.at_once` images in, which CLIP sees at 224 px: assumed, not measured."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The values of a score, both ends included, at which a pair is kept."""

    score: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Adds `measures` to a pair's scores. Rejects a pair with a score out of its bounds: "low_<score>", "high_<score>".

    The first bound that is not met names the reason; all scores are stored. A score that is no number says nothing of
    the pair, whatever the bounds: such a pair is rejected too, as "not_finite", with its other scores.
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
    def loads(self) -> tuple[str, ...]:
        return tuple(self._roles)

    @property
    def working_gib(self) -> float:
        return _WORKING_GIB if self._roles else 0.0

    @property
    def _measures(self) -> list[OfPixels | OfVectors | OfNetwork]:
        return [MEASURES[measure] for measure in self.measures]

    @property
    def _roles(self) -> list[str]:
        """The roles of the checkpoints that the measures need."""
        return sorted({measure.role for measure in self._measures if not isinstance(measure, OfPixels)})

    def bound(self, models: str | None) -> Self:
        folders = tuple((role, folder(models, role)) for role in self._roles)
        return replace(self, folders=folders, models=tuple((role, *identity(path, role)) for role, path in folders))

    def lenient(self) -> Self:
        return replace(self, bounds=())

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        return each_pair(pairs, seeds, self.looks, self.embed, self.finished)

    @property
    def _wanted(self) -> list[Wanted]:
        """The vectors that the measures need of a pair, each once: first those of images, then those of texts."""
        wanted = [one for measure in self._measures if isinstance(measure, OfVectors) for one in measure.wanted]
        return sorted(dict.fromkeys(wanted), key=lambda one: one.is_text)

    def looks(self, pair: Pair, seed: int) -> Sequence[Look]:
        """What is to be embedded of a pair, in the order of `_wanted`."""
        return [
            Look(
                role=one.role,
                is_text=one.is_text,
                given=pair.texts[one.name] if one.is_text else self._model(one.role).seen(self._pixels(pair, one.name)),
            )
            for one in self._wanted
        ]

    def embed(self, looks: Sequence[Look]) -> Sequence[Vector | Reject]:
        """The vector of each look; those of one network that are of one kind share batches."""

        def run(batch: Sequence[Look]) -> Sequence[Vector]:
            model, given = self._model(batch[0].role), [look.given for look in batch]
            vectors: Sequence[Vector] = model.embed_texts(given) if batch[0].is_text else model.embed(given)
            return vectors

        return in_batches(run, looks, self.at_once, alike=lambda look: (look.role, look.is_text))

    def finished(self, pair: Pair, seed: int, vectors: Sequence[Vector]) -> Pair:
        """The pair with its scores. Raises Reject, with the scores too, where one is out of its bounds."""
        seen = Seen(
            pixels=cache(partial(self._pixels, pair)),
            vectors=dict(zip(self._wanted, vectors, strict=True)),
            model=self._model,
        )
        own = {name: round(MEASURES[name].score(seen), _DECIMALS) for name in self.measures}
        if fault := next((fault for name in own if (fault := not_finite(f"the measure {name}", own[name]))), None):
            fault.scores = {**pair.scores, **{name: value for name, value in own.items() if math.isfinite(value)}}
            raise fault
        scores = {**pair.scores, **own}
        for limit in self.bounds:
            value = scores[limit.score]
            if not limit.low <= value <= limit.high:
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

    def _pixels(self, pair: Pair, name: str) -> Pixels:
        role = self.before if name == "before" else name
        image = pair.image(role)
        assert image, f"a pair with no {role} cannot be compared with it"
        return decode_rgb(image.data)

    def _model(self, role: str) -> Any:
        from operators.models.embedders import load

        return load(role, dict(self.folders)[role], prepared_device())
