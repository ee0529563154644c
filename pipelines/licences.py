"""What --allow-licence lets a run make: its source and its models are judged before anything is listed or loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from manifests.licences.effective import JUDGES, named, of_model
from manifests.licences.policy import Policy
from manifests.licences.records import SOURCES, UNKNOWN
from manifests.schema import in_a_line
from operators.base import LicensedByItem, Link, LoadsCheckpoints, ModelOperator, Reader
from operators.judge.allowed_licences import AllowedLicences
from operators.vlm.client import asks
from pipelines.tasks.task import Task

_MEASURES = frozenset({"aesthetic", "clip", "dino", "lpips"})
"""Roles of the model table that measure pictures and make nothing, whatever operator loads them."""


def refuse_models(task: Task, policy: Policy) -> None:
    """Raises ValueError, one line, if a task makes images or texts by a model whose licence is not allowed."""
    found: dict[str, str] = {}
    for link in task.chain:
        for model in _makes_with(link):
            found.setdefault(of_model(model), model)
    _refuse(task, policy, found)


def allowing(task: Task, reader: Reader, policy: Policy) -> Task:
    """The task of a source under a policy: pairs are judged one by one where each may have a licence of its own.

    Raises ValueError, one line, if the source as a whole is not allowed.
    """
    if isinstance(reader, LicensedByItem) and reader.licensed_by_item:
        judge = AllowedLicences(allowed=tuple(sorted(policy.allowed)))
        return replace(task, chain=(judge, *task.chain))
    stated = {
        name: f"{reader.source}, under {in_a_line(reader.licence, 80)}" if name == UNKNOWN else reader.source
        for name in named(reader.licence)
    }
    made_with = dict.fromkeys(SOURCES.get(reader.source, ()), f"what made {reader.source}")
    _refuse(task, policy, {**made_with, **stated})
    return task


def _makes_with(link: Link) -> tuple[str, ...]:
    """The models by which an operator makes something of a pair: roles of the model table, or a server's model."""
    if link.name in JUDGES:
        return ()
    asked = (link.vlm.model,) if asks(link) and link.vlm else ()
    if isinstance(link, LoadsCheckpoints):
        return (*asked, *(role for role in link.loads if role not in _MEASURES))
    return (
        (*asked, f"the operator {link.name}, which does not say what it loads")
        if isinstance(link, ModelOperator)
        else asked
    )


def _refuse(task: Task, policy: Policy, found: Mapping[str, str]) -> None:
    refused = {name: of for name, of in found.items() if name not in policy.allowed}
    if refused:
        raise ValueError(f"{task.name}: {policy.why(refused)}")
