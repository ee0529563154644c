"""The page in a real browser, and the server behind it by its own protocol."""

from __future__ import annotations

import io
import json
import os
import re
import socket
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image as PILImage
from playwright.sync_api import Page, expect

from manifests.dataset import Dataset
from manifests.images.pixels import encode_lossless
from tests.manifests.make import make_dataset, make_plan, photo, write_unit
from tests.manifests.verify.damage import edit
from tests.manifests.web import HOSTILE, ask, get, serving


def test_filters(port: int) -> None:
    total = {
        (): 124,
        (("task", "derain"),): 120,
        (("task", "derain"), ("direction", "forward"), ("kind", "describe")): 30,
        (("text", "LET IT"),): 30,
        (("text", "%"),): 0,
        (("score", "mean_abs_diff"), ("min", "0.1"), ("max", "0.3"), ("task", "derain")): 12,
        (("score", "unknown"),): 0,
        (("task", "x' OR true --"),): 0,
    }
    for query, expected in total.items():
        assert ask(port, "examples", **dict(query))["total"] == expected


def test_order_by_score(port: int) -> None:
    query = {"task": "derain", "score": "mean_abs_diff", "direction": "forward", "kind": "generate"}
    for order, expected in (("low", [0.0, 0.1, 0.2]), ("high", [3.0, 2.9, 2.8])):
        rows = ask(port, "examples", **query, order=order)["rows"]
        assert [row["scores"]["mean_abs_diff"] for row in rows[:3]] == expected


def test_pages_hold_each_example_once(port: int) -> None:
    pages = [ask(port, "examples", page=page)["rows"] for page in range(7)]
    assert [len(page) for page in pages] == [24, 24, 24, 24, 24, 4, 0]
    rows = [(row["pair"], row["direction"], row["kind"]) for page in pages for row in page]
    assert len(set(rows)) == 124


def test_rejects(port: int) -> None:
    found = ask(port, "rejects")
    assert [(row["task"], row["reason"], row["items"]) for row in found["reasons"]] == [("derain", "truncated", 2)]
    assert [row["source_ref"] for row in found["rows"]] == ["photo.png#15", "photo.png#31"]
    assert ask(port, "rejects", reason="other")["total"] == 0


def test_images_are_the_stored_bytes_or_converted(port: int) -> None:
    row = ask(port, "examples", task="derain")["rows"][0]
    response, body = get(port, f"/image/{row['pair']}/target")
    assert response.headers["Content-Type"] == "image/png"
    assert body == encode_lossless("target", photo(0)).data
    row = ask(port, "examples", task="strange")["rows"][0]
    for role, colour in (("input", (128, 128, 128)), ("target", (255, 0, 0))):
        response, body = get(port, f"/image/{row['pair']}/{role}")
        assert response.headers["Content-Type"] == "image/png"
        shown = np.asarray(PILImage.open(io.BytesIO(body)), np.int16)
        assert np.abs(shown - colour).max() < 6


def test_images_are_found_without_having_been_on_a_page(out: Path, port: int) -> None:
    pair = ask(port, "examples", task="derain", page=2)["rows"][-1]["pair"]
    with serving(str(out)) as fresh:
        assert get(fresh, f"/image/{pair}/input")[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/image/unknown/input",
        "/image/{pair}/unknown",
        "/image/{pair}/input/more",
        "/image/../../etc/passwd",
        f"/image/{quote('../derain', safe='')}/input",
        "/api/pair/unknown",
        "/derain/dataset.json",
        "/browse.py",
        "//etc/passwd",
    ],
)
def test_what_no_manifest_names_is_not_there(port: int, path: str) -> None:
    pair = ask(port, "examples", task="derain")["rows"][0]["pair"]
    assert get(port, path.format(pair=pair))[0].status == 404


def test_bad_parameters(port: int) -> None:
    for query in ("page=-1", "page=x", "score=s&min=x"):
        response, body = get(port, f"/api/examples?{query}")
        assert response.status == 400
        assert "is not a number" in json.loads(body)["error"]


def test_a_missing_shard_is_said_in_words(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=1)
    (tmp_path / "derain/shards/derain-000000.tar").unlink()
    with serving(str(tmp_path)) as port:
        pair = ask(port, "examples")["rows"][0]["pair"]
        response, body = get(port, f"/image/{pair}/input")
        assert response.status == 400
        assert "is missing or cut off" in json.loads(body)["error"]


def _forged(root: Path, **columns: object) -> Path:
    """A dataset of one pair whose manifest somebody else has written."""
    make_dataset(f"{root}/derain", units=1, pairs=1)
    edit(root / "derain/manifest/derain-000000.parquet", lambda rows: [row.update(columns) for row in rows])
    return root


@pytest.mark.parametrize(
    "shard", ["..", ".", "", "\0", "derain-000000.tar\0", "../shards/derain-000000.tar", "folder.tar", "x" * 5000]
)
def test_a_shard_that_is_none_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str], shard: str) -> None:
    _forged(tmp_path, shard=shard)
    (tmp_path / "derain/shards/folder.tar").mkdir()
    with serving(str(tmp_path)) as port:
        pair = ask(port, "examples")["rows"][0]["pair"]
        response, body = get(port, f"/image/{pair}/input")
    assert response.status == 400, body
    assert "\n" not in json.loads(body)["error"]
    assert capsys.readouterr().err == ""  # no traceback


def test_a_number_that_json_cannot_hold_is_said_in_words(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=1)
    edit(
        tmp_path / "derain/manifest/derain-000000.parquet",
        lambda rows: [image.update(offset=2**62, bytes=2**62) for row in rows for image in row["images"]],
    )
    with serving(str(tmp_path)) as port:
        pair = ask(port, "examples")["rows"][0]["pair"]
        response, body = get(port, f"/image/{pair}/input")
    assert response.status == 400
    assert "impossible place" in json.loads(body)["error"]


def test_no_link_of_a_dataset_shows_a_file_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret.tar"
    secret.write_bytes(b"what is not in any dataset" * 1_000)
    _forged(tmp_path / "out")
    for name in ("shards/derain-000000.tar", "shards"):
        place = tmp_path / "out/derain" / name
        place.rename(tmp_path / f"was-{place.name}")
        place.symlink_to(secret if name.endswith(".tar") else tmp_path / "was-shards")
        with serving(str(tmp_path / "out")) as port:
            pair = ask(port, "examples")["rows"][0]["pair"]
            response, body = get(port, f"/image/{pair}/input")
        assert response.status == 400
        assert "is a link that leads out of" in json.loads(body)["error"]
        place.unlink()
        (tmp_path / f"was-{place.name}").rename(place)


def test_a_pipe_among_the_shards_is_not_waited_for(tmp_path: Path) -> None:
    _forged(tmp_path)
    shard = tmp_path / "derain/shards/derain-000000.tar"
    shard.unlink()
    os.mkfifo(shard)
    with serving(str(tmp_path)) as port:
        pair = ask(port, "examples")["rows"][0]["pair"]
        response, body = get(port, f"/image/{pair}/input")
    assert response.status == 400
    assert "is not a regular file" in json.loads(body)["error"]


def test_an_image_larger_than_its_manifest_says_is_not_converted(tmp_path: Path) -> None:
    """What is said is what a conversion takes of the budget."""
    make_dataset(f"{tmp_path}/derain", units=1, pairs=1)
    edit(
        tmp_path / "derain/manifest/derain-000000.parquet",
        lambda rows: [image.update(mode="I;16", width_px=1) for row in rows for image in row["images"]],
    )
    with serving(str(tmp_path)) as port:
        pair = ask(port, "examples")["rows"][0]["pair"]
        response, body = get(port, f"/image/{pair}/input")
    assert response.status == 400
    assert "of another size" in json.loads(body)["error"]


def test_a_part_of_an_image(port: int) -> None:
    pair = ask(port, "examples", task="derain")["rows"][0]["pair"]
    whole_response, whole = get(port, f"/image/{pair}/target")
    assert whole_response.headers["Accept-Ranges"] == "bytes"
    response, body = get(port, f"/image/{pair}/target", headers={"Range": "bytes=10-19"})
    assert (response.status, body) == (206, whole[10:20])
    assert response.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert response.headers["Content-Length"] == "10"
    response, body = get(port, f"/image/{pair}/target", headers={"Range": f"bytes={len(whole)}-"})
    assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    for ignored in ({"Range": "bytes=0-1,4-5"}, {"Range": "bytes=0-1", "If-Range": '"other"'}):
        response, body = get(port, f"/image/{pair}/target", headers=ignored)
        assert (response.status, body) == (200, whole)


def test_an_address_that_is_none(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:  # http.client would refuse to send it
        connection.sendall(f"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    assert capsys.readouterr().err == ""


def test_other_hosts_origins_and_methods_are_refused(port: int) -> None:
    assert get(port, "/", headers={"Host": f"localhost:{port}"})[0].status == 200
    assert get(port, "/", headers={"Host": f"attacker.example:{port}"})[0].status == 403
    assert get(port, "/api/sql?query=SELECT+1", headers={"Sec-Fetch-Site": "cross-site"})[0].status == 403
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        assert get(port, "/", method=method)[0].status == 501


def test_every_answer_is_guarded(port: int) -> None:
    for path in ("/", "/api/overview", "/image/unknown/input"):
        headers = get(port, path)[0].headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in get(port, "/")[0].headers["Content-Security-Policy"]


def test_a_new_page_shows_what_has_been_committed_since(tmp_path: Path) -> None:
    dataset = Dataset(f"{tmp_path}/derain")
    plan = make_plan(dataset, units=2, pairs=2)
    with serving(str(tmp_path)) as port:
        assert ask(port, "examples")["total"] == 0
        write_unit(dataset, plan, 0)
        get(port, "/")
        assert ask(port, "examples")["total"] == 8
        make_dataset(f"{tmp_path}/lowlight", task="lowlight", units=1, pairs=1)
        get(port, "/")
        assert [(row["task"], row["committed"], row["units"], row["finished"]) for row in ask(port, "overview")] == [
            ("derain", 1, 2, False),
            ("lowlight", 1, 1, True),
        ]


def test_filters_in_the_page(opened: Page) -> None:
    expect(opened.locator("#count")).to_have_text("124 examples")
    opened.get_by_label("Task").select_option("derain")
    opened.get_by_label("Kind").select_option("describe")
    expect(opened.locator("#count")).to_have_text("60 examples")
    expect(opened.locator(".card").first).to_contain_text("The rain is gone.")
    opened.locator("select[name=score]").select_option("mean_abs_diff")
    opened.get_by_label("from").fill("2.5")
    opened.locator("select[name=order]").select_option("high")
    expect(opened.locator("#count")).to_have_text("12 examples")
    expect(opened.locator(".card").first).to_contain_text("mean_abs_diff 3")
    opened.reload()  # the address holds the filters
    expect(opened.locator("#count")).to_have_text("12 examples")
    opened.get_by_role("button", name="Clear filters").click()
    expect(opened.locator("#count")).to_have_text("124 examples")
    opened.get_by_label("Instruction contains").fill("let it")
    expect(opened.locator("#count")).to_have_text("30 examples")
    opened.get_by_role("button", name="Last page").click()
    expect(opened.locator(".card")).to_have_count(6)


def test_slider_changes_the_share_of_the_before_image(opened: Page) -> None:
    card = opened.locator(".card").first
    card.locator("img.after").evaluate("image => image.decode()")
    card.locator("img.before").evaluate("image => image.decode()")
    dark = {share: _dark_share(opened, share) for share in (0, 25, 75, 100)}
    for share, seen in dark.items():
        assert seen == pytest.approx(share / 100, abs=0.06)
    opened.get_by_role("button", name="Side by side").click()
    before, after = card.locator("img.before").bounding_box(), card.locator("img.after").bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] == pytest.approx(before["x"] + before["width"], abs=1)


def _dark_share(page: Page, share: int) -> float:
    """Share of columns of the first card's image that show the before image, which is the after image at half value."""
    compare = page.locator(".card .compare").first
    compare.locator("input").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', {bubbles: true})); }", share
    )
    shown = PILImage.open(io.BytesIO(compare.screenshot())).convert("RGB")
    pixels = np.asarray(shown.resize((64, 48), PILImage.Resampling.BOX), np.float32)
    columns = pixels.mean(axis=(0, 2)) / photo(0).mean(axis=(0, 2))
    return float((columns < 0.75).mean())


def test_slider_follows_the_mouse(opened: Page) -> None:
    compare = opened.locator(".card .compare").first
    box = compare.bounding_box()
    assert box is not None
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 50, steps=4)
    opened.mouse.up()
    cut = float(compare.evaluate("box => box.style.getPropertyValue('--cut')").removesuffix("%"))
    assert cut == pytest.approx(80, abs=2)


def test_provenance_and_context_pair(opened: Page) -> None:
    opened.get_by_label("Task").select_option("strange")
    expect(opened.locator(".card")).to_have_count(4)
    strange = opened.locator(".card").first
    strange.get_by_role("button", name="Provenance").click()
    for known in ("angle_deg", str(2**62 + 1), "black-forest/flux", "abc", "edit@1", "parent-1", "CC0", "scikit-image"):
        expect(strange.locator(".part")).to_contain_text(known)
    expect(strange.get_by_role("button", name="Context pair")).to_have_count(0)  # it has none
    opened.get_by_label("Task").select_option("derain")
    derain = opened.locator('.card:has-text("derain")').first
    derain.get_by_role("button", name="Context pair").click()
    expect(derain.locator(".part")).to_contain_text("photo.png#14")  # the previous pair of its shard
    expect(derain.locator(".part img")).to_have_count(2)
    assert derain.locator(".part img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    derain.get_by_role("button", name="Context pair").click()
    expect(derain.locator(".part")).to_be_hidden()


def test_an_instruction_is_text(opened: Page) -> None:
    title = opened.title()
    opened.get_by_label("Task").select_option("strange")
    expect(opened.locator(".card .instruction").first).to_have_text(HOSTILE)
    assert opened.locator("#cards script, #cards img[src=x]").count() == 0
    assert opened.title() == title


def test_rejects_tab(opened: Page) -> None:
    opened.get_by_role("tab", name="Rejects").click()
    expect(opened.locator("#reasons tbody tr")).to_have_count(1)
    expect(opened.locator("#reasons")).to_contain_text("truncated")
    expect(opened.locator("#rejected tbody tr")).to_have_count(2)
    expect(opened.locator("#rejected")).to_contain_text("it cannot be decoded to its end")
    opened.get_by_role("button", name="Show these").click()
    expect(opened.get_by_role("button", name="Show all")).to_be_visible()


def test_sql_tab(opened: Page) -> None:
    opened.get_by_role("tab", name="SQL").click()
    box, error = opened.get_by_role("textbox", name="SQL"), opened.locator("#sql .error")
    box.fill(f"SELECT task, count(*) AS n, '{HOSTILE.replace(chr(39), chr(39) * 2)}' AS text FROM pairs GROUP BY ALL")
    opened.get_by_role("button", name="Run").click()
    expect(opened.locator("#result tbody tr")).to_have_count(2)
    expect(opened.locator("#result")).to_contain_text(HOSTILE)
    for query in ("COPY pairs TO 'x.csv'", "INSTALL httpfs", "SELECT * FROM read_text('/etc/passwd')", "SELEC"):
        box.fill(query)
        opened.get_by_role("button", name="Run").click()
        expect(error).to_be_visible()
        expect(error).to_have_text(re.compile("refused|Permission Error|Parser Error"))
        expect(opened.locator("#result")).to_be_hidden()
