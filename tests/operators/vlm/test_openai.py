"""Requests over real sockets, and what the client makes of each kind of failure."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import BinaryIO

import pytest

from manifests.schema import Reject
from operators.base import StopRun
from operators.vlm import openai as vlm_openai
from operators.vlm.openai import Attempt, Endpoint, Pacer, check
from operators.vlm.openai import Server as Asked
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request, object_schema
from operators.vlm.responses import Answer
from tests.operators.vlm.test_keys import SPELLINGS
from tests.sources import jpeg
from tests.vlm import HARMFUL, KEY, Fault, Server, running

pytest.importorskip("openai")
PROMPT = Prompt(id="p-1", text="One: <image> two: <image> compare.", max_tokens=77)
REQUEST = Request.of(PROMPT, [jpeg(1), jpeg(2)])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(vlm_openai, "BACKOFF_S", 0.01)
    with running() as server:
        server.answer = lambda text: "a word"
        yield server


def _chat(server: Server, timeout_s: float = 5.0, key: str = "0f" * 32) -> tuple[Answer | Reject, int]:
    return _with_server(
        server.url, lambda asked, retry: asked.chat("m", key, REQUEST, asyncio.Event(), retry), timeout_s
    )


def _with_server(
    url: str,
    use: Callable[[Asked, Callable[[], None]], Awaitable[Answer | Reject]],
    timeout_s: float = 5.0,
    concurrency: int = 4,
) -> tuple[Answer | Reject, int]:
    """What `use` makes of a server, and how often it tried again."""
    retries: list[None] = []

    async def asked() -> Answer | Reject:
        endpoint = Endpoint(url=url, concurrency=concurrency, requests_per_s=0.0, timeout_s=timeout_s)
        server = Asked(endpoint)
        try:
            return await use(server, lambda: retries.append(None))
        finally:
            await server.close()

    return asyncio.run(asked()), len(retries)


def test_a_request_has_texts_and_images_in_order_and_is_greedy(server: Server) -> None:
    answer, retries = _chat(server)
    assert answer == Answer(text="a word", model="m-2026-01-01", finish_reason="stop", tokens_in=100, tokens_out=10)
    assert retries == 0
    (request,) = server.requests
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("m", 77, 0.0)
    parts = request["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    assert "".join(part.get("text", "<image>") for part in parts) == PROMPT.text
    assert parts[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert server.keys == {KEY}


@pytest.mark.parametrize("fault", HARMFUL)
def test_what_may_pass_is_tried_again(fault: Fault, server: Server) -> None:
    server.plan = lambda request, attempt: fault if attempt < 2 else None
    answer, retries = _chat(server, timeout_s=0.5)
    assert isinstance(answer, Answer) and answer.text == "a word"
    assert (retries, server.paid.total()) == (2, 1)


@pytest.mark.parametrize("fault", ["401", "400", "quota"])
def test_what_will_not_pass_is_tried_once_and_the_key_is_not_repeated(fault: Fault, server: Server) -> None:
    server.plan = lambda request, attempt: fault
    with pytest.raises(StopRun) as caught:
        _chat(server)
    assert len(server.requests) == 1
    message = str(caught.value)
    assert "\n" not in message and KEY not in message and server.url in message
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_pair_that_the_servers_rules_refuse_is_a_reject(server: Server) -> None:
    server.plan = lambda request, attempt: "refused"
    answer, _ = _chat(server)
    assert isinstance(answer, Reject) and answer.reason == "refused"
    assert KEY not in answer.message and "[key]" in answer.message


def test_attempts_are_bounded_and_the_machine_is_to_blame(server: Server) -> None:
    server.plan = lambda request, attempt: "500"
    with pytest.raises(ConnectionError, match="no answer in 10 attempts; the last failed with status 500"):
        _chat(server)
    assert len(server.requests) == vlm_openai.ATTEMPTS


def test_unless_it_answers_others_meanwhile(server: Server) -> None:
    server.plan = lambda request, attempt: "500" if request == 0 else None
    other = Request.of(Prompt(id="p-2", text="Something else.", max_tokens=9), [])

    async def both(asked: Asked, retry: Callable[[], None]) -> Answer | Reject:
        first = asyncio.create_task(asked.chat("m", "0f" * 32, REQUEST, asyncio.Event(), retry))
        while not server.requests:
            await asyncio.sleep(0.01)
        assert isinstance(await asked.chat("m", "f0" * 32, other, asyncio.Event(), retry), Answer)
        return await first

    answer, _ = _with_server(server.url, both)
    assert isinstance(answer, Reject) and answer.reason == "no_answer"


def test_a_server_that_is_not_there_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_openai, "BACKOFF_S", 0.0)
    url = "http://127.0.0.1:9/v1"
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        _with_server(url, lambda asked, retry: asked.chat("m", "0f" * 32, REQUEST, asyncio.Event(), retry), 1.0)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9/v1 cannot be reached"):
        check(url, 1.0)


def test_no_more_are_in_the_air_than_told(server: Server) -> None:
    """Those that are tried again keep their places."""
    server.plan = lambda request, attempt: "500" if attempt == 0 else None

    async def many(asked: Asked, retry: Callable[[], None]) -> Answer | Reject:
        keys = [f"{number:02x}" * 32 for number in range(20)]
        asking = (
            asked.chat("m", key, replace(REQUEST, max_tokens=8 + i), asyncio.Event(), retry)
            for i, key in enumerate(keys)
        )
        return (await asyncio.gather(*asking))[0]

    _with_server(server.url, many, concurrency=3)
    assert server.paid.total() == 20
    assert server.most_at_once <= 3


def test_retry_after_is_waited_for_by_all(server: Server) -> None:
    server.plan = lambda request, attempt: "429" if attempt == 0 else None
    _chat(server)
    first_s, second_s = server.started_s
    assert second_s - first_s >= 1.0
    assert vlm_openai._retry_after_s({"retry-after": "1.5"}) == 1.5
    assert 50 < vlm_openai._retry_after_s({"retry-after": formatdate(time.time() + 60, usegmt=True)}) < 61
    assert [vlm_openai._retry_after_s({"retry-after": value}) for value in ("soon", "", "-3")] == [0, 0, 0]
    assert vlm_openai._retry_after_s({"retry-after": "1e9"}) == 600


SCHEMA = object_schema(reasoning=None, answer=("Yes", "No"))
GUIDED = Request.of(replace(PROMPT, guided=True), [jpeg(1), jpeg(2)], schema=SCHEMA)


def _ask_all(server: Server, count: int) -> None:
    """Ask so many requests with a schema at once, all of which are answered."""

    async def many(asked: Asked, retry: Callable[[], None]) -> Answer | Reject:
        asking = (
            asked.chat("m", f"{number:02x}" * 32, replace(GUIDED, max_tokens=8 + number), asyncio.Event(), retry)
            for number in range(count)
        )
        answers = await asyncio.gather(*asking)
        assert all(isinstance(answer, Answer) for answer in answers)
        return answers[0]

    _, retries = _with_server(server.url, many, concurrency=count)
    assert retries == 0


def test_a_server_is_asked_for_an_answer_by_the_schema(server: Server) -> None:
    _ask_all(server, 1)
    (request,) = server.requests
    assert request["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "reasoning": {"type": "string"},
                    "answer": {"type": "string", "enum": ["Yes", "No"]},
                },
                "required": ["reasoning", "answer"],
                "additionalProperties": False,
            },
        },
    }
    assert "response_format" not in _sent(server, Request.of(PROMPT, [jpeg(1), jpeg(2)], schema=SCHEMA))


def _sent(server: Server, request: Request) -> dict[str, object]:
    """What is sent for a request."""
    _with_server(server.url, lambda asked, retry: asked.chat("m", "0f" * 32, request, asyncio.Event(), retry))
    return server.requests[-1]


def test_a_server_that_refuses_schemas_is_asked_without_and_refuses_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_openai, "REFUSAL_S", 60.0)
    server.refuses_schemas = True
    _ask_all(server, 8)
    guided = ["response_format" in request for request in server.requests]
    assert (guided.count(True), guided.count(False)) == (1, 8)
    assert (server.paid.total(), len(server.paid)) == (8, 8)


def test_one_that_takes_schemas_is_paid_once_for_each_request(server: Server) -> None:
    _ask_all(server, 4)
    assert all("response_format" in request for request in server.requests)
    assert (server.paid.total(), len(server.paid)) == (4, 4)


def test_a_bad_request_is_not_taken_for_a_refused_schema(server: Server) -> None:
    """It is refused without the schema too: that ends the run, as ever."""
    server.plan = lambda request, attempt: "400"
    with pytest.raises(StopRun, match="status 400"):
        _ask_all(server, 1)
    assert ["response_format" in request for request in server.requests] == [True, False]
    assert server.paid.total() == 0


def test_a_pair_that_is_refused_is_no_refused_schema(server: Server) -> None:
    server.plan = lambda request, attempt: "refused"
    answer, _ = _with_server(
        server.url, lambda asked, retry: asked.chat("m", "0f" * 32, GUIDED, asyncio.Event(), retry)
    )
    assert isinstance(answer, Reject) and answer.reason == "refused"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("finish_reason", "refusal", "text"),
    [
        ("stop", "I can't help with that.", "I can't help with that."),
        ("content_filter", None, ""),
        ("length", None, ""),
    ],
)
def test_an_answer_that_is_a_refusal_or_nothing_is_paid_once(
    finish_reason: str, refusal: str | None, text: str, server: Server
) -> None:
    """OpenAI's models refuse beside the schema, filters leave nothing, and thinking may use up all tokens."""
    server.answer, server.finish_reason, server.refusal = lambda text: None, finish_reason, refusal
    answer, retries = _chat(server)
    assert isinstance(answer, Answer) and (answer.text, retries, server.paid.total()) == (text, 0, 1)
    assert answer.finish_reason == ("refusal" if refusal else finish_reason)


def test_a_good_key_passes_the_check_and_a_bad_one_ends_the_run(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(server.url, 5.0)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key-of-this-test")
    with pytest.raises(StopRun, match=r"refuses the key in OPENAI_API_KEY \(status 401\)$") as caught:
        check(server.url, 5.0)
    assert "sk-wrong" not in str(caught.value)


def test_an_answer_with_the_key_in_it_is_stored_without(server: Server) -> None:
    server.answer = lambda text: f"your key is {KEY}"
    answer, _ = _chat(server)
    assert isinstance(answer, Answer) and answer.text == "your key is [key]"


def _chunked(*chunks: bytes, head: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sTransfer-Encoding: chunked\r\n\r\n%s" % (head, body)


@pytest.mark.parametrize("encoding", [b"", b"Content-Encoding: gzip\r\n"])
def test_a_body_without_end_is_read_to_a_bound(
    encoding: bytes, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read no further, however long the server goes on. A bomb is 100 MiB of spaces in 100 KB."""
    monkeypatch.setattr(vlm_openai, "ATTEMPTS", 1)
    sent = []

    def endless(wire: BinaryIO) -> None:
        wire.write(_chunked(head=encoding))
        for _ in range(200):
            sent.append(wire.write(b"100000\r\n%s\r\n" % (b" " * 2**20)))

    bomb = _chunked(gzip.compress(b" " * 100 * 2**20, 1), b"", head=encoding)
    server.raw = (lambda wire: wire.write(bomb)) if encoding else endless
    tracemalloc.start()
    try:
        with pytest.raises(ConnectionError, match=r"the last failed with a body of over 8 MiB$"):
            _chat(server)
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    assert len(sent) < 100


def test_none_is_asked_for_compressed_and_one_that_comes_so_is_read(server: Server) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a word"}}
    body = gzip.compress(json.dumps({"model": "m-1", "choices": [choice], "usage": usage}).encode())
    server.raw = lambda wire: wire.write(
        _chunked(body[:30], body[30:], b"", head=b"Content-Encoding: gzip\r\nX-Of: Z\xfcrich, \xe6\r\n")
    )
    answer, retries = _chat(server)
    assert answer == Answer(text="a word", model="m-1", finish_reason="stop", tokens_in=3, tokens_out=2)
    assert retries == 0
    assert {name.lower(): value for name, value in server.headers[0].items()}["accept-encoding"] == "identity"


@pytest.mark.parametrize("head", [b"", _chunked()])
def test_a_server_that_drips_comes_to_an_end(head: bytes, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, of the header or of the body, and there is no end of them."""
    monkeypatch.setattr(vlm_openai, "ATTEMPTS", 2)

    def drip(wire: BinaryIO) -> None:
        wire.write(head)
        for _ in range(600):
            wire.write(b"1\r\n \r\n" if head else b"H")
            wire.flush()
            if server.closing.wait(0.1):
                return

    server.raw = drip
    with pytest.raises(ConnectionError, match=r"no answer in 2 attempts; the last failed with no answer within 0\.3 s"):
        _chat(server, timeout_s=0.3)
    with pytest.raises(ConnectionError, match=r"cannot be reached \(TimeoutError\)"):
        check(server.url, 0.3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_goes_where_a_server_sends_it_on_to(status: int, server: Server) -> None:
    with running() as other:
        server.raw = lambda wire: wire.write(
            b"HTTP/1.1 %d x\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, other.url.encode())
        )
        for ask in (lambda: _chat(server), lambda: check(server.url, 5.0)):
            with pytest.raises(StopRun, match=rf"{server.url} answers that it is elsewhere \(status {status}\)"):
                ask()
        assert len(server.requests) == 1 and not other.requests


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_no_field_of_an_answer_has_the_key_in_any_spelling(spelled: str, server: Server) -> None:
    echo = SPELLINGS[spelled]
    server.answer, server.finish_reason = lambda text: f"so: {echo}, yes", f"stop {echo}"
    server.completion = {"model": f"m {echo}", "id": echo, "system_fingerprint": echo}
    answer, _ = _chat(server)
    assert isinstance(answer, Answer)
    for said in (answer.text, answer.model, answer.finish_reason):
        assert "[key]" in said and KEY not in said and echo not in said
    server.plan = lambda request, attempt: "refused"
    server.raw = lambda wire: wire.write(
        b"HTTP/1.1 400 x\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        + json.dumps({"error": {"message": f"no: {echo}", "code": "content_filter"}}).encode()
    )
    reject, _ = _chat(server)
    assert isinstance(reject, Reject) and "[key]" in reject.message
    assert KEY not in reject.message and echo not in reject.message


@pytest.mark.parametrize(
    "completion",
    [
        {"choices": []},
        {"choices": None},
        {"choices": {"0": 1}},
        {"choices": [None]},
        {"choices": [{"message": "text", "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": ["text"]}, "finish_reason": "stop"}]},
    ],
)
def test_what_is_no_completion_is_no_answer(
    completion: dict[str, object], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_openai, "ATTEMPTS", 1)
    server.completion = completion
    with pytest.raises(ConnectionError, match="the last failed with ValueError"):
        _chat(server)


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"choices": ' * 50_000, b"\xff\xfe", b'"', b"9" * 9_000, b""])
def test_a_body_that_is_no_json_is_no_answer(body: bytes, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_openai, "ATTEMPTS", 1)
    server.raw = lambda wire: wire.write(_chunked(body, b"") if body else _chunked(b""))
    with pytest.raises(ConnectionError, match="the last failed with"):
        _chat(server)


@pytest.mark.parametrize("count", [-1, "many", None, {}, 10**30, True, 1.5])
def test_a_number_of_tokens_that_is_none_is_0_and_the_answer_counts(count: object, server: Server) -> None:
    server.completion = {"usage": {"prompt_tokens": count, "completion_tokens": 4}}
    answer, _ = _chat(server)
    assert isinstance(answer, Answer) and (answer.text, answer.tokens_in, answer.tokens_out) == ("a word", 0, 4)


def test_names_are_short_and_in_one_line(server: Server) -> None:
    server.completion = {"model": "m\n\x1b[31m\u202e\ud800" + "x" * 10_000}
    answer, _ = _chat(server)
    assert isinstance(answer, Answer) and answer.model == "m[31m" + "x" * 195


def test_a_text_that_is_longer_than_its_tokens_can_be_was_not_bounded_by_them(server: Server) -> None:
    """128 characters are more than the tokens of any vocabulary have on average."""
    server.answer = lambda text: "Answer: Yes. " * 10_000
    answer, _ = _chat(server)
    assert isinstance(answer, Answer) and (len(answer.text), answer.finish_reason) == (77 * 128, "length")


@pytest.mark.parametrize("value", ["nan", "inf", "Thu, 01 Jan 99999999 00:00:00 GMT", "Mon, 99", "\xff", "-inf"])
def test_the_time_to_wait_is_a_time(value: str) -> None:
    assert 0.0 <= vlm_openai._retry_after_s({"retry-after": value}) <= vlm_openai.MAX_RETRY_AFTER_S


class _Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_the_pacer_spaces_requests_and_holds_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    monkeypatch.setattr(vlm_openai, "time", clock)
    monkeypatch.setattr(vlm_openai, "asyncio", clock)
    turns_s = []

    async def take_turns() -> None:
        pacer = Pacer(4.0)
        for _ in range(3):
            await pacer.wait()
            turns_s.append(clock.now_s)
        pacer.hold(7.0)
        await pacer.wait()
        turns_s.append(clock.now_s)

    asyncio.run(take_turns())
    assert turns_s == [1_000.0, 1_000.25, 1_000.5, 1_007.5]


def test_without_a_rate_all_wait_out_a_hold_that_is_prolonged_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, turns_s = _Clock(), []
    monkeypatch.setattr(vlm_openai, "time", clock)
    pacer = Pacer(0.0)

    class Prolonged:
        @staticmethod
        async def sleep(seconds: float) -> None:
            if clock.now_s == 1_000.0:
                pacer.hold(5.0)
            await clock.sleep(seconds)

    monkeypatch.setattr(vlm_openai, "asyncio", Prolonged)

    async def take_turns() -> None:
        pacer.hold(2.0)
        await pacer.wait()
        turns_s.append(clock.now_s)

    asyncio.run(take_turns())
    assert turns_s == [1_005.0]


def test_the_jitter_is_the_requests_own_and_waiting_grows_to_a_bound() -> None:
    assert [vlm_openai.backoff_s("0000ffff" * 8, attempt) for attempt in range(3)] == [0.5, 2.0, 2.0]
    assert [vlm_openai.backoff_s("ffff0000" * 8, attempt) for attempt in range(3)] == [1.0, 1.0, 4.0]
    assert vlm_openai.backoff_s("ff" * 32, vlm_openai.ATTEMPTS - 1) == vlm_openai.MAX_BACKOFF_S


def test_who_waits_for_another_attempt_is_stopped_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait would be an hour, the test's own limit a minute."""
    monkeypatch.setattr(vlm_openai, "BACKOFF_S", 7_200.0)
    monkeypatch.setattr(vlm_openai, "MAX_BACKOFF_S", 7_200.0)
    server.plan = lambda request, attempt: "500"

    async def stopped(asked: Asked, retry: Callable[[], None]) -> Answer | Reject:
        stop = asyncio.Event()
        chat = asyncio.create_task(asked.chat("m", "0f" * 32, REQUEST, stop, retry))
        while server.at_once or not server.requests:
            await asyncio.sleep(0.01)
        stop.set()
        return await asyncio.wait_for(chat, 60)

    with pytest.raises(ConnectionError, match="is not asked any more"):
        _with_server(server.url, stopped)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("faults", "kinds"),
    [
        (("429", "500", "reset"), ["rate_limit", "server", "connection", ""]),
        (("garbage", "not json"), ["answer", "answer", ""]),
        (("hang",), ["timeout", ""]),
        (("refused",), ["filter"]),
        (("401",), ["key"]),
        (("quota",), ["quota"]),
        (("400",), ["request"]),
    ],
)
def test_who_listens_hears_of_each_request_and_its_kind_of_error(
    server: Server, faults: tuple[Fault, ...], kinds: list[str]
) -> None:
    server.plan = lambda request, attempt: faults[attempt] if attempt < len(faults) else None
    heard: list[Attempt] = []

    async def asked() -> None:
        endpoint = Endpoint(url=server.url, concurrency=1, requests_per_s=0.0, timeout_s=0.5)
        one = Asked(endpoint, heard.append)
        with suppress(StopRun):
            await one.chat("m", "0f" * 32, REQUEST, asyncio.Event(), lambda: None)
        await one.close()

    asyncio.run(asked())
    assert [attempt.error for attempt in heard] == kinds
    assert all(attempt.model == "m" and 0 < attempt.seconds < 5 for attempt in heard)
    assert [(one.tokens_in, one.tokens_out) for one in heard] == [(0, 0) if kind else (100, 10) for kind in kinds]
    assert all(attempt.seconds >= 0.5 for attempt in heard if attempt.error == "timeout")
