"""What becomes of a recipe's entries: which source each is made of, with which options, or why it cannot be made."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manifests.storage import Store, expanded
from operators.judge.hold_out import EDITS, concerned
from operators.option import Option, options_of, with_options
from operators.read.files import Listing, list_files
from operators.read.prompt_recipe import PromptRecipe
from operators.read.split import TRAIN
from operators.read.viton_hd import VitonHd
from operators.shared.palettes import UNSEEN_PALETTE
from pipelines.options import AS, RUN, WHERE
from pipelines.prepare import Prepared, prepare, refuse_unknown
from pipelines.recipe import Entry
from pipelines.sources.locate import PHOTOS, locate, named, of_file, seen
from pipelines.sources.source import Source
from pipelines.tasks.task import Task

PROMPTS, BUNDLED = "prompts", "bundled"
"""Sources of an entry that are no dataset."""

_OF_THE_RUN = {"data", *(one.name for one in WHERE)}
"""Options that an entry cannot have: they are those of the whole recipe, or a field of the entry."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """An entry with its task, and what is known of how it is made."""

    entry: Entry
    task: Task
    source: Source | None = None
    """What it is made of; None if nothing is there."""
    place: str = ""
    """What it is made of, in words: the source, and its folder below the data root."""
    prepared: Prepared | None = None
    """The task and its reader as the options shape them; None if it cannot be made."""
    why_not: str = ""
    """Why it cannot be made, one line."""
    count: int | None = None
    """How many of the source's items are taken at the most; None for all."""
    paints: bool = True
    """False if models could make more pairs than the source holds, and are not there."""


@dataclass(frozen=True, kw_only=True)
class DataRoot:
    """The folder or URL below which sources lie, each in a folder of its own, which is listed once."""

    url: str
    listings: dict[str, Listing] = field(default_factory=dict)

    def source(self, task: Task, entry: Entry, taken_as: str = "") -> tuple[Source, str] | None:
        """What an entry is made of, its reader bound to it, and the same in words; None if nothing is there.

        An entry that names photos as its source insists on them, as `taken_as` does on what it names.

        Raises ValueError, one line, for a source that is there in part.
        """
        task = task.reading(entry.options)
        taken_as = taken_as or (PHOTOS if entry.source == PHOTOS else "")
        asked_for = sources_of(task, entry.source)
        if taken_as:
            asked_for = [source for source in named(task.sources, taken_as) if source in asked_for]
        for folder in entry.data or dict.fromkeys(source.folder for source in asked_for if source.folder):
            here = [source for source in asked_for if source.folder == folder]
            others = [source for source in asked_for if entry.data and source.folder != folder]
            sources, root = of_file([*here, *others], self._root(folder))
            if not (listing := self._listed(root)):
                continue
            if source := locate(sources, root, listing, taken_as=taken_as):
                name = source.reader.source
                source = replace(source, seen=seen(source, root, listing))
                is_file = root != self._root(folder)
                return source, name if name == folder else f"{name} ({folder}{'' if is_file else '/'})"
        made = prompts_of(task)
        if made and (made in asked_for or not entry.source):
            return made, PROMPTS
        bundled = task.bundled
        if bundled and (entry.source == BUNDLED or not task.sources):
            return bundled, f"{bundled.reader.source} ({BUNDLED})"
        return None

    def _root(self, folder: str) -> str:
        """A folder below the data root, or one that says itself where it is."""
        if "://" in folder or Path(expanded(folder)).is_absolute():
            return expanded(folder)
        store = Store(self.url)
        return store.path(folder) if store.is_local else f"{self.url.rstrip('/')}/{folder}"

    def _listed(self, root: str) -> Listing:
        if root not in self.listings:
            self.listings[root] = list_files(root) if Store(root).exists("") else Listing()
        return self.listings[root]


def prompts_of(task: Task) -> Source | None:
    """The prompts from which models make all images of a task, if it can be made so."""
    if task.bundled and isinstance(task.bundled.reader, PromptRecipe):
        return task.bundled
    return task.prompted


def sources_of(task: Task, name: str) -> list[Source]:
    """The sources of a task that a name stands for, a source's own or its folder's; "" stands for all.

    Raises ValueError, one line with the nearest name, for a name of none.
    """
    if not name:
        return [*task.sources]
    if name == BUNDLED and task.bundled:
        return []
    made = prompts_of(task)
    if name == PROMPTS and made:
        return [made]
    if found := [source for source in task.sources if name in (source.reader.source, source.folder)]:
        return found
    names = [one for source in task.sources for one in (source.reader.source, source.folder)]
    names += [PROMPTS if made else "", BUNDLED if task.bundled else ""]
    known = [one for one in dict.fromkeys(names) if one]
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
    raise ValueError(f"{task.name} has no source {name}: {guess}")


def with_parsed_options(entry: Entry, task: Task) -> Entry:
    """The entry with its options as values, as those of a command line become.

    Raises ValueError, one line, for one that an entry cannot have, with the nearest name, for what is no value, and for
    data that is not to train on.
    """
    known = {one.name: one for one in RUN} | dict(task.options)
    refuse_test_data(entry.options)
    if wrong := sorted(entry.options.keys() & _OF_THE_RUN):
        raise ValueError(f"{task.name} cannot have an option {wrong[0]} of its own: it is the whole recipe's")
    refuse_unknown(task, entry.options)
    values = {name: _parsed(known[name], value) for name, value in entry.options.items()}
    sources_of(task, entry.source)
    return replace(entry, options=values)


def refuse_test_data(options: Mapping[str, Any]) -> None:
    """Raises ValueError, one line, for options by which a recipe would train on what is evaluated on."""
    if (split := options.get("split") or TRAIN) != TRAIN:
        raise ValueError(f"a recipe makes data to train on, never of the split {split}: make that with xprompt shards")
    if (palette := options.get("palette")) == UNSEEN_PALETTE:
        raise ValueError(
            f"no training data is drawn in the palette {palette}: make a test set of it with xprompt shards"
        )


def _parsed(option: Option, value: Any) -> Any:
    if option.many:
        if isinstance(value, dict):
            return option.value(value)
        return [option.parsed(str(one)) for one in (value if isinstance(value, list) else [value])]
    return option.parsed(str(value))


def plan_entry(entry: Entry, task: Task, root: DataRoot, shared: Mapping[str, Any]) -> Planned:
    """An entry as it is to be made. `shared` are the options of the whole recipe; the entry takes those that it can."""
    try:
        insisted = shared[AS] if shared.get(AS) and takes(task, None, AS, shared[AS]) else ""
        found = root.source(task, entry, str(entry.options.get(AS) or insisted))
    except ValueError as error:
        return Planned(entry=entry, task=task, why_not=str(error))
    if found is None:
        wanted = entry.data or [entry.source or task.name]
        return Planned(entry=entry, task=task, why_not=f"{' or '.join(wanted)} is not below {root.url}")
    source, place = found
    given = {name: value for name, value in shared.items() if takes(task, source, name, value)}
    given = {**given, **_held_out(task, shared), **entry.options}
    count, paints = entry.pairs or None, True
    if any(declared.name == "count" for _, declared in options_of(source.reader)):
        paints = not isinstance(source.reader, VitonHd) or _paints(task, given)
        if "count" in given:
            count = None  # it counts what one begins with, of which some is rejected
        elif count and paints:
            given["count"] = count
    planned = Planned(entry=entry, task=task, source=source, place=place, count=count, paints=paints)
    try:
        return replace(planned, prepared=prepare(task, given, source))
    except ValueError as error:
        counted = {"count": given["count"]} if "count" in given else {}
        reader = with_options(source.reader, counted)
        return replace(planned, source=replace(source, reader=reader), why_not=str(error))


def _held_out(task: Task, shared: Mapping[str, Any]) -> dict[str, Any]:
    """What the whole recipe holds out, as far as it concerns a task."""
    if not shared.get("hold_out"):
        return {}
    names = concerned(task.name, shared["hold_out"])
    by = {} if EDITS in names or EDITS not in shared["hold_out"] else {"hold_out_by": None}
    return {"hold_out": names, **by}


def takes(task: Task, source: Source | None, name: str, value: Any) -> bool:
    """Whether a dataset of a task, of a source if it is known, can take an option of the whole recipe.

    `as` is for tasks that read such a source, `keep` for tasks with gates that judge by scores, `size` for photos that
    come without pairs, and an option of a task or reader for those that declare it and have the value among their
    choices.
    """
    if name == "keep":
        return task.judges
    if name == AS:
        with suppress(ValueError):
            return bool(named(task.sources, value))
        return False
    if name in ("size", "resize"):
        readers = [source.reader] if source else [*task.readers()]
        return not all(reader.paired for reader in readers)
    if name in {one.name for one in RUN}:
        return True
    records = (*task.chain, *([source.reader] if source else task.readers()))
    declared = [one for record in records for _, one in options_of(record) if one.name == name]
    return any(not one.choices or value in one.choices for one in declared)


def refuse_untaken(shared: Mapping[str, Any], datasets: Sequence[Planned]) -> None:
    """Raises ValueError, one line, for an option of the whole recipe that none of its datasets can take."""
    for name, value in shared.items():
        if value is not None and not any(takes(one.task, one.source, name, value) for one in datasets):
            raise ValueError(f"--{name.replace('_', '-')}: no dataset of the recipe can take {value}")
    for name in shared.get("hold_out") or ():
        if not any(concerned(one.task.name, [name]) for one in datasets):
            raise ValueError(f"--hold-out {name}: no dataset of the recipe has any of it")


def options_of_tasks(tasks: Sequence[Task]) -> Iterator[Option]:
    """What tasks let a user set, each option once, with the choices that any of them has."""
    found: dict[str, Option] = {}
    for task in tasks:
        for name, one in task.options.items():
            known = found.get(name, one)
            found[name] = replace(known, choices=tuple(dict.fromkeys((*known.choices, *one.choices))))
    yield from found.values()


def _paints(task: Task, given: Mapping[str, Any]) -> bool:
    """Whether a task has the models to make pairs that its dataset does not hold."""
    own = {name: value for name, value in given.items() if name in task.options}
    return task.with_options(own).bound(given.get("models")).gpus is not None
