"""Which examples of which datasets an export takes, told from the manifests alone, and how they are cut into parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.dataset import Dataset
from manifests.export.format import Carries
from manifests.export.sample import Picture, Sample
from manifests.licences.effective import Parents, parents_of_row
from manifests.read.pairs import StoredExample, StoredPair
from manifests.read.query import TIMEOUT_S, connect
from manifests.read.sql_pool import Pool, SqlError
from manifests.schema import MASK, DatasetError, Kind

PART_BYTES = 256 * 2**20
"""Image bytes after which a part of an export ends, at the end of a unit: what is done again after a kill."""

_MAX_ANSWER_BYTES = 64 * 2**20
_COLUMNS = ["pair", "direction", "kind", "inputs", "images"]
_LICENCES = ["licence", "source", "steps"]  # the columns that licences are found in


class NothingLeft(ValueError):
    """Raised where an export would have nothing in it. It says what was left out, by the reason."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What of the datasets a user wants."""

    direction: Literal["forward", "reverse", "both"] = "forward"
    kind: Kind | None = None
    """None: each kind that the format carries."""
    where: str | None = None
    """A condition in DuckDB's SQL over the columns of a manifest, which an example must meet."""
    limit: int | None = None
    """The first so many examples. None: all."""
    contexts: int | None = None
    """At most so many in-context examples of each. None: all that there are."""
    allowed: tuple[str, ...] | None = None
    """The names of the licences that an example and its in-context examples may be under, sorted. None: any."""

    def kinds(self, carries: Carries) -> frozenset[Kind]:
        """The kinds that are taken. Raises ValueError if the format does not carry what is asked for."""
        if self.kind is None:
            return carries.kinds
        if self.kind not in carries.kinds:
            raise ValueError(f"it has no place for {self.kind} examples, only for {', '.join(sorted(carries.kinds))}")
        return frozenset([self.kind])


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The examples of one unit that are taken: the rows of its manifest, ascending."""

    dataset: int
    unit: str
    rows: npt.NDArray[np.int64]
    bytes: int
    """Of the images of their pairs, about."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """All that an export takes, and what was not taken, by the reason."""

    chosen: tuple[Chosen, ...]
    left_out: Counter[str]

    @property
    def examples(self) -> int:
        return sum(len(chosen.rows) for chosen in self.chosen)

    def parts(self) -> list[list[Chosen]]:
        """Units together until their images have PART_BYTES."""
        parts: list[list[Chosen]] = []
        size = PART_BYTES
        for chosen in self.chosen:
            if size >= PART_BYTES:
                parts.append([])
                size = 0
            parts[-1].append(chosen)
            size += chosen.bytes
        return parts


def select(datasets: Sequence[Dataset], carries: Carries, choice: Choice) -> Selection:
    """The examples that are wanted and that a format can carry, in stored order.

    Raises NothingLeft if there is none, DatasetError for an example that two datasets both have, SqlError for a
    condition that is none.
    """
    kinds = choice.kinds(carries)
    left_out: Counter[str] = Counter()
    chosen: list[Chosen] = []
    left = choice.limit
    seen: list[tuple[Dataset, npt.NDArray[np.object_]]] = []
    for number, dataset in enumerate(datasets):
        keys = []
        for one, names in _chosen_of(dataset, number, carries, choice, kinds, left_out):
            rows = one.rows if left is None else one.rows[:left]
            if left is not None:
                left -= len(rows)
            if len(rows):
                share = one.bytes * len(rows) // len(one.rows)
                chosen.append(Chosen(dataset=number, unit=one.unit, rows=rows, bytes=share))
                keys.append(names[: len(rows)] if len(datasets) > 1 else names[:0])
            if left == 0:
                break
        if keys:
            _refuse_twice(dataset, np.concatenate(keys), seen)
        if left == 0:
            break
    if not chosen:
        why = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items()) or "there are none"
        raise NothingLeft(f"no example is left to export: {why}")
    return Selection(chosen=tuple(chosen), left_out=left_out)


def samples_of(
    datasets: Sequence[Dataset], part: Sequence[Chosen], carries: Carries, choice: Choice, converted: Counter[str]
) -> Iterator[Sample]:
    """The samples of a part, one by one. Their pictures count in `converted` what they convert."""
    for chosen in part:
        wanted = set(chosen.rows.tolist())
        for pair in datasets[chosen.dataset].pairs_of(chosen.unit):
            for row in pair.example_rows:
                if row in wanted:
                    yield sample_of(pair.example_in(row), carries, choice, converted)


def sample_of(example: StoredExample, carries: Carries, choice: Choice, converted: Counter[str]) -> Sample:
    """An example as formats are given it, with the first of its contexts that are wanted, if the format has them.

    Contexts under a licence that is not allowed are passed over.
    """
    ranked = example.contexts() if carries.contexts else ()
    allowed = (one for one in ranked if not _refused(one.pair, choice.allowed))
    shown = islice(allowed, choice.contexts)
    return _sample(example, carries, converted, tuple(_sample(one, carries, converted, ()) for one in shown))


def has_mask(pair: StoredPair, example: StoredExample) -> bool:
    """Whether an example has a mask beside its inputs and its output."""
    return MASK in pair.roles and MASK not in (*example.inputs, example.output)


def licences_of(pair: StoredPair) -> Parents:
    """The licences that a pair is under."""
    return parents_of_row({name: pair.value(name) for name in _LICENCES})


def _sample(example: StoredExample, carries: Carries, converted: Counter[str], contexts: tuple[Sample, ...]) -> Sample:
    pair = example.pair
    headers = pair.headers
    if example.kind == "generate" and example.output is None:
        raise DatasetError(f"a generate example of pair {pair.key} names no output: the manifest was edited")

    def picture(role: str) -> Picture:
        if role not in headers:
            raise DatasetError(f"pair {pair.key} has no image {role!r}, only {', '.join(headers)}")
        encoding, width_px, height_px = headers[role]
        return Picture(
            pair=pair,
            role=role,
            format=encoding,
            width_px=width_px,
            height_px=height_px,
            accepted=carries.encodings,
            as_stored=carries.as_stored,
            converted=converted,
        )

    return Sample(
        name=f"{pair.key}-{example.kind}-{example.direction}",
        example=example,
        inputs=tuple(map(picture, example.inputs)),
        output=None if example.output is None else picture(example.output),
        mask=picture(MASK) if carries.masks and has_mask(pair, example) else None,
        contexts=contexts,
    )


def _refused(pair: StoredPair, allowed: tuple[str, ...] | None) -> bool:
    return allowed is not None and bool(licences_of(pair).refused(allowed))


def _refusals(table: pa.Table, allowed: tuple[str, ...]) -> npt.NDArray[np.object_]:
    """The licences of each row that are not allowed, in words; "" where all are."""
    rows = table.select(_LICENCES).to_pylist()
    return np.array([", ".join(parents_of_row(row).refused(allowed)) for row in rows], dtype=object)


def _chosen_of(
    dataset: Dataset, number: int, carries: Carries, choice: Choice, kinds: frozenset[Kind], left_out: Counter[str]
) -> Iterator[tuple[Chosen, npt.NDArray[np.object_]]]:
    """What is taken of each unit of a dataset, with a name for each of its examples."""
    pool = connect(dataset.url) if choice.where is not None else None
    task = dataset.plan().task
    for unit in dataset.unit_names():
        table = dataset.table_of(unit, [*_COLUMNS, *(_LICENCES if choice.allowed is not None else [])])
        kind, direction = (table[name].to_numpy() for name in ("kind", "direction"))
        inputs = pc.list_value_length(table["inputs"]).to_numpy()
        taken = np.ones(table.num_rows, bool)

        def leave_out(which: npt.NDArray[np.bool_], why: str, taken: npt.NDArray[np.bool_] = taken) -> None:
            left_out.update({why: count} if (count := int((taken & which).sum())) else {})
            taken &= ~which

        for one in ("generate", "describe"):
            if one not in kinds:
                asked = one in carries.kinds
                leave_out(kind == one, f"{one} examples {'not asked for' if asked else 'have no place in this format'}")
        if choice.direction != "both":
            leave_out(direction != choice.direction, "of the other direction (--direction both takes them)")
        if pool is not None and choice.where is not None:
            meets = np.zeros(table.num_rows, bool)
            meets[_rows_where(pool, f"{task}/manifest/{unit}.parquet", choice.where, table.num_rows)] = True
            leave_out(~meets, "not as --where says")
        if choice.allowed is not None:
            refusals = _refusals(table, choice.allowed)
            for names in sorted({*refusals[taken]} - {""}):
                leave_out(refusals == names, f"under a licence that is not allowed: {names}")
        for few in np.unique(inputs[taken & (inputs < carries.least_inputs)]):
            leave_out(inputs == few, f"with {few} input images, and the format needs {carries.least_inputs}")
        if carries.most_inputs is not None:
            for many in np.unique(inputs[taken & (inputs > carries.most_inputs)]):
                leave_out(
                    inputs == many, f"with {many} input images, and the format has place for {carries.most_inputs}"
                )
        rows = np.flatnonzero(taken)
        if len(rows):
            images = table["images"].combine_chunks().take(pa.array(rows))
            size = int(pc.sum(images.flatten().field("bytes")).as_py() or 0)
            names = table["pair"].to_numpy()[rows] + kind[rows] + direction[rows]
            yield Chosen(dataset=number, unit=unit, rows=rows, bytes=size), names


def _rows_where(pool: Pool, file: str, where: str, rows: int) -> list[int]:
    """The rows of a unit's manifest that meet a condition."""
    sql = f"SELECT file_row_number FROM read_parquet('manifests://{file}', file_row_number = true) WHERE (\n{where}\n)"
    try:
        found = pool.run(sql, is_foreign=True, max_rows=rows, max_bytes=_MAX_ANSWER_BYTES, timeout_s=TIMEOUT_S)
    except SqlError as error:
        raise SqlError(f"--where {where}: {error}") from None
    numbers = [row[0] for row in found.rows]
    if len(found.columns) != 1 or any(not isinstance(one, int) or not 0 <= one < rows for one in numbers):
        raise SqlError(f"--where {where}: it is not a condition on an example")
    return numbers


def _refuse_twice(
    dataset: Dataset, names: npt.NDArray[np.object_], seen: list[tuple[Dataset, npt.NDArray[np.object_]]]
) -> None:
    for other, theirs in seen:
        twice = np.intersect1d(names, theirs)
        if len(twice):
            raise DatasetError(f"{other.url} and {dataset.url} both have pair {twice[0][:32]}: name one of them")
    seen.append((dataset, names))
