"""Tasks whose operators sleep as long as models take, so that an engine can be watched on GPUs that are not there.

Seconds are those that plans assume of an A100 (operators/models/diffusion.py, operators/paint/rb_modulation.py), less
by the factor `quicker`. A painter sleeps with its GPU to itself (infra/bench/paint_log.py); what is asked of a
vision-language model, and encoding, is slept through beside it. No server is asked: an operator sleeps as long as its
answers would take, of which so many come at once as it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from infra.bench.paint_log import painting
from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Image, Item, Pair, Step, pair_key, seed_for
from operators.base import Link
from operators.models.diffusion import PICTURE_GPU_S, Order, PictureOperator
from operators.paint.rb_modulation import RbModulation
from operators.read.files import SourceFile
from operators.word.instruct import Instruct
from pipelines.tasks.task import ONE, Task

PNG_S = 0.1
SCORES_S = 0.3
QUESTION_S = 3.0
"""Of a 7B model on a server, for an answer of two lines."""

QUESTIONS_AT_ONCE = 16
"""The default of VLM_CONCURRENCY, of a whole run."""

_SIZE_PX = (8, 8)


@dataclass(frozen=True, kw_only=True)
class _Sleeps:
    """What all of them are told."""

    quicker: float
    """How many times less than a model one takes."""


@dataclass(frozen=True, kw_only=True)
class SleepingPainter(PictureOperator, _Sleeps):
    """Stands for a pipeline of diffusers: paints each of `pictures` of a pair, of which `kept` become its images."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 1.0
    picture_s: ClassVar[float] = PICTURE_GPU_S["flux"]
    pictures: ClassVar[tuple[str, ...]]
    kept: ClassVar[tuple[str, ...]]
    """Roles of the first of them; there are as many or fewer."""
    log: str = field(default="", metadata={"location": True})
    at_once: int = 1

    @property
    def gpu_s(self) -> float:
        return len(self.pictures) * self.picture_s

    def bound(self, models: str | None) -> Self:
        return self

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        return [
            Order(prompt=f"{pair.key}/{name}", seed=seed_for(seed, name), size_px=_SIZE_PX) for name in self.pictures
        ]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels]:
        return [self._painted(order) for order in orders]

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        time.sleep(PNG_S / self.quicker)
        images = (encode_lossless(role, pixels) for role, pixels in zip(self.kept, pictures, strict=False))
        step = Step(operator=self.name, version=self.version, seed=seed)
        return replace(pair, images=(*pair.images, *images), steps=(*pair.steps, step))

    def _painted(self, order: Order) -> Pixels:
        with painting(self.log, self.name, order.prompt):
            time.sleep(self.picture_s / self.quicker)
        return np.full((*order.size_px, 3), order.seed % 256, np.uint8)


class SleepingFlux(SleepingPainter):
    """The style's exemplar and the base of a style pair."""

    name: ClassVar[str] = "sleeping_flux"
    pictures: ClassVar[tuple[str, ...]] = ("style", "input")
    kept: ClassVar[tuple[str, ...]] = pictures


class SleepingRbModulation(SleepingPainter):
    """The base in the exemplar's style."""

    name: ClassVar[str] = "sleeping_rb_modulation"
    picture_s: ClassVar[float] = RbModulation.gpu_s
    pictures: ClassVar[tuple[str, ...]] = ("target",)
    kept: ClassVar[tuple[str, ...]] = pictures


class SleepingEdits(SleepingPainter):
    """Candidates of Kontext and of Fill, of which one is kept."""

    name: ClassVar[str] = "sleeping_edits"
    pictures: ClassVar[tuple[str, ...]] = tuple(f"candidate-{number}" for number in range(8))
    kept: ClassVar[tuple[str, ...]] = ("target",)


class SleepingPerson(SleepingPainter):
    """The first person of a pose pair, from a prompt."""

    name: ClassVar[str] = "sleeping_person"
    pictures: ClassVar[tuple[str, ...]] = ("input",)
    kept: ClassVar[tuple[str, ...]] = pictures


class SleepingTarget(SleepingPainter):
    """The target by one picture of FLUX: of a ControlNet, an IP-Adapter or Fill."""

    name: ClassVar[str] = "sleeping_target"
    pictures: ClassVar[tuple[str, ...]] = ("target",)
    kept: ClassVar[tuple[str, ...]] = pictures


@dataclass(frozen=True, kw_only=True)
class SleepingScores(_Sleeps):
    """Stands for the networks that measure a pair, on the GPU of its painter."""

    name: ClassVar[str] = "sleeping_scores"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 0.25
    gpu_s: ClassVar[float] = SCORES_S
    log: str = field(default="", metadata={"location": True})

    def bound(self, models: str | None) -> Self:
        return self

    def __call__(self, pair: Pair, seed: int) -> Pair:
        with painting(self.log, self.name, pair.key):
            time.sleep(SCORES_S / self.quicker)
        return pair


@dataclass(frozen=True, kw_only=True)
class SleepingQuestions(_Sleeps):
    """Stands for questions to a vision-language model, each of which waits for the answer to the one before."""

    name: ClassVar[str] = "sleeping_questions"
    version: ClassVar[int] = 1
    batch_size: ClassVar[int] = 64
    questions: int
    at_once: int = field(default=QUESTIONS_AT_ONCE, metadata={"location": True})
    """How many requests this process may have in the air."""

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair]:
        rounds = -(-len(pairs) // self.at_once)
        time.sleep(rounds * self.questions * QUESTION_S / self.quicker)
        return pairs


class SleepingProposal(SleepingQuestions):
    """The question that comes before the pictures."""

    name: ClassVar[str] = "sleeping_proposal"


_Chain = Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[Link]]

CHAINS: Mapping[str, _Chain] = {
    "style": lambda gpu, ask: (
        SleepingFlux(**gpu),
        SleepingRbModulation(**gpu),
        SleepingScores(**gpu),
        SleepingQuestions(questions=2, **ask),
    ),
    "editing": lambda gpu, ask: (
        SleepingProposal(questions=1, **ask),
        SleepingEdits(**gpu),
        SleepingQuestions(questions=1, **ask),
    ),
    "pose": lambda gpu, ask: (SleepingPerson(**gpu), SleepingTarget(**gpu)),
    "composition": lambda gpu, ask: (
        SleepingTarget(**gpu),
        SleepingScores(**gpu),
        SleepingQuestions(questions=1, **ask),
    ),
    "mimicbrush": lambda gpu, ask: (SleepingTarget(**gpu),),
}
"""By task: its operators, in the order of pipelines/tasks/, given what those of a GPU and those that ask are told."""


def sleeping_task(name: str, *, pairs_per_shard: int, quicker: float, log: str, at_once: int) -> Task:
    """The task that stands for one of CHAINS. `log` is where its painters say what they do.

    `at_once` is how many questions one process may ask together.
    """
    gpu, ask = {"quicker": quicker, "log": log}, {"quicker": quicker, "at_once": at_once}
    return Task(
        name=name,
        chain=(*CHAINS[name](gpu, ask), Instruct(forward=("Go.",))),
        examples=ONE,
        pairs_per_shard=pairs_per_shard,
    )


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """`count` items that need no file: a pair begins with a small input, or with no image where all are painted."""

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = False
    contiguous: ClassVar[bool] = True
    source: ClassVar[str] = "nothing"
    licence: ClassVar[str] = "none"
    root: ClassVar[str] = ""
    count: int
    with_input: bool

    def listing(self) -> Sequence[SourceFile]:
        return ()

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return self

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        return (Item(ref=str(index), files=(), index=index) for index in range(self.count))

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return dict.fromkeys(("style", "input", "target"), "png")

    def read(self, item: Item, task: str) -> Pair:
        images: tuple[Image, ...] = ()
        if self.with_input:
            images = (encode_lossless("input", np.full((*_SIZE_PX, 3), item.index % 256, np.uint8)),)
        return Pair(
            key=pair_key(task, item.ref),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=images,
            group=item.ref,
        )


def reader_of(name: str, count: int) -> Nothing:
    """What a task of CHAINS reads."""
    return Nothing(count=count, with_input=name not in ("style", "pose"))
