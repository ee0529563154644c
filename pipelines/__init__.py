"""Tasks and sources as records, and the engine that makes datasets of them on Ray.

`make` makes a dataset, `plan` says what that would make and cost, `Task` is what a user writes for a task of their own.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.api import make as make
    from pipelines.api import plan as plan
    from pipelines.tasks.task import Task as Task

__all__ = ["Task", "make", "plan"]


def __getattr__(name: str) -> Any:
    # Only when asked for: Ray and the operators take seconds to import, and workers import other modules of ours.
    if name in ("make", "plan"):
        from pipelines import api

        return getattr(api, name)
    if name == "Task":
        from pipelines.tasks.task import Task

        return Task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
