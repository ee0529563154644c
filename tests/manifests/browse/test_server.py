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


def test_rejects(port: int) -> None:
    found = ask(port, "rejects")
    assert [(row["task"], row["reason"], row["items"]) for row in found["reasons"]] == [("derain", "truncated", 2)]
    assert [row["source_ref"] for row in found["rows"]] == ["photo.png#15", "photo.png#31"]
    assert ask(port, "rejects", reason="other")["total"] == 0


def test_images_are_the_stored_bytes_or_converted(port: int) -> None:
    row = ask(port, "pairs", task="derain")["rows"][0]
    response, body = get(port, f"/image/{row['pair']}/target")
    assert response.headers["Content-Type"] == "image/png"
    assert body == encode_lossless("target", photo(0)).data
    row = ask(port, "pairs", task="strange")["rows"][0]
    for role, colour in (("input", (128, 128, 128)), ("target", (255, 0, 0))):
        response, body = get(port, f"/image/{row['pair']}/{role}")
        assert response.headers["Content-Type"] == "image/png"
        shown = np.asarray(PILImage.open(io.BytesIO(body)), np.int16)
        assert np.abs(shown - colour).max() < 6


def test_images_are_found_without_having_been_on_a_page(out: Path, port: int) -> None:
    pair = ask(port, "pairs", task="derain", page=1)["rows"][-1]["pair"]
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
    pair = ask(port, "pairs", task="derain")["rows"][0]["pair"]
    assert get(port, path.format(pair=pair))[0].status == 404


def test_bad_parameters(port: int) -> None:
    for query in ("page=-1", "page=x", "score=s&min=x"):
        response, body = get(port, f"/api/pairs?{query}")
        assert response.status == 400
        assert "is not a number" in json.loads(body)["error"]


def test_a_missing_shard_is_said_in_words(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=1)
    (tmp_path / "derain/shards/derain-000000.tar").unlink()
    with serving(str(tmp_path)) as port:
        pair = ask(port, "pairs")["rows"][0]["pair"]
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
        pair = ask(port, "pairs")["rows"][0]["pair"]
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
        pair = ask(port, "pairs")["rows"][0]["pair"]
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
            pair = ask(port, "pairs")["rows"][0]["pair"]
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
        pair = ask(port, "pairs")["rows"][0]["pair"]
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
        pair = ask(port, "pairs")["rows"][0]["pair"]
        response, body = get(port, f"/image/{pair}/input")
    assert response.status == 400
    assert "of another size" in json.loads(body)["error"]


def test_a_part_of_an_image(port: int) -> None:
    pair = ask(port, "pairs", task="derain")["rows"][0]["pair"]
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
    for method in ("PUT", "DELETE", "OPTIONS", "HEAD"):
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
        assert ask(port, "pairs")["total"] == 0
        write_unit(dataset, plan, 0)
        get(port, "/")
        assert ask(port, "pairs")["total"] == 2
        make_dataset(f"{tmp_path}/lowlight", task="lowlight", units=1, pairs=1)
        get(port, "/")
        assert [(row["task"], row["committed"], row["units"], row["finished"]) for row in ask(port, "overview")] == [
            ("derain", 1, 2, False),
            ("lowlight", 1, 1, True),
        ]


def test_rejects_tab(opened: Page) -> None:
    opened.get_by_role("tab", name="Rejects").click()
    expect(opened.locator("#reasons tbody tr")).to_have_count(1)
    expect(opened.locator("#reasons")).to_contain_text("truncated")
    expect(opened.locator("#rejected .reject")).to_have_count(2)
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
