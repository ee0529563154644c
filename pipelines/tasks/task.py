"""What a task is: a declarative record of what it reads and of the operators that its pairs go through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from manifests.schema import Direction, Kind, Pair
from operators.base import Judge, Link, ModelOperator, Reader
from operators.judge.hold_out import DropExamples
from operators.judge.vlm_filter import VlmFilter
from operators.models.diffusion import Family, Painter
from operators.models.pose.estimators import EstimatorName, PoseOperator
from operators.vlm.client import Asks, Vlm
from operators.word.difference import Difference
from operators.word.recaption import Recaption
from operators.word.relation import Relation
from pipelines.sources.datasets import Source

Bindable = TypeVar("Bindable")

FOUR: tuple[tuple[Direction, Kind], ...] = (
    ("forward", "generate"),
    ("reverse", "generate"),
    ("forward", "describe"),
    ("reverse", "describe"),
)
"""Tab. 6's x4."""

TWO: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"), ("forward", "describe"))
"""Tab. 6's x2 for text-to-image, whose swap is captioning: the describe example."""

ONE: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"),)
"""Tab. 7: without augmentation."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the engine needs to know of a task: what it reads, and the operators that each pair goes through.

    Chain: `degrade` (only where the source brings no input), `prepare`, `gate`, `judge`, `rewrite`, `instruct`,
    `describe` (only of what `degrade` made), `hold_out`, `complete`. `judge`, `rewrite` and `complete` are left out
    without a vision-language model.
    """

    name: str
    prototype_task: str
    sources: tuple[Source, ...]
    """Layouts that DATA may have, tried in this order."""
    bundled: Source | None = None
    """What is read without DATA."""
    prompted: Source | None = None
    """What is read with COUNT, if that is something else: prompts, from which models make all images."""
    degrade: Link | None = None
    """Makes the input from the target: a degradation, an annotation."""
    prepare: tuple[Link, ...] = ()
    gate: Link | None = None
    judge: VlmFilter | Relation | None = None
    rewrite: Recaption | None = None
    instruct: Link
    describe: Link | None = None
    examples: tuple[tuple[Direction, Kind], ...] = FOUR
    """The examples that Tab. 6's factor counts for each pair. One that is not made waits for a model."""
    hold_out: tuple[Link, ...] = ()
    """What a recipe removes at the end of the chain (operators/judge/hold_out.py)."""
    complete: Difference | None = None
    """What makes the examples of a pair that are still missing."""
    context: Literal["seeded", "raie"] = "seeded"
    """How in-context examples are chosen: at random, or by the nearest instruction (paper section 3.3)."""
    pairs_per_shard: int = 512
    """A shard of some 100 to 200 MB at 512 px, WebDataset's advice for shards on disk or in a bucket."""

    def missing(self, pair: Pair) -> list[tuple[Direction, Kind]]:
        """The examples that the task counts for each pair and this one does not have, unless they are held out."""
        made = {(example.direction, example.kind) for example in pair.examples}
        return [example for example in self._wanted if example not in made]

    @property
    def _wanted(self) -> tuple[tuple[Direction, Kind], ...]:
        """The examples of each pair, less those held out."""
        drops = (operator for operator in self.hold_out if isinstance(operator, DropExamples))
        held_out = {example for operator in drops for example in operator.examples}
        return tuple(example for example in self.examples if example not in held_out)

    @property
    def gpus(self) -> float | None:
        """Share of a GPU that a worker needs, where the cluster has some; None if the task runs no model."""
        models = [link.gpus for link in self._links() if isinstance(link, ModelOperator) and link.gpus]
        if self.vlm and self.vlm.gpus:
            models.append(self.vlm.gpus)
        return min(1.0, sum(models)) if models else None

    @property
    def vlm(self) -> Vlm | None:
        """The vision-language model that its operators ask."""
        return next((link.vlm for link in self._links() if isinstance(link, Asks) and link.vlm), None)

    def painted_by(self, family: Family) -> Task:
        """The task with another family of generators. Raises ValueError if none of its operators has a choice."""
        if not any(isinstance(link, Painter) for link in self._links()):
            raise ValueError(f"GENERATOR={family}: {self.name} has no choice of generators")

        def choose(link: Bindable) -> Bindable:
            return link.of_family(family) if isinstance(link, Painter) else link

        return replace(self, prepare=tuple(map(choose, self.prepare)))

    def posed_by(self, name: EstimatorName) -> Task:
        """The task with another pose estimator. Raises ValueError if none of its operators looks for a pose."""
        if not any(isinstance(link, PoseOperator) for link in self._links()):
            raise ValueError(f"ESTIMATOR={name}: {self.name} estimates no pose")
        return self._changed(lambda link: link.of_estimator(name) if isinstance(link, PoseOperator) else link)

    @property
    def judges(self) -> bool:
        """Whether it has gates that reject pairs by their scores."""
        return any(isinstance(link, Judge) for link in self._links())

    def keeping_all(self) -> Task:
        """The task whose gates store scores and reject nothing for them. Raises ValueError if it has none."""
        if not self.judges:
            raise ValueError(f"KEEP=all: {self.name} has no gate that judges by scores")
        return self._changed(lambda link: link.lenient() if isinstance(link, Judge) else link)

    def bound(self, models: str | None) -> Task:
        """The task with the checkpoints of its models found. Raises ValueError, one line, naming what is missing.

        With MODELS=tiny its gates keep all: what random weights score means nothing.
        """

        def bind(link: Bindable) -> Bindable:
            return link.bound(models) if isinstance(link, ModelOperator) else link

        task = self.keeping_all() if models == "tiny" and self.judges else self
        return task._changed(bind)

    def asking(self, vlm: Vlm | None, prompts: str | None = None) -> Task:
        """The task with a vision-language model, and the user's prompts, in the operators that ask one.

        Raises ValueError, one line, for a task that cannot be made without, or a prompt that cannot be used.
        """
        if vlm is None:
            if any(isinstance(link, Asks) and not link.optional for link in self._links()):
                raise ValueError(f"{self.name} needs a vision-language model: set VLM and VLM_MODEL")
            return self
        return self._changed(lambda link: link.asking(vlm, prompts) if isinstance(link, Asks) else link)

    def with_vlm(self, change: Callable[[Vlm], Vlm]) -> Task:
        """The task with another way to its model: where answers are kept, how fast it may be asked."""

        def changed(link: Bindable) -> Bindable:
            if isinstance(link, Asks) and link.vlm:
                return replace(link, vlm=change(link.vlm))  # type: ignore[type-var]  # operators are dataclasses
            return link

        return self._changed(changed)

    def _changed(self, change: Callable[[Any], Any]) -> Task:
        """The task with each operator replaced by what `change` makes of it."""
        return replace(
            self,
            degrade=change(self.degrade),
            prepare=tuple(map(change, self.prepare)),
            gate=change(self.gate),
            judge=change(self.judge),
            rewrite=change(self.rewrite),
            hold_out=tuple(map(change, self.hold_out)),
            complete=change(self.complete),
        )

    def _links(self) -> Iterator[Link]:
        links = (self.degrade, *self.prepare, self.gate, self.judge, self.rewrite, *self.hold_out, self.complete)
        yield from (link for link in links if link is not None)

    def operators(self, reader: Reader) -> tuple[Link, ...]:
        """The chain that each pair of a reader goes through."""
        made = not reader.paired and self.degrade is not None
        described = made and self.describe is not None
        chain = (
            self.degrade if made else None,
            *self.prepare,
            self.gate,
            self.judge if self.vlm else None,
            self.rewrite if self.vlm else None,
            self.instruct,
            self.describe if made else None,
            *self.hold_out,
            replace(self.complete, examples=self._wanted) if self.complete and self.vlm and not described else None,
        )
        return tuple(operator for operator in chain if operator is not None)
