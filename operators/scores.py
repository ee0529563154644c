"""Quality scores of a pair, and the gate that keeps pairs whose scores lie between a lower and an upper bound.

Scores are stored for kept pairs and for rejected ones, so that other bounds can be cut from Parquet without a new run.
Bounds have two sides: identical pairs are as useless as unrelated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from manifests.images import Pixels, decode_rgb
from manifests.schema import Pair, Reject, Step
from operators import scores_pixels
from operators.checkpoints import folder, identity
from operators.device import prepared_device

MEASURES: Mapping[str, str | None] = {
    "mean_abs_diff": None,
    "ssim": None,
    "changed_area": None,
    "sharpness": None,
    "clip_image": "clip",
    "clip_text": "clip",
    "clip_direction": "clip",
    "dino": "dino",
    "lpips": "lpips",
    "aesthetic": "aesthetic",
    "style": "csd",
    "style_gain": "csd",
}
"""Score -> role of the checkpoint that it takes, if any.

Of the image `before` and the target: mean_abs_diff, ssim, changed_area (operators/scores_pixels.py), lpips, and the
cosines clip_image and dino. Of the target: sharpness, aesthetic, clip_text (its cosine with the text "target_caption")
and style (the cosine of its style with the image "style"); style_gain is what that is above that of `before`.
clip_direction is the cosine of what changes in the images with what changes from "source_caption" to "target_caption"
(arXiv 2108.00946).
"""

_OF_PIXELS: Mapping[str, Callable[[Pixels, Pixels], float]] = {
    "mean_abs_diff": scores_pixels.mean_abs_diff,
    "ssim": scores_pixels.ssim,
    "changed_area": scores_pixels.changed_area,
}

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
    version: ClassVar[int] = 1
    measures: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    before: str = "input"
    """Role of the image that the target is compared with."""
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
        return sorted({role for measure in self.measures if (role := MEASURES[measure])})

    def bound(self, models: str | None) -> Self:
        folders = tuple((role, folder(models, role)) for role in self._roles)
        return replace(self, folders=folders, models=tuple((role, *identity(found, role)) for role, found in folders))

    def lenient(self) -> Self:
        return replace(self, bounds=())

    def __call__(self, pair: Pair, seed: int) -> Pair:
        compared = _Compared(pair, self.before, dict(self.folders))
        found = {measure: round(float(compared.score(measure)), _DECIMALS) for measure in self.measures}
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


class _Compared:
    """A pair's images, decoded once, and what is measured of them."""

    def __init__(self, pair: Pair, before: str, folders: Mapping[str, str]) -> None:
        self._pair, self._before, self._folders = pair, before, folders
        self._decoded: dict[str, Pixels] = {}
        self._device = prepared_device() if folders else "cpu"

    def score(self, measure: str) -> float:
        if measure in _OF_PIXELS:
            return _OF_PIXELS[measure](*self._same_size())
        value: float = getattr(self, f"_{measure}")()
        return value

    def _image(self, role: str) -> Pixels:
        if role not in self._decoded:
            image = self._pair.image(role)
            assert image, f"a pair with no {role} cannot be compared with it"
            self._decoded[role] = decode_rgb(image.data)
        return self._decoded[role]

    def _same_size(self) -> tuple[Pixels, Pixels]:
        return scores_pixels.same_size(self._image(self._before), self._image("target"))

    def _model(self, role: str) -> Any:
        from operators.scores_models import load

        return load(role, self._folders[role], self._device)

    def _cosine(self, role: str) -> float:
        from operators.scores_models import cosine

        model = self._model(role)
        return cosine(model.image(self._image(self._before)), model.image(self._image("target")))

    def _sharpness(self) -> float:
        return scores_pixels.sharpness(self._image("target"))

    def _clip_image(self) -> float:
        return self._cosine("clip")

    def _dino(self) -> float:
        return self._cosine("dino")

    def _clip_text(self) -> float:
        from operators.scores_models import cosine

        clip = self._model("clip")
        return cosine(clip.image(self._image("target")), clip.text(self._pair.texts["target_caption"]))

    def _clip_direction(self) -> float:
        from operators.scores_models import cosine

        clip, texts = self._model("clip"), self._pair.texts
        images = clip.image(self._image("target")) - clip.image(self._image(self._before))
        return cosine(images, clip.text(texts["target_caption"]) - clip.text(texts["source_caption"]))

    def _lpips(self) -> float:
        from operators.scores_models import tensor

        first, second = (tensor(image, self._device) for image in self._same_size())
        return float(self._model("lpips")(first, second))

    def _aesthetic(self) -> float:
        value: float = self._model("aesthetic").image(self._image("target"))
        return value

    def _style(self, role: str = "target") -> float:
        from operators.scores_models import cosine, tensor

        csd = self._model("csd")
        made, reference = (csd(tensor(self._image(name), self._device))[0] for name in (role, "style"))
        return cosine(made, reference)

    def _style_gain(self) -> float:
        return self._style() - self._style(self._before)
