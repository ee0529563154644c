"""Decisions: over the server's own protocol, and by keyboard in a real browser."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from manifests.browse.server import MOST_BODY_BYTES
from manifests.choose.decisions import Ledger
from tests.manifests.make import make_dataset
from tests.manifests.web import HOSTILE, ask, get


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chosen")
    make_dataset(f"{out}/derain", units=1, pairs=6)
    return out


@pytest.fixture(autouse=True)
def _anew(out: Path) -> None:
    (out / "decisions.jsonl").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def keys(port: int) -> list[str]:
    return [row["pair"] for row in ask(port, "pairs")["rows"]]


def post(port: int, body: object, **headers: str) -> tuple[int, Any]:
    """POST a decision as the page does, but for some headers; "" leaves one out."""
    sent = {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/api/decisions", data, {name: value for name, value in sent.items() if value})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_a_decision_is_kept_and_counted(out: Path, port: int, keys: list[str]) -> None:
    decision = {"pair": keys[0], "decision": "drop", "reviewer": "Ada"}
    status, answer = post(port, decision)
    assert (status, answer["pairs"][keys[0]]["status"]) == (200, "dropped")
    assert post(port, {**decision, "reviewer": "Bo", "decision": "keep"})[1]["pairs"][keys[0]]["status"] == "disputed"
    fix = {"decision": "fix", "direction": "reverse", "kind": "describe", "instruction": HOSTILE}
    post(port, {**decision, "pair": keys[1], **fix})
    post(port, {**decision, "pair": keys[2], "decision": "flag"})
    answer = ask(port, "decisions", pair=",".join(keys))
    assert answer["file"] == str(out / "decisions.jsonl")
    assert answer["counts"] == {
        **{"undecided": 4, "kept": 1, "dropped": 0},
        **{"flagged": 1, "disagree": 1, "pairs": 6},
    }
    assert answer["pairs"][keys[1]]["instructions"] == [{k: v for k, v in fix.items() if k != "decision"}]
    found = Ledger(out / "decisions.jsonl").read().standing
    assert {pair: {name: one.decision for name, one in said.items()} for pair, said in found.items()} == {
        keys[0]: {"Ada": "drop", "Bo": "keep"},
        keys[1]: {"Ada": "fix"},
        keys[2]: {"Ada": "flag"},
    }
    filters: dict[tuple[str, str], list[str]] = {
        ("kept", ""): [keys[1]],
        ("flagged", ""): [keys[2]],
        ("disagree", ""): [keys[0]],
        ("dropped", ""): [],
        ("undecided", ""): keys[2:],
        ("undecided", "Bo"): keys[1:],
        ("undecided", "Cy"): keys,
    }
    for (name, reviewer), expected in filters.items():
        rows = ask(port, "pairs", decision=name, reviewer=reviewer)["rows"]
        assert [row["pair"] for row in rows] == expected
    agreement = ask(port, "agreement", gate="mean_abs_diff>=0.15")
    assert agreement["reviewers"]["Ada"] == {"drop": 1, "fix": 1, "flag": 1}
    assert [two["second"] for two in agreement["two"]] == ["Bo", *["gate mean_abs_diff >= 0.15"] * 2]
    for path in ("pairs?decision=x", "agreement?gate=x", "agreement?gate=nosuch>=1"):
        assert get(port, f"/api/{path}")[0].status == 400


def test_a_decision_of_another_origin_is_refused(out: Path, port: int, keys: list[str]) -> None:
    decision = {"pair": keys[0], "decision": "drop", "reviewer": "Ada"}
    rebound = f"attacker.example:{port}"
    for headers, expected in (
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": f"https://127.0.0.1:{port}"}, 403),
        ({"Origin": f"http://localhost:{port}"}, 403),  # another origin than its Host's
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Host": rebound, "Origin": f"http://{rebound}"}, 403),
        ({"Host": rebound}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": ""}, 415),
    ):
        assert (headers, post(port, decision, **headers)[0]) == (headers, expected)
    assert not (out / "decisions.jsonl").exists()
    own = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}", "Sec_Fetch_Site": "same-origin"}
    assert post(port, decision, **own, Content_Type="application/json; charset=utf-8")[0] == 200
    assert get(port, "/", method="POST")[0].status == 403


def test_what_is_no_decision_is_refused(
    out: Path, port: int, keys: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"pair": keys[0], "decision": "drop", "reviewer": "Ada"}
    fix = {**good, "decision": "fix", "direction": "forward", "kind": "generate"}
    for body in (
        b"",
        b"{",
        b"[]",
        b"[" * 20_000,
        b'{"pair": NaN}',
        b'{"reviewer": "\\ud800"}',
        {**good, "time": "2026-11-30T02:20:00Z"},
        {**good, "task": "derain"},
        {**good, "pair": [keys[0]]},
        {**good, "decision": "burn"},
        {**good, "reviewer": "Ada\n"},
        {**good, "instruction": "x"},
        fix,
        {**fix, "instruction": "x" * 4_001},
        {**fix, "instruction": "x", "direction": "sideways"},
    ):
        status, answer = post(port, body)
        assert (body, status) == (body, 400) and "\n" not in answer["error"]
    assert post(port, {**good, "pair": "f" * 32}) == (404, {"error": "no manifest names this pair"})
    assert post(port, b"x" * (MOST_BODY_BYTES + 1))[0] == 413
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = f"POST /api/decisions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 411")
    assert not (out / "decisions.jsonl").exists()
    (out / "decisions.jsonl").write_text("a file of somebody else\n")
    for answer in (post(port, good)[1], json.loads(get(port, "/api/decisions")[1])):
        assert f"{out}/decisions.jsonl, line 1, is no decision" in answer["error"]
    assert (out / "decisions.jsonl").read_text() == "a file of somebody else\n"
    assert capsys.readouterr().err == ""


@pytest.fixture
def named(opened: Page) -> Page:
    opened.evaluate("localStorage.clear()")
    opened.reload()
    expect(opened.locator(".card")).to_have_count(6)
    return opened


def test_a_page_is_decided_of_by_keyboard(named: Page, out: Path, keys: list[str]) -> None:
    cards = named.locator(".card")
    named.keyboard.press("k")  # nothing has the focus: the first card gets it
    expect(cards.nth(0)).to_be_focused()
    named.keyboard.press("k")
    dialog = named.get_by_role("dialog", name="Who decides?")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_label("Your name").press("Enter")
    expect(cards.nth(1)).to_be_focused()
    named.keyboard.press("d")
    expect(cards.nth(2)).to_be_focused()
    named.keyboard.press("f")
    expect(cards.nth(3)).to_be_focused()
    named.keyboard.press("i")
    field = cards.nth(3).get_by_label("New instruction")
    expect(field).to_be_focused()
    expect(field).to_have_value("Take away the rain — vollständig.")
    field.fill(f"kdfi {HOSTILE}")  # keys are text here
    field.press("Control+Enter")
    expect(cards.nth(4)).to_be_focused()
    expect(named.locator("#decided")).to_have_text("2 kept, 1 dropped, 1 flagged, 0 disagree, 3 undecided")
    expect(cards.nth(3).locator(".said")).to_contain_text(f"Ada: fix · forward generate becomes “kdfi {HOSTILE}”")
    assert named.title() == "X-Prompt data"
    standing = Ledger(out / "decisions.jsonl").read().standing
    assert [standing[key]["Ada"].decision for key in keys[:4]] == ["keep", "drop", "flag", "fix"]
    cards.nth(1).get_by_role("button", name="Drop").click()  # again: it is taken back
    expect(cards.nth(1).get_by_role("button", name="Drop")).to_have_attribute("aria-pressed", "false")
    assert Ledger(out / "decisions.jsonl").read().standing[keys[1]] == {}
    named.evaluate("localStorage.setItem('reviewer', 'Bo')")
    named.reload()
    expect(cards.nth(0).locator(".said")).to_have_text("Ada: keep")
    cards.nth(0).get_by_role("button", name="Drop").press("d")
    expect(cards.nth(0).locator(".said")).to_have_text("Ada: keep · Bo: drop · reviewers disagree")
    named.locator("select[name=decision]").select_option("disagree")
    expect(cards).to_have_count(1)
    named.locator("select[name=decision]").select_option("mine")
    expect(cards).to_have_count(5)
    cards.nth(0).get_by_role("link", name="Open").click()
    expect(named.locator("#pair .decide")).to_be_visible()
    named.keyboard.press("k")
    expect(named.locator("#pair .said").first).to_have_text("Bo: keep")
    named.keyboard.press("Escape")
    named.get_by_role("tab", name="Decisions").click()
    expect(named.locator("#reviewers tbody tr")).to_have_count(2)
    named.get_by_label("Compare with bounds on scores").fill("mean_abs_diff>=0.15")
    named.get_by_role("button", name="Compare").last.click()
    expect(named.locator("#agreement tbody tr")).to_have_count(3)
    expect(named.locator("#agreement tbody tr").first).to_contain_text("Ada and Bo")
    expect(named.locator("#derive")).to_have_text(
        f"xprompt derive {out}/derain --out OUT --decisions {out}/decisions.jsonl"
    )
