"""What a worker says of a unit that it has made."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.dataset import Commit
from operators.account import accounting
from operators.vlm.request import Usage
from pipelines.run.hanging import watched
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit


@dataclass(frozen=True, kw_only=True)
class Made:
    """A committed unit, and what it cost."""

    commit: Commit
    usage: Usage
    """What was asked of a vision-language model for it."""
    spent: Spent


def made_unit(job: Job, unit: int, *, painted: int = 0, unproven: bool = False) -> Made:
    """Make a unit, or assemble it from painted pairs, in a process that does nothing else meanwhile."""
    spent = Spent()
    with accounting() as account:
        commit = make_unit(job, unit, spent, painted=painted, using=watched, unproven=unproven)
    return Made(commit=commit, usage=account.usage, spent=spent)
