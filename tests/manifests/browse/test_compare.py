"""The pictures of a pair, compared in a real browser: each mode beside what numpy makes of the same pixels."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from playwright.sync_api import Locator, Page, expect

from infra.bench.browse import write_4k
from manifests.dataset import Dataset
from manifests.images.pixels import Pixels, encode_lossless, stored
from manifests.schema import Item
from manifests.write.writer import UnitWriter
from tests.manifests.make import make_dataset, make_pair, make_plan
from tests.manifests.web import ask, serving

expect.set_options(timeout=30_000)  # of a machine that others use, too

WIDTH_PX, HEIGHT_PX = 96, 64
COLOURS = ((0, 0, 0), (52, 16, 110), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))
"""Of the scale of differences, at equal steps."""


def _pixels(seed: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), np.uint8)


def _edited(pixels: Pixels) -> Pixels:
    """A small change of up to 12 levels in one corner."""
    changed = pixels.astype(np.int16)
    changed[:20, :30] += np.random.default_rng(9).integers(-12, 13, (20, 30, 3), np.int16)
    return changed.clip(0, 255).astype(np.uint8)


INPUT = _pixels(1)
TARGET = _edited(INPUT)
SMALL = _pixels(2, WIDTH_PX // 2, HEIGHT_PX // 2)
SQUARE = _pixels(3, 40, 40)


def _turned_jpeg() -> bytes:
    """A photo that is stored on its side; upright its left half is red."""
    upright = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    upright[:, : WIDTH_PX // 2, 0] = 255
    buffer, exif = io.BytesIO(), PILImage.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    PILImage.fromarray(np.rot90(upright)).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restoration, and a task of edits: with a mask, of other sizes, and one that is stored on its side."""
    out = tmp_path_factory.mktemp("out")
    make_dataset(f"{out}/derain", units=1, pairs=1)
    dataset = Dataset(f"{out}/edit")
    plan = make_plan(dataset, task="edit", units=1, pairs=3)
    mask = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    mask[:20, :30] = 255
    pairs = (
        (encode_lossless("input", INPUT), encode_lossless("target", TARGET), encode_lossless("mask", mask)),
        (encode_lossless("input", SMALL), encode_lossless("target", INPUT), encode_lossless("person", SQUARE)),
        (stored("input", _turned_jpeg()), stored("target", _turned_jpeg())),
    )
    with UnitWriter.open(dataset, plan, 0, prototype_task="editing", suffixes=_SUFFIXES) as writer:
        for number, images in enumerate(pairs):
            pair = make_pair("edit", Item(ref=f"{number}", files=("0",), index=number))
            writer.add(replace(pair, images=images, examples=pair.examples[:1]))
    writer.commit({}, 0, {})
    return out


_SUFFIXES = {"input": "png", "target": "png", "mask": "png", "person": "png"}


@pytest.fixture(scope="module")
def problems() -> list[str]:
    """What the page logs as errors."""
    return []


@pytest.fixture(scope="module")
def loaded(page: Page, port: int, problems: list[str]) -> Page:
    """The browse page, once for all of these tests."""
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"http://127.0.0.1:{port}/")
    expect(page.locator(".card").first).to_be_visible()
    return page


@pytest.fixture
def opened(loaded: Page, problems: list[str]) -> Iterator[Page]:
    """The page with an address that says nothing; the test fails if it logs an error."""
    loaded.evaluate(
        "history.replaceState(null, '', '/'); dispatchEvent(new HashChangeEvent('hashchange')); scrollTo(0, 0)"
    )
    yield loaded
    assert problems == []


def _compare(page: Page, port: int, ref: str, task: str = "edit") -> Locator:
    """The pictures of one pair, large, before all else on the page."""
    query = f"SELECT pair, images, prototype_task FROM pairs WHERE task = '{task}' AND source_ref = '{ref}'"
    ((pair, images, prototype),) = ask(port, "sql", query=query)["rows"]
    page.evaluate(
        """async ([pair, images, prototype]) => {
            const { compare } = await import("/page/compare.js"), place = document.createElement("div");
            place.id = "compared";
            document.querySelector("#compared")?.remove();
            place.append(...compare(pair, images, ["input", "target"], { prototype }));
            document.body.prepend(place);
        }""",
        [pair, images, prototype],
    )
    viewer = page.locator("#compared .viewer")
    expect(viewer.locator(".panes")).to_be_visible()
    return viewer


def _seen(canvas: Locator) -> Pixels:
    """The pixels of a canvas over white, once what was asked for is drawn."""
    url = canvas.evaluate(
        "async (canvas) => { await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);"
        " return canvas.toDataURL(); }"
    )
    image = PILImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.asarray(PILImage.alpha_composite(PILImage.new("RGBA", image.size, "white"), image).convert("RGB"))


def _whole(canvas: Locator) -> Pixels:
    """The whole grid in the middle of a canvas, if a pixel of it is one of the screen."""
    seen = _seen(canvas)
    left, top = (
        int(side_px / 2 - own_px / 2 + 0.5)
        for side_px, own_px in zip(seen.shape[1::-1], (WIDTH_PX, HEIGHT_PX), strict=True)
    )
    return seen[top : top + HEIGHT_PX, left : left + WIDTH_PX]


def _press(viewer: Locator, *keys: str) -> None:
    panes = viewer.locator(".panes")
    panes.focus()
    for key in keys:
        panes.press(key)


def test_a_restoration_begins_with_the_slider_and_all_else_side_by_side(opened: Page, port: int) -> None:
    for task, ref, expected in (
        ("derain", "photo.png#0", "Slider"),
        ("edit", "0", "Side by side"),
        ("edit", "1", "Side by side"),
    ):
        viewer = _compare(opened, port, ref, task)
        expect(viewer.get_by_role("button", name=expected)).to_have_attribute("aria-pressed", "true")
        expect(viewer.locator("[aria-pressed=true]")).to_have_count(1)
    viewer.get_by_role("button", name="Flicker").click()
    assert "compare=flicker" in opened.url
    viewer = _compare(opened, port, "photo.png#0", "derain")  # the address decides
    expect(viewer.get_by_role("button", name="Flicker")).to_have_attribute("aria-pressed", "true")
    _press(viewer, "l")
    assert "compare=slider" in opened.url
    for key, mode in (("s", "side"), ("x", "difference"), ("b", "flicker")):
        _press(viewer, key)
        assert f"compare={mode}" in opened.url
        expect(viewer.locator(".panes")).to_have_attribute("data-mode", mode)


def test_side_by_side_all_pictures_of_a_pair_show_the_same_part(opened: Page, port: int) -> None:
    viewer = _compare(opened, port, "0")
    canvases = viewer.locator("canvas")
    expect(canvases).to_have_count(3)  # the mask too
    viewer.get_by_role("button", name="1:1").click()
    expect(viewer.locator(".magnified")).to_have_text("100%")
    opened.mouse.move(0, 0)
    for canvas, stored_pixels in zip(canvases.all()[:2], (INPUT, TARGET), strict=True):
        assert np.array_equal(_whole(canvas), stored_pixels)
    box = canvases.nth(1).bounding_box()
    assert box is not None
    _press(viewer, "0")
    x, y = int(box["width"] * 10.5 / WIDTH_PX), int(box["height"] * 7.5 / HEIGHT_PX)
    opened.mouse.move(box["x"] + x, box["y"] + y)
    for _ in range(8):  # to the most that there is, at that pixel
        opened.mouse.wheel(0, -500)
    expect(viewer.locator(".magnified")).to_have_text("6400%")
    opened.mouse.move(0, 0)
    for canvas, stored_pixels in zip(canvases.all()[:2], (INPUT, TARGET), strict=True):
        assert tuple(_seen(canvas)[y, x]) == tuple(stored_pixels[7, 10])
    opened.mouse.move(box["x"] + x, box["y"] + y)
    opened.mouse.down()
    opened.mouse.move(box["x"] + x - 64, box["y"] + y, steps=2)  # by one pixel
    opened.mouse.up()
    opened.mouse.move(0, 0)
    assert tuple(_seen(canvases.first)[y, x]) == tuple(INPUT[7, 11])
    _press(viewer, "ArrowRight")  # by a tenth of the pane, which is 42 pixels of the screen
    assert tuple(_seen(canvases.first)[y, x + 32]) == tuple(INPUT[7, 12])
    _press(viewer, "0")
    expect(viewer.locator(".magnified")).not_to_have_text("6400%")


def test_the_slider_shows_a_share_of_each(opened: Page, port: int) -> None:
    viewer = _compare(opened, port, "0")
    viewer.get_by_role("button", name="Slider").click()
    _press(viewer, "1")
    handle, canvas = viewer.get_by_role("slider", name="Share of input shown"), viewer.locator("canvas")
    box = canvas.bounding_box()
    assert box is not None
    for keys, share in (([], 50), (["Home"], 0), (["ArrowRight", "PageUp"], 11), (["End"], 100)):
        for key in keys:
            handle.press(key)
        expect(handle).to_have_attribute("aria-valuenow", f"{share}")
        seen = _whole(canvas)
        cut = int(box["width"] * share / 100 + 0.5) - int(box["width"] / 2 - WIDTH_PX / 2 + 0.5)
        cut = min(WIDTH_PX, max(0, cut))
        assert np.array_equal(seen[:, :cut], INPUT[:, :cut])
        assert np.array_equal(seen[:, cut:], TARGET[:, cut:])
    opened.mouse.move(box["x"] + box["width"] - 2, box["y"] + 50)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50, steps=4)
    opened.mouse.up()
    expect(handle).to_have_attribute("aria-valuenow", "20")


def test_flicker_shows_one_after_the_other_where_it_is_seen(opened: Page, port: int) -> None:
    viewer = _compare(opened, port, "0")
    viewer.get_by_role("button", name="Flicker").click()
    panes, tag = viewer.locator(".panes"), viewer.locator("figcaption")
    expect(panes).to_have_attribute("data-runs", "")
    viewer.get_by_label("Changes a second").select_option("4")
    for role in ("target", "input"):
        expect(tag).to_have_text(role)
    opened.evaluate(
        "() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    expect(panes).not_to_have_attribute("data-runs", "")
    opened.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(panes).to_have_attribute("data-runs", "")
    opened.evaluate("document.body.style.minHeight = '5000px'; scrollTo(0, 4000)")
    expect(panes).not_to_have_attribute("data-runs", "")
    opened.evaluate("scrollTo(0, 0)")
    expect(panes).to_have_attribute("data-runs", "")
    _press(viewer, " ")
    expect(panes).not_to_have_attribute("data-runs", "")
    other = "target" if tag.inner_text() == "input" else "input"
    viewer.get_by_role("button", name="Show the other").click()
    expect(tag).to_have_text(other)
    viewer.get_by_role("button", name="1:1").click()
    assert np.array_equal(_whole(viewer.locator("canvas")), {"input": INPUT, "target": TARGET}[other])


def test_who_wants_less_motion_starts_flicker_by_hand(opened: Page, port: int) -> None:
    opened.emulate_media(reduced_motion="reduce")
    viewer = _compare(opened, port, "0")
    viewer.get_by_role("button", name="Flicker").click()
    play = viewer.get_by_role("button", name="Play")
    expect(viewer.locator(".panes")).not_to_have_attribute("data-runs", "")
    play.click()
    expect(viewer.locator(".panes")).to_have_attribute("data-runs", "")
    opened.emulate_media(reduced_motion="no-preference")


def test_the_difference_is_that_of_the_pixels(opened: Page, port: int) -> None:
    viewer = _compare(opened, port, "0")
    _press(viewer, "x", "1")
    levels = np.abs(INPUT.astype(int) - TARGET).max(axis=2)
    facts = viewer.locator(".measured")
    expect(facts).to_contain_text(f"mean {levels.mean():.4g}, largest {levels.max()} of 255")
    expect(facts).to_contain_text(f"{100 * (levels > 0).mean():.4g}% of the pixels differ")
    gain, canvas = viewer.get_by_label("Amplified"), viewer.locator("canvas")
    for presses, times, end in (
        (["End"], 32, "≥ 8 of 255"),
        (["Home"], 1, "255 of 255"),
        (["ArrowRight"] * 3, 8, "≥ 31.9 of 255"),
    ):
        for key in presses:
            gain.press(key)
        expect(gain).to_have_attribute("aria-valuetext", f"{times} times")
        expect(viewer.locator(".legend")).to_contain_text(end)
        assert f"gain={times}" in opened.url
        share = (levels * times / 255).clip(0, 1)
        steps = np.linspace(0, 1, len(COLOURS))
        expected = np.stack(
            [np.interp(share, steps, [colour[channel] for colour in COLOURS]) for channel in range(3)], -1
        )
        assert np.abs(_whole(canvas).astype(int) - expected).max() <= 1


def test_the_values_of_a_pixel_by_pointer_and_by_keys(opened: Page, port: int) -> None:
    viewer = _compare(opened, port, "0")
    readout = viewer.locator(".readout")
    _press(viewer, "Shift+ArrowLeft")  # the cursor appears in the middle
    x, y = WIDTH_PX // 2, HEIGHT_PX // 2
    _expect_values(readout, x, y)
    _press(viewer, "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowUp")
    _expect_values(readout, x + 1, y - 2)
    expect(readout).to_have_attribute("aria-live", "polite")
    box = viewer.locator("canvas").nth(1).bounding_box()
    assert box is not None
    opened.mouse.move(box["x"] + box["width"] * (10.5 / WIDTH_PX), box["y"] + box["height"] * (7.5 / HEIGHT_PX))
    _expect_values(readout, 10, 7)
    opened.mouse.move(0, 0)
    expect(readout).to_have_text("")


def _expect_values(readout: Locator, x: int, y: int) -> None:
    before, after = INPUT[y, x], TARGET[y, x]
    expect(readout).to_contain_text(f"x {x}, y {y}input {' '.join(map(str, before))}target {' '.join(map(str, after))}")
    expect(readout).to_contain_text(f"difference {np.abs(before.astype(int) - after).max()}")


def test_other_sizes_are_said_and_laid_on_the_grid_of_the_output(opened: Page, port: int) -> None:
    viewer = _compare(opened, port, "1")
    expect(viewer.locator(".note")).to_contain_text(
        "input is 48 × 32 px, person is 40 × 40 px: shown on the grid of target, 96 × 64 px"
    )
    _press(viewer, "1", *["+"] * 4)  # 244%
    canvases = viewer.locator("canvas")
    small, square = _seen(canvases.nth(0)), _seen(canvases.nth(2))
    middle = (small.shape[0] // 2 + 2, small.shape[1] // 2 + 2)
    assert tuple(small[middle]) == tuple(SMALL[16, 24])  # one pixel of it is 4.9 wide
    beside = square[square.shape[0] // 2, : square.shape[1] // 2 - int(32 * 2.4414) - 2]
    assert len(np.unique(beside.reshape(-1, 3), axis=0)) == 1  # as high as the grid, and not stretched to its width
    _press(viewer, "Shift+ArrowLeft")
    stored_pixel = " ".join(map(str, SMALL[16, 24]))
    expect(viewer.locator(".readout")).to_contain_text(f"x 48, y 32input {stored_pixel} (its x 24, y 16)target")
    expect(viewer.locator(".readout")).to_contain_text("person")
    _press(viewer, "x")
    viewer.get_by_label("Compare", exact=True).select_option("person")
    expect(viewer.locator(".measured")).to_be_visible()
    _press(viewer, "1")
    seen = _whole(viewer.locator("canvas"))
    assert (seen[:, :15] == 255).all()  # what one of the two lacks has no difference: nothing is drawn
    assert not (seen[:, 17:79] == 255).all(axis=(0, 2)).any()


def test_a_picture_is_upright(opened: Page, port: int) -> None:
    viewer = _compare(opened, port, "2")
    expect(viewer.locator(".note")).to_have_count(0)
    _press(viewer, "1")
    seen = _whole(viewer.locator("canvas").first).astype(int)
    assert np.abs(seen[:, : WIDTH_PX // 2 - 8] - (255, 0, 0)).max() < 6
    assert seen[:, WIDTH_PX // 2 + 8 :].max() < 6


def test_a_card_has_thumbnails_and_opens_what_is_large(opened: Page, port: int) -> None:
    card = opened.locator('.card:has-text("derain")').first
    expect(card.locator("img").first).to_have_attribute(
        "src", re.compile(r"^/thumbnail/[^/]+/input\?side=320&v=[0-9a-f]{20}$")
    )
    card.get_by_role("button", name="Compare").click()
    expect(card.locator(".viewer canvas")).to_have_count(1)
    expect(card.get_by_role("slider", name="Share of input shown")).to_be_visible()


def test_what_cannot_be_read_is_said(opened: Page, port: int) -> None:
    message = opened.evaluate(
        """async () => {
            const { compare } = await import("/page/compare.js");
            const [viewer] = compare("nosuch", [{ role: "input" }], ["input"]);
            document.body.prepend(viewer);
            while (!viewer.querySelector("[role=alert]")) await new Promise(requestAnimationFrame);
            return viewer.textContent;
        }"""
    )
    assert message == "input: no manifest names this"


def test_a_grid_never_loads_a_full_file(opened: Page, tmp_path: Path) -> None:
    write_4k(tmp_path, 6)
    stored_bytes = sum(path.stat().st_size for path in (tmp_path / "out/derain/shards").iterdir())
    assert stored_bytes > 10 * 2**20
    sent: dict[str, int] = {}
    context = opened.context.browser.new_context(viewport={"width": 1280, "height": 900})  # type: ignore[union-attr]
    with serving(str(tmp_path / "out")) as port:
        page = context.new_page()
        page.on("requestfinished", lambda request: sent.update({request.url: request.sizes()["responseBodySize"]}))
        page.goto(f"http://127.0.0.1:{port}/", wait_until="networkidle")
        pictures = page.locator(".card img")
        for number in range(pictures.count()):  # those that are further down are loaded when they come into view
            pictures.nth(number).scroll_into_view_if_needed()
            pictures.nth(number).evaluate("image => image.decode()")
        page.wait_for_load_state("networkidle")
        context.close()
    assert not [url for url in sent if "/image/" in url]
    assert len([url for url in sent if "/thumbnail/" in url]) == 12
    assert sum(sent.values()) < 300 * 2**10
