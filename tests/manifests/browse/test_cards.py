"""The cards of pairs in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from manifests.dataset import Dataset
from tests.manifests.make import make_plan
from tests.manifests.web import HOSTILE, serving


def _shown(card: Locator) -> list[str]:
    """The names of the pictures that a card shows, in order."""
    return [image.get_attribute("alt") or "" for image in card.locator("[role=tabpanel]:not([hidden]) img").all()]


def test_a_card_is_a_pair(opened: Page) -> None:
    expect(opened.locator("#count")).to_have_text("31 pairs")
    expect(opened.locator(".card")).to_have_count(24)
    keys = opened.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.pair)")
    assert len(set(keys)) == 24
    # Tasks take turns: the second card is of the task that has one pair alone.
    chips = [opened.locator(".card").nth(place).locator(".chip").first.text_content() for place in range(3)]
    assert chips == ["derain", "strange", "derain"]


def test_context_query_answer(opened: Page) -> None:
    card = opened.locator(".card").first
    expect(card.get_by_role("link", name="In-context example")).to_be_visible()
    assert _shown(card) == [
        *("In-context example: input of photo.png#14", "In-context example: target of photo.png#14"),
        *("Query: input of photo.png#0", "Answer: target of photo.png#0"),
    ]
    boxes = [figure.bounding_box() for figure in card.locator("[role=tabpanel]:visible figure").all()]
    places = [(box["x"], box["y"]) for box in boxes if box]
    assert len(places) == 3 and [x for x, _ in places] == sorted(x for x, _ in places)  # in a row
    assert max(y for _, y in places) - min(y for _, y in places) < 60
    for chip in ("derain", "forward", "generate", "mean_abs_diff 0"):
        expect(card.locator(".chip", has_text=re.compile(f"^{chip}$")).first).to_be_visible()


def test_examples_are_tabs(opened: Page) -> None:
    card = opened.locator(".card").first
    tabs = card.get_by_role("tab")
    expect(tabs).to_have_text(["forward generate", "forward describe", "reverse generate", "reverse describe"])
    expect(tabs.first).to_have_attribute("aria-selected", "true")
    tabs.first.focus()
    opened.keyboard.press("ArrowRight")
    expect(tabs.nth(1)).to_be_focused()
    expect(card.get_by_role("tabpanel")).to_contain_text("The rain is gone.")
    expect(card.get_by_role("link", name="In-context example")).to_be_visible()
    assert _shown(card)[2:] == ["Query: input of photo.png#0", "Query: target of photo.png#0"]
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowLeft")
    expect(tabs.last).to_be_focused()
    expect(card.get_by_role("tabpanel", name="reverse describe")).to_contain_text("It rains now.")
    opened.keyboard.press("Home")
    expect(card.get_by_role("tabpanel", name="forward generate")).to_contain_text("Take away the rain")
    # One of them is in the tab order.
    assert tabs.evaluate_all("tabs => tabs.map(tab => tab.tabIndex)") == [0, -1, -1, -1]


def test_filters(opened: Page) -> None:
    opened.locator("#filters").get_by_label("Task").select_option("derain")
    opened.get_by_label("Kind").select_option("describe")
    expect(opened.locator("#count")).to_have_text("30 pairs")
    expect(opened.locator(".card").first.get_by_role("tabpanel")).to_contain_text("The rain is gone.")
    opened.locator("select[name=score]").select_option("mean_abs_diff")
    opened.get_by_label("from").fill("2.5")
    opened.locator("select[name=order]").select_option("high")
    expect(opened.locator("#count")).to_have_text("6 pairs")
    expect(opened.locator(".card").first).to_contain_text("mean_abs_diff 3")
    opened.reload()  # the address holds the filters
    expect(opened.locator("#count")).to_have_text("6 pairs")
    opened.get_by_role("button", name="Clear filters").click()
    expect(opened.locator("#count")).to_have_text("31 pairs")
    text = opened.get_by_label("Text in instructions")
    text.fill("let it")
    expect(opened.locator("#count")).to_have_text("30 pairs")
    opened.get_by_role("button", name="Last page").click()
    expect(opened.locator(".card")).to_have_count(6)
    text.fill("it rains NOW")  # of an answer
    expect(opened.locator("#count")).to_have_text("31 pairs")
    expect(opened.locator(".card").first.get_by_role("tab", name="reverse describe")).to_have_attribute(
        "aria-selected", "true"
    )


def test_provenance(opened: Page) -> None:
    opened.locator("#filters").get_by_label("Task").select_option("strange")
    expect(opened.locator(".card")).to_have_count(1)
    strange = opened.locator(".card").first
    expect(strange.get_by_role("link", name="In-context example")).to_have_count(0)  # it has none
    strange.get_by_role("button", name="Provenance").click()
    for known in ("angle_deg", str(2**62 + 1), "black-forest/flux", "abc", "edit@1", "parent-1", "CC0", "scikit-image"):
        expect(strange.locator(".part")).to_contain_text(known)
    strange.get_by_role("button", name="Provenance").click()
    expect(strange.locator(".part")).to_be_hidden()


def test_an_instruction_is_text(opened: Page) -> None:
    title = opened.title()
    opened.locator("#filters").get_by_label("Task").select_option("strange")
    expect(opened.locator(".card .instruction").first).to_have_text(HOSTILE)
    assert opened.locator("#cards script, #cards img[src=x]").count() == 0
    assert opened.title() == title


@pytest.mark.parametrize(
    ("address", "said", "button", "left"),
    [
        ("page=99999", "There is no page 100,000", "Last page", "31 pairs"),
        ("page=7&kind=generate", "on 2 pages", "First page", "31 pairs"),
        ("page=x", "page is not a number", "Clear filters", "31 pairs"),
        ("task=nosuch", "There is no task “nosuch” here", "strange", "1 pair"),
        ("text=nowhere", "No pair matches these filters", "Clear filters", "31 pairs"),
    ],
)
def test_an_address_that_shows_nothing_says_what_to_do(
    opened: Page, address: str, said: str, button: str, left: str
) -> None:
    opened.evaluate("address => { location.hash = address; }", address)
    expect(opened.locator("#cards .empty")).to_contain_text(said)
    opened.locator("#cards .empty").get_by_role("button", name=button).click()
    expect(opened.locator("#count")).to_have_text(left)
    expect(opened.locator(".card").first).to_be_visible()


def test_nothing_committed_yet(page: Page, tmp_path: Path) -> None:
    make_plan(Dataset(f"{tmp_path}/derain"))
    with serving(str(tmp_path)) as port:
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("#cards")).to_contain_text("No pair is committed yet")
