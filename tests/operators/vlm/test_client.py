"""Asking: hashes, replay, duplicates, bounds, and what becomes of the rest when one request ends the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from manifests.schema import Pair, Reject
from operators.account import accounting
from operators.base import StopRun
from operators.vlm import asker as vlm_asker
from operators.vlm import openai as vlm_openai
from operators.vlm.asker import Answered, Batch, ask_here
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request, Usage
from operators.vlm.responses import Answer
from tests.sources import jpeg, pair_of, write_files
from tests.vlm import KEY, Server, running

pytest.importorskip("openai")
PROMPT = Prompt(id="p-1", text="<image> {number}", max_tokens=7)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(vlm_openai, "BACKOFF_S", 0.01)
    with running() as server:
        server.answer = lambda text: f"it is {text.split()[-1]}"
        yield server


@pytest.fixture
def vlm(server: Server, tmp_path: Path) -> Vlm:
    return replace(Vlm.of(server.url, "m", None, concurrency=4), responses=str(tmp_path / "responses"))


def _requests(count: int) -> list[Request]:
    return [Request.of(PROMPT, [jpeg(1)], number=str(number)) for number in range(count)]


def _texts(answers: list[Answer | Reject]) -> list[str]:
    return [answer.text if isinstance(answer, Answer) else answer.reason for answer in answers]


def test_answers_come_in_order_are_stored_and_replayed(server: Server, vlm: Vlm) -> None:
    expected = [f"it is {number}" for number in range(10)]
    two, answer = threading.Barrier(2, timeout=30), server.answer
    server.answer = lambda text: answer(text) if two.wait() >= 0 else ""
    with accounting() as first:
        assert _texts(vlm.ask(_requests(10))) == expected
    server.answer = answer
    assert server.paid.total() == len(server.paid) == 10
    assert 1 < server.most_at_once <= 4
    assert first.usage == Usage(calls=10, tokens_in=1_000, tokens_out=100)
    with accounting() as second:
        assert _texts(vlm.ask(_requests(11))) == [*expected, "it is 10"]
    assert server.paid.total() == 11
    assert second.usage == Usage(calls=1, replayed=10, tokens_in=100, tokens_out=10)


def test_the_same_request_is_paid_once(server: Server, vlm: Vlm) -> None:
    (request,) = _requests(1)
    assert _texts(vlm.ask([request] * 8)) == ["it is 0"] * 8
    assert server.paid.total() == 1


def test_what_an_answer_depends_on_is_in_its_hash_and_nothing_else(vlm: Vlm) -> None:
    (request,) = _requests(1)
    same = replace(vlm, url_or_folder="http://elsewhere/v1", responses="x", concurrency=1, timeout_s=1.0)
    assert same.key(request) == vlm.key(request)
    assert vlm.key(replace(request, schema="{}")) == vlm.key(request)  # whether a server takes one changes no question
    others = [
        replace(vlm, model="n").key(request),
        replace(vlm, revision="r").key(request),
        vlm.key(replace(request, text="<image> 1")),
        vlm.key(replace(request, images=(jpeg(2),))),
        vlm.key(replace(request, max_tokens=8)),
        vlm.key(replace(request, prompt="p-2")),
    ]
    assert len({vlm.key(request), *others}) == 7


def test_a_cut_off_answer_is_a_reject_and_is_not_paid_again(server: Server, vlm: Vlm) -> None:
    server.finish_reason = "length"
    for _ in range(2):
        (answer,) = vlm.ask(_requests(1))
        assert isinstance(answer, Reject) and answer.reason == "truncated_answer" and "it is 0" in answer.message
    assert server.paid.total() == 1


def _always(answer: str | None, text: str) -> str | None:
    return answer


def test_a_model_that_refuses_is_a_reject_and_is_not_paid_again(
    server: Server, vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are no caption, however they are worded; nor is what a filter has left of an answer."""
    for number, (said, refusal, reason) in enumerate(
        [(None, "Persons are not described here.", "stop"), ("A man with a", None, "content_filter")]
    ):
        monkeypatch.setattr(server, "answer", partial(_always, said))
        server.refusal, server.finish_reason = refusal, reason
        for _ in range(2):
            (answer,) = vlm.ask(_requests(number + 1)[number:])
            assert isinstance(answer, Reject) and (answer.reason, answer.message) == ("refused", refusal or said)
    assert server.paid.total() == 2


def test_a_refused_key_ends_the_run_and_what_was_answered_is_kept(
    server: Server, vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_asker, "_REFUSED_S", 0.0)
    server.plan = lambda request, attempt: "401" if request >= 6 else None
    with pytest.raises(StopRun, match="refuses the key"):
        replace(vlm, concurrency=2).ask(_requests(40))
    assert server.paid.total() == 6
    assert len(server.requests) <= 8  # those in the air, not all 40
    server.plan = lambda request, attempt: None
    assert len(_texts(vlm.ask(_requests(40)))) == 40
    assert set(server.paid.values()) == {1}


def test_requests_a_second_are_bounded(server: Server, vlm: Vlm) -> None:
    started_s = time.monotonic()
    replace(vlm, requests_per_s=25.0).ask(_requests(10))
    assert time.monotonic() - started_s >= 9 / 25


def test_requests_are_handed_over_where_somebody_asks_for_the_whole_run(server: Server, vlm: Vlm) -> None:
    handed: list[Batch] = []

    def through(batch: Batch) -> Answered:
        handed.append(batch)
        answered = ask_here(batch)
        answered.usage.retries += 3
        return answered

    with accounting() as account:
        assert _texts(replace(vlm, through=through).ask(_requests(2) * 2)) == ["it is 0", "it is 1"] * 2
    (batch,) = handed
    assert list(batch.requests.values()) == _requests(2)
    assert account.usage == Usage(calls=2, retries=3, tokens_in=200, tokens_out=20)
    assert replace(vlm, through=through).key(_requests(1)[0]) == vlm.key(_requests(1)[0])


def test_an_error_comes_with_what_it_cost(server: Server, vlm: Vlm) -> None:
    error = ConnectionError("nobody answers")
    through = lambda batch: Answered(usage=Usage(calls=2, retries=20), error=error)  # noqa: E731
    with accounting() as account, pytest.raises(ConnectionError, match="nobody answers"):
        replace(vlm, through=through).ask(_requests(3))
    assert account.usage == Usage(calls=2, retries=20)


def test_threads_of_a_process_share_its_limits(server: Server, vlm: Vlm) -> None:
    two, answer = threading.Barrier(2, timeout=30), server.answer
    server.answer = lambda text: answer(text) if two.wait() >= 0 else ""
    asking = replace(vlm, concurrency=2)
    with ThreadPoolExecutor(4) as pool:
        parts = [pool.submit(asking.ask, _requests(16)[start : start + 4]) for start in range(0, 16, 4)]
    assert [text for part in parts for text in _texts(part.result())] == [f"it is {number}" for number in range(16)]
    assert server.most_at_once == 2


def test_each_at_its_pace_writes_into_the_account_and_keeps_the_order(server: Server, vlm: Vlm) -> None:
    pairs = [pair_of(key=str(number) * 32) for number in range(3)]

    def one(pair: Pair, seed: int) -> Pair:
        if seed == 1:
            raise Reject("not_asked", "")
        for number in range(2):
            assert _texts(vlm.ask([_requests(10)[2 * seed + number]])) == [f"it is {2 * seed + number}"]
        return pair

    with accounting() as account:
        results = vlm.each_at_its_pace(pairs, [0, 1, 2], one)
    assert [result.reason if isinstance(result, Reject) else result for result in results] == [
        pairs[0],
        "not_asked",
        pairs[2],
    ]
    assert account.usage == Usage(calls=4, tokens_in=400, tokens_out=40)


def test_each_at_its_pace_raises_what_ends_the_run_before_what_may_pass(vlm: Vlm) -> None:
    def one(pair: Pair, seed: int) -> Pair:
        raise StopRun("the key") if seed else OSError("the disk")

    with pytest.raises(StopRun):
        vlm.each_at_its_pace([pair_of(key="0" * 32), pair_of(key="1" * 32)], [0, 1], one)


@pytest.mark.parametrize(
    ("vlm", "model", "says"),
    [
        ("http://localhost:8000/v1", None, "VLM_MODEL is not set"),
        ("localhost:8000", "m", "is neither local nor a URL"),
        ("https://user:pass@host/v1", "m", "put it into OPENAI_API_KEY"),
        ("https://host/v1?api_key=secret", "m", "put it into OPENAI_API_KEY"),
        ("https://host/v1#secret", "m", "put it into OPENAI_API_KEY"),
        ("http://[host/v1", "m", "is neither local nor a URL"),
        ("http://host:port/v1", "m", "is neither local nor a URL"),
        ("http://host/v1", "m", "a key is not sent over http to another machine"),
        (f"https://host/{KEY}/v1", "m", "has the key of OPENAI_API_KEY in it"),
        ("https://host/v1", KEY, "has the key of OPENAI_API_KEY in it"),
        ("local", None, "qwen2-vl .* is not in MODELS="),
    ],
)
def test_what_cannot_be_is_one_line(vlm: str, model: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ValueError, match=says) as caught:
        Vlm.of(vlm, model, None)
    assert not any(secret in str(caught.value) for secret in ("\n", "secret", "pass@", KEY))


def test_local_is_the_checkpoint_of_that_role_known_by_its_content(tmp_path: Path) -> None:
    write_files(tmp_path, {"qwen2-vl/pytorch_model.bin": b"weights"})
    vlm = Vlm.of("local", None, str(tmp_path))
    assert vlm.is_local and vlm.gpus == 0.5
    assert vlm.model == "qwen2-vl" and len(vlm.revision) == 12
    assert Vlm.of("http://host/v1", "m", None).gpus is None


def test_ask_each_keeps_pairs_and_answers_together(server: Server, vlm: Vlm) -> None:
    pairs = [pair_of(key=str(number) * 32) for number in range(4)]

    def requests(pair: Pair, seed: int) -> list[Request]:
        if seed == 1:
            raise Reject("not_asked", "")
        return _requests(seed)

    seen: list[tuple[int, list[str]]] = []

    def done(pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        seen.append((seed, _texts([*answers])))
        return pair

    results = vlm.ask_each(pairs, [0, 1, 2, 3], requests, done)
    assert [result.reason if isinstance(result, Reject) else result.key[0] for result in results] == [
        "0",
        "not_asked",
        "2",
        "3",
    ]
    assert seen == [(0, []), (2, ["it is 0", "it is 1"]), (3, ["it is 0", "it is 1", "it is 2"])]
