"""The records that a dataset's files carry as JSON: what they are, and how they are read.

Anybody may have written a file, so each value is of the type that its field has, or the file is refused in one line
that names it and the way out. What is large is told by a footer, before a row is read.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.remote import is_outage
from manifests.schema import DatasetError, in_a_line, needs_context
from manifests.storage import Store
from manifests.versions import READ

METADATA = b"xprompt"
"""Parquet key-value metadata under this key is our JSON: see `Plan` and `Commit`."""

AGAIN = "remove it and run the same command again to write it anew"

_Record = TypeVar("_Record")

_MAX_JSON_BYTES = 64 * 2**20
"""Of dataset.json, which has some 400 bytes a shard; a plan's configuration is far smaller."""

_MAX_JSON_DEPTH = 64
_WHY_CHARS = 300  # of what is wrong with a record, which may repeat what it has

_TASK = re.compile(r"[a-z0-9_-]{1,100}")
_ROWS_A_BYTE = 8
"""More rows than that of a plan are in no byte of its file: each names another item."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The metadata of plan.parquet."""

    task: str
    fingerprint: str
    config: Mapping[str, Any]
    units: int
    items: int

    @property
    def test_split(self) -> str:
        """The split of the source that the dataset is of, if it is for evaluation alone; "" if it is to train on."""
        return str(self.config.get("source", {}).get("split", ""))

    def name(self, unit: int) -> str:
        return f"{self.task}-{unit:06d}"

    def unit_of(self, file: str, ending: str) -> int | None:
        """The unit whose file has that name, if the plan has such a unit."""
        number = file.removeprefix(f"{self.task}-").removesuffix(ending)
        unit = int(number) if re.fullmatch("[0-9]{6,9}", number) else self.units
        return unit if unit < self.units and file == f"{self.name(unit)}{ending}" else None

    def needs_context(self, direction: str, kind: str, inputs: Sequence[str]) -> bool:
        """Whether an example is to have an in-context example."""
        listed = self.config.get("in_context")
        return needs_context(None if listed is None else {*map(tuple, listed)}, direction, kind, inputs)


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What a committed unit's manifest records of its files, and what the run report adds up."""

    unit: int
    fingerprint: str
    shard_bytes: int
    shard_sha256: str
    members: int
    rejects_sha256: str
    pairs: int
    examples: Mapping[str, int]
    """The number of examples by "<direction> <kind>"."""
    without_context: int
    """The number of examples that should name an in-context example but had no other pair in their shard to name."""
    rejects: Mapping[str, int]
    """The number of rejected items by reason."""
    missing: Mapping[str, int]
    """Examples that wait for a later operator, by what they wait for; absent rather than invented."""


def read_plan(store: Store, url: str) -> Plan:
    """The plan of the dataset at a URL, which has as many rows as it says.

    Raises DatasetError if it cannot be read or is of another schema version, FileNotFoundError if there is none.
    """
    plan, rows = read_record(Plan, store, url, "plan.parquet")
    file = f"{url}/plan.parquet"
    source, operators, contexts = (plan.config.get(key) for key in ("source", "operators", "in_context"))
    if not _TASK.fullmatch(plan.task):
        raise DatasetError(f"{file} has other metadata than ours: a task cannot have the name {plan.task!r}; {AGAIN}")
    if not (
        isinstance(source, dict | None)
        and (operators is None or _is_list_of(dict, operators))
        and (contexts is None or (_is_list_of(list, contexts) and all(_is_list_of(str, one) for one in contexts)))
    ):
        raise DatasetError(f"{file} has other metadata than ours: its config is of other types; {AGAIN}")
    if not 0 < plan.units <= plan.items == rows or rows > _ROWS_A_BYTE * store.size("plan.parquet"):
        raise DatasetError(
            f"{file} has not the {plan.items:,} items in {plan.units:,} units, in order, that it records: it was "
            "edited; remove it and run the same command again to plan anew"
        )
    return plan


def read_record(
    kind: type[_Record], store: Store, url: str, name: str, way_out: str = AGAIN, data: bytes | None = None
) -> tuple[_Record, int]:
    """The record in a Parquet file's metadata, and the number of the file's rows, both of its footer.

    `data` are the file's bytes, if they have been read. Raises DatasetError, naming the file, if it cannot be read,
    FileNotFoundError if there is none.
    """
    file = f"{url}/{name}"
    try:
        with store.open(name) if data is None else io.BytesIO(data) as opened:
            footer = pq.read_metadata(opened)
        values = parse_json((footer.metadata or {}).get(METADATA, b"{}"))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, MemoryError) as error:
        if is_outage(error):
            raise
        raise DatasetError(f"{file} is damaged: {in_a_line(error, _WHY_CHARS)}; {way_out}") from error
    except ValueError as error:
        raise DatasetError(f"{file} has other metadata than ours: {in_a_line(error, _WHY_CHARS)}; {way_out}") from error
    if not isinstance(values, dict) or "schema_version" not in values:
        raise DatasetError(f"{file} has lost its metadata, as if edited or written by something else; {way_out}")
    if (version := values.pop("schema_version")) not in READ:
        known = f"{', '.join(map(str, READ[:-1]))} and {READ[-1]}"
        raise DatasetError(f"{file} is of schema version {version}, and {known} are read: update this package")
    try:
        return typed(kind, values), footer.num_rows
    except ValueError as error:
        raise DatasetError(f"{file} has other metadata than ours: {error}; {way_out}") from error


def version_of(plan: bytes) -> int:
    """The schema version of a plan.parquet, which has been read as one."""
    footer = pq.read_metadata(io.BytesIO(plan))
    return int(parse_json(footer.metadata[METADATA])["schema_version"])


def read_json(store: Store, url: str, name: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON file that is an object with entries of these types, and maybe others.

    Raises DatasetError, naming the file, if it is not, FileNotFoundError if there is none.
    """
    try:
        if store.size(name) > _MAX_JSON_BYTES:
            raise ValueError(f"it has more than {_MAX_JSON_BYTES:,} bytes")
        values = parse_json(store.read(name))
        if not isinstance(values, dict):
            raise ValueError("it is no object")
        for key, kind in kinds.items():
            _check(key, values.get(key), kind)
        return values
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        if is_outage(error):
            raise
        raise DatasetError(f"{url}/{name} is not what we write: {in_a_line(error, _WHY_CHARS)}; {AGAIN}") from error


def parse_json(data: bytes) -> Any:
    """A JSON value; all that `canonical_json` can write in UTF-8, and nothing more. Raises ValueError."""
    if len(data) > _MAX_JSON_BYTES:
        raise ValueError(f"its JSON has {len(data):,} bytes, more than {_MAX_JSON_BYTES:,}")
    try:
        value = json.loads(data.decode(), parse_constant=_refuse_number, parse_float=_finite)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # of half a surrogate pair there is no UTF-8
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    level = [value]
    for _ in range(_MAX_JSON_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value
    raise ValueError("its JSON is nested too deeply")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def typed(kind: type[_Record], values: Any) -> _Record:
    """A dataclass of JSON values, each of the type that its field has. Raises ValueError."""
    kinds = _type_hints(cast(Any, kind))
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        there = set(values) if isinstance(values, dict) else set()
        wrong = sorted(there ^ kinds.keys())
        raise ValueError(f"its entries are not those of a {kind.__name__}: {', '.join(map(ascii, wrong))[:200]}")
    for name, wanted in kinds.items():
        _check(name, values[name], wanted)
    return kind(**values)


@lru_cache
def _type_hints(kind: Any) -> dict[str, Any]:
    """The types of a record's fields, whose text would be compiled anew for every file."""
    return get_type_hints(kind)


def _check(name: str, value: Any, kind: Any) -> None:
    """Raises ValueError if a JSON value is not of a type. Numbers are counts: none is negative."""
    if kind is int:
        right = type(value) is int and 0 <= value < 2**63
    elif kind is str:
        right = isinstance(value, str)
    elif kind == Mapping[str, Any]:
        right = isinstance(value, dict)
    elif kind == Mapping[str, int]:
        right = isinstance(value, dict) and all(type(count) is int and 0 <= count < 2**63 for count in value.values())
    elif kind == Mapping[str, str]:
        right = isinstance(value, dict) and _is_list_of(str, [*value.values()])
    elif kind == Sequence[Mapping[str, Any]]:
        right = _is_list_of(dict, value)
    else:
        raise AssertionError(f"{name} is of a type that no record has: {kind}")
    if not right:
        shown = ascii(value)
        raise ValueError(f"its {name} is {shown[:80]}{'...' if len(shown) > 80 else ''}")


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) for one in value)


def _refuse_number(name: str) -> float:
    raise ValueError(f"its JSON has {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse_number(digits[:20])
