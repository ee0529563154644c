"""The strictest of all parents is a pair's, in Python and in SQL alike."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from manifests.licences.effective import effective, parents_of_row
from manifests.licences.records import LICENCES
from manifests.licences.sql import terms_view
from manifests.schema import MANIFEST

BY, FLUX, OPENAI = "CC-BY-4.0", "LicenseRef-FLUX.1-dev", "LicenseRef-OpenAI-outputs"

CASES: list[tuple[Any, ...]] = [
    # licence, source, (operator, model) of the steps -> licences; commercial, research, train, competing, naming, alike
    (BY, "mine", [], [BY], (True, True, True, True, True, False)),
    (BY, "MagicBrush", [], [BY, OPENAI], (True, True, True, False, True, False)),
    ("CC0-1.0", "mine", [("flux", "flux")], ["CC0-1.0", FLUX], (False, True, True, False, False, False)),
    ("CC0-1.0", "mine", [("scores", "flux"), ("rain", None)], ["CC0-1.0"], (True, True, True, True, False, False)),
    # of software the notice is of copies: what the model finds in a photo needs none
    ("CC0-1.0", "mine", [("depth_map", "depth-anything")], ["Apache-2.0", "CC0-1.0"], (True,) * 4 + (False, False)),
    ("Apache-2.0", "mine", [], ["Apache-2.0"], (True,) * 4 + (True, False)),
    (BY, "mine", [("difference", "gpt-4o")], [BY, OPENAI], (True, True, True, False, True, False)),
    # one that says nothing: not stated, unless another one denies it
    ("none stated; research use", "mine", [], ["LicenseRef-none-stated"], (None,) * 6),
    (
        "none stated; research use",
        "mine",
        [("flux", "flux")],
        [FLUX, "LicenseRef-none-stated"],
        (False, None, None, False, None, None),
    ),
    ("CC-BY-NC-4.0; who knows", "mine", [], ["CC-BY-NC-4.0", "unknown"], (False, None, None, None, True, None)),
    (BY, "mine", [("mine", "my-model")], [BY, "unknown"], (None, None, None, None, True, None)),
]  # fmt: skip


def _row(number: int, licence: str, source: str, steps: list[tuple[str, str | None]]) -> dict[str, Any]:
    bare: dict[str, Any] = {"version": 1, "params": "{}", "seed": None, "model_revision": None, "prompt": None}
    said = [{"operator": operator, "model": model, **bare} for operator, model in steps]
    return {"task": "a", "pair": f"{number:04d}", "licence": licence, "source": source, "steps": said}


def _in_sql(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    columns = ("task", "pair", "source", "licence", "steps")
    table = pa.Table.from_pylist(rows * 2, schema=pa.schema([MANIFEST.field(name) for name in columns]))
    connection = duckdb.connect()
    connection.register("rows", table)
    connection.execute("CREATE VIEW examples AS FROM rows")
    connection.execute(terms_view())
    terms = "commercial, research, train, train_competing, attribution, share_alike"
    return connection.execute(f"SELECT licences, {terms} FROM terms ORDER BY pair").fetchall()


def _in_python(row: Mapping[str, Any]) -> tuple[Any, ...]:
    found = parents_of_row(row)
    return [*found.names], *vars(effective(found)).values()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_by_hand(case: tuple[Any, ...]) -> None:
    licence, source, steps, names, terms = case
    row = _row(0, licence, source, steps)
    assert _in_python(row) == (names, *terms)


def test_sql_says_the_same() -> None:
    rows = [_row(number, case[0], case[1], case[2]) for number, case in enumerate(CASES)]
    assert _in_sql(rows) == [(names, *terms) for *_, names, terms in CASES]


def test_sql_says_the_same_of_odd_names_and_of_every_record() -> None:
    texts = ["  MIT ", "it's; CC0-1.0", "", "; ", "CC0-1.0;-MIT", "none stated; research use and MIT", "Ünï", *LICENCES]
    steps: list[list[tuple[str, str | None]]] = [[], [("x", ""), ("y", "o1"), ("y", "o1x")], [("x", "stable-cascade")]]
    rows = [_row(number, *case, each) for number, (case, each) in enumerate(
        itertools.product(itertools.product(texts, ("UltraEdit", "a'b")), steps))]  # fmt: skip
    assert _in_sql(rows) == [_in_python(row) for row in rows]
