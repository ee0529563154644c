"""What goes wrong while somebody looks: a server that is slow or ends, a dataset that goes, odd addresses and texts.

Requests are held or broken on their way, by the browser's own interception, so that what follows is sure.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from manifests.choose.decisions import Ledger
from manifests.dataset import Dataset
from manifests.schema import Item
from manifests.write.writer import UnitWriter
from tests.manifests.browse.test_choosing import post
from tests.manifests.make import SUFFIXES, make_dataset, make_pair, make_plan
from tests.manifests.web import ask, serving

LONG = "Take away the rain. " * 5_000
BIDI = "\u05d4\u05e1\u05e8 \u05d0\u05ea \u05d4\u05d2\u05e9\u05dd \u202e(abc)."
DOWN = re.compile("The server does not answer. Look whether xprompt browse still runs")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 plain pairs, and two with instructions of 100 KB and from right to left, of which one's target is damaged."""
    out = tmp_path_factory.mktemp("trouble")
    make_dataset(f"{out}/derain", units=1, pairs=30)
    dataset = Dataset(f"{out}/odd")
    plan = make_plan(dataset, task="odd", units=1, pairs=2)
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        for index, text in enumerate((LONG, BIDI)):
            pair = make_pair("odd", Item(ref=f"{index}", files=("0",), index=index))
            examples = tuple(replace(example, instruction=text) for example in pair.examples)
            writer.add(replace(pair, examples=examples))
    writer.commit({}, 0, {})
    place = next(iter(dataset.rows(["images"])))["images"][1]
    with (out / "odd/shards/odd-000000.tar").open("r+b") as shard:
        shard.seek(place["offset"])
        shard.write(bytes(place["bytes"]))
    return out


@pytest.fixture(autouse=True)
def _let_through(page: Page) -> Iterator[None]:
    yield
    page.unroute_all()


@pytest.fixture
def named(opened: Page, out: Path) -> Iterator[Page]:
    """The page of a reviewer, before anything is decided."""
    (out / "decisions.jsonl").unlink(missing_ok=True)
    opened.evaluate("localStorage.setItem('reviewer', 'Ada')")
    to(opened, "task=derain")
    expect(opened.locator(".card")).to_have_count(24)
    yield opened
    opened.evaluate("localStorage.clear()")


def to(page: Page, state: str) -> None:
    """Open an address as if it were pasted."""
    address = page.url.split("#")[0]
    page.goto("about:blank")
    page.goto(f"{address}#{state}")


@contextmanager
def held(page: Page, method: str) -> Iterator[list[Route]]:
    """What is asked of decisions, and not let through."""
    found: list[Route] = []
    page.route(
        "**/api/decisions*", lambda route: found.append(route) if route.request.method == method else route.continue_()
    )
    yield found
    page.unroute("**/api/decisions*")


def wait(page: Page, routes: list[Route], count: int) -> None:
    for _ in range(300):
        if len(routes) >= count:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{len(routes)} requests, not {count}")


# ---- deciding -----------------------------------------------------------------------------------------------------


def test_fast_keys_decide_of_one_card_each(named: Page, out: Path) -> None:
    keys = [card.get_attribute("data-pair") for card in named.locator(".card").all()[:4]]
    named.keyboard.press("k")  # the first card gets the focus
    with held(named, "POST") as posts:
        for key in "kdf":
            named.keyboard.press(key)
        expect(named.locator(".card").nth(3)).to_be_focused()
        wait(named, posts, 3)
        for route in reversed(posts):  # in whatever order they arrive
            route.continue_()
        expect(named.locator(".decide [aria-pressed=true]")).to_have_count(3)
    standing = Ledger(out / "decisions.jsonl").read().standing
    assert {pair: said["Ada"].decision for pair, said in standing.items()} == dict(
        zip(keys, ("keep", "drop", "flag"), strict=False)
    )


def test_what_is_decided_of_one_pair_is_sent_in_order(named: Page, out: Path) -> None:
    named.locator(".card").first.get_by_role("link", name="Open").click()
    expect(named.locator("#pair .decide")).to_be_visible()
    with held(named, "POST") as posts:
        named.keyboard.press("k")
        named.keyboard.press("d")
        wait(named, posts, 1)
        assert [json.loads(route.request.post_data or "")["decision"] for route in posts] == ["keep"]
        posts[0].continue_()
        wait(named, posts, 2)
        posts[1].continue_()
        expect(named.locator("#pair .said").first).to_have_text("Ada: drop")


def test_a_decision_that_was_not_taken_is_gone_back_to(named: Page) -> None:
    cards = named.locator(".card")
    cards.first.focus()
    cards.first.evaluate("card => { card.tabIndex = -1; card.focus(); }")
    with held(named, "POST") as posts:
        for key in "kkk":
            named.keyboard.press(key)
        wait(named, posts, 3)
        posts[0].continue_()
        posts[1].abort()
        posts[2].continue_()
        expect(cards.nth(1).locator(".error")).to_have_text(DOWN)
        expect(cards.nth(1)).to_be_focused()
    named.keyboard.press("k")
    expect(cards.nth(1).locator(".said")).to_have_text("Ada: keep")
    expect(cards.nth(1).locator(".error")).to_be_hidden()
    expect(cards.nth(2)).to_be_focused()


def test_an_answer_from_before_a_decision_does_not_hide_it(named: Page) -> None:
    with held(named, "GET") as asked:
        to(named, "task=derain")
        expect(named.locator(".card")).to_have_count(24)
        wait(named, asked, 1)
        old = asked[0].fetch()
        named.keyboard.press("k")
        named.keyboard.press("k")
        said = named.locator(".card").first.locator(".said")
        expect(said).to_have_text("Ada: keep")
        asked[0].fulfill(response=old)
        named.wait_for_timeout(300)
        expect(said).to_have_text("Ada: keep")
        expect(named.locator("#decided")).to_have_text(re.compile("^1 kept"))


def test_no_pair_is_passed_over_where_decided_ones_leave_the_list(named: Page, port: int) -> None:
    stored_order = [row["pair"] for page in (0, 1) for row in ask(port, "pairs", task="derain", page=page)["rows"]]
    to(named, "task=derain&decision=mine")
    expect(named.locator(".card")).to_have_count(24)
    named.keyboard.press("k")
    for _ in range(20):
        named.keyboard.press("k")
    expect(named.locator(".decide [data-decision=keep][aria-pressed=true]")).to_have_count(20)
    named.keyboard.press(">")
    expect(named.locator("#count")).to_have_text("10 pairs")
    assert [card.get_attribute("data-pair") for card in named.locator(".card").all()] == stored_order[20:]


def test_undecided_by_me_follows_the_name(named: Page) -> None:
    named.keyboard.press("k")
    named.keyboard.press("k")
    expect(named.locator("#decided")).to_have_text(re.compile("^1 kept"))
    to(named, "task=derain&decision=mine")
    expect(named.locator("#count")).to_have_text("29 pairs")
    named.get_by_role("tab", name="Decisions").click()
    named.locator("#reviewer").fill("Bo")
    named.locator("#reviewer").press("Tab")
    named.get_by_role("tab", name="Pairs").click()
    expect(named.locator("#count")).to_have_text("30 pairs")


def test_who_allows_no_storage_decides_too(page: Page, port: int, out: Path) -> None:
    (out / "decisions.jsonl").unlink(missing_ok=True)
    browser = page.context.browser
    assert browser
    with browser.new_context() as context:
        context.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException(); } })"
        )
        closed = context.new_page()
        closed.goto(f"http://127.0.0.1:{port}/")
        expect(closed.locator(".card")).to_have_count(24)
        closed.keyboard.press("k")
        closed.keyboard.press("k")
        closed.locator("dialog input").fill("Cy")
        closed.locator("dialog input").press("Enter")
        expect(closed.locator(".card").first.locator(".said")).to_have_text("Cy: keep")


def test_an_instruction_that_is_too_long_is_said_before_it_is_sent(named: Page) -> None:
    to(named, "task=odd")
    card = named.locator(".card").first
    card.get_by_role("button", name="Fix instruction").click()
    card.get_by_role("button", name="Save").click()
    expect(card.locator(".error")).to_contain_text("4,000 characters at most, and this one has 100,000")


def test_a_file_that_cannot_be_written_is_said_in_words(out: Path, tmp_path: Path) -> None:
    place = tmp_path / "data (copy)"
    place.mkdir()
    with serving(str(out), f"{place}/decisions.jsonl") as port:
        assert ask(port, "decisions")["file"] == f"{place}/decisions.jsonl"
        pair = ask(port, "pairs")["rows"][0]["pair"]
        place.rmdir()
        status, answer = post(port, {"pair": pair, "decision": "keep", "reviewer": "Ada"})
    assert status == 400
    assert answer["error"].startswith(
        f"nothing was decided, for {place}/decisions.jsonl cannot be written: No such file"
    )
    assert "Errno" not in answer["error"]


def test_the_command_names_the_whole_file(page: Page, out: Path, tmp_path: Path) -> None:
    place = tmp_path / "data (copy)"
    place.mkdir()
    with serving(str(out), f"{place}/decisions.jsonl") as port:
        page.goto(f"http://127.0.0.1:{port}/#tab=decisions")
        expect(page.locator("#derive")).to_contain_text(f"--decisions '{place}/decisions.jsonl'")


# ---- the server and the dataset -----------------------------------------------------------------------------------


def test_each_view_says_that_the_server_is_gone_and_comes_back(opened: Page) -> None:
    opened.route("**/api/**", lambda route: route.abort())
    opened.route("**/page/viewer.js", lambda route: route.abort())
    panel = {name: opened.locator(f"#{name}") for name in ("rejects", "decisions", "statistics", "sql")}
    for name, view in panel.items():
        opened.locator(f"#to-{name}").click()
        expect(view.locator(".error:visible").first).to_have_text(DOWN)
    opened.get_by_role("button", name="Save as CSV").click()
    expect(panel["sql"].locator("div > .error").first).to_have_text(DOWN)
    opened.get_by_role("tab", name="Pairs").click()
    opened.locator(".card").first.get_by_role("button", name="Compare").click()
    expect(opened.locator(".viewer")).to_have_text(DOWN)
    opened.unroute_all()
    opened.get_by_role("tab", name="Rejects").click()
    expect(panel["rejects"].locator(".reject").first).to_be_visible()
    expect(panel["rejects"].locator("#rscore optgroup")).to_have_count(2)


def test_what_is_nearest_a_bound_says_that_the_server_is_gone(opened: Page) -> None:
    opened.route("**/api/beside*", lambda route: route.abort())
    to(opened, "tab=rejects&rtask=derain&rscore=psnr")
    expect(opened.locator("#bound .error")).to_have_text(DOWN)


def test_a_dataset_that_is_gone_is_said_on_the_page(page: Page, tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=2)
    with serving(str(tmp_path)) as port:
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator(".card")).to_have_count(2)
        (tmp_path / "derain").rename(tmp_path / "elsewhere")
        (tmp_path / "elsewhere/plan.parquet").rename(tmp_path / "plan")
        page.reload()
        expect(page.get_by_role("heading", name="The datasets cannot be read")).to_be_visible()
        expect(page.locator("main .error")).to_contain_text(f"no dataset at {tmp_path}")
        (tmp_path / "plan").rename(tmp_path / "elsewhere/plan.parquet")
        (tmp_path / "elsewhere").rename(tmp_path / "derain")
        page.get_by_role("button", name="Reload the page").click()
        expect(page.locator(".card")).to_have_count(2)


def test_a_browser_that_hangs_up_leaves_no_traceback(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    for sent in (b"", f"GET /api/scores HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode(), b"GET /api/sco"):
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(sent)
        connection.close()  # which resets it
    ask(port, "scores")
    assert capsys.readouterr().err == ""


def test_an_address_that_is_too_long_is_answered_in_words(port: int) -> None:
    with socket.create_connection(
        ("127.0.0.1", port), timeout=60
    ) as connection:  # http.client sends it in one piece too
        connection.sendall(f"GET /api/sql?query={'x' * 2**20} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 414") and b"nosniff" in head
    assert "write a shorter query" in json.loads(body)["error"]


def test_a_query_that_is_too_long_is_said_on_the_page(opened: Page) -> None:
    to(opened, f"tab=sql&query={quote('SELECT 1 AS a --' + 'x' * 70_000)}")
    expect(opened.locator("#sql .error").first).to_contain_text("write a shorter query")


def test_one_damaged_picture_leaves_the_others(opened: Page) -> None:
    to(opened, "task=odd")
    opened.locator(".card").first.get_by_role("button", name="Compare").click()
    viewer = opened.locator(".viewer")
    expect(viewer.locator(".error")).to_have_text(
        re.compile("^target: .*/odd/shards/odd-000000.tar has not the image that is named: `xprompt verify .*` lists")
    )
    expect(viewer.locator("canvas")).to_have_count(1)


def test_where_all_was_rejected_that_is_said(page: Page, tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=0)
    with serving(str(tmp_path)) as port:
        for state in ("", "#task=derain"):
            page.goto("about:blank")
            page.goto(f"http://127.0.0.1:{port}/{state}")
            expect(page.locator("#cards")).to_contain_text("Rejected: 1. None became a pair so far.")
        page.get_by_role("button", name="Show why").click()
        expect(page.locator("#rejected .reject")).to_have_count(1)


# ---- texts and addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["tab=constructor", "tab=toString&compare=constructor", "compare=__proto__"])
def test_a_word_of_the_language_is_no_view(opened: Page, state: str) -> None:
    to(opened, state)
    expect(opened.locator(".card").first).to_be_visible()
    opened.locator(".card").first.get_by_role("button", name="Compare").click()
    expect(opened.locator(".viewer .panes[data-mode=slider] canvas").first).to_be_visible()


def test_what_an_address_names_and_is_not_there(opened: Page) -> None:
    to(opened, "task=nosuch")
    expect(opened.get_by_role("heading", name="There is no task “nosuch” here")).to_be_visible()
    opened.locator("#cards").get_by_role("button", name="derain").click()
    expect(opened.locator("#count")).to_have_text("30 pairs")
    to(opened, "direction=sideways")
    expect(opened.locator("#cards .error")).to_have_text("direction is none of forward, reverse: sideways")
    opened.get_by_role("button", name="Clear filters").last.click()
    expect(opened.locator("#count")).to_have_text("32 pairs")
    for state in ("rtask=nosuch", "rpage=x"):
        to(opened, f"tab=rejects&{state}")
        expect(opened.locator("#rejected .error")).to_have_text(re.compile("no task nosuch here|not a number: x"))
        opened.get_by_role("button", name="Show all rejects").click()
        expect(opened.locator("#rejected .reject")).to_have_count(1)


def test_a_long_instruction_leaves_room_and_can_be_looked_for(opened: Page) -> None:
    to(opened, "task=odd")
    card = opened.locator(".card").first
    expect(card).to_be_visible()
    assert card.evaluate("card => card.offsetHeight") < 1_000
    to(opened, "tab=sql&query=SELECT+instruction+FROM+examples+ORDER+BY+length(instruction)+DESC")
    expect(opened.locator("#result td pre").first).to_be_visible()
    assert opened.locator("#result tr").nth(1).evaluate("row => row.offsetHeight") < 300
    to(opened, "tab=statistics&stask=odd")
    link = opened.locator("[data-part=instructions] td a").filter(has_text="Take away")
    assert len(link.inner_text()) < 600
    link.click()
    expect(opened.locator("#result tbody tr")).to_have_count(4)


def test_text_from_right_to_left_is_set_so(opened: Page) -> None:
    for task, place, side in (("derain", 0, "left"), ("odd", 1, "right")):
        to(opened, f"task={task}")
        found = (
            opened.locator(".card .panel > .instruction")
            .nth(place)
            .evaluate("""text => {
            const range = document.createRange(), box = text.getBoundingClientRect();
            range.selectNodeContents(text);
            const line = range.getBoundingClientRect();
            return line.left - box.left <= box.right - line.right ? "left" : "right";
        }""")
        )
        assert found == side


def test_back_takes_back_what_was_typed(opened: Page) -> None:
    field = opened.locator("[name=text]")
    to(opened, "text=let")
    expect(opened.locator("#count")).to_have_text("30 pairs")
    opened.get_by_role("button", name="Next page").first.click()
    expect(opened.locator(".card")).to_have_count(6)
    field.fill("let it")
    expect(opened).to_have_url(re.compile("text=let.it"))
    expect(field).to_be_focused()
    opened.go_back()
    expect(field).to_have_value("let")


def test_a_handle_that_is_clicked_stays_and_one_that_is_dragged_asks_no_more_than_is_answered(opened: Page) -> None:
    to(opened, "tab=rejects&rtask=derain&rscore=mean_abs_diff")
    grip = opened.locator(".grip.low")
    box = grip.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.mouse.move(x + 7, y)
    opened.mouse.down()
    opened.mouse.up()
    opened.wait_for_timeout(300)
    assert "rlow" not in opened.url
    asked: list[Route] = []
    opened.route("**/api/histogram*", lambda route: asked.append(route))
    opened.mouse.down()
    for step in range(1, 40):
        opened.mouse.move(x + 7 + 5 * step, y)
    wait(opened, asked, 1)
    assert len(asked) == 1
    asked[0].continue_()
    wait(opened, asked, 2)
    asked[1].continue_()
    opened.unroute_all()
    opened.mouse.up()
    expect(opened).to_have_url(re.compile("rlow="))
