"""Pages of pairs, against what is counted by hand and against the plain way: all rows of the manifests, in Python."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from manifests.browse.pairs import MOST_KEYS, PAGE_PAIRS, BadRequest, Pairs
from manifests.browse.snapshot import Snapshot
from manifests.dataset import Dataset
from tests.edits import make_edits
from tests.manifests.make import make_dataset
from tests.manifests.web import ask, get

Rows = list[dict[str, Any]]


def test_filters(port: int) -> None:
    total = {
        (): 31,
        (("task", "derain"),): 30,
        (("task", "derain"), ("direction", "forward"), ("kind", "describe")): 30,
        (("text", "LET IT"),): 30,
        (("text", "rain is GONE"), ("task", "derain")): 30,  # of an answer
        (("text", "%"),): 0,
        (("score", "mean_abs_diff"), ("min", "0.1"), ("max", "0.3"), ("task", "derain")): 3,
        (("score", "unknown"),): 0,
    }
    for query, expected in total.items():
        assert ask(port, "pairs", **dict(query))["total"] == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("pairs?task=nosuch", "there is no task nosuch here: it is one of derain, strange"),
        ("pairs?task=x'+OR+true+--", "there is no task x' OR true -- here: it is one of derain, strange"),
        ("rejects?task=nosuch", "there is no task nosuch here: it is one of derain, strange"),
        ("pairs?direction=sideways", "direction is none of forward, reverse: sideways"),
        ("pairs?kind=paint", "kind is none of generate, describe: paint"),
        ("pairs?score=mean_abs_diff&order=up", "order is none of low, high: up"),
    ],
)
def test_what_no_pair_can_have_is_said(port: int, asked: str, said: str) -> None:
    response, body = get(port, f"/api/{asked}")
    assert (response.status, json.loads(body)["error"]) == (400, said)


def test_what_was_asked_for_is_shown_first(port: int) -> None:
    (row, *_) = ask(port, "pairs", task="derain", text="it rains NOW")["rows"]
    assert row["shown"] == ["reverse", "describe"]
    assert [(one["direction"], one["kind"]) for one in row["examples"]] == [
        ("forward", "generate"), ("forward", "describe"), ("reverse", "generate"), ("reverse", "describe")
    ]  # fmt: skip
    assert ask(port, "pairs", task="derain")["rows"][0]["shown"] == ["forward", "generate"]


def test_order_by_score(port: int) -> None:
    for order, expected in (("low", [0.0, 0.1, 0.2]), ("high", [3.0, 2.9, 2.8])):
        rows = ask(port, "pairs", task="derain", score="mean_abs_diff", order=order)["rows"]
        assert [row["scores"]["mean_abs_diff"] for row in rows[:3]] == expected


def test_rows_are_those_of_the_view(port: int) -> None:
    (row, *_) = ask(port, "pairs", task="derain")["rows"]
    found = ask(port, "sql", query=f"SELECT * FROM pairs WHERE pair = '{row['pair']}'")
    assert {**dict(zip(found["columns"], found["rows"][0], strict=True)), "shown": row["shown"]} == row


def test_bad_parameters(port: int) -> None:
    for query in ("page=-1", "page=x", "score=s&min=x"):
        response, body = get(port, f"/api/pairs?{query}")
        assert response.status == 400
        assert "is not a number" in json.loads(body)["error"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tasks of 35, 4 and 9 pairs, in shards of three; the last pair of each lacks the describing examples."""
    out = tmp_path_factory.mktemp("mixed")
    for task, pairs in (("a", 35), ("b", 4), ("c", 9)):
        make_edits(out / task, [f"{task} {number}" for number in range(pairs)])
    return out


@pytest.fixture(scope="module")
def pairs(mixed: Path) -> Pairs:
    return Snapshot(str(mixed)).pairs


def _in_turns(mixed: Path) -> list[str]:
    """All pairs, as a reader of each dataset has them, tasks in turns."""
    stored = [[pair.key for pair in Dataset(f"{mixed}/{task}").pairs()] for task in "abc"]
    return [key for turn in itertools.zip_longest(*stored) for key in turn if key is not None]


def _all(pairs: Pairs, **query: str) -> Rows:
    total = pairs.page(query)["total"]
    pages = [pairs.page({**query, "page": str(page)})["rows"] for page in range(-(-total // PAGE_PAIRS) + 1)]
    assert all(len(page) == PAGE_PAIRS for page in pages[:-2]) and pages[-1] == []
    rows = [row for page in pages for row in page]
    assert len(rows) == total
    return rows


def test_tasks_take_turns(mixed: Path, pairs: Pairs) -> None:
    expected = _in_turns(mixed)
    rows = _all(pairs)
    assert [row["pair"] for row in rows] == expected
    assert _all(pairs, direction="forward") == rows  # all pairs have such an example: the same pages, by way of DuckDB
    of_a = [key for key in expected if key in Dataset(f"{mixed}/a")]
    assert [row["pair"] for row in _all(pairs, task="a")] == of_a
    described = {pair.key for task in "abc" for pair in Dataset(f"{mixed}/{task}").pairs() if len(pair.examples) > 2}
    assert [row["pair"] for row in _all(pairs, kind="describe")] == [key for key in expected if key in described]


def test_pairs_by_key(mixed: Path, pairs: Pairs) -> None:
    keys = _in_turns(mixed)
    wanted = [keys[40], "nosuch", keys[0], keys[40], "' OR true --"]
    assert [row["pair"] for row in pairs.named(wanted)] == [keys[40], keys[0]]
    assert pairs.named([]) == []
    with pytest.raises(BadRequest, match="at most 200 at once"):
        pairs.named(["x"] * (MOST_KEYS + 1))


def test_units_that_are_not_committed_are_left_out(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=3, pairs=4)
    (tmp_path / "derain/dataset.json").unlink()
    (tmp_path / "derain/manifest/derain-000001.parquet").unlink()
    rows = _all(Snapshot(str(tmp_path)).pairs)
    assert [row["shard"] for row in rows] == ["derain-000000.tar"] * 4 + ["derain-000002.tar"] * 4
