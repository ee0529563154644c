"""What the page asks of rejects: pages of them, their small pictures, and which of them another bound would keep."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.browse.bounds import bounds_of
from manifests.browse.pairs import BadRequest, equal, number, page_number, refuse_other_task
from manifests.dataset import Dataset, DatasetError
from manifests.images.small import MOST_BYTES
from manifests.read.query import rows_of, select
from manifests.read.shards import verify_hint
from manifests.read.sql_pool import Pool
from manifests.write.reject_pictures import FOLDER

PAGE_REJECTS = 48
NEAREST = 12
"""How many kept pairs, and how many rejects, are shown beside a bound."""

_MOST_BINS = 200
_REMEMBERED = 4_096  # rejects of which is known where their pictures are, about 0.5 KB each
_REMEMBERED_SCORES = 4
"""How many scores have their values in memory, 8 bytes a pair and reject, so that a bound can be dragged."""

_FINITE = "abs(value) < 1e300"
"""What can be drawn: nan counts as above all numbers to DuckDB, and the width between larger ones is infinite."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """The values of one score in one task, in order."""

    kept: npt.NDArray[np.float64]
    pairs: int
    """The pairs that are kept, with the score or without."""
    rejected: Mapping[tuple[str, str], npt.NDArray[np.float64]]
    """Operator and reason -> those of the rejects that have the score."""
    rejects: int
    """The rejects, with the score or without."""

    def of_rejects(self, reason: str) -> npt.NDArray[np.float64]:
        """Those of the rejects of a reason, of all if it is ""."""
        found = [values for (_, why), values in self.rejected.items() if reason in ("", why)]
        return np.sort(np.concatenate(found)) if found else np.empty(0)


class Rejects:
    """The rejects of the units that were committed at one moment."""

    def __init__(self, connection: Pool, datasets: Mapping[str, Dataset]) -> None:
        self._connection, self._datasets = connection, datasets
        self._units = {task: {*dataset.unit_names()} for task, dataset in datasets.items()}
        self._places: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._values: dict[tuple[str, str], Values] = {}
        self._lock = threading.Lock()

    def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of rejects, with the counts of all by reason.

        They may be of a `task` and a `reason`, and have a `score` from `min` to `max`.
        """
        refuse_other_task(query, self._datasets)
        conditions, values = equal(query, ("task", "reason"))
        if score := query.get("score"):
            conditions.append("scores[?] BETWEEN ? AND ?")
            values += [score, number(query, "min", float("-inf")), number(query, "max", float("inf"))]
        matching = f"FROM {rows_of('rejects', query.get('task', ''))} WHERE {' AND '.join(conditions) or 'true'}"
        rows = select(
            self._connection,
            f"SELECT * {matching} LIMIT {PAGE_REJECTS} OFFSET ?",
            [*values, page_number(query) * PAGE_REJECTS],
        )
        return {
            "total": select(self._connection, f"SELECT count(*) AS n {matching}", values)[0]["n"],
            "page_size": PAGE_REJECTS,
            "reasons": self._reasons,
            "scores": self._scores,
            "rows": [self._remembered(row) for row in rows],
        }

    def histogram(self, query: Mapping[str, str]) -> dict[str, Any]:
        """How many kept pairs and rejects of a `task` have a `score` in each of so many `bins`, and from `low` to
        `high`; the rejects of a `reason` alone, if it is named. `bounds` are those that the dataset was made with."""
        task, score, values = self._asked(query)
        bins = query.get("bins") or "40"
        if not bins.isascii() or not bins.isdigit() or not 0 < int(bins) <= _MOST_BINS:
            raise BadRequest(f"bins is not a number from 1 to {_MOST_BINS}: {bins}")
        rejected = values.of_rejects(query.get("reason", ""))
        ends = [end for one in (values.kept, rejected) if len(one) for end in (one[0], one[-1])]
        first, last = (min(ends), max(ends)) if ends else (0.0, 1.0)
        edges = np.linspace(first, last, int(bins) + 1) if last > first else np.array([first, first])
        low, high = number(query, "low", float("-inf")), number(query, "high", float("inf"))
        return {
            "task": task,
            "score": score,
            "edges": edges.tolist(),
            "kept": _by_bin(values.kept, edges),
            "rejected": _by_bin(rejected, edges),
            "within": {"kept": _within(values.kept, low, high), "rejected": _within(rejected, low, high)},
            "having": {"kept": len(values.kept), "rejected": len(rejected)},
            "all": {"kept": values.pairs, "rejected": values.rejects},
            "reasons": [
                {
                    "operator": operator,
                    "reason": reason,
                    "having": len(those),
                    "within": _within(those, low, high),
                }
                for (operator, reason), those in values.rejected.items()
            ],
            "bounds": bounds_of(self._datasets[task].plan().config, score),
        }

    def beside(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The kept pairs and the rejects of a `task` whose `score` is nearest `at`, the nearest first; the rejects of a
        `reason` alone, if it is named."""
        task, score, _ = self._asked(query)
        at = number(query, "at", 0.0)
        kept = select(
            self._connection,
            f"SELECT pair, any_value(scores[?]) AS value FROM {rows_of('examples', task)} GROUP BY pair "
            f"HAVING {_FINITE} ORDER BY abs(value - ?), pair LIMIT {NEAREST}",
            [score, at],
        )
        images = select(
            self._connection,
            f"SELECT pair, any_value(images) AS images FROM {rows_of('examples', task)} "
            "WHERE list_contains(?, pair) GROUP BY pair",
            [[row["pair"] for row in kept]],
        )
        roles = {row["pair"]: [image["role"] for image in row["images"]] for row in images}
        conditions, values = equal(query, ("reason",))
        rejected = select(
            self._connection,
            f"SELECT *, scores[?] AS value FROM {rows_of('rejects', task)} "
            f"WHERE {' AND '.join([_FINITE, *conditions])} ORDER BY abs(value - ?), source_ref LIMIT {NEAREST}",
            [score, *values, at],
        )
        return {
            "kept": [{**row, "roles": roles.get(row["pair"], [])} for row in kept],
            "rejected": [self._remembered(row) for row in rejected],
        }

    def picture(self, task: str, source_ref: str, side: str) -> bytes | None:
        """The WebP of one side of a reject; None if no row of rejects names one.

        Raises DatasetError if what is there is not what its row says.
        """
        dataset, row = self._datasets.get(task), self._places.get((task, source_ref))
        if dataset is None:
            return None
        if row is None:
            rows = select(
                self._connection,
                f"SELECT task, source_ref, shard, pictures FROM {rows_of('rejects', task)} "
                "WHERE source_ref = ? LIMIT 1",
                [source_ref],
            )
            if not rows:
                return None
            row = self._remembered(rows[0])
        place = next((one for one in row["pictures"] if one["side"] == side), None)
        if place is None:
            return None
        offset, length = place["offset"], place["bytes"]
        shard = str(row["shard"])
        if shard.removesuffix(".tar") not in self._units[task]:
            raise DatasetError(f"{dataset.url}: a reject names an impossible shard, {shard!r}")
        if not isinstance(offset, int) or offset < 0 or not 0 < length <= MOST_BYTES:
            raise DatasetError(f"{dataset.url}: a reject names an impossible place, {shard!r} at {offset}")
        file = f"{FOLDER}/{shard}"
        try:
            data = dataset.store.read(file, offset, length)
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != place["sha256"] or data[:4] + data[8:12] != b"RIFFWEBP":
            raise DatasetError(f"{dataset.url}/{file} has not the picture that is named: {verify_hint(dataset.url)}")
        return data

    @cached_property
    def _reasons(self) -> list[dict[str, Any]]:
        """How many items were rejected, by task, operator and reason."""
        return select(
            self._connection,
            "SELECT task, operator, reason, count(*) AS items FROM rejects GROUP BY ALL "
            "ORDER BY items DESC, task, operator, reason",
        )

    @cached_property
    def _scores(self) -> list[dict[str, Any]]:
        """The scores that rejects have, by task."""
        return select(
            self._connection,
            "SELECT DISTINCT task, name FROM (SELECT task, unnest(map_keys(scores)) AS name FROM rejects) ORDER BY ALL",
        )

    def _asked(self, query: Mapping[str, str]) -> tuple[str, str, Values]:
        """The task and score that are asked for, and the score's values."""
        task, score = query.get("task", ""), query.get("score", "")
        if not task:
            raise BadRequest("task: name the task whose values are wanted")
        refuse_other_task(query, self._datasets)
        if not score:
            raise BadRequest("score: name the score whose values are wanted")
        with self._lock:
            values = self._values.get((task, score))
        if values is None:
            values = self._read(task, score)
            with self._lock:
                self._values[task, score] = values
                if len(self._values) > _REMEMBERED_SCORES:
                    del self._values[next(iter(self._values))]
        return task, score, values

    def _read(self, task: str, score: str) -> Values:
        (kept,) = select(
            self._connection,
            f"SELECT count(*) AS items, list(value) FILTER ({_FINITE}) AS found "
            f"FROM (SELECT any_value(scores[?]) AS value FROM {rows_of('examples', task)} GROUP BY pair)",
            [score],
        )
        rejected = select(
            self._connection,
            f"SELECT operator, reason, count(*) AS items, list(value) FILTER ({_FINITE}) AS found "
            f"FROM (SELECT operator, reason, scores[?] AS value FROM {rows_of('rejects', task)}) "
            "GROUP BY operator, reason ORDER BY items DESC, operator, reason",
            [score],
        )
        return Values(
            kept=_sorted(kept["found"]),
            pairs=kept["items"],
            rejected={(row["operator"], row["reason"]): _sorted(row["found"]) for row in rejected if row["found"]},
            rejects=sum(row["items"] for row in rejected),
        )

    def _remembered(self, row: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._places[row["task"], row["source_ref"]] = {name: row[name] for name in ("shard", "pictures")}
            if len(self._places) > _REMEMBERED:
                del self._places[next(iter(self._places))]
        return row


def _sorted(values: list[float] | None) -> npt.NDArray[np.float64]:
    return np.sort(np.array(values or [], np.float64))


def _by_bin(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> list[int]:
    """How many sorted values are in each bin, of which the last has its upper edge too."""
    starts = np.searchsorted(values, edges)
    starts[-1] = len(values)
    return [int(count) for count in np.diff(starts)]


def _within(values: npt.NDArray[np.float64], low: float, high: float) -> int:
    """How many sorted values are from `low` to `high`, both included."""
    return max(0, int(np.searchsorted(values, high, "right") - np.searchsorted(values, low)))
