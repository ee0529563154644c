"""The page as people use it: in little room, in the dark, by keyboard, by a screen reader, and where nothing is.

What it looks like is kept in infra/docs/browse, by `XPROMPT_SCREENSHOTS=1 pytest tests/manifests/browse/test_craft.py`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from PIL import Image as PILImage
from playwright.sync_api import Page, ViewportSize, expect

from manifests.dataset import Dataset, plan_table
from manifests.images.small import small
from manifests.schema import Pair, Reject, seed_for
from manifests.write.reject_pictures import SIDES
from manifests.write.writer import Context, UnitWriter
from operators.judge.degraded import Degraded
from operators.read.bundled import BundledPhotos
from operators.word.difference import Difference
from pipelines.tasks.low_level import DERAIN
from tests.manifests.make import SUFFIXES, finish_dataset
from tests.manifests.web import serving

SHOOTS = bool(os.environ.get("XPROMPT_SCREENSHOTS"))
SHOTS = Path(__file__).parents[3] / "infra/docs/browse"
MOST_SHOT_BYTES = 150_000
WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
Scheme = Literal["light", "dark"]
LOOKS: tuple[tuple[ViewportSize, Scheme], ...] = ((WIDE, "light"), (NARROW, "dark"))
"""axe-core looks at each state twice: rules on colours see both schemes, those on layout both sizes."""
CHAIN = [
    replace(operator, min_alignment=0.9) if isinstance(operator, Degraded) else operator
    for operator in DERAIN.chain
    if not isinstance(operator, Difference)  # it asks a vision-language model
]
"""Derain's, with a bound that some crops of the bundled photos are below."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of derain, of crops of the bundled photos, as a run makes them but without Ray."""
    out = tmp_path_factory.mktemp("craft")
    dataset, reader = Dataset(f"{out}/derain"), BundledPhotos(crops_per_photo=4 if SHOOTS else 1)
    items = [replace(item, index=index) for index, item in enumerate(reader.items(reader.listing()))]
    config = {"task": "derain", "seed": 0, "operators": [{"name": "degraded", "version": 1, "min_alignment": 0.9}]}
    half = len(items) // 2
    plan = dataset.write_plan("derain", config, "f" * 64, plan_table([items[:half], items[half:]]))
    for unit, some in enumerate((items[:half], items[half:])):
        with UnitWriter.open(dataset, plan, unit, prototype_task="low-level", suffixes=SUFFIXES) as writer:
            for item in some:
                pair = reader.read(item, "derain")
                for operator in CHAIN:
                    made = _done(operator, pair)
                    if isinstance(made, Reject):
                        seen = [small(side, image.data) for side, image in zip(SIDES, _sides(pair), strict=True)]
                        writer.reject(item, reader.source, operator.name, made, seen)
                        break
                    pair = made
                else:
                    writer.add(pair)
        keys = [stored.pair.key for stored in writer.stored]
        shown = {
            (stored.pair.key, example.direction, example.kind): Context(pair=keys[place - 1], method="seeded")
            for place, stored in enumerate(writer.stored)
            for example in stored.pair.examples
        }
        writer.commit(shown, len(shown), {})
    finish_dataset(dataset, plan)
    return out


def _done(operator: Any, pair: Pair) -> Pair | Reject:
    try:
        made: Pair = operator(pair, seed_for(0, pair.key, operator.name))
    except Reject as reject:
        return reject
    return made


def _sides(pair: Pair) -> list[Any]:
    return [pair.image("input"), pair.image("target")]


# ---- what axe-core finds, and what it does not look at --------------------------------------------------------------

FAINT = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => numbers(colour).slice(0, 3)
    .reduce((sum, value, channel) => sum + linear(value / 255) * [0.2126, 0.7152, 0.0722][channel], 0);
  const behind = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    return (numbers(backgroundColor)[3] ?? 1) === 1 ? backgroundColor : behind(element.parentElement);
  };
  const contrast = (...two) => {
    const [low, high] = two.map(light).sort((one, other) => one - other);
    return (high + 0.05) / (low + 0.05);
  };
  const controls = "button:enabled, select:enabled, input:enabled, textarea, a.button, kbd";
  const shown = [...document.querySelectorAll(controls)].filter((one) => one.checkVisibility()
    && parseFloat(getComputedStyle(one).borderTopWidth) && !["checkbox", "range"].includes(one.type));
  const edge = (one) => getComputedStyle(one).borderTopColor;
  const of = (one) => [one, one.parentElement].map((ground) => contrast(edge(one), behind(ground)));
  const faint = shown.filter((one) => Math.min(...of(one)) < 3);
  return { seen: shown.length, faint: faint.map((one) => `${one.outerHTML.slice(0, 90)}: ${of(one)}`) };
}"""
"""Controls whose border has less than 3:1 with what it lies between (WCAG 2.2, 1.4.11)."""


OVER = """() => [...document.querySelectorAll("main *, header *, dialog *")].filter((one) => one.checkVisibility()
  && one.getBoundingClientRect().right > innerWidth).map((one) => one.outerHTML.slice(0, 90)).slice(0, 5)"""
"""What reaches over the right edge."""


def look(page: Page, *, controls: int = 2) -> None:
    """Look at what is shown: light and wide, dark and narrow."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found: list[str] = []
    for size, scheme in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        answer = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert len(answer["passes"]) > 10
        found += [
            f"{size['width']} px, {scheme}: {problem['id']}, {node['target']}: {node['failureSummary']}"
            for problem in answer["violations"]
            for node in problem["nodes"]
        ]
        borders = page.evaluate(FAINT)
        assert borders["seen"] >= controls
        found += [f"{scheme}: {one}" for one in borders["faint"]]
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        if (over := page.evaluate("document.scrollingElement.scrollWidth - innerWidth")) > 0:
            found.append(f"{width} px: {over} px too wide, {page.evaluate(OVER)}")
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    assert found == [], "\n".join(found)


def go(page: Page, address: str) -> None:
    page.evaluate("address => { location.hash = address; }", address)


def test_cards(opened: Page) -> None:
    card = opened.locator(".card").first
    card.get_by_role("button", name="Provenance").click()
    card.get_by_role("button", name="Fix instruction").click()
    name = opened.get_by_role("dialog", name="Who decides?")
    look(opened)
    name.get_by_label("Your name").fill("Ada")
    name.get_by_label("Your name").press("Enter")
    expect(card.get_by_label("New instruction")).to_be_focused()
    look(opened, controls=20)


@pytest.mark.parametrize("mode", ["side", "difference"])
def test_a_pair(opened: Page, mode: str) -> None:
    key = opened.locator(".card").nth(1).get_attribute("data-pair")
    go(opened, f"pair={key}&compare={mode}")
    expect(opened.locator("#pair .panes canvas").first).to_be_visible()
    expect(opened.locator("#pair")).not_to_contain_text("Looking …")
    look(opened, controls=10)


def test_rejects(opened: Page) -> None:
    go(opened, "tab=rejects&rtask=derain&rscore=alignment&rlow=0.2")
    expect(opened.locator("#kept-beside .reject").first).to_be_visible()
    expect(opened.locator("#rejected .reject").first).to_be_visible()
    look(opened, controls=10)


def test_decisions_and_statistics(opened: Page) -> None:
    go(opened, "tab=decisions")
    expect(opened.locator("#reviewers")).to_contain_text("Nobody has decided yet")
    look(opened)
    go(opened, "tab=statistics")
    expect(opened.locator("#counted section")).to_have_count(7)
    expect(opened.locator("#counted")).not_to_contain_text("counting")
    look(opened)


def test_sql(opened: Page) -> None:
    go(opened, "tab=sql&query=SELECT+pair,+instruction,+scores+FROM+examples")
    expect(opened.locator("#result tbody tr").first).to_be_visible()
    look(opened, controls=10)
    go(opened, "tab=sql&query=SELECT+nosuch+FROM+examples")
    expect(opened.locator("#place mark")).to_have_text("nosuch")
    look(opened, controls=10)


def test_help_and_what_is_empty(opened: Page) -> None:
    go(opened, "pair=nosuch")
    expect(opened.locator("#pair")).to_contain_text("There is no such pair")
    opened.keyboard.press("?")
    expect(opened.get_by_role("dialog", name="Keys")).to_be_visible()
    look(opened)
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("dialog")).to_have_count(0)
    opened.get_by_role("button", name="Show all pairs").click()
    go(opened, "text=nowhere")
    expect(opened.locator("#cards")).to_contain_text("No pair matches these filters")
    look(opened)


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_keys_lead_everywhere(opened: Page) -> None:
    cards = opened.locator(".card")
    opened.keyboard.press("Tab")
    expect(opened.get_by_role("link", name="Skip to the content")).to_be_focused()
    assert (opened.get_by_role("link", name="Skip to the content").bounding_box() or {"y": -1})["y"] >= 0
    opened.keyboard.press("Enter")
    expect(opened.locator("main")).to_be_focused()
    assert "#" not in opened.url.removesuffix("#")
    for key, place in (("n", 0), ("n", 1), ("n", 2), ("p", 1)):
        opened.keyboard.press(key)
        expect(cards.nth(place)).to_be_focused()
    outline = "card => getComputedStyle(card).outlineStyle + getComputedStyle(card).outlineWidth"
    assert cards.nth(1).evaluate(outline) == "solid2px"
    opened.keyboard.press("c")
    expect(cards.nth(1).get_by_role("button", name="Compare")).to_have_attribute("aria-expanded", "true")
    opened.keyboard.press("Enter")
    title = opened.locator("#pair h2")
    expect(title).to_be_focused()
    first = title.inner_text()
    opened.keyboard.press("n")
    expect(title).not_to_have_text(first)
    expect(opened.locator("#pair .panes canvas").first).to_be_visible()
    opened.keyboard.press("c")
    expect(opened.locator("#pair .panes")).to_be_focused()
    opened.keyboard.press("x")
    expect(opened.get_by_role("button", name="Difference")).to_have_attribute("aria-pressed", "true")
    opened.go_back()  # to the list: pairs that were walked through are one step
    expect(cards.nth(2).get_by_role("link", name="Open")).to_be_focused()
    opened.keyboard.press("/")
    field = opened.get_by_label("Text in instructions")
    expect(field).to_be_focused()
    opened.keyboard.type("n?k")  # text here
    expect(field).to_have_value("n?k")
    expect(opened.get_by_role("dialog")).to_have_count(0)
    # The tabs of views: one is in the tab order, and the arrow keys turn round at the ends.
    tabs = opened.get_by_role("tablist", name="Views").get_by_role("tab")
    tabs.first.focus()
    for key, place in (("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 4), ("Home", 0), ("End", 4)):
        opened.keyboard.press(key)
        expect(tabs.nth(place)).to_be_focused()
        expect(tabs.nth(place)).to_have_attribute("aria-selected", "true")
        assert tabs.evaluate_all("tabs => tabs.filter(tab => tab.tabIndex === 0).length") == 1
        panel = opened.locator(f"#{tabs.nth(place).get_attribute('aria-controls')}")
        expect(panel).to_be_visible()
        assert panel.get_attribute("aria-labelledby") == tabs.nth(place).get_attribute("id")


def test_the_help_lists_the_keys_and_turns_letters_off(opened: Page) -> None:
    opened.get_by_role("button", name="Keys").click()
    dialog = opened.get_by_role("dialog", name="Keys")
    for key, does in (
        ("k", "keep;"),
        ("Ctrl+Enter", "run, or save"),
        ("Shift+←", "choose a pixel"),
        ("Space", "stop flicker"),
    ):
        row = dialog.locator("dt", has=opened.locator(f"kbd:text-is('{key}')")).locator(
            "xpath=following-sibling::dd[1]"
        )
        expect(row.filter(has_text=does)).to_have_count(1)
    dialog.get_by_label("Keys of one character").uncheck()
    opened.keyboard.press("?")
    expect(dialog).to_have_count(0)
    opened.keyboard.press("n")
    opened.keyboard.press("?")
    expect(dialog).to_have_count(0)
    assert opened.evaluate("document.activeElement.matches('.card')") is False
    opened.get_by_role("button", name="Keys").click()
    dialog.get_by_label("Keys of one character").check()
    dialog.get_by_role("button", name="Close").click()
    opened.keyboard.press("n")
    expect(opened.locator(".card").first).to_be_focused()


def test_every_key_of_the_table_is_one_act_of_its_place(opened: Page) -> None:
    places = opened.evaluate("import('/page/keys.js').then(({ KEYS }) => KEYS)")
    together = [("page", "pairs", "decide"), ("pictures",), ("slider",), ("tabs",), ("text",)]
    assert sorted(places) == sorted(place for group in together for place in group)
    for group in together:
        keys = [key for place in group for keys, _ in places[place]["acts"].values() for key in keys]
        assert len(set(keys)) == len(keys)


# ---- little room, and nothing there ---------------------------------------------------------------------------------


@pytest.fixture
def narrow(opened: Page) -> Iterator[Page]:
    opened.set_viewport_size(NARROW)
    yield opened
    opened.set_viewport_size(WIDE)


def test_with_little_room_filters_are_behind_a_button(narrow: Page) -> None:
    button, task = narrow.locator("#show-filters"), narrow.locator("#filters select[name=task]")
    expect(task).to_be_hidden()
    for tab in narrow.get_by_role("tab", name=re.compile("Pairs|Rejects|Decisions|Statistics|SQL")).all()[:5]:
        box = tab.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"]
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    task.select_option("derain")
    expect(button).to_have_text("Filters (1 set)")
    button.click()
    expect(task).to_be_hidden()
    narrow.locator(".card").first.focus()
    narrow.keyboard.press("/")
    expect(narrow.get_by_label("Text in instructions")).to_be_focused()


def test_with_little_room_the_buttons_of_reasons_are_reached_at_first_sight(narrow: Page) -> None:
    go(narrow, "tab=rejects")
    button = narrow.get_by_role("button", name=re.compile("^Show these")).first
    expect(button).to_be_visible()
    box, frame = button.bounding_box(), narrow.locator("#reasons").bounding_box()
    assert box and frame and frame["x"] <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"]
    assert narrow.locator("#reasons").evaluate("frame => frame.scrollWidth <= frame.clientWidth")


def test_the_text_of_a_reject_has_room_around_it(opened: Page) -> None:
    go(opened, "tab=rejects")
    card = opened.locator("#rejected .reject").first
    expect(card).to_be_visible()
    for part in card.locator(".chips, p").all():
        box, around = part.bounding_box(), card.bounding_box()
        assert box and around and box["x"] - around["x"] >= 8
        assert around["x"] + around["width"] - box["x"] - box["width"] >= 8


def test_the_table_of_licences_is_seen_whole(opened: Page) -> None:
    go(opened, "tab=statistics")
    sheet = opened.locator("[data-part=licences] .sheet")
    expect(sheet).to_be_visible()
    assert sheet.evaluate("sheet => sheet.scrollWidth <= sheet.clientWidth")


def test_what_went_wrong_is_said_with_what_to_do(page: Page, out: Path) -> None:
    with serving(str(out)) as port:
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator(".card").first).to_be_visible()
        page.route("**/thumbnail/**", lambda route: route.fulfill(status=400, body="{}"))
        go(page, "order=&page=0&kind=describe")
        expect(page.locator(".flow").first).to_contain_text("says why")
        page.unroute("**/thumbnail/**")
        go(page, "tab=rejects&rtask=derain&reason=nosuch")
        page.get_by_role("button", name="Show all rejects").click()
        expect(page.locator("#rejected .reject").first).to_be_visible()
        go(page, "tab=sql&query=SELECT+pair+FROM+pairs+WHERE+false")
        expect(page.locator("#result")).to_contain_text("no row is as it asks for")
    page.route("**/api/**", lambda route: route.abort())  # as if it had ended
    go(page, "text=gone")
    expect(page.locator("#cards .empty")).to_contain_text("Look whether xprompt browse still runs")
    page.unroute("**/api/**")


def test_the_focus_stays_on_a_control_that_is_made_anew(opened: Page) -> None:
    go(opened, "tab=rejects")
    opened.get_by_role("button", name="Show these").first.press("Enter")
    expect(opened.get_by_role("button", name="Show all").first).to_be_focused()


# ---- what it looks like ---------------------------------------------------------------------------------------------


SEEN = """() => [...document.images].every((one) => one.complete && one.naturalWidth
  || one.getBoundingClientRect().top > innerHeight || !one.checkVisibility())"""


@pytest.mark.skipif(not SHOOTS, reason="XPROMPT_SCREENSHOTS=1 writes them")
def test_screenshots(opened: Page) -> None:
    key = opened.locator(".card").last.get_attribute("data-pair")
    states = {
        "cards": ("score=visible_change&order=high", ".card img"),
        "pair": (f"pair={key}", "#pair .tile img"),
        "rejects": ("tab=rejects&rtask=derain&rscore=alignment&rlow=0.85", "#kept-beside img"),
        "statistics": ("tab=statistics", "#counted section:last-child table"),
    }
    shots: list[tuple[str, str, ViewportSize, Scheme]] = [(name, f"{name}-light", WIDE, "light") for name in states]
    shots += [("cards", "cards-dark", WIDE, "dark"), ("pair", "pair-dark", WIDE, "dark")]
    shots += [("cards", "cards-narrow", NARROW, "light"), ("pair", "pair-narrow", NARROW, "dark")]
    SHOTS.mkdir(exist_ok=True)
    for state, name, size, scheme in shots:
        opened.set_viewport_size(size)
        opened.emulate_media(color_scheme=scheme)
        address, there = states[state]
        go(opened, address)
        expect(opened.locator(there).first).to_be_attached()
        opened.wait_for_load_state("networkidle")
        opened.evaluate("scrollTo(0, 0); document.activeElement.blur()")
        opened.wait_for_function(SEEN)
        with PILImage.open(io.BytesIO(opened.screenshot())) as picture:
            picture.save(SHOTS / f"{name}.webp", quality=82, method=6)
        assert (SHOTS / f"{name}.webp").stat().st_size <= MOST_SHOT_BYTES
