"""What a task is: what it reads, and the chain of operators that each pair goes through."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from manifests.schema import Direction, Kind, Pair
from operators.base import Fitted, Judge, Link, ModelOperator, OnlyUnpaired, Reader, Setting
from operators.option import Option, options_of, with_options
from operators.vlm.client import Asks, Vlm, asks
from pipelines.sources.source import Source

FOUR: tuple[tuple[Direction, Kind], ...] = (
    ("forward", "generate"),
    ("reverse", "generate"),
    ("forward", "describe"),
    ("reverse", "describe"),
)
"""The four examples of a pair that the paper's Tab. 6 counts as x4."""

TWO: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"), ("forward", "describe"))
"""The two examples of text-to-image, x2 in Tab. 6: what swaps its input and output is captioning."""

ONE: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"),)
"""The one example of a pair of Tab. 7, whose datasets are not augmented."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of transformation: its sources, its chain, its examples and its way to contexts.

    An operator says itself in which runs it is needed: one that makes the input is left out where the source brings
    inputs (operators.base.Fitted), one that asks a vision-language model where there is none, if it is optional. An
    operator or reader also says itself what a user may set of it (operators/option.py).
    """

    name: str
    """Lower case letters, digits, - and _: the dataset's folder and its shards are called after it."""
    prototype_task: str = "custom"
    """The family of tasks that the task belongs to: one of the paper's, or your own."""
    sources: tuple[Source, ...] = ()
    """Layouts that DATA may have, tried in this order."""
    bundled: Source | None = None
    """The source that is read without DATA."""
    prompted: Source | None = None
    """The source that is read with COUNT and without DATA: prompts, from which models make all images."""
    chain: tuple[Link, ...]
    """The operators, in the order in which a pair goes through them."""
    examples: tuple[tuple[Direction, Kind], ...] = FOUR
    """The examples that Tab. 6's factor counts for each pair. One that is not made waits for a model."""
    context: Literal["seeded", "raie"] = "seeded"
    """How in-context examples are chosen: at random, or by the nearest instruction (paper section 3.3)."""
    in_context: tuple[tuple[Direction, Kind], ...] | None = None
    """The examples that get an in-context example; None for all that have an input image.

    The paper names image-to-image tasks alone (section 4), so text to image lists none, not even captioning. What is
    listed here gets one whether it has an input image or not: a person who is asked for from words is shown two others.
    """
    least_group: int = 1
    """The fewest pairs of one context group that are kept: those of a smaller group are rejected (small_group)."""
    reject_pictures: bool = True
    """Whether a run keeps small pictures of what gates reject."""
    pairs_per_shard: int = 512
    """A shard of some 100 to 200 MB at 512 px, WebDataset's advice for shards on disk or in a bucket."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a task's name is of lower case letters, digits, - and _, not {self.name!r}")

    def operators(self, reader: Reader) -> tuple[Link, ...]:
        """The chain that each pair of a reader goes through.

        Raises ValueError, one line, if an operator needs a vision-language model and has none.
        """
        setting = Setting(paired=reader.paired, examples=self.wanted, chain=self.chain)
        fitted = []
        for link in self.chain:
            if asks(link) and link.vlm is None:
                if not link.optional:
                    raise ValueError(f"{self.name} needs a vision-language model: set VLM and VLM_MODEL")
                continue
            here = link.fitted(setting) if isinstance(link, Fitted) else link
            if here is not None:
                fitted.append(here)
        return tuple(fitted)

    @property
    def wanted(self) -> tuple[tuple[Direction, Kind], ...]:
        """The examples that each pair is to have: the task's, less those that an operator drops (hold-outs)."""
        dropped = {example for link in self.chain for example in getattr(link, "drops", ())}
        return tuple(example for example in self.examples if example not in dropped)

    def missing(self, pair: Pair) -> list[tuple[Direction, Kind]]:
        """The examples that a pair is to have and does not have."""
        made = {(example.direction, example.kind) for example in pair.examples}
        return [example for example in self.wanted if example not in made]

    @property
    def options(self) -> Mapping[str, Option]:
        """What a user may set, by name: the options of its operators and of the readers of its sources.

        Operators that declare an option of the same name are set together.
        """
        found = [declared for record in (*self.chain, *self.readers()) for _, declared in options_of(record)]
        return {declared.name: declared for declared in reversed(found)}  # the first of a name says its default

    def with_options(self, values: Mapping[str, Any]) -> Task:
        """The task with options of its operators set; those of readers are set in `pipelines.prepare`."""
        return self.changed(lambda link: with_options(link, values))

    def reading(self, values: Mapping[str, Any]) -> Task:
        """The task with those options of its sources set that say how DATA is to be read.

        Only sources that have all of them are left; all, as they are, if none of these options is given.
        """
        said = {name for name, one in self.options.items() if one.says_what and values.get(name) is not None}
        given = {name: values[name] for name in said}

        def takes(source: Source) -> bool:
            return said <= {declared.name for _, declared in options_of(source.reader)}

        sources = (replace(one, reader=with_options(one.reader, given)) for one in self.sources if takes(one))
        return replace(self, sources=tuple(sources)) if said else self

    @property
    def gpus(self) -> float | None:
        """Share of a GPU that a worker needs, where the cluster has some; None if the task runs no model."""
        models = [link.gpus for link in self.chain if isinstance(link, ModelOperator) and link.gpus]
        if self.vlm and self.vlm.gpus:
            models.append(self.vlm.gpus)
        return min(1.0, sum(models)) if models else None

    def runs_models(self, named: bool) -> bool:
        """Whether the task needs the packages of the extra `models`: for its operators, or for retrieval.

        What makes inputs is not needed where a source brings them. Of a task that reads such sources too, it is taken
        to run only if MODELS are `named`.
        """
        spared = not named and any(reader.paired for reader in self.readers())
        running = (link for link in self.chain if not (spared and isinstance(link, OnlyUnpaired)))
        return any(isinstance(link, ModelOperator) for link in running) or self.context == "raie"

    def for_source(self, reader: Reader) -> Task:
        """The task without what makes inputs, where the reader brings them: its models need not be there then."""
        if not reader.paired:
            return self
        return replace(self, chain=tuple(link for link in self.chain if not isinstance(link, OnlyUnpaired)))

    @property
    def vlm(self) -> Vlm | None:
        """The vision-language model that the task's operators ask, if any does."""
        return next((link.vlm for link in self.chain if isinstance(link, Asks) and link.vlm), None)

    @property
    def needs_vlm(self) -> bool:
        """Whether the task cannot be made without a vision-language model."""
        return any(asks(link) and not link.optional for link in self.chain)

    @property
    def judges(self) -> bool:
        """Whether the task has gates that reject pairs by their scores."""
        return any(isinstance(link, Judge) for link in self.chain)

    def keeping_all(self) -> Task:
        """The task whose gates store scores and reject nothing for them. Raises ValueError if it has none."""
        if not self.judges:
            raise ValueError(f"KEEP=all: {self.name} has no gate that judges by scores")
        return self.changed(lambda link: link.lenient() if isinstance(link, Judge) else link)

    def bound(self, models: str | None) -> Task:
        """The task with the checkpoints of its models found. Raises ValueError, one line, naming what is missing.

        With MODELS=tiny its gates keep all: what random weights score means nothing.
        """
        task = self.keeping_all() if models == "tiny" and self.judges else self
        return task.changed(lambda link: link.bound(models) if isinstance(link, ModelOperator) else link)

    def asking(self, vlm: Vlm | None, prompts: str | None = None) -> Task:
        """The task with a vision-language model, and the user's prompts, in the operators that ask one.

        Raises ValueError, one line, for a task that cannot be made without, or a prompt that cannot be used.
        """
        if vlm is None:
            if self.needs_vlm:
                raise ValueError(f"{self.name} needs a vision-language model: set VLM and VLM_MODEL")
            return self
        return self.changed(lambda link: link.asking(vlm, prompts) if isinstance(link, Asks) else link)

    def with_vlm(self, change: Callable[[Vlm], Vlm]) -> Task:
        """The task with another way to its model: where answers are kept, how fast it may be asked."""

        def changed(link: Any) -> Any:
            return replace(link, vlm=change(link.vlm)) if isinstance(link, Asks) and link.vlm else link  # type: ignore[type-var]

        return self.changed(changed)

    def changed(self, change: Callable[[Any], Any]) -> Task:
        """The task with each operator replaced by what `change` makes of it."""
        return replace(self, chain=tuple(map(change, self.chain)))

    def readers(self) -> Iterator[Reader]:
        """The readers of all sources that the task can read."""
        yield from (source.reader for source in (*self.sources, self.bundled, self.prompted) if source)
