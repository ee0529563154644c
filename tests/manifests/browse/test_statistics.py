"""Statistics beside what pandas counts from the same files, and their view in a browser."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from manifests.browse.pairs import BadRequest
from manifests.browse.statistics import BINS, PARTS, Statistics
from manifests.dataset import Dataset
from manifests.licences.effective import effective, parents_of_row
from manifests.read.duplicates import find_duplicates
from manifests.read.query import connect
from tests.manifests.make import make_dataset, make_plan
from tests.manifests.verify.damage import edit
from tests.manifests.web import HOSTILE, ask, get

WORDS = ["a", "hat", "rain ", "\tsnow", "b\u00a0c", "\u3000", "漢字", "it's", "“quoted”", "x\x1fy", "\n", "é", "'"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks whose manifests say all sorts of things, hostile ones among them."""
    out = tmp_path_factory.mktemp("out")
    draw = random.Random(0)
    for task, units, pairs in (("derain", 2, 24), ("lowlight", 1, 16)):
        make_dataset(f"{out}/{task}", task=task, units=units, pairs=pairs)
        for manifest in sorted((out / task / "manifest").glob("*.parquet")):
            edit(manifest, lambda rows: _vary(rows, draw))
    return out


def _vary(rows: list[dict[str, Any]], draw: random.Random) -> None:
    keys = sorted({row["pair"] for row in rows})
    for _, group in itertools.groupby(rows, key=lambda row: row["pair"]):
        examples = [*group]
        scores = {name: draw.gauss(0, 1) for name in ("ssim", "it's", HOSTILE) if draw.random() < 0.7}
        scores |= {"flat": 2.0, **({"wide": draw.choice([float("nan"), float("inf"), -8e307, 8e307])})}
        images = examples[0]["images"]
        for image in images:
            image["width_px"], image["phash"] = draw.choice([64, 65, 1024]), draw.choice(["0" * 16, "f" * 16, None])
        licence, source = draw.choice(["CC0", "cc-by-4.0", HOSTILE, ""]), draw.choice(["s", "t'"])
        for row in examples[: draw.randrange(1, 5)]:
            row["instruction"] = HOSTILE if draw.random() < 0.1 else " ".join(draw.choices(WORDS, k=draw.randrange(60)))
        for row in examples:
            shown = draw.sample(keys, draw.randrange(3))
            row["contexts"] = [
                {"pair": key, "dataset": draw.choice([None, None, "../other"]), "score": 0.5} for key in shown
            ]
            row["context_method"] = draw.choice(["clip", "seeded"]) if shown else None
            row.update(scores=[*scores.items()], images=images, licence=licence, source=source)


@pytest.fixture(scope="module")
def statistics(out: Path) -> Statistics:
    return Statistics(connect(str(out)), ["derain", "lowlight"])


@pytest.fixture(scope="module", params=["", "derain"])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rows(out: Path, task: str) -> pd.DataFrame:
    """The rows of the manifests, read without DuckDB."""
    files = sorted(out.glob(f"{task or '*'}/manifest/*.parquet"))
    return pd.concat([pq.read_table(file).to_pandas(maps_as_pydicts="strict") for file in files], ignore_index=True)


@pytest.fixture(scope="module")
def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates(["task", "pair"])


def test_counts(statistics: Statistics, task: str, rows: pd.DataFrame, pairs: pd.DataFrame) -> None:
    found = statistics.answer({"task": task, "part": "counts"})["counts"]
    assert {row["task"]: row["pairs"] for row in found["pairs"]} == pairs["task"].value_counts().to_dict()
    assert {row["task"]: row["examples"] for row in found["pairs"]} == rows["task"].value_counts().to_dict()
    by_kind = rows.groupby(["direction", "kind"]).size().to_dict()
    assert {(row["direction"], row["kind"]): row["examples"] for row in found["examples"]} == by_kind
    assert {row["task"]: row["items"] for row in found["rejects"]} == (
        {"derain": 2} if task else {"derain": 2, "lowlight": 1}
    )


def test_scores(statistics: Statistics, task: str, pairs: pd.DataFrame) -> None:
    found = {one["name"]: one for one in statistics.answer({"task": task, "part": "scores"})["scores"]}
    scores = pd.DataFrame([*pairs["scores"]])
    assert found.keys() == set(scores.columns)
    for name, one in found.items():
        given = scores[name].dropna() if name != "wide" else scores[name]
        values = given[given.abs() < float("inf")]
        assert (one["pairs"], one["not_finite"]) == (len(values), len(given) - len(values))
        assert one["min"] == values.min() and one["max"] == values.max()
        assert one["median"] == pytest.approx(values.median())
        assert sum(one_bin["count"] for one_bin in one["bins"]) == len(values)
        for one_bin in one["bins"]:  # what a filter from low to high leaves is what is counted
            assert values.between(one_bin["low"], one_bin["high"]).sum() == one_bin["count"]
        if name not in ("flat", "wide"):
            cut = pd.cut(values, BINS, labels=False, include_lowest=True, right=False)
            expected = cut.value_counts().to_dict()
            assert {one_bin["bin"]: one_bin["count"] for one_bin in one["bins"]} == expected
    assert [one_bin["bin"] for one_bin in found["flat"]["bins"]] == [0]


def test_lengths(statistics: Statistics, task: str, rows: pd.DataFrame) -> None:
    found = statistics.answer({"task": task, "part": "lengths"})["lengths"]
    assert [(one["what"], one["kind"]) for one in found] == [
        ("instruction", "generate"),
        ("instruction", "describe"),
        ("answer", "describe"),
    ]
    for one in found:
        said = rows[rows["kind"] == one["kind"]]["text" if one["what"] == "answer" else "instruction"]
        words = said.map(lambda text: len(text.split()))
        expected = (len(words), words.min(), words.median(), words.max())
        assert (one["examples"], one["min"], one["median"], one["max"]) == expected
        assert len(one["bins"]) <= BINS and sum(one_bin["count"] for one_bin in one["bins"]) == len(words)
        for one_bin in one["bins"]:
            assert words.between(one_bin["low"], one_bin["high"]).sum() == one_bin["count"]


def test_instructions(statistics: Statistics, task: str, rows: pd.DataFrame) -> None:
    found = statistics.answer({"task": task, "part": "instructions"})["instructions"]
    counted = rows["instruction"].value_counts()
    assert found["distinct"] == len(counted)
    assert [row["examples"] for row in found["frequent"]] == counted.sort_values(ascending=False)[:20].to_list()
    assert all(counted[row["instruction"]] == row["examples"] for row in found["frequent"])


def test_images(statistics: Statistics, task: str, pairs: pd.DataFrame) -> None:
    found = statistics.answer({"task": task, "part": "images"})["images"]
    images = pd.DataFrame([{"pair": row.pair, **image} for row in pairs.itertuples() for image in row.images])
    for row in found["roles"]:
        own = images[images["role"] == row["role"]]
        widths = own["width_px"]
        assert row["images"] == len(own) and row["bytes"] == own["bytes"].sum()
        expected = (widths.min(), widths.median(), widths.max())
        assert (row["min_width_px"], row["median_width_px"], row["max_width_px"]) == expected
        assert row["sizes"] == len(own[["width_px", "height_px"]].drop_duplicates())
    sizes = images.groupby(["role", "width_px", "height_px"]).size().to_dict()
    assert {(row["role"], row["width_px"], row["height_px"]): row["images"] for row in found["sizes"]} == sizes
    for name, column in (("same_bytes", "sha256"), ("same_hash", "phash")):
        groups = [group for _, group in images.groupby(column) if group["pair"].nunique() > 1]
        assert found[name] == {"groups": len(groups), "images": sum(map(len, groups))}
    assert found["without_hash"] == images["phash"].isna().sum()


def test_images_of_the_same_hash_are_those_of_dups(statistics: Statistics, out: Path) -> None:
    found = statistics.answer({"part": "images"})["images"]
    groups = find_duplicates(str(out), 0).groups
    assert found["same_hash"] == {"groups": len(groups), "images": sum(map(len, groups))}


def test_licences(statistics: Statistics, task: str, pairs: pd.DataFrame) -> None:
    found = statistics.answer({"task": task, "part": "licences"})["licences"]
    counted = pairs.groupby(["source", "licence"]).size().to_dict()
    assert {(row["source"], row["licence"]): row["pairs"] for row in found} == counted
    for row in found:
        like = pairs[(pairs["source"] == row["source"]) & (pairs["licence"] == row["licence"])].iloc[0]
        parents = parents_of_row(like)
        assert (row["licences"], row["commercial"]) == ([*parents.names], effective(parents).commercial)


def test_contexts(statistics: Statistics, task: str, rows: pd.DataFrame, pairs: pd.DataFrame) -> None:
    found = statistics.answer({"task": task, "part": "contexts"})["contexts"]
    named = {(row.task, row.pair, c["pair"], c["dataset"]) for row in rows.itertuples() for c in row.contexts}
    times = Counter((task, context) for task, _, context, place in named if place is None)
    reuse = Counter(times[row.task, row.pair] for row in pairs.itertuples())
    assert sum(one_bin["pairs"] for one_bin in found["reuse"]) == len(pairs)
    for one_bin in found["reuse"]:
        assert one_bin["pairs"] == sum(reuse[count] for count in range(one_bin["low"], one_bin["high"] + 1))
    bounds = [(one_bin["low"], one_bin["high"]) for one_bin in found["reuse"]]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(bounds))
    assert [row["times"] for row in found["most"]] == sorted(times.values(), reverse=True)[:10]
    assert all(times[row["task"], row["pair"]] == row["times"] for row in found["most"])
    assert found["from_elsewhere"] == len({(task, pair) for task, pair, _, place in named if place is not None})
    methods = rows["context_method"].value_counts(dropna=False).to_dict()
    assert sorted(row["examples"] for row in found["methods"]) == sorted(methods.values())


def test_what_is_not_there_is_refused(statistics: Statistics, port: int) -> None:
    for query, message in (({"task": "nosuch"}, "no task nosuch"), ({"part": "nosuch"}, "no part nosuch")):
        with pytest.raises(BadRequest, match=message):
            statistics.answer(query)
    assert get(port, "/api/statistics?task=nosuch")[0].status == 400
    assert ask(port, "statistics").keys() == PARTS.keys()


def test_an_empty_dataset_has_statistics(tmp_path: Path) -> None:
    make_plan(Dataset(f"{tmp_path}/derain"), units=1)
    found = Statistics(connect(str(tmp_path)), ["derain"]).answer({})
    assert found["counts"] == {"pairs": [], "examples": [], "rejects": []}
    assert (found["scores"], found["lengths"], found["licences"]) == ([], [], [])
    assert found["images"]["roles"] == [] and found["contexts"]["reuse"] == []


# ---- the view ---------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(opened: Page, port: int) -> Page:
    opened.get_by_role("tab", name="Statistics").click()
    expect(opened.locator("#counted section")).to_have_count(len(PARTS))
    expect(opened.locator("#counted")).not_to_contain_text("counting …", timeout=30_000)
    return opened


def test_what_is_counted_leads_to_its_pairs(counted: Page, port: int) -> None:
    counted.locator("#counted-task").select_option("derain")
    expect(counted.locator("#counted")).not_to_contain_text("counting …", timeout=30_000)
    assert "stask=derain" in counted.url
    bar = counted.locator("[data-part=scores] figure", has_text="ssim").locator(".bars a").nth(3)
    name = bar.get_attribute("aria-label") or ""
    count = int(name.rpartition(": ")[2].split()[0])
    bar.focus()
    counted.keyboard.press("Enter")
    expect(counted.locator(".card")).to_have_count(count)
    assert {"score=ssim", "task=derain"} <= set(counted.url.partition("#")[2].split("&"))
    counted.go_back()
    for part, link in (
        ("images", ".sheet:nth-of-type(2) a"),
        ("lengths", "a"),
        ("licences", "a"),
        ("contexts", ".bars a"),
    ):
        place = counted.locator(f"[data-part={part}]")
        expect(place.locator(link).first).to_be_visible(timeout=30_000)
        place.locator(link).first.click()
        expect(counted.locator("#sql output")).to_contain_text("rows")
        expect(counted.locator("#sql .error")).to_be_hidden()
        expect(counted.locator("#result a").first).to_have_attribute("href", re.compile("[#&]pair=[0-9a-f]{32}$"))
        counted.go_back()
    counted.locator("[data-part=counts] a", has_text="truncated").click()
    expect(counted.locator("#rejected .reject")).to_have_count(2)


def test_text_of_a_dataset_stays_text(counted: Page) -> None:
    title = counted.title()
    for part in ("instructions", "licences", "scores"):
        expect(counted.locator(f"[data-part={part}]")).to_contain_text(HOSTILE)
    assert counted.locator("#counted script, #counted img").count() == 0
    counted.locator("[data-part=licences] a", has_text="<script>").first.click()  # through a query's text
    expect(counted.locator("#result tbody tr").first).to_be_visible()
    assert counted.title() == title
