"""All tasks that a user can name: ours, those of installed packages, and those of a file or module of the user's own.

derain                         one of ours
dehaze                         of an installed package, whose entry point in the group `xprompt.tasks` has this name
my/tasks.py:DEHAZE             of a Python file
my_package.tasks:DEHAZE        of a module that Python finds
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from manifests.records import Plan
from manifests.storage import expanded
from pipelines.tasks.controllable import DEPTH2IMG, HED2IMG, MLSD2IMG, NORMAL2IMG, SEG2IMG
from pipelines.tasks.dense_prediction import DEPTH, NORMAL, SEGMENTATION
from pipelines.tasks.editing import EDITING, INSTRUCTPIX2PIX, MAGICBRUSH, ULTRAEDIT
from pipelines.tasks.low_level import DEBLUR, DENOISE, DERAIN, LOWLIGHT, RETOUCH
from pipelines.tasks.own_pairs import PAIRS
from pipelines.tasks.personalisation import COMPOSITION, MIMICBRUSH, POSE, STYLE, TRY_ON
from pipelines.tasks.task import Task
from pipelines.tasks.text_to_image import TEXT2IMG

GROUP = "xprompt.tasks"
"""The entry points by which a package offers its tasks."""

OUR_TASKS = {
    task.name: task
    for task in (
        DENOISE,
        DEBLUR,
        DERAIN,
        RETOUCH,
        LOWLIGHT,
        DEPTH,
        SEGMENTATION,
        NORMAL,
        DEPTH2IMG,
        SEG2IMG,
        NORMAL2IMG,
        HED2IMG,
        MLSD2IMG,
        TEXT2IMG,
        ULTRAEDIT,
        MAGICBRUSH,
        STYLE,
        POSE,
        TRY_ON,
        COMPOSITION,
        MIMICBRUSH,
        INSTRUCTPIX2PIX,
        EDITING,
        PAIRS,
    )
}
"""The paper's tasks by name, in the order of its tables, one that only its evaluation has, `editing`, and `pairs`."""

_OURS = {"manifests", "operators", "pipelines", "xprompt_model", "train", "infra"}


def find_task(name: str) -> Task:
    """The task that a name stands for (see above).

    Raises ValueError, one line, that names what is nearest if there is no such task, or says why it cannot be loaded.
    """
    if name in OUR_TASKS:
        return OUR_TASKS[name]
    place, colon, attribute = name.rpartition(":")
    if colon:
        module = _of_file(place) if place.endswith(".py") else _of_module(place)
        return _task(getattr(module, attribute, None), name, module)
    if name in (offered := offered_tasks()):
        entry = offered[name]
        try:
            return _task(entry.load(), name, sys.modules[entry.module])
        except (ImportError, AttributeError) as error:
            raise ValueError(f"the task {name} of the entry point {entry.value} cannot be loaded: {error}") from error
    near = difflib.get_close_matches(name.lower(), [*OUR_TASKS, *offered], n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    raise ValueError(f"there is no task {name!r}: {guess}`xprompt tasks` lists them all")


def task_of(plan: Plan, task: Task | str | None) -> Task:
    """The task that a dataset is of. Raises ValueError if it is not the one given, or cannot be found by its name."""
    name = str(plan.config.get("task", plan.task))
    if task is None:
        try:
            return find_task(name)
        except ValueError as error:
            raise ValueError(f"{error}; --task file.py:NAME says where it is") from None
    found = find_task(task) if isinstance(task, str) else task
    if found.name != name:
        raise ValueError(f"the dataset is of the task {name}, not of {found.name}")
    return found


@cache
def offered_tasks() -> dict[str, EntryPoint]:
    """The entry points of installed packages, by the name of their task."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def modules_of(task: Task) -> list[str]:
    """The files and package folders that a worker needs to know a task: where its operators and readers are defined.

    Ours are left out, and so is what is defined in a notebook, which Ray sends by value.
    """
    found = set()
    for record in _records((*task.chain, *task.readers())):
        root = type(record).__module__.partition(".")[0]
        module = sys.modules.get(root)
        if module is None or root in _OURS or root in sys.stdlib_module_names or root == "__main__":
            continue
        if file := getattr(module, "__file__", None):
            found.add(str(Path(file).parent if Path(file).name == "__init__.py" else Path(file)))
        else:  # a package without __init__.py
            found.update(getattr(module, "__path__", ()))
    return sorted(found)


def _records(values: Any) -> Iterator[Any]:
    """All dataclasses among some values, and in their fields."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _records(value)
        elif is_dataclass(value):
            yield value
            yield from _records(getattr(value, one.name) for one in fields(value))


def _of_file(path: str) -> Any:
    """The module of a Python file, imported under the file's name, by which workers find it too."""
    file = Path(expanded(path)).resolve()
    if not file.is_file():
        raise ValueError(f"there is no file {path}")
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    there = importlib.util.find_spec(file.stem) if known is None else known.__spec__
    if known is not None or (there is not None and there.origin != str(file)):
        raise ValueError(f"{path} has the name of another Python module, {file.stem}: rename the file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[file.stem]
        if isinstance(error, Exception):
            raise ValueError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
        raise
    return module


def _of_module(name: str) -> Any:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script's folder is on the path, and the user's is not
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ValueError(f"the module {name} cannot be loaded: {type(error).__name__}: {error}") from error


def _task(found: Any, name: str, module: Any) -> Task:
    if isinstance(found, Task):
        return found
    there = [key for key, value in vars(module).items() if isinstance(value, Task)]
    has = f"it has {', '.join(there)}" if there else "there is none in it"
    raise ValueError(f"{name} is not a task: {has}")
