"""What the page of a pair shows, against what was put into a dataset, and the page in a real browser."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from manifests.answers import encoded, record_of, request_key
from manifests.dataset import Dataset
from manifests.images.as_asked import as_asked
from manifests.images.pixels import encode_lossless
from manifests.schema import Step
from manifests.write.writer import UnitWriter
from tests.edits import make_edits
from tests.manifests.make import SUFFIXES, candidates_of, make_pair, make_plan, photo
from tests.manifests.web import HOSTILE, ask, get, serving

PROMPT = "Sort this edit.\nInstruction: {instruction}\nAnswer:"
SORTED_BY = f"edit-class-1@{hashlib.sha256(PROMPT.encode()).hexdigest()[:12]}"
ASKED_BY = "difference-2@0123456789ab"
LARGE_PX = (1_500, 900)
"""Of a target that no model is shown at its own size."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs with candidates; a model was asked about the first and the second of them."""
    root = tmp_path_factory.mktemp("asked")
    dataset = Dataset(f"{root}/derain")
    plan = make_plan(dataset, units=1, pairs=4)
    large = encode_lossless("target", np.resize(photo(0), (LARGE_PX[1], LARGE_PX[0], 3)))
    asking = (
        Step(operator="difference", version=2, model="gpt", prompt=ASKED_BY),
        Step(operator="hold_out_edits", version=3, model="gpt", prompt=SORTED_BY),
    )
    kept = []
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        for number, item in enumerate(dataset.unit(plan, 0).items[:4]):
            pair = make_pair("derain", item)
            if not number:
                pair = replace(pair, images=(pair.images[0], large))
            if number < 3:
                pair = replace(pair, steps=(*pair.steps, *asking))
            kept.append(replace(pair, candidates=candidates_of(pair.key, won=1)))
            writer.add(kept[-1])
    writer.commit({}, 0, {})
    shown = [[hashlib.sha256(as_asked(image.data)).hexdigest() for image in pair.images] for pair in kept]
    lines = [
        _answer("gpt", ASKED_BY, "what differs?", shown[0], "It was large."),
        _answer("gpt", ASKED_BY, "what differs?", shown[1], HOSTILE),
        _answer("gpt", ASKED_BY, "what differs?", [shown[0][0], shown[1][1]], "of two pairs"),
        _answer("other", ASKED_BY, "what differs?", shown[0], "of another model"),
        _answer("gpt", "difference-1@0123456789ab", "what differs?", shown[0], "of another prompt"),
        _answer("gpt", SORTED_BY, PROMPT.format(instruction=kept[0].examples[0].instruction), [], "object_removal"),
        _answer("gpt", SORTED_BY, PROMPT.format(instruction="Please. Let it rain."), [], "of a longer instruction"),
    ]
    lines[1] = lines[1].replace(b'"tokens_out":3', b'"tokens_out":4')  # it was changed after it was stored
    folder = root / "derain/responses"
    folder.mkdir()
    old = json.loads(_answer("gpt", ASKED_BY, "what differs?", shown[2], "Of an older dataset."))
    (folder / old["key"][:2]).mkdir()
    (folder / old["key"][:2] / f"{old['key']}.json").write_bytes(
        encoded({name: old[name] for name in ("request", "answer")})
    )
    (folder / "000001-0123456789ab.jsonl").write_bytes(b"".join(lines) + b"no JSON\n" + lines[0][:50])
    return root


def _answer(model: str, prompt: str, text: str, images: list[str], said: str) -> bytes:
    request = {"model": model, "revision": "", "prompt": prompt, "text": text, "images": images, "params": {}}
    answer = {"text": said, "model": model, "finish_reason": "stop", "tokens_in": 9, "tokens_out": 3}
    return encoded(record_of(request_key(request), request, answer)) + b"\n"


@pytest.fixture(scope="module")
def asked_port(asked: Path) -> Iterator[int]:
    with serving(str(asked)) as port:
        yield port


def _keys(port: int) -> list[str]:
    return [row["pair"] for row in ask(port, "pairs")["rows"]]


def test_answers_are_found_by_what_was_asked(asked_port: int) -> None:
    first, second, third, fourth = (ask(asked_port, f"pair/{key}/answers") for key in _keys(asked_port))
    assert [(step["operator"], step["model"], step["prompt"]) for step in first] == [
        ("difference", "gpt", ASKED_BY),
        ("hold_out_edits", "gpt", SORTED_BY),
    ]
    (by_images,), (by_text,) = (step["said"] for step in first)
    assert (by_images["answer"]["text"], by_images["flaw"]) == ("It was large.", "")
    assert by_images["roles"] == ["input", "target"]  # the target was shown scaled down
    assert (by_text["answer"]["text"], by_text["roles"]) == ("object_removal", [])
    ((changed,), _) = (step["said"] for step in second)
    assert (changed["answer"]["text"], changed["flaw"]) == (HOSTILE, "its answer was changed after it was stored")
    assert [[one["answer"]["text"] for one in step["said"]] for step in third] == [
        ["Of an older dataset."],
        ["object_removal"],  # the instruction is that of all
    ]
    assert fourth == []


def test_candidates_are_those_that_were_stored(asked_port: int) -> None:
    key = _keys(asked_port)[2]
    found = ask(asked_port, f"pair/{key}/candidates")
    expected = candidates_of(key, won=1)
    assert [(one["won"], one["reason"], one["scores"], one["seed"]) for one in found] == [
        (one.won, one.reason, one.scores, one.step.seed) for one in expected
    ]
    assert {one["prompt"] for one in found} == {"a hat"} and {one["model_revision"] for one in found} == {"main"}
    for number, one in enumerate(expected):
        response, body = get(asked_port, f"/candidate/{key}/{number}")
        assert (response.headers["Content-Type"], body) == ("image/png", one.image.data)
    for wrong in (f"/candidate/{key}/3", f"/candidate/{key}/-1", f"/candidate/{key}/x", "/candidate/nosuch/0"):
        assert get(asked_port, wrong)[0].status == 404


def test_a_damaged_candidate_is_said_in_words(asked: Path, tmp_path: Path) -> None:
    shutil.copytree(asked, tmp_path / "out")
    archive = tmp_path / "out/derain/candidates/derain-000000.tar"
    archive.write_bytes(archive.read_bytes()[:-3_000].replace(b'"seed":1', b'"seed":7', 1))
    with serving(str(tmp_path / "out")) as port:
        first, *_, last = _keys(port)
        assert get(port, f"/candidate/{first}/0")[0].status == 200
        for address in (f"/candidate/{first}/1", f"/candidate/{last}/2"):
            response, body = get(port, address)
            assert response.status == 400
            assert b"is damaged" in body


def test_where_a_pair_serves_as_a_context(port: int) -> None:
    """Each pair of a shard has the one before it, the first one the last."""
    keys = [row["pair"] for page in (0, 1) for row in ask(port, "pairs", task="derain", page=page)["rows"]]
    for before, key in zip(keys[:15], keys[1:15] + keys[:1], strict=True):
        found = ask(port, f"pair/{before}/serves")
        assert found == {
            "total": 1,
            "rows": [{"task": "derain", "pair": key, "rank": 1, "score": None, "examples": 4}],
        }


TEXTS = ["add a red hat", "Add a hat, red!", "add a red hat to the dog", "remove the dog", "paint it blue", "add"]


def _shared(one: str, other: str) -> float:
    """Words of both by words of either: by the standard library alone."""
    here, there = (set(re.findall(r"\w+", text.lower())) for text in (one, other))
    return len(here & there) / len(here | there)


def test_neighbours_by_instruction(tmp_path: Path) -> None:
    dataset = make_edits(tmp_path / "edit", TEXTS)
    keys = [pair.key for pair in dataset.pairs()]
    with serving(str(tmp_path)) as port:
        for key, text in zip(keys, TEXTS, strict=True):
            found = ask(port, f"pair/{key}/instructions")
            near = {
                other: _shared(text, there)
                for other, there in zip(keys, TEXTS, strict=True)
                if other != key and _shared(text, there) >= 0.5
            }
            assert found["instruction"] == text and found["total"] == len(near)
            assert {row["pair"]: row["shared"] for row in found["rows"]} == pytest.approx(near)
            assert [row["shared"] for row in found["rows"]] == sorted(near.values(), reverse=True)


def test_neighbours_by_image(port: int) -> None:
    rows = [row for page in (0, 1) for row in ask(port, "pairs", page=page)["rows"]]
    hashes = {row["pair"]: {image["role"]: image["phash"] for image in row["images"]} for row in rows}
    for key in list(hashes)[:8]:
        expected = {
            other: bits for other in hashes if other != key and (bits := _bits(hashes[key], hashes[other])) <= 8
        }
        found = ask(port, f"pair/{key}/images")
        assert (found["distance"], found["total"]) == (8, len(expected))
        assert {row["pair"]: row["bits"] for row in found["rows"]} == expected
        for row in found["rows"]:
            own, there = hashes[key][row["own_role"]], hashes[row["pair"]][row["role"]]
            assert _apart(own, there) == row["bits"]


def _bits(one: dict[str, Any], other: dict[str, Any]) -> int:
    return min((_apart(a, b) for a in one.values() for b in other.values() if a and b), default=64)


def _apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


# ---- in a browser -----------------------------------------------------------------------------------------------


def test_from_a_card_to_its_pair_and_back(opened: Page) -> None:
    card = opened.locator(".card").nth(12)
    key = card.get_attribute("data-pair")
    opened.get_by_label("Kind").select_option("generate")
    expect(opened).to_have_url(re.compile("kind=generate"))
    card.get_by_role("link", name="Open the pair").click()
    expect(opened.get_by_role("heading", level=2, name="Pair of photo.png")).to_be_focused()
    assert f"pair={key}" in opened.url
    sections = opened.locator("#pair h3")
    expect(sections).to_have_text([
        *("Images", "Examples", "Serves as an in-context example", "Provenance", "Candidates"),
        *("What the vision-language model said", "Similar images", "Similar instructions"),
    ])  # fmt: skip
    expect(opened.locator("#pair")).to_contain_text("1 pair has it as an in-context example")
    expect(opened.locator("#pair .line li")).to_have_count(3)  # source, step, shard
    opened.keyboard.press("Escape")
    expect(opened.locator("#pair")).to_be_hidden()
    expect(card.get_by_role("link", name="Open the pair")).to_be_focused()
    expect(opened.locator("select[name=kind]")).to_have_value("generate")
    opened.go_back()
    expect(opened.locator("#pair h2")).to_be_visible()
    opened.go_back()
    expect(opened.locator(".card").first).to_be_visible()


def test_a_context_leads_to_its_pair(opened: Page) -> None:
    opened.locator(".card").first.get_by_role("link", name="In-context example").click()
    expect(opened.get_by_role("heading", level=2, name="Pair of photo.png#14")).to_be_visible()
    expect(opened.locator("#pair").get_by_role("heading", name="In-context examples").first).to_be_visible()


def test_a_pair_that_is_not_there(opened: Page) -> None:
    opened.evaluate("location.hash = 'pair=nosuch'")
    expect(opened.locator("#pair")).to_contain_text("There is no such pair")
    opened.get_by_role("button", name="Show all pairs").click()
    expect(opened.locator(".card").first).to_be_visible()


def test_candidates_and_answers_in_the_page(page: Page, asked_port: int) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    first, second, *_ = _keys(asked_port)
    page.goto("about:blank")
    page.goto(f"http://127.0.0.1:{asked_port}/#pair={first}")
    expect(page.locator("#pair .tile.won")).to_contain_text("chosen")
    expect(page.locator("#pair")).to_contain_text("refused: low_ssim")
    image = page.locator("#pair .tile.won img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    expect(page.locator("#pair .said .answer").first).to_have_text("It was large.")
    title = page.title()
    page.goto(f"http://127.0.0.1:{asked_port}/#pair={second}")
    expect(page.locator("#pair .said .answer").first).to_have_text(HOSTILE)
    expect(page.locator("#pair .said")).to_contain_text(["Do not trust this answer", ""])
    assert page.locator("#pair script, #pair img[src=x]").count() == 0
    assert title.endswith("X-Prompt data") and page.title().endswith("X-Prompt data")
    assert problems == []
