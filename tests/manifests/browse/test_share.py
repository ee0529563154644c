"""The static page, from a web server's sub-folder and from a disk."""

from __future__ import annotations

import http.server
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage
from playwright.sync_api import Page, expect

from manifests.browse.share import SIDE_PX, share
from manifests.dataset import Dataset, DatasetError
from tests.manifests.make import make_dataset, make_plan
from tests.manifests.verify.damage import edit
from tests.manifests.web import HOSTILE

SECRET = "/home/somebody/private"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, one of them with less than its share, whose manifests tell of the machine and say hostile things."""
    out = tmp_path_factory.mktemp("datasets-of-somebody")
    make_dataset(f"{out}/derain", units=2, pairs=15)
    make_dataset(f"{out}/lowlight", task="lowlight", units=1, pairs=3)
    for manifest in out.glob("*/manifest/*.parquet"):
        edit(manifest, lambda rows: [_tell(row) for row in rows])
    return out


def _tell(row: dict[str, Any]) -> dict[str, Any]:
    row["source_ref"] = f"{SECRET}/{row['source_ref']}"
    row["source"] = "https://me:password@host/set?token=abc"
    row["licence"] = HOSTILE
    if row["direction"] == "reverse" and row["kind"] == "generate":
        row["instruction"] = HOSTILE
    for step in row["steps"]:
        step.update(params=json.dumps({"weights": f"{SECRET}/x.bin", "__proto__": 1}), model=f"{SECRET}/flux")
    return row


@pytest.fixture(scope="module")
def folder(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "some folder" / "page"
    assert share(str(out), folder, pairs=10) == []
    return folder


@pytest.fixture(scope="module", params=["http", "file"])
def address(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "file":
        yield (folder / "index.html").as_uri()
        return
    handler = partial(_Quiet, directory=str(folder.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/some%20folder/page/"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


def test_the_page_needs_no_server(page: Page, address: str) -> None:
    problems: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator(".card")).to_have_count(10)
    title = page.title()
    first = page.locator(".card img").first
    assert 0 < first.evaluate("image => image.decode().then(() => image.naturalWidth)") <= SIDE_PX
    expect(page.locator("nav").get_by_role("tab")).to_have_text(["Pairs", "Statistics"])
    page.locator(".card footer a").first.click()
    expect(page.locator("#pair h3")).to_have_text(["Images", "Examples", "Provenance"])
    expect(page.locator("#pair .error")).to_have_count(0)
    page.locator("#pair img").first.evaluate("image => image.decode()")
    page.keyboard.press("Escape")
    if address.startswith("http"):  # from a disk no script can read a picture
        page.locator(".card").first.get_by_role("button", name="Compare").click()
        expect(page.locator(".card .viewer canvas").first).to_be_visible()
    expect(page.get_by_label("Decided")).to_be_hidden()
    assert page.locator(".decide").count() == 0
    page.locator("#filters select[name=task]").select_option("lowlight")
    expect(page.locator(".card")).to_have_count(3)
    page.locator("#filters select[name=task]").select_option("")
    page.locator("#filters input[name=text]").fill("LET IT")
    expect(page.locator(".card")).to_have_count(0)
    page.locator("#filters input[name=text]").fill("onerror")
    expect(page.locator(".card")).to_have_count(10)
    page.get_by_role("tab", name="Statistics").click()
    expect(page.locator("[data-part=counts]")).to_contain_text("30")  # of all, not of the sample
    expect(page.locator("[data-part=licences]")).to_contain_text(HOSTILE)
    assert page.locator("#counted a").count() == 0  # a sample is not what was counted
    assert page.title() == title
    for state, said in (
        ("page=x", "page is not a number: x"),
        ("tab=statistics&stask=nosuch", "There is no task nosuch"),
    ):
        page.goto("about:blank")
        page.goto(f"{address}#{state}")
        expect(page.locator("main .error:visible").first).to_contain_text(said)
    assert {url.partition("/page/")[2].split("/")[0].partition("#")[0] for url in asked if url != "about:blank"} <= {
        *("", "index.html", "page.js", "sample.js", "style.css", "images")
    }
    assert problems == []


def test_nothing_of_the_machine_is_in_it(out: Path, folder: Path) -> None:
    for file in folder.rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        for secret in (SECRET, "of-somebody", "password", "token=", str(out.parent)):
            assert secret.encode() not in data, (file, secret)
        if file.suffix == ".webp":
            picture = PILImage.open(io.BytesIO(data))
            assert max(picture.size) <= SIDE_PX and not {"exif", "icc_profile", "xmp"} & picture.info.keys()
    sample = _sample(folder)
    assert all("url" not in one for one in sample["overview"])
    steps = [step for _, pair in sample["pairs"] for step in pair["steps"]]
    assert {step["model"] for step in steps} == {".../flux"}
    assert {step["params"] for step in steps} == {'{"__proto__":1,"weights":".../x.bin"}'}


def _sample(folder: Path) -> Any:
    text = (folder / "sample.js").read_text()
    match = re.fullmatch(r"var sharedSample = (.*);\n", text)
    assert match and text.isascii()
    return json.loads(json.loads(match[1]))


def test_tasks_have_even_shares_and_another_seed_draws_others(out: Path, folder: Path, tmp_path: Path) -> None:
    sample = _sample(folder)
    pairs = dict(sample["pairs"])
    tasks = [pairs[key]["task"] for key in sample["listed"]]
    assert tasks[:6] == ["derain", "lowlight"] * 3
    assert Counter(tasks) == {"derain": 7, "lowlight": 3}
    contexts = {c["pair"] for key in sample["listed"] for one in pairs[key]["examples"] for c in one["contexts"]}
    assert contexts <= pairs.keys() and pairs.keys() == contexts | {*sample["listed"]}
    share(str(out), tmp_path / "same", pairs=10)
    assert _files(tmp_path / "same") == _files(folder)
    share(str(out), tmp_path / "other", pairs=10, seed=1)
    assert _sample(tmp_path / "other")["listed"] != sample["listed"]
    assert Counter(pairs[key]["task"] for key in sample["listed"])["lowlight"] == 3


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_only_an_older_page_is_written_over(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page"
    share(str(out), page, pairs=2)
    share(str(out), page, pairs=1)
    assert len(_sample(page)["listed"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    before = _files(page)
    with monkeypatch.context() as patch:  # as a full disk would end it
        patch.setattr("manifests.browse.share.classic", lambda *_: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            share(str(out), page, pairs=3)
    assert _files(page) == before
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    (page / "images" / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match=r"images/mine\.txt, which --share did not write"):
        share(str(out), page)
    (tmp_path / "link").symlink_to(page)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("link", "empty", "file", "."):
        with pytest.raises(ValueError, match="is no page that --share wrote"):
            share(str(out), tmp_path / name)
    with pytest.raises(DatasetError, match="lie in each other"):
        share(str(out), out / "derain" / "page")
    assert (page / "images" / "mine.txt").read_text() == "kept"


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/out/derain", units=1, pairs=2)
    (tmp_path / "out/derain/shards/derain-000000.tar").unlink()
    problems = share(f"{tmp_path}/out", tmp_path / "page")
    assert len(problems) == 4 and all("cannot be shown" in problem and "\n" not in problem for problem in problems)
    make_plan(Dataset(f"{tmp_path}/none/derain"), units=1)
    with pytest.raises(DatasetError, match="no committed pair"):
        share(f"{tmp_path}/none", tmp_path / "none-page")
    assert not (tmp_path / "none-page").exists()
    for pairs in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            share(f"{tmp_path}/out", tmp_path / "page", pairs=pairs)
