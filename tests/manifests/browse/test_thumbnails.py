"""Thumbnails: what is in them, what is kept of them and for how long, and how they are sent."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.browse.images import Place
from manifests.browse.thumbnails import SIDES, Cache, cache_folder, make_thumbnail, name_of
from manifests.dataset import Dataset
from manifests.images.pixels import decode_rgb, encode_lossless
from manifests.schema import Item
from manifests.write.writer import UnitWriter
from tests.manifests.make import SUFFIXES, make_dataset, make_pair, make_plan, photo
from tests.manifests.verify.damage import edit
from tests.manifests.web import ask, get, serving

PICTURE = make_thumbnail(encode_lossless("target", photo(0)).data, 160)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- what is in them ---


def test_a_thumbnail_is_a_webp_of_the_side_asked_for() -> None:
    large = encode_lossless("target", np.tile(photo(0), (8, 8, 1))).data  # 512 x 384
    for side_px, size in ((160, (160, 120)), (320, (320, 240)), (640, (512, 384))):  # none is enlarged
        with PILImage.open(io.BytesIO(make_thumbnail(large, side_px))) as image:
            assert (image.format, image.size) == ("WEBP", size)
    seen = PILImage.open(io.BytesIO(make_thumbnail(large, 640)))
    assert np.abs(np.asarray(seen, np.float32) - decode_rgb(large)).mean() < 6


# --- what is kept ---


def test_what_was_put_is_there_for_other_processes_too(tmp_path: Path) -> None:
    name = name_of("0" * 64, 320)
    assert Cache(tmp_path).get(name) is None
    Cache(tmp_path).put(name, PICTURE)
    assert Cache(tmp_path).get(name) == PICTURE
    assert len(_files(tmp_path)) == 1
    assert {name_of(sha256, side) for sha256 in ("0" * 64, "1" * 64) for side in SIDES}.isdisjoint(
        {name_of("2" * 64, 320)}
    )


@pytest.mark.parametrize("left", [b"", PICTURE[:-1], PICTURE[:20], b"<html>" + PICTURE, PICTURE + b"x"])
def test_what_a_crash_has_left_is_not_shown(tmp_path: Path, left: bytes) -> None:
    cache, name = Cache(tmp_path), name_of("0" * 64, 320)
    cache.put(name, PICTURE)
    _files(tmp_path)[0].write_bytes(left)
    assert cache.get(name) is None
    cache.put(name, PICTURE)
    assert cache.get(name) == PICTURE


def test_the_oldest_make_room(tmp_path: Path) -> None:
    names = [name_of(f"{number:064x}", 160) for number in range(10)]
    cache = Cache(tmp_path, max_bytes=10 * len(PICTURE))
    for age, name in enumerate(reversed(names)):
        cache.put(name, PICTURE)
        os.utime(next(tmp_path.rglob(f"{name}.webp")), (10_000 - age, 10_000 - age))
    (tmp_path / "aa").mkdir(exist_ok=True)
    (tmp_path / "aa" / "tmp_of_a_crash").write_bytes(b"x" * 10)
    os.utime(tmp_path / "aa" / "tmp_of_a_crash", (1, 1))
    assert cache.get(names[0]) == PICTURE  # and so it is the newest
    cache.put(name_of("f" * 64, 160), PICTURE)
    kept = [name for name in names if cache.get(name)]
    assert kept == [names[0], *names[3:]]  # nine tenths of the room are left
    assert sum(path.stat().st_size for path in _files(tmp_path)) == 9 * len(PICTURE)
    # Another process, which knows nothing of what is there until it writes.
    small = Cache(tmp_path, max_bytes=3 * len(PICTURE))
    small.put(names[1], PICTURE)
    assert len(_files(tmp_path)) == 2
    assert small.get(names[1]) == PICTURE


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", None):
        cache = Cache(folder)
        cache.put("name", PICTURE)
        assert cache.get("name") is None


def test_threads_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, max_bytes=3 * len(PICTURE))
    failed: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failed.append(args.exc_value))

    def work() -> None:
        for number in range(30):
            name = name_of(f"{number % 7:064x}", 160)
            cache.put(name, PICTURE)
            assert cache.get(name) in (PICTURE, None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sum(path.stat().st_size for path in _files(tmp_path)) <= 3 * len(PICTURE)


def test_the_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/a"))
    assert cache_folder({"XDG_CACHE_HOME": "/cache"}) == Path("/cache/xprompt/thumbnails")
    ignored: tuple[dict[str, str], ...] = ({}, {"XDG_CACHE_HOME": "relative"}, {"XDG_CACHE_HOME": ""})
    for environment in ignored:
        assert cache_folder(environment) == Path("/home/a/.cache/xprompt/thumbnails")

    def nobody() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder({}) is None


# --- how they are sent ---


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    make_dataset(f"{out}/derain", units=1, pairs=2)
    return out


def _pair(port: int) -> tuple[str, str]:
    """Key and sha256 of the input image of a pair."""
    ((pair, images),) = ask(port, "sql", query="SELECT pair, images FROM pairs ORDER BY source_ref LIMIT 1")["rows"]
    return pair, next(image["sha256"] for image in images if image["role"] == "input")


def test_a_thumbnail_is_made_once(out: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = {path: path.read_bytes() for path in _files(out)}
    pair, said = _pair(port)
    path = f"/thumbnail/{pair}/input?side=160"
    response, body = get(port, path)
    assert (response.status, response.headers["Content-Type"]) == (200, "image/webp")
    assert body == make_thumbnail(encode_lossless("input", photo(0) // 2).data, 160)
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert {path: path.read_bytes() for path in _files(out)} == dataset  # nothing is kept beside it
    monkeypatch.setattr("manifests.browse.images.read_image", None)
    assert get(port, path)[1] == body
    # What a browser has it need not get again.
    etag = response.headers["ETag"]
    for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response, body = get(port, path, headers={"If-None-Match": named})
        assert (response.status, body, response.headers["ETag"]) == (304, b"", etag)
    # An address that names the image's bytes means the same for ever.
    always = "private, max-age=31536000, immutable"
    for version, kept in ((said[:20], always), (said[:8], "private, no-cache"), ("0" * 20, "private, no-cache")):
        response, _ = get(port, f"{path}&v={version}")
        assert (response.status, response.headers["Cache-Control"]) == (200, kept)


def test_what_is_no_thumbnail(port: int) -> None:
    pair, _ = _pair(port)
    for query in ("", "?side=", "?side=100000", "?side=-160", "?side=160.0", "?side=0160", "?side=%31%36%30%00"):
        assert get(port, f"/thumbnail/{pair}/input{query}")[0].status == 400
    for path in (f"/thumbnail/{pair}/unknown", "/thumbnail/unknown/input", f"/thumbnail/{pair}/input/more"):
        assert get(port, f"{path}?side=160")[0].status == 404


def test_a_part_of_an_image_that_a_client_has_in_part(port: int) -> None:
    path = f"/image/{_pair(port)[0]}/input"
    whole_response, whole = get(port, path)
    etag, asked = whole_response.headers["ETag"], {"Range": "bytes=10-19"}
    for tag, status in ((etag, 206), (f"W/{etag}", 200), ('"other"', 200), ("Sat, 29 Oct 1994 19:43:31 GMT", 200)):
        response, body = get(port, path, headers=asked | {"If-Range": tag})
        assert (response.status, body) == (status, whole[10:20] if status == 206 else whole)
        assert response.headers["ETag"] == etag
    # Who has it all is told so before a range is looked at (section 13.2.2).
    assert get(port, path, headers=asked | {"If-None-Match": etag})[0].status == 304


def _make(root: Path, level: int) -> None:
    """A dataset of one pair with a flat input; the pair's key does not depend on it."""
    shutil.rmtree(root / "derain", ignore_errors=True)
    dataset = Dataset(f"{root}/derain")
    plan = make_plan(dataset, units=1, pairs=0)
    pair = make_pair("derain", Item(ref="photo.png#0", files=("photo.png",)))
    flat = encode_lossless("input", np.full_like(photo(0), level))
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        writer.add(replace(pair, images=(flat, pair.images[1])))
    writer.commit({}, 0, {})


def test_a_dataset_that_was_made_anew_never_shows_an_old_picture(tmp_path: Path) -> None:
    tags: dict[str, str] = {}
    _make(tmp_path, 200)
    with serving(str(tmp_path)) as port:
        pair, first = _pair(port)
        for level in (200, 50):
            _make(tmp_path, level)
            get(port, "/")
            for path in (f"/thumbnail/{pair}/input?side=160&v={first}", f"/image/{pair}/input?v={first}"):
                response, body = get(port, path, headers={"If-None-Match": tags.get(path, '"none"')})
                assert response.status == 200
                shown = np.asarray(PILImage.open(io.BytesIO(body)).convert("RGB"), np.int16)
                assert np.abs(shown - level).max() <= 3
                assert ("immutable" in response.headers["Cache-Control"]) is (level == 200)
                assert response.headers["ETag"] != tags.get(path)
                tags[path] = response.headers["ETag"]


def test_a_manifest_cannot_have_its_picture_shown_in_another_dataset(tmp_path: Path) -> None:
    """It says of its images that they have the sha256 of one of another dataset, or what is none."""
    make_dataset(f"{tmp_path}/honest", task="honest", units=1, pairs=1)
    make_dataset(f"{tmp_path}/forged", task="forged", units=1, pairs=8, first=7)
    honest = encode_lossless("input", photo(0) // 2).data
    said = iter([sha256(honest).hexdigest(), "", "..", "\0", "../../x", "0" * 63, "x" * 64, "F" * 64])

    def forge(rows: list[dict[str, Any]]) -> None:
        values = {row["pair"]: next(said) for row in rows[::4]}  # a pair has four rows
        for row in rows:
            row["images"][0]["sha256"] = values[row["pair"]]

    edit(tmp_path / "forged/manifest/forged-000000.parquet", forge)
    with serving(str(tmp_path)) as port:
        rows = ask(port, "sql", query="SELECT pair, images[1].sha256 FROM pairs ORDER BY task, pair")["rows"]
        assert len(rows) == 9
        for pair, named in rows[:-1]:
            for path in (f"/thumbnail/{pair}/input?side=160&v={quote(named)}", f"/image/{pair}/input?v={quote(named)}"):
                response, body = get(port, path)
                assert (response.status, response.headers["Cache-Control"]) == (400, "no-store")
                assert "has not the image that is named" in json.loads(body)["error"]
        assert get(port, f"/thumbnail/{rows[-1][0]}/input?side=160")[1] == make_thumbnail(honest, 160)


def test_a_conversion_has_a_tag_of_its_own() -> None:
    tags = [
        Place(dataset=Dataset("x"), shard="x.tar", image={"sha256": "0" * 64, "format": "jpeg", "mode": mode}).tag
        for mode in ("RGB", "CMYK")
    ]
    assert len({*tags, ""}) == 3
