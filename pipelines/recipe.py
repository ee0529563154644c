"""Recipes: which datasets are made together, of which data, and what share of a training mixture each of them is.

A recipe is a TOML file with a table for each dataset. The paper's is full_8m.toml beside this file: copy it to begin.

    [[datasets]]
    task = "derain"                   # one of ours or of an installed package
    source = "Rain13K"                # which of the task's sources, "prompts" or "bundled" (default: what is there)
    pairs = 13_000                    # the dataset is cut to so many pairs (default: all)
    factor = 4                        # with pairs, the examples that it stands for in the mixture (default: 1)

    [[datasets]]
    task = "tasks/dehaze.py:DEHAZE"   # or file.py:NAME, beside the recipe file, or module:NAME
    data = ["photos/outdoor", "DFWB"] # a folder below the data root, or several: the first that is there
    pairs = 1_000
    skip = 500                        # pass over so many first, where there are enough: other photos than elsewhere
    weight = 0.02                     # its share of the mixture (default: by its examples, as below)
    options = { size = 512, strength = 2.0 }   # any options of the run and the task; they win over the command line's

A task whose folders are not there is made from prompts, if it can be.

**The weights of the mixture** are written to OUT/recipe.json, for the trainer. A dataset counts for

    pairs x factor x (examples made) / ((pairs made + pairs held out) x (examples that a pair of the task can have))

which is the table's number of examples, less those that were not made: what a hold-out leaves out, and what waits for
a vision-language model. Pairs that gates reject, and pairs that a source does not have, count as if they were there,
since the tables count pairs after filtering: the pairs that are there are then seen more often, and the mixture is the
paper's, that of a trial with --scale too. Without `pairs` a dataset counts for the examples made. A `weight` is the
share itself; the datasets without one share the rest in proportion to what they count for. A dataset without examples
is left out, and its share goes to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from manifests.schema import in_a_line
from manifests.storage import expanded
from manifests.text_files import read_toml

_WHY_CHARS = 500  # of what is wrong with a recipe, which may repeat what it has


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dataset of a recipe, such as a line of Tab. 6 or Tab. 7."""

    task: str
    source: str = ""
    """The source, or the folder of one; "prompts" or "bundled"; "" for any that is there."""
    data: tuple[str, ...] = ()
    """Folders below the data root, or full paths or URLs, of which the first that is there is read; () for those of
    the task's sources."""
    pairs: int = 0
    """The pairs that the dataset is to have, and that the recipe counts; 0 if it counts none."""
    skip: int = 0
    """How many pairs of the source are passed over first."""
    factor: int = 1
    """Examples a pair: 4 = {generate, describe} x {forward, reverse}, 2 = {generate, describe}, 1 in Tab. 7."""
    weight: float | None = None
    """The share of the mixture, above 0 and up to 1; None for one by the examples."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def examples(self) -> int:
        return self.pairs * self.factor


PAPER_PAIRS, PAPER_EXAMPLES = 5_000_000, 8_000_000
"""What section 4 says ("about 5 million pairs, about 8 million after augmentation"); its tables add up to less."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an entry: the numbers that its weight is made of."""

    entry: Entry
    pairs: int
    examples: int
    held_out: int
    """Pairs that a hold-out has rejected."""
    examples_a_pair: int
    """The examples that the task gives a pair of which nothing is left out."""

    @property
    def counts_for(self) -> float:
        """The examples that the dataset counts for in the mixture."""
        if not self.entry.examples or not self.examples:
            return self.examples
        return self.entry.examples * self.examples / ((self.pairs + self.held_out) * self.examples_a_pair)


def weights(outcomes: Sequence[Outcome]) -> list[float]:
    """The share of each dataset in the mixture, as the module says; they add up to 1. 0 for one without examples."""
    made = [one for one in outcomes if one.examples]
    given = sum(one.entry.weight or 0.0 for one in made)
    others = sum(one.counts_for for one in made if one.entry.weight is None)
    rest = 1.0 - given if others else 0.0
    shares = [_share(one, rest / (others or 1.0)) for one in outcomes]
    return [share / (sum(shares) or 1.0) for share in shares]


def _share(outcome: Outcome, per_example: float) -> float:
    if not outcome.examples:
        return 0.0
    given = outcome.entry.weight
    return outcome.counts_for * per_example if given is None else given


def read_recipe(path: str) -> tuple[Entry, ...]:
    """The entries of a recipe file. Raises ValueError, one line that names the file, for what is none."""
    try:
        path = expanded(path)
        tables = read_toml(path).get("datasets", ())
    except ValueError as error:
        raise ValueError(f"{path} is no recipe: it {str(error).removeprefix(f'{path} ')}") from None
    try:
        entries = tuple(_entry(path, table) for table in tables)
        _check_weights(entries)
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no recipe: {in_a_line(error, _WHY_CHARS)}") from error
    if not entries:
        raise ValueError(f"{path} is no recipe: it has no [[datasets]]")
    return entries


def _entry(path: str, table: Mapping[str, Any]) -> Entry:
    known = {one.name for one in fields(Entry)}
    if wrong := sorted(table.keys() - known):
        raise ValueError(f"a dataset has no {', '.join(wrong)}; it has {', '.join(sorted(known))}")
    task = table.get("task")
    if not isinstance(task, str) or not isinstance(table.get("source", ""), str):
        raise ValueError("task and source of a dataset are names, and each has a task")
    for name, least in (("pairs", 0), ("skip", 0), ("factor", 1)):
        if type(value := table.get(name, least)) is not int or value < least:
            raise ValueError(f"{name} of {task} is {value!r}, not a whole number from {least} on")
    if table.get("skip") and not table.get("pairs"):
        raise ValueError(f"{task} skips {table['skip']:,} pairs, which it can only with a number of pairs to take")
    if "weight" in table and not (type(weight := table["weight"]) in (int, float) and 0 < weight <= 1):
        raise ValueError(f"weight of {task} is {weight!r}, not a share above 0 and up to 1")
    if not isinstance(table.get("options", {}), dict):
        raise ValueError(f"options of {task} must be a table, such as {{ size = 512 }}")
    data = table.get("data", ())
    folders = (data,) if isinstance(data, str) else tuple(data)
    if not all(isinstance(folder, str) for folder in folders):
        raise ValueError(f"data of {task} is a folder, or a list of folders")
    return Entry(**{**table, "task": _beside(path, task), "data": folders})


def _check_weights(entries: Iterable[Entry]) -> None:
    given = [entry.weight for entry in entries]
    total = sum(weight or 0.0 for weight in given)
    if None in given and total >= 1:
        raise ValueError(f"its weights add up to {total:g}, which leaves nothing for the datasets without one")


def _beside(path: str, task: str) -> str:
    """The name of a task; a file of it lies beside the recipe file."""
    file, colon, name = task.rpartition(":")
    return f"{Path(path).parent / expanded(file)}:{name}" if colon and file.endswith(".py") else task


PAPER = str(Path(__file__).with_name("full_8m.toml"))
"""The recipe file of the paper's Tab. 6 and Tab. 7."""

FULL_8M = read_recipe(PAPER)
