"""Derives a dataset from another: without the pairs that reviewers drop or SQL does not select, and with the
instructions that reviewers have fixed.

Each unit of the parent becomes the unit of the same name. Its pairs keep their keys, images (byte for byte), licence,
scores and provenance, to which a step `choose` is added where somebody has decided: who, what and when. What is left
out becomes a reject, with why, behind the rejects that the parent has; so every item of the plan is accounted for, and
`verify` finds nothing. The plan's configuration is the parent's, and names the parent, the decisions and the SQL by
their hashes. The parent is only read.

In-context examples that name a pair that is left out are taken off their lists, which keep their order. An example that
has none left goes without: another one is not drawn here, because what may be shown to which pair (other pictures, no
copies, the same style or pose) is known where they are chosen. `xprompt contexts` chooses all of them anew.

Candidates, tokens, a model's answers and embeddings stay with the parent: the first are of pairs that may be gone, and
all can be made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from manifests.choose.decisions import Ledger
from manifests.choose.derived_unit import derive_unit
from manifests.choose.selection import Selection, Undecided, selection
from manifests.dataset import Dataset, DatasetError, Plan
from manifests.read.places import folder_of
from manifests.schema import PLAN, canonical_json
from manifests.storage import Store
from manifests.verify.unit import read_file, row_batches
from manifests.write.finish import finish, shard_entry

VERSION = 1
"""Raised when the same would be derived as other bytes."""

Told = Callable[[str], None]
"""Takes a line for the user while units are written."""


class NothingLeft(ValueError):
    """Raised where a derived dataset would have no pair. It says what was left out, by the reason."""


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A derived dataset, finished."""

    dataset: Dataset
    plan: Plan
    selection: Selection
    was_there: bool
    """Whether it had been finished before, and nothing was written now."""

    @property
    def fixed(self) -> int:
        """How many instructions are not the parent's."""
        of = self.selection
        return sum(len(of.fixes(pair)) for pair in of.verdicts if pair not in of.left_out)


def derive(
    parent: Dataset,
    out: str,
    *,
    ledger: Ledger | None = None,
    sql: str | None = None,
    undecided: Undecided = "keep",
    tell: Told = lambda line: None,
) -> Derived:
    """Derive a dataset from a finished one into a folder of its own, or go on with doing so.

    The same parent, decisions and SQL give the same bytes, however often it was interrupted. Raises NothingLeft if no
    pair is left; DatasetError for a parent that is unfinished or damaged, and for a folder that is the parent's, lies
    in it or around it, or holds anything else; SqlError as `selection` does.
    """
    _refuse_place(parent, out)
    plan, description = parent.plan(), parent.description()
    chosen = selection(parent, ledger, sql, undecided)
    if not chosen.kept:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(chosen.reasons.items()))
        raise NothingLeft(f"no pair of {parent.url} is left: {why or 'it has none'}")
    config = {**plan.config, "derived_from": _named(parent, plan, ledger, sql, undecided, chosen)}
    fingerprint = hashlib.sha256(canonical_json(["derived", plan.fingerprint, config["derived_from"]]).encode())
    dataset = Dataset(out)
    with _alone(dataset):
        _refuse_other_files(dataset)
        new = dataset.write_plan(plan.task, config, fingerprint.hexdigest(), _planned(parent, plan))
        was_there = dataset.store.exists("dataset.json")
        if not was_there:
            entries = {entry["name"]: entry for entry in description["shards"]}
            committed = dataset.committed()
            for unit in range(new.units):
                name = new.name(unit)
                _refuse_changed(parent, name, entries.get(name))
                if unit not in committed:
                    items = parent.unit(plan, unit).items
                    derive_unit(parent, dataset, new, unit, {item.ref: item.files for item in items}, chosen)
                    tell(f"unit {unit + 1:,} of {new.units:,}")
            finish(dataset, new, versions=description["versions"], licences=description["licences"])
    return Derived(dataset=dataset, plan=new, selection=chosen, was_there=was_there)


def _named(
    parent: Dataset, plan: Plan, ledger: Ledger | None, sql: str | None, undecided: Undecided, chosen: Selection
) -> dict[str, Any]:
    """What a derived dataset says of where it comes from: all that its bytes depend on."""
    return {
        "version": VERSION,
        "dataset": parent.url.rpartition("/")[2],
        "dataset_json_sha256": hashlib.sha256(parent.store.read("dataset.json")).hexdigest(),
        "fingerprint": plan.fingerprint,
        "decisions_sha256": ledger.sha256 if ledger else None,
        "sql": sql,
        "selected_sha256": chosen.selected_sha256,
        "undecided": undecided,
    }


def _planned(parent: Dataset, plan: Plan) -> pa.Table:
    """The rows of the parent's plan."""
    try:
        batches = [*row_batches(read_file(parent, "plan.parquet"), PLAN, [*PLAN.names], plan.items)]
    except (DatasetError, FileNotFoundError) as error:
        raise DatasetError(f"{parent.url}/plan.parquet cannot be read: {error}") from None
    return pa.concat_tables(batches).replace_schema_metadata(None).cast(PLAN)


def _refuse_changed(parent: Dataset, name: str, entry: Mapping[str, Any] | None) -> None:
    """What was edited or damaged since the parent was finished must not get a new hash that hides it."""
    try:
        there = shard_entry(name, parent.commit(name), parent.store.read(f"manifest/{name}.parquet"))
    except FileNotFoundError:
        there = {}
    if there != entry:
        raise DatasetError(
            f"{parent.url}/manifest/{name}.parquet is not what dataset.json says: run xprompt verify {parent.url}"
        )


def _refuse_place(parent: Dataset, out: str) -> None:
    here, there = folder_of(out), folder_of(parent.url)
    if here == there or here.startswith(f"{there}/") or there.startswith(f"{here}/"):
        raise DatasetError(f"{out} and the parent {parent.url} are one folder or lie in each other: give another OUT")
    above = here
    while (above := above.rpartition("/")[0]) and not above.endswith(":/"):
        if Store(above).exists("plan.parquet"):
            raise DatasetError(f"{out} is in the dataset {above}: give another OUT")


def _refuse_other_files(dataset: Dataset) -> None:
    names = dataset.store.names("")
    if names and not dataset.store.exists("plan.parquet"):
        raise DatasetError(f"{dataset.url} is not empty ({names[0]} is in it) and is no dataset: give another OUT")


@contextmanager
def _alone(dataset: Dataset) -> Iterator[None]:
    """One process at a time derives into a folder of this machine's disk; the lock ends with the process. Elsewhere two
    would write the same bytes."""
    if not dataset.store.is_local:
        yield
        return
    os.makedirs(dataset.store.root, exist_ok=True)
    descriptor = os.open(dataset.store.root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"another process is deriving into {dataset.url}") from None
        yield
    finally:
        os.close(descriptor)
