"""A dataset that is removed, or removed and made anew, while a page shows it: what is said, and what goes on."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from manifests.dataset import Dataset
from manifests.images.pixels import encode_lossless
from manifests.write.writer import UnitWriter
from tests.manifests.browse.test_choosing import post
from tests.manifests.make import SUFFIXES, make_dataset, make_pair, make_plan, photo, write_unit
from tests.manifests.web import ask, get, serving

LINE = "derain was removed or made anew since this page was opened: reload the page"


def _remove(root: Path) -> None:
    shutil.rmtree(root / "derain")


def _other_seed(root: Path) -> None:
    """The same pairs by their keys, with other inputs, so that all that follows lies elsewhere."""
    _remove(root)
    dataset = Dataset(f"{root}/derain")
    plan = make_plan(dataset, units=2, pairs=3)
    noise = np.random.default_rng(1)
    for unit in range(2):
        with UnitWriter.open(dataset, plan, unit, prototype_task="low-level", suffixes=SUFFIXES) as writer:
            for item in dataset.unit(plan, unit).items:
                pair = make_pair("derain", item)
                worse = photo(item.index) // 4 + noise.integers(0, 99, photo(0).shape, np.uint8)
                writer.add(replace(pair, images=(encode_lossless("input", worse), pair.images[1])))
        writer.commit({}, 0, {})


def _other_scale(root: Path) -> None:
    make_dataset(f"{root}/made/derain", units=1, pairs=1, first=20)
    _remove(root)
    (root / "made/derain").rename(root / "derain")


CHANGES = pytest.mark.parametrize("change", [_remove, _other_seed, _other_scale])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for task in ("derain", "lowlight"):
        make_dataset(f"{tmp_path}/{task}", task=task, units=2, pairs=3, pictures=True)
    return tmp_path


def _said(answer: tuple[Any, bytes]) -> tuple[int, str]:
    response, body = answer
    return response.status, json.loads(body)["error"]


def _sha256s(port: int) -> dict[tuple[str, str], str]:
    """By pair and role of derain, as the page is told."""
    rows = ask(port, "pairs", task="derain")["rows"]
    return {(row["pair"], image["role"]): image["sha256"] for row in rows for image in row["images"]}


@CHANGES
def test_no_picture_of_other_bytes_is_sent(out: Path, change: Callable[[Path], None]) -> None:
    with serving(str(out)) as port:
        known = _sha256s(port)
        change(out)
        for (pair, role), sha256 in known.items():
            assert _said(get(port, f"/image/{pair}/{role}?v={sha256[:20]}")) == (409, LINE)
            assert _said(get(port, f"/thumbnail/{pair}/{role}?side=160&v={sha256[:20]}")) == (409, LINE)
        get(port, "/")
        for (pair, role), sha256 in (_sha256s(port) if change != _remove else {}).items():
            response, body = get(port, f"/image/{pair}/{role}?v={sha256[:20]}")
            assert (response.status, hashlib.sha256(body).hexdigest()) == (200, sha256)


def test_all_that_is_asked_of_what_is_gone_names_it(out: Path) -> None:
    reject = quote("photo.png#3", safe="")
    with serving(str(out)) as port:
        pair = ask(port, "pairs", task="derain")["rows"][0]["pair"]
        _remove(out)
        for path in (
            "/api/pairs?text=rain",
            "/api/pairs?task=derain&text=rain",
            "/api/rejects",
            "/api/rejects?task=derain",
            "/api/histogram?task=derain&score=psnr",
            "/api/beside?task=derain&score=psnr",
            "/api/named?keys=" + pair,
            f"/api/pair/{pair}",
            f"/api/pair/{pair}/serves",
            "/api/statistics?task=derain&part=counts",
            "/api/statistics?part=licences",
            "/api/sql?query=SELECT+count(DISTINCT+instruction)+FROM+examples",
            "/api/sql.csv?query=FROM+rejects",
            f"/reject/derain/{reject}/input",
        ):
            assert (path, *_said(get(port, path))) == (path, 409, LINE)
        assert post(port, {"pair": pair, "decision": "keep", "reviewer": "Ada"}) == (409, {"error": LINE})
        assert not (out / "decisions.jsonl").exists()


@CHANGES
def test_what_fails_is_told_in_that_line_alone(out: Path, change: Callable[[Path], None]) -> None:
    """What DuckDB had read before it may still answer of, and what it reads now may be sound."""
    with serving(str(out)) as port:
        ask(port, "statistics", part="counts")
        pair = ask(port, "pairs")["rows"][0]["pair"]
        change(out)
        for path in (f"pair/{pair}", "pairs?text=rain", "statistics?part=images", "sql?query=FROM+examples"):
            response, body = get(port, f"/api/{path}")
            assert response.status == 200 or _said((response, body)) == (409, LINE)


@CHANGES
def test_other_datasets_stay_usable(out: Path, change: Callable[[Path], None]) -> None:
    with serving(str(out)) as port:
        ask(port, "overview")
        first = ask(port, "pairs", task="lowlight")["rows"][0]
        last = Dataset(f"{out}/lowlight").to_arrow(["pair"])["pair"][-1].as_py()
        ask(port, "rejects")
        change(out)
        paths = [
            "/api/pairs?task=lowlight",
            "/api/pairs?task=lowlight&text=rain",
            "/api/pairs?task=lowlight&score=mean_abs_diff&order=low",
            "/api/rejects?task=lowlight",
            "/api/histogram?task=lowlight&score=psnr",
            "/api/beside?task=lowlight&score=psnr",
            "/api/statistics?task=lowlight",
            f"/api/named?keys={last},{first['pair']}",
            f"/api/pair/{last}",
            f"/image/{last}/input",
            f"/thumbnail/{last}/target?side=160",
            "/reject/lowlight/" + quote("photo.png#3", safe="") + "/input",
        ]
        with ThreadPoolExecutor(len(paths)) as threads:  # more at once than there are processes yet that run SQL
            statuses = threads.map(lambda path: (path, get(port, path)[0].status), paths)
            assert [*statuses] == [(path, 200) for path in paths]
        for pair in (first["pair"], last):
            status, answer = post(port, {"pair": pair, "decision": "keep", "reviewer": "Ada"})
            assert (status, answer["pairs"][pair]["status"]) == (200, "kept")


def test_what_has_nothing_to_do_with_it_is_told_as_it_is(out: Path) -> None:
    with serving(str(out)) as port:
        _remove(out)
        assert "syntax error" in _said(get(port, "/api/sql?query=SELEC"))[1]
        assert _said(get(port, "/api/pairs?page=x"))[0] == 400
        assert post(port, {"decision": "keep"})[0] == 400


def test_a_page_that_is_loaded_again_shows_what_is_there(out: Path) -> None:
    with serving(str(out)) as port:
        pair = ask(port, "pairs", task="derain")["rows"][0]["pair"]
        _other_scale(out)
        assert _said(get(port, f"/image/{pair}/input")) == (409, LINE)
        get(port, "/")
        assert [(row["task"], row["pairs"]) for row in ask(port, "overview")] == [("derain", 1), ("lowlight", 6)]
        assert ask(port, "pairs", text="rain")["total"] == 7
        assert get(port, f"/image/{pair}/input")[0].status == 404


def test_a_file_that_is_gone_is_told_once_and_then_as_what_it_is(out: Path) -> None:
    shard = out / "derain/shards/derain-000000.tar"
    with serving(str(out)) as port:
        pair = ask(port, "pairs", task="derain")["rows"][0]["pair"]
        shard.rename(out / "elsewhere")
        assert _said(get(port, f"/image/{pair}/input")) == (409, LINE)
        get(port, "/")
        status, error = _said(get(port, f"/image/{pair}/input"))
        assert status == 400 and "is missing or cut off" in error


def test_damage_is_told_as_damage(out: Path) -> None:
    place = next(iter(Dataset(f"{out}/derain").rows(["pair", "images"])))
    with (out / "derain/shards/derain-000000.tar").open("r+b") as shard:
        shard.seek(place["images"][0]["offset"] + place["images"][0]["bytes"] // 2)
        shard.write(b"xx")
    with serving(str(out)) as port:
        for path in (f"/image/{place['pair']}/input", f"/thumbnail/{place['pair']}/input?side=160"):
            status, error = _said(get(port, path))
            assert status == 400
            assert re.fullmatch(
                r".*/derain/shards/derain-000000\.tar has not the image that is named: `xprompt verify .*`.*", error
            )


def test_units_that_are_committed_meanwhile_change_nothing(tmp_path: Path) -> None:
    dataset = Dataset(f"{tmp_path}/derain")
    plan = make_plan(dataset, units=2, pairs=2)
    write_unit(dataset, plan, 0)
    with serving(str(tmp_path)) as port:
        write_unit(dataset, plan, 1)
        assert _said(get(port, f"/api/pair/{'f' * 32}")) == (404, "no manifest names this")
        assert ask(port, "pairs")["total"] == 2


# ---- the page in a browser ------------------------------------------------------------------------------------------


def test_the_page_says_so_and_reloading_repairs(page: Page, out: Path) -> None:
    with serving(str(out)) as port:
        page.goto("about:blank")
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator(".card")).to_have_count(12)
        said = page.locator("#changed")
        expect(said).to_be_hidden()
        _remove(out)
        page.get_by_label("Text in instructions").fill("let")
        expect(said.locator("span")).to_have_text(LINE)
        expect(page.locator("#cards .empty .error")).to_have_text(LINE)
        page.get_by_role("tab", name="Statistics").click()
        expect(page.locator("#counted .error")).to_have_text([LINE] * 7)
        assert not re.search("Traceback|Errno|magic|parquet|manifests://", page.locator("body").inner_text())
        page.get_by_role("tab", name="Pairs").click()
        page.locator("#filters select[name=task]").select_option("lowlight")
        expect(page.locator(".card")).to_have_count(6)
        expect(said).to_be_visible()
        said.get_by_role("button", name="Reload").click()
        expect(said).to_be_hidden()
        page.get_by_role("button", name="Clear filters").click()
        expect(page.locator(".card")).to_have_count(6)
        page.get_by_role("tab", name="Statistics").click()
        expect(page.locator("#counted")).not_to_contain_text("counting")
        expect(page.locator("#counted .error")).to_have_count(0)


def test_a_picture_that_is_not_shown_says_so_too(page: Page, out: Path) -> None:
    with serving(str(out)) as port:
        page.goto("about:blank")
        page.goto(f"http://127.0.0.1:{port}/#tab=rejects&rtask=derain")
        picture = page.locator("#rejected img").first
        expect(picture).to_have_js_property("naturalWidth", 64)
        _remove(out)
        picture.evaluate("picture => { picture.src += '?again'; }")
        expect(page.locator("#changed span")).to_have_text(LINE)
