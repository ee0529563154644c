"""What users write of columns, and what names of columns reach."""

from __future__ import annotations

import pytest

from operators.read.columns import Columns, is_among, names_in, refuse_unknown, top, value_of

WRITTEN = "input=a,b target=c instruction=d reverse=e caption=f mask=g group=h licence=i"
MAP = Columns(input=("a", "b"), target="c", instruction="d", reverse="e", caption="f", mask="g", group="h", licence="i")


def test_columns_are_written_in_words_or_as_a_mapping() -> None:
    assert Columns.of(WRITTEN) == Columns.of(WRITTEN.split()) == Columns.of(MAP) == MAP
    assert Columns.of({"input": ["a", "b"], "target": "c", "instruction": "d"}) == Columns(
        input=("a", "b"), target="c", instruction="d"
    )
    spaced = Columns.of(["input=a=b", "target=x y", "instruction=d"])
    assert spaced == Columns(input=("a=b",), target="x y", instruction="d")
    quoted = Columns.of(["input=a=b, target=x y instruction=d"])  # as one word of a shell, or a text of a recipe
    assert quoted == spaced == Columns.of("input=a=b target=x y instruction=d")
    assert MAP.images == ("a", "b", "c", "g")
    assert MAP.taken["b"] == "input_2" and MAP.taken["i"] == "licence"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("inptu=a target=b instruction=c", "did you mean input?"),
        ("input=a target=b", "no column is named for the instruction"),
        (["input=a targt=b instruction=c"], "did you mean target?"),
        ("target=b", "the input and the instruction"),
        ("", "the input and the target and the instruction"),
        ("input=a target=a instruction=c", "a is named for two images"),
        ("input=a,a target=b instruction=c", "a is named for two images"),
        ("input=a input=b target=c instruction=d", "several inputs are written input=a,b"),
        ("input=a target=b,c instruction=d", "target is one column, not 2"),
        ("input=a target= instruction=d", "target names no column"),
        ("input=a,,b target=c instruction=d", "input names no column"),
        ("before target=c instruction=d", "'before' says of no column what it is"),
        ("input=" + ",".join(map(str, range(17))) + " target=c instruction=d", "16 inputs at the most"),
        ({"input": [1], "target": "b", "instruction": "c"}, "input names no column"),
    ],
)
def test_what_says_nothing_of_columns_is_refused_in_one_line(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]*\Z") as refused:
        Columns.of(given)  # type: ignore[arg-type]
    assert said in str(refused.value)


def test_a_name_with_dots_reaches_into_columns_and_lists() -> None:
    row = {"meta": {"task": "add", "list": ["x", {"y": 1}]}, "meta.task": "whole", "n": None}
    assert value_of(row, "meta.task") == "whole"  # a column that is called so
    assert value_of({"meta": row["meta"]}, "meta.task") == "add"
    assert value_of(row, "meta.list.0") == "x" and value_of(row, "meta.list.1.y") == 1
    for name in ("meta.list.2", "meta.list.-1", "meta.no", "n.x", "no", "meta.list.²", "meta.list.99999999999"):
        assert value_of(row, name) is None
    assert list(names_in({"a": {"b": 1, "c": {"d": 2}}, "i": {"bytes": b"", "path": "p"}, "e": {}})) == [
        *("a.b", "a.c.d", "i", "e"),
    ]
    assert top("a.b.c", ["a", "a.b"]) == "a.b" and top("x.y", ["a"]) == "x"
    there = ["a.b", "list"]
    assert all(is_among(name, there) for name in ("a", "a.b", "list", "list.3"))
    assert not any(is_among(name, there) for name in ("b", "a.c", "list.x", "a.b.c"))


def test_an_unknown_column_is_refused_with_the_nearest() -> None:
    refuse_unknown(["a.b"], ["a.b"], "x")
    with pytest.raises(ValueError, match=r"x\.csv has no column befor: did you mean before\? it has before, after"):
        refuse_unknown(["before", "befor"], ["before", "after"], "x.csv")
