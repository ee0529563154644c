"""Rejects on the page: their pictures, histograms of scores, and bounds that are dragged."""

from __future__ import annotations

import io
import itertools
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image as PILImage
from playwright.sync_api import Page, expect

from manifests.choose.derive import derive
from manifests.dataset import Dataset, plan_table
from manifests.images.small import small
from manifests.schema import Image, Item, Reject
from manifests.write.reject_pictures import SIDES
from manifests.write.writer import UnitWriter
from tests.manifests.make import SOURCE, SUFFIXES, finish_dataset, make_dataset, make_pair
from tests.manifests.verify.damage import edit
from tests.manifests.web import HOSTILE, ask, get, serving

_DRAWN = random.Random(0)
KEPT = [round(_DRAWN.uniform(0.15, 1.0), 6) for _ in range(30)]
LOST = [round(_DRAWN.uniform(-0.2, 0.15), 6) for _ in range(9)]
"""The alignments of kept pairs and of rejects."""

REFS = [HOSTILE, "../../etc/passwd", "a/b c?.png#1", "", *(f"other {number}.png" for number in range(5))]
CONFIG = {
    "task": "derain",
    "seed": 0,
    "operators": [
        {"name": "gate", "version": 1, "max_mean_abs_diff": 1.0},
        {"name": "degraded", "version": 1, "min_alignment": 0.15},
    ],
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards; a gate has rejected nine pairs by their alignment, and one, without a picture, by its sizes."""
    out = tmp_path_factory.mktemp("rejects")
    dataset = Dataset(f"{out}/derain")
    kept = [Item(ref=f"photo.png#{number}", files=("photo.png",), index=number) for number in range(len(KEPT))]
    lost = [Item(ref=ref, files=(ref,), index=100 + number) for number, ref in enumerate(REFS)]
    sizes = Item(ref="sizes.png", files=("sizes.png",), index=200)
    units = [[*kept[:20], *lost[:4]], [*kept[20:], *lost[4:], sizes]]
    plan = dataset.write_plan("derain", CONFIG, "f" * 64, plan_table(units))
    for unit, items in enumerate(units):
        with UnitWriter.open(dataset, plan, unit, prototype_task="low-level", suffixes=SUFFIXES) as writer:
            for item in items:
                pair = make_pair("derain", item)
                if item in kept:
                    scores = {"mean_abs_diff": 0.1, "alignment": KEPT[item.index]}
                    writer.add(replace(pair, scores=scores))
                elif item in lost:
                    reject = Reject("other_scene", f"of {item.ref}", {"alignment": LOST[item.index - 100]})
                    writer.reject(item, SOURCE, "degraded", reject, _pictures(item))
                else:
                    writer.reject(item, SOURCE, "gate", Reject("size_mismatch", "64 x 48 px and 48 x 64 px"))
        writer.commit({}, 0, {})
    finish_dataset(dataset, plan)
    return out


def _pictures(item: Item) -> list[Image]:
    return [small(side, image.data) for side, image in zip(SIDES, make_pair("derain", item).images, strict=True)]


def _within(values: list[float], low: float | None, high: float | None) -> int:
    return sum((low is None or value >= low) and (high is None or value <= high) for value in values)


# ---- the server by itself ---------------------------------------------------------------------------------------


def test_a_histogram_counts_what_is_there(port: int) -> None:
    found = ask(port, "histogram", task="derain", score="alignment", bins=7)
    edges = found["edges"]
    assert (edges[0], edges[-1], len(edges)) == (min(LOST), max(KEPT), 8)
    for values, name in ((KEPT, "kept"), (LOST, "rejected")):
        bins = [sum(low <= value < high for value in values) for low, high in itertools.pairwise(edges)]
        bins[-1] += values.count(edges[-1])
        assert found[name] == bins
    assert found["having"] == {"kept": 30, "rejected": 9} and found["all"] == {"kept": 30, "rejected": 10}
    assert [bound["option"] for bound in found["bounds"]] == ["--min-alignment"]


def test_bounds_keep_what_is_between_them_both_ends_included(port: int) -> None:
    cases = [
        (None, None),
        (KEPT[3], None),
        (None, KEPT[5]),
        (KEPT[7], KEPT[7]),
        (0.9, 0.1),
        (-9.0, LOST[2]),
        (LOST[4], KEPT[1]),
    ]
    for low, high in cases:
        asked = {name: value for name, value in (("low", low), ("high", high)) if value is not None}
        found = ask(port, "histogram", task="derain", score="alignment", **asked)
        assert found["within"] == {"kept": _within(KEPT, low, high), "rejected": _within(LOST, low, high)}, (low, high)
        asked = {"min" if name == "low" else "max": value for name, value in asked.items()}
        assert ask(port, "rejects", score="alignment", **asked)["total"] == _within(LOST, low, high)
    of_gate = ask(port, "histogram", task="derain", score="alignment", reason="size_mismatch")
    assert of_gate["having"] == {"kept": 30, "rejected": 0}
    assert of_gate["reasons"] == [{"operator": "degraded", "reason": "other_scene", "having": 9, "within": 9}]


def test_a_score_that_is_constant_or_unknown_has_a_histogram_too(port: int) -> None:
    found = ask(port, "histogram", task="derain", score="mean_abs_diff")
    assert (found["edges"], found["kept"], found["rejected"]) == ([0.1, 0.1], [30], [0])
    found = ask(port, "histogram", task="derain", score="unknown'; --")
    assert sum(found["kept"]) == sum(found["rejected"]) == 0


def test_what_is_nearest_a_bound(port: int) -> None:
    found = ask(port, "beside", task="derain", score="alignment", at=0.15)
    assert [row["value"] for row in found["kept"]] == sorted(KEPT, key=lambda value: abs(value - 0.15))[:12]
    assert [row["value"] for row in found["rejected"]] == sorted(LOST, key=lambda value: abs(value - 0.15))
    assert found["kept"][0]["roles"] == ["input", "target"]
    assert ask(port, "beside", task="derain", score="alignment", at=0.15, reason="size_mismatch")["rejected"] == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("histogram?score=alignment", "name the task"),
        ("histogram?task=derain", "name the score"),
        ("histogram?task=derain&score=a&bins=0", "bins is not a number from 1 to 200"),
        ("histogram?task=derain&score=a&bins=%C2%B2", "bins is not a number"),
        ("histogram?task=derain&score=a&low=x", "low is not a number"),
        ("beside?task=nosuch&score=a", "there is no task nosuch"),
    ],
)
def test_what_cannot_be_asked(port: int, path: str, said: str) -> None:
    response, body = get(port, f"/api/{path}")
    assert response.status == 400 and said in body.decode()


def test_pictures_are_what_was_stored(out: Path) -> None:
    with serving(str(out)) as fresh:  # which no page was asked of before
        for number, ref in enumerate(REFS):
            item = Item(ref=ref, files=(ref,), index=100 + number)
            for wanted in _pictures(item):
                response, body = get(fresh, f"/reject/derain/{quote(ref, safe='')}/{wanted.role}")
                assert (response.status, response.headers["Content-Type"], body) == (200, "image/webp", wanted.data)
                assert PILImage.open(io.BytesIO(body)).size == (64, 48)
        for path in (
            "derain/sizes.png/input",
            "derain/nosuch/input",
            "nosuch/sizes.png/input",
            f"derain/{REFS[4]}/mask",
        ):
            assert get(fresh, f"/reject/{quote(path)}")[0].status == 404


def test_an_impossible_place_is_refused(out: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(out / "derain", tmp_path / "derain"))
    (tmp_path / "secret.tar").write_bytes((root / "reject_pictures/derain-000000.tar").read_bytes())
    places = [{"offset": -1}, {"offset": 2**62}, {"bytes": 16_001}, {"bytes": 0}, {"bytes": 2**31 - 1}, {"bytes": -1}]
    changes = [*places, {"sha256": "0" * 64}]

    def apply(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            number = REFS.index(row["source_ref"]) if row["source_ref"] in REFS else len(changes)
            if number < len(changes):
                row["pictures"][0].update(changes[number])
            elif row["pictures"]:
                row["shard"] = "../../secret.tar"

    for unit in range(2):
        edit(root / f"rejects/derain-00000{unit}.parquet", apply)
    with serving(str(tmp_path / "derain")) as port:
        for ref in REFS:
            response, body = get(port, f"/reject/derain/{quote(ref, safe='')}/input")
            assert response.status == 400 and b"Traceback" not in body, ref


# ---- the page in a browser --------------------------------------------------------------------------------------


@pytest.fixture
def bounds(page: Page, port: int) -> Iterator[Page]:
    """The histogram of the alignments; the test fails if the page logs an error."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto("about:blank")
    page.goto(f"http://127.0.0.1:{port}/#tab=rejects&rtask=derain&rscore=alignment")
    expect(page.get_by_role("slider", name="Lower bound")).to_be_visible()
    yield page
    assert problems == [] and page.title() == "X-Prompt data"


def test_rejects_are_seen(bounds: Page) -> None:
    expect(bounds.locator("#rejected .reject")).to_have_count(10)
    expect(bounds.locator("#rejected .none")).to_have_count(1)
    for image in bounds.locator("#rejected img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("naturalWidth", 64)
    first = bounds.locator("#rejected .reject").first
    assert first.get_attribute("data-ref") == HOSTILE and HOSTILE in first.inner_text()
    assert bounds.locator("#rejected script").count() == 0
    bounds.get_by_role("button", name="Show these").nth(1).click()
    expect(bounds.locator("#rejected .reject")).to_have_count(1)
    expect(bounds.locator("#rejected")).to_contain_text("size_mismatch")


def test_a_pair_that_was_left_out_has_its_pictures_in_the_parent(page: Page, tmp_path: Path) -> None:
    parent = make_dataset(f"{tmp_path}/parent", units=1, pairs=2)
    derive(parent, f"{tmp_path}/derived", sql="SELECT pair FROM pairs LIMIT 1")
    with serving(f"{tmp_path}/derived") as port:
        page.goto("about:blank")
        page.goto(f"http://127.0.0.1:{port}/#tab=rejects&reason=not_selected")
        expect(page.locator("#rejected .none")).to_have_text(
            "No picture here: the pair was left out when this dataset was derived, and its pictures are in the dataset "
            "that it was derived from."
        )


def test_a_bound_is_dragged(bounds: Page, port: int) -> None:
    slider, plot = bounds.get_by_role("slider", name="Lower bound"), bounds.locator(".plot").bounding_box()
    grip = slider.bounding_box()
    assert plot and grip
    bounds.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    bounds.mouse.down()
    bounds.mouse.move(plot["x"] + plot["width"] / 2, plot["y"] + 60, steps=5)
    bounds.mouse.up()
    low = float(bounds.get_by_label("at least").input_value())
    assert abs(low - (min(LOST) + max(KEPT)) / 2) < 0.02
    _says(bounds, low, None)
    expect(bounds).to_have_url(f"http://127.0.0.1:{port}/#tab=rejects&rtask=derain&rscore=alignment&rlow={low}")
    assert bounds.locator("#as-option").input_value() == f"--min-alignment {low}"
    sql = bounds.locator("#as-sql").input_value()
    assert len(ask(port, "sql", query=sql)["rows"]) == _within(KEPT, low, None)
    expect(bounds.locator("#nearest")).to_have_text(f"Nearest alignment {low}")
    nearest = sorted(KEPT, key=lambda value: abs(value - low))[0]
    expect(bounds.locator("#kept-beside .reject").first).to_contain_text(f"{nearest:.4g}")
    bounds.reload()
    expect(slider).to_have_attribute("aria-valuenow", str(low))
    _says(bounds, low, None)


def test_a_bound_is_moved_by_keyboard_and_typed(bounds: Page, port: int) -> None:
    upper, step = bounds.get_by_role("slider", name="Upper bound"), (max(KEPT) - min(LOST)) / 200
    upper.focus()
    for key in ("PageDown", "PageDown", "ArrowLeft", "ArrowUp"):
        bounds.keyboard.press(key)
    high = float(bounds.get_by_label("at most").input_value())
    assert abs(high - (max(KEPT) - 20 * step)) < step
    _says(bounds, None, high)
    expect(bounds.locator("#no-option")).to_contain_text(
        "No gate of the task has an upper bound of alignment. Use the SQL."
    )
    expect(bounds.locator("#as-option")).to_be_hidden()
    expect(upper).to_be_focused()
    bounds.get_by_label("at least").fill("-0.1")
    bounds.get_by_label("at least").press("Enter")
    _says(bounds, -0.1, high)
    expect(bounds.locator("#rejected .reject")).to_have_count(_within(LOST, -0.1, high))
    sql = bounds.locator("#as-sql").input_value()
    assert len(ask(port, "sql", query=sql)["rows"]) == _within(KEPT, -0.1, high)
    bounds.get_by_role("button", name="No bounds").click()
    _says(bounds, None, None)
    upper.press("Home")
    _says(bounds, None, min(LOST))
    bounds.locator("#rscore").select_option(label="mean_abs_diff")
    expect(bounds.locator("#would-keep")).to_contain_text("30 of 30 kept pairs")


def _says(page: Page, low: float | None, high: float | None) -> None:
    kept, lost = _within(KEPT, low, high), _within(LOST, low, high)
    expect(page.locator("#would-keep")).to_contain_text(f"{kept} of 30 kept pairs and {lost} of 9 rejects")
