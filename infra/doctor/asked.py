"""What a user asks the doctor about: a task with the options of a run, where, and what follows from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from infra.arguments import Parser, as_options, task_of
from operators.base import Link, ModelOperator
from operators.models.presence import Presence, presence
from operators.vlm.client import LOCAL, Vlm
from pipelines.commands import add_options, given
from pipelines.models import needed_by
from pipelines.options import AS, RUN, WHERE, defaults
from pipelines.prepare import checked, prepare, vlm_of
from pipelines.report.estimate import PAINTING_GPU_S, Estimate, estimate
from pipelines.run.plan import find_source
from pipelines.sources.source import Source
from pipelines.tasks.catalogue import find_task
from pipelines.tasks.task import Task
from train.run.config import PRESETS

_OF_THE_RAY = "the Ray cluster that a run would connect to, host:port (default: $RAY_ADDRESS; none: this machine alone)"
_TRAIN = "look at what this preset of xprompt train needs as well"
_WITHOUT_TASK = frozenset([*(one.name for one in WHERE), "models", "data"])
"""The options that say something without a task."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command line, and what follows from it. What takes time is found when it is first asked for, and kept."""

    task: Task | None
    """The task as it is declared."""
    options: Mapping[str, Any]
    """The options of a run that were typed."""
    values: Mapping[str, Any]
    """The values of a run's own options, defaults included."""
    address: str | None
    """Of the cluster; None if there is none to be looked at."""
    train: str | None
    """The preset that is to be trained."""

    @property
    def name(self) -> str:
        return self.task.name if self.task else "a run"

    @cached_property
    def source(self) -> Source:
        """The source that DATA is, bound to it. Raises ValueError, one line, if it is none."""
        assert self.task
        own = self._own
        data = str(self.values["data"]) if self.values["data"] is not None else None
        return find_source(
            self.task.reading(own),
            data,
            counted="count" in own,
            split=str(self.values["split"]),
            taken_as=self.values[AS] or "",
        )

    @cached_property
    def shaped(self) -> Task:
        """The task as its own options shape it, without what makes inputs if the source brings them."""
        assert self.task
        task = self.task.with_options(self._own)
        try:
            return task.for_source(self.source.reader)
        except (ValueError, OSError, ImportError):  # which is said of DATA
            return task

    @cached_property
    def vlm(self) -> Vlm | None:
        """The vision-language model on a server that would be asked. Raises ValueError, one line, for none that can."""
        return vlm_of(self.values) if self.values["vlm"] and self.values["vlm"] != LOCAL else None

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The checkpoints that the task loads, by their roles in operators/models/table.py."""
        if not self.task:
            return ()
        here = ("qwen2-vl",) if self.values["vlm"] == LOCAL else ()
        return tuple(dict.fromkeys([*needed_by(self.shaped), *here]))

    @cached_property
    def presences(self) -> Sequence[Presence]:
        """What MODELS has of them. Raises ValueError if MODELS=hub is asked for without the package."""
        return [presence(str(self.values["models"] or ""), role) for role in self.roles]

    @property
    def may_be_bound(self) -> bool:
        """Whether the task can be given its models without a download."""
        return not self.roles or (
            self.values["models"] not in (None, "hub") and all(one.state == "present" for one in self.presences)
        )

    @cached_property
    def chain(self) -> Sequence[Link] | None:
        """The operators that a pair goes through; None where DATA says not."""
        if not self.task:
            return ()
        try:
            task = self.shaped.asking(self.vlm) if self.vlm else self.shaped
            return task.operators(self.source.reader)
        except (ValueError, OSError, ImportError):
            return None

    @cached_property
    def estimated(self) -> Estimate | None:
        """What a run would make; None if that needs models which are not there. Raises ValueError, one line."""
        assert self.task
        seed, scale, gib = (self.values[name] for name in ("seed", "scale", "gpu_gib"))
        if self.may_be_bound:
            prepared = prepare(self.task, self.options)
            return estimate(prepared.task, prepared.reader, seed, scale, gib)
        gpu_s = [link.gpu_s for link in self.chain or () if isinstance(link, ModelOperator)]
        if max(gpu_s, default=0.0) < PAINTING_GPU_S:
            return None
        task = self.shaped.asking(self.vlm) if self.vlm else self.shaped
        return estimate(task, self.source.reader, seed, scale, gib)

    @property
    def _own(self) -> dict[str, Any]:
        assert self.task
        return {name: value for name, value in self.options.items() if name in self.task.options}


def asked_for(arguments: Sequence[str], prog: str) -> Asked:
    """What a command line asks for. Raises ValueError, one line, for what cannot be; ends the process as argparse does.

    The task comes first, or by name (TASK=derain): its own options are then known too.
    """
    name = task_of(arguments) or next(
        (one for one in arguments[:1] if not one.startswith("-") and "=" not in one), None
    )
    task = find_task(name) if name else None
    parser = _parser(prog, task)
    options = parser.parse_intermixed_args(as_options(parser, arguments))
    task = find_task(options.task) if options.task else None
    address = options.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    train = options.train
    asked = {name: value for name, value in given(options).items() if name not in ("ray_address", "train")}
    if task:
        checked(task, asked)
    elif wrong := next((one for one in asked if one not in _WITHOUT_TASK), None):
        raise ValueError(f"--{wrong.replace('_', '-')} says something of a task: name one, as in `{prog} derain`")
    return Asked(
        task=task,
        options=asked,
        values=defaults(asked),
        address=None if address == "local" else address,
        train=train,
    )


def _parser(prog: str, task: Task | None) -> argparse.ArgumentParser:
    text = (
        "Say whether a task would run on this machine, and on the cluster at RAY_ADDRESS, one line for each thing "
        "looked at. It takes the options of xprompt shards. The exit status is 1 if something will fail, 2 if it is "
        "asked wrongly. Nothing is downloaded, and what it writes to try a place is removed again."
    )
    parser = Parser(prog=prog, description=text)
    parser.add_argument(
        "task", nargs="?", help="a task as of xprompt shards; without one the machine alone is looked at"
    )
    parser.add_argument("--ray-address", metavar="ADDRESS", help=_OF_THE_RAY)
    parser.add_argument("--train", choices=PRESETS, help=_TRAIN)
    add_options(parser, RUN)
    if task:
        add_options(parser.add_argument_group(f"what {task.name} itself lets you set"), task.options.values())
    return parser
