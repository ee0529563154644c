"""A task and its reader as a user's options shape them; what is wrong with them is found before anything starts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from manifests.licences.policy import Policy
from operators.arrange.resize import Resize
from operators.base import Link, OnlyUnpaired, Reader
from operators.judge.guard import Guard
from operators.judge.hold_out import EDITS, NOVEL_TASKS, concerned, hold_outs
from operators.option import options_of, with_options
from operators.vlm.client import Promising, Vlm
from pipelines.licences import allowing, refuse_models
from pipelines.options import AS, RUN, defaults
from pipelines.report.price_table import PriceTable, read_prices
from pipelines.report.prices import Prices
from pipelines.run.plan import find_source
from pipelines.sources.source import Source
from pipelines.tasks.catalogue import find_task
from pipelines.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task as the options shape it, with the reader of its source."""

    task: Task
    reader: Reader
    taken_as: str
    """DATA, and the layout that it was taken for, in words."""
    values: Mapping[str, Any]
    """The values of the run's own options."""
    prices: Prices | None
    """What a million tokens of the vision-language model cost, if that was said."""
    costs: PriceTable
    """What machines and buckets cost."""


def prepare(task: Task | str, options: Mapping[str, Any], source: Source | None = None) -> Prepared:
    """The task and its reader as the options shape them; what is wrong is found before anything is started.

    The option `as`, a word of Python's, may be written `as_`.

    `source` is read in the place of what DATA holds, if it is given: its reader is bound to a folder already. Raises
    ValueError, one line with the way out, for what cannot be made.
    """
    options = {AS if name == f"{AS}_" else name: value for name, value in options.items()}
    task = checked(task, options)
    values = defaults(options)
    own = {name: value for name, value in options.items() if name in task.options and value is not None}
    vlm, prices = vlm_of(values), _prices(values)
    data = str(values["data"]) if values["data"] is not None else None
    source = source or find_source(
        task.reading(own), data, counted="count" in own, split=str(values["split"]), taken_as=values[AS] or ""
    )
    reader = _counted(source.reader, own, task)
    task = _with_added(task.with_options(own), reader, values)
    task = replace(task, reject_pictures=values["reject_pictures"])
    if values["keep"] == "all":
        task = task.keeping_all()
    task = task.for_source(reader)
    policy = Policy.of(_many(values["allow_licence"]))
    if policy.asked:
        task = allowing(task, reader, policy)
        refuse_models(task.asking(vlm, values["prompts"]), policy)  # before any of them is downloaded
    task = task.bound(values["models"]).asking(vlm, values["prompts"])
    if policy.asked:
        refuse_models(task, policy)  # those too of which an operator says only now that it loads them
    task.operators(reader)  # says if an operator lacks something
    return Prepared(
        task=task,
        reader=reader,
        taken_as=source.seen or source.layout,
        values=values,
        prices=prices,
        costs=_costs(values),
    )


def checked(task: Task | str, options: Mapping[str, Any]) -> Task:
    """The task, as declared, after the checks that cost nothing: no source is listed and no package of models loaded.

    Raises ValueError, one line, for an option that neither the engine nor the task has, with the nearest name; for a
    value that cannot be; for a place that is empty; for a task that needs a vision-language model and is given none.
    """
    task = find_task(task) if isinstance(task, str) else task
    refuse_unknown(task, options)
    for name in ("data", "out", "models", "guard"):
        if options.get(name) is not None and not str(options[name]).strip():
            raise ValueError(f"--{name} is empty, as an unset variable of a shell is: give a place, or leave it out")
        if re.search(r"://[^/@]*:[^/]*@", str(options.get(name))):
            raise ValueError(
                f"--{name}: a password in a URL would be printed, and stored with the dataset: give it to the file "
                "system by its own variables, or in fsspec's configuration (~/.config/fsspec)"
            )
    _prices(values := defaults(options))
    _costs(values)
    if task.needs_vlm and not values["vlm"]:
        task.asking(None)  # says what is missing
    Policy.of(_many(values["allow_licence"]))
    names = _many(values["hold_out"])
    for name in sorted({name for name in names if name in NOVEL_TASKS} - set(concerned(task.name, names))):
        of = " and ".join(sorted(NOVEL_TASKS[name].tasks))
        raise ValueError(f"--hold-out {name} leaves out pairs of {of}: {task.name} has none of them")
    if values["hold_out_by"] == "vlm":
        if EDITS not in values["hold_out"]:
            raise ValueError(f"--hold-out-by says who judges edits, which are held out by --hold-out {EDITS} alone")
        if not values["vlm"]:
            raise ValueError("--hold-out-by vlm needs a vision-language model: set VLM and VLM_MODEL")
    return task


def _many(value: str | Sequence[str]) -> Sequence[str]:
    """The values of an option that takes several, of which a caller may give one by itself."""
    return [value] if isinstance(value, str) else value


def refuse_unknown(task: Task, names: Iterable[str]) -> None:
    """Raises ValueError, one line with the nearest name, for an option that neither the engine nor the task has."""
    known = [*(one.name for one in RUN), *task.options]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            own = ", ".join(sorted(task.options)) or "none of its own"
            raise ValueError(
                f"{task.name} has no option {name}: "
                + (f"did you mean {near[0]}?" if near else f"beside those of every run it has {own}")
            )


def _counted(reader: Reader, own: Mapping[str, Any], task: Task) -> Reader:
    names = {declared.name for _, declared in options_of(reader)}
    for one in task.readers():
        for _, declared in options_of(one):
            if declared.name in own and declared.name not in names:
                raise ValueError(f"{declared.flag} is not for {reader.source}: {declared.help}")
    return with_options(reader, own)


def _with_added(task: Task, reader: Reader, values: Mapping[str, Any]) -> Task:
    """The task with the operators that options add to its chain: of one size, guarded, with examples held out."""
    chain: list[Link] = [*task.chain]
    if values["guard"]:  # behind what makes the input: that is looked at too
        first = next((place for place, link in enumerate(chain) if not isinstance(link, OnlyUnpaired)), len(chain))
        chain.insert(first, Guard.of(str(values["guard"])))
    if held_out := hold_outs(task.name, _many(values["hold_out"]), values["hold_out_by"]):
        asks = next((place for place, link in enumerate(chain) if isinstance(link, Promising)), len(chain))
        chain[asks:asks] = held_out
    if values["size"] is not None:
        if reader.paired:
            raise ValueError(f"--size is for photos: the pairs of {reader.source} are stored as they are")
        chain.insert(0, Resize(size_px=values["size"], mode=values["resize"]))
    return replace(task, chain=tuple(chain))


def vlm_of(values: Mapping[str, Any]) -> Vlm | None:
    """The model that the options name, if they name one. Raises ValueError, one line, for what cannot be."""
    if not values["vlm"]:
        return None
    return Vlm.of(
        values["vlm"],
        values["vlm_model"],
        values["models"],
        concurrency=values["vlm_concurrency"],
        requests_per_s=values["vlm_rate"],
        timeout_s=values["vlm_timeout"],
    )


def _prices(values: Mapping[str, Any]) -> Prices | None:
    """The prices that the options give. Raises ValueError if one of the two is missing."""
    given = values["price_in"], values["price_out"]
    if given == (None, None):
        return None
    if None in given:
        raise ValueError("a cost needs both prices: --price-in and --price-out")
    return Prices(per_million_in=given[0], per_million_out=given[1])


def _costs(values: Mapping[str, Any]) -> PriceTable:
    """The price table. Raises ValueError, one line, for a file that is none."""
    try:
        return read_prices(values["price_table"])
    except ValueError as error:
        raise ValueError(f"--price-table: {error}") from None
