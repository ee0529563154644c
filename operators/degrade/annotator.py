"""What the operators share that annotate a photo: a network gives a map of it, of depth, classes or normals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import ClassVar, Self

from manifests.images.pixels import Pixels
from manifests.schema import Image, Pair, Reject, Step
from operators.arrange.dense import Values
from operators.base import OnlyUnpaired
from operators.batching import each_pair, in_batches
from operators.degrade.synthesis import clean_pixels
from operators.models import checkpoints

MAX_SHAPE = 8
"""Greatest ratio of a photo's sides. Some networks work at a fixed shorter side: of a strip they take memory by its
length, of a row of 1,000 px as of a photo of 270 megapixels. Others work at a fixed longer one, and miss it."""


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo that is to be annotated."""

    pixels: Pixels
    seed: int
    """What is random in the annotation comes from it."""


@dataclass(frozen=True, kw_only=True)
class Annotator(OnlyUnpaired, ABC):
    """Gives a pair that has only a photo a map of it, in the form in which a dense dataset brings one.

    The photo becomes the input, and the target holds the map's values (operators/arrange/dense.py). What follows in a
    chain is therefore the same for both: ColourDense draws the values, and Swap makes the map the input. Rejects:
    too_narrow.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    role: ClassVar[str]
    """The checkpoint (operators/models/table.py)."""
    library: ClassVar[str]
    """The package that runs it."""
    values: ClassVar[Values]
    """What the numbers of the target mean."""
    at_once: ClassVar[int] = 1
    """Photos in a batch. Last bits depend on it."""
    batch_size: ClassVar[int] = 1
    gpus: ClassVar[float] = 0.25
    """Share of a GPU, where the cluster has some: four workers keep one busy, decoding and encoding beside it."""
    model: str = ""
    model_revision: str = ""
    folder: str = field(default="", metadata={"location": True})

    @property
    def loads(self) -> tuple[str, ...]:
        return (self.role,)

    def bound(self, models: str | None) -> Self:
        """The operator with its weights. Raises ValueError saying which are missing and where to get them."""
        folder = checkpoints.folder(models, self.role)
        if find_spec(self.library) is None:
            raise ValueError(f"{self.name} needs {self.library}: pip install 'xprompt-data-engine[models]'")
        model, revision = checkpoints.identity(folder, self.role)
        return replace(self, folder=folder, model=model, model_revision=revision)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        return each_pair(
            pairs,
            seeds,
            lambda pair, seed: [Photo(pixels=_no_strip(clean_pixels(pair)), seed=seed)],
            lambda photos: in_batches(self.annotated, photos, self.at_once),
            self._finished,
        )

    @abstractmethod
    def annotated(self, photos: Sequence[Photo]) -> Sequence[Image | Reject]:
        """The target of each photo, of its size, in order; a Reject for one whose map says nothing."""
        ...

    def _finished(self, pair: Pair, seed: int, targets: Sequence[Image]) -> Pair:
        photo = pair.image("target")
        assert photo, "it was annotated"
        step = Step(
            operator=self.name,
            version=self.version,
            seed=seed,
            params={"target": self.values},
            model=self.model,
            model_revision=self.model_revision,
        )
        images = tuple(replace(image, role="input") if image is photo else image for image in pair.images)
        return replace(pair, images=(*images, *targets), steps=(*pair.steps, step))


def _no_strip(pixels: Pixels) -> Pixels:
    """The pixels. Raises Reject for a photo whose sides' ratio is above MAX_SHAPE."""
    height_px, width_px = pixels.shape[:2]
    if max(height_px, width_px) > MAX_SHAPE * min(height_px, width_px):
        raise Reject("too_narrow", f"{width_px} x {height_px} px, one side is over {MAX_SHAPE} times the other")
    return pixels
