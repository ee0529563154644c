"""The one who asks for many: limits over all of them, equal requests, what ends for all, and answers in a bucket."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import pytest

from manifests.schema import Reject
from manifests.storage import Store
from operators.base import StopRun
from operators.vlm import asker as vlm_asker
from operators.vlm import openai as vlm_openai
from operators.vlm.asker import Answered, Asker, Batch
from operators.vlm.client import Vlm
from operators.vlm.openai import Endpoint
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request, Usage
from operators.vlm.responses import Answer, Responses
from tests.vlm import KEY, Server, running

pytest.importorskip("openai")
PROMPT = Prompt(id="p-1", text="number {number}", max_tokens=7)
_LIMITS: dict[str, Any] = {"concurrency": 4, "requests_per_s": 0.0, "timeout_s": 20.0}
Result = TypeVar("Result")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(vlm_openai, "BACKOFF_S", 0.01)
    with running() as server:
        server.answer = lambda text: f"it is {text.split()[-1]}"
        yield server


@pytest.fixture(params=["disk", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(vlm_asker, "FLUSH_S", 0.05)
    if request.param == "disk":
        yield str(tmp_path)
    else:
        yield f"memory://asked{tmp_path}"
        if (fs := fsspec.filesystem("memory")).exists("/asked"):
            fs.rm("/asked", recursive=True)


def _batch(server: Server, url: str, numbers: range, concurrency: int = 4, requests_per_s: float = 0.0) -> Batch:
    endpoint = Endpoint(url=server.url, concurrency=concurrency, requests_per_s=requests_per_s, timeout_s=20.0)
    requests = [Request.of(PROMPT, [], number=str(number)) for number in numbers]
    key = Vlm.of(server.url, "m", None).key
    return Batch(endpoint=endpoint, model="m", responses=url, requests={key(one): one for one in requests})


def _run(use: Callable[[Asker], Awaitable[Result]]) -> Result:
    async def used() -> Result:
        asker = Asker()
        try:
            return await use(asker)
        finally:
            await asker.close()

    return asyncio.run(used())


def _texts(answered: Answered) -> list[str]:
    return [answer.text if isinstance(answer, Answer) else answer.reason for answer in answered.answers.values()]


def _said(numbers: range) -> list[str]:
    return [f"it is {number}" for number in numbers]


def test_what_is_answered_is_stored_and_replayed(server: Server, url: str) -> None:
    batch = _batch(server, url, range(10))
    first = _run(lambda asker: asker.ask(batch))
    assert sorted(_texts(first)) == sorted(_said(range(10))) and set(first.answers) == set(batch.requests)
    assert first.usage == Usage(calls=10, tokens_in=1_000, tokens_out=100)
    stored = Responses(url)
    assert {key: stored.get(key) for key in batch.requests} == first.answers
    again = _run(lambda asker: asker.ask(batch))
    assert (again.answers, again.usage) == (first.answers, Usage(replayed=10))
    assert _run(lambda asker: asker.stored(url, [*batch.requests, "ab" * 32])) == first.answers
    assert server.paid.total() == 10


def test_limits_hold_over_all_who_ask_and_equal_requests_are_asked_once(server: Server, url: str) -> None:
    three, answer = threading.Barrier(3, timeout=30), server.answer
    server.answer = lambda text: answer(text) if three.wait() >= 0 else ""

    async def many(asker: Asker) -> list[Answered]:
        ranges = [range(12), range(6, 18), range(12)]
        return await asyncio.gather(*(asker.ask(_batch(server, url, numbers, 3)) for numbers in ranges))

    parts = _run(many)
    assert [sorted(_texts(part)) for part in parts] == [sorted(_said(r)) for r in (range(12), range(6, 18), range(12))]
    assert server.most_at_once == 3
    assert server.paid.total() == len(server.paid) == 18
    assert [(part.usage.calls, part.usage.replayed) for part in parts] == [(12, 0), (6, 6), (0, 12)]


def test_a_rate_holds_over_all_who_ask(server: Server, tmp_path: Path) -> None:
    async def many(asker: Asker) -> None:
        batches = [_batch(server, str(tmp_path), range(4 * part, 4 * part + 4), 8, 20.0) for part in range(3)]
        await asyncio.gather(*map(asker.ask, batches))

    started_s = time.monotonic()
    _run(many)
    assert server.paid.total() == 12
    assert time.monotonic() - started_s >= 11 / 20


def test_a_refused_key_ends_it_for_all_at_once(server: Server, url: str) -> None:
    server.plan = lambda request, attempt: "401" if request >= 4 else None

    async def many(asker: Asker) -> list[Answered]:
        batches = [_batch(server, url, range(20 * part, 20 * part + 20), 2) for part in range(3)]
        return await asyncio.gather(*map(asker.ask, batches))

    parts = _run(many)
    assert [type(part.error) for part in parts] == [StopRun] * 3
    assert len(server.requests) <= 4 + 2  # those in the air, of 60
    assert server.paid.total() == len(Responses(url)) == 4
    server.plan = lambda request, attempt: None
    assert [part.error for part in _run(many)] == [None] * 3
    assert set(server.paid.values()) == {1} and server.paid.total() == 60


def test_who_comes_just_after_a_refused_key_is_refused_without_a_request(server: Server, url: str) -> None:
    server.plan = lambda request, attempt: "401"

    async def one_after_the_other(asker: Asker) -> list[Answered]:
        return [await asker.ask(_batch(server, url, range(number, number + 1))) for number in range(3)]

    assert [type(answered.error) for answered in _run(one_after_the_other)] == [StopRun] * 3
    assert len(server.requests) == 1


def test_who_asks_after_a_refused_key_was_mended_is_answered(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_asker, "_REFUSED_S", 0.0)

    async def twice(asker: Asker) -> Answered:
        server.plan = lambda request, attempt: "401"
        assert isinstance((await asker.ask(_batch(server, url, range(3)))).error, StopRun)
        server.plan = lambda request, attempt: None
        return await asker.ask(_batch(server, url, range(3)))

    assert sorted(_texts(_run(twice))) == _said(range(3))


def test_one_request_that_is_never_answered_is_a_reject_and_the_others_are_kept(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_openai, "ATTEMPTS", 4)
    server.plan = lambda request, attempt: "500" if request == 1 else None
    answered = _run(lambda asker: asker.ask(_batch(server, url, range(30), 8)))
    assert answered.error is None and len(answered.answers) == 30
    texts = _texts(answered)
    assert texts.count("no_answer") == 1 and len({*texts} & {*_said(range(30))}) == 29
    assert answered.usage.retries == 3
    assert server.paid.total() == len(Responses(url)) == 29


def test_a_server_that_answers_nobody_is_given_up_for_all_at_once(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_openai, "ATTEMPTS", 3)
    server.plan = lambda request, attempt: "500"

    async def many(asker: Asker) -> list[Answered]:
        batches = [_batch(server, url, range(20 * part, 20 * part + 20), 2) for part in range(3)]
        return await asyncio.gather(*map(asker.ask, batches))

    parts = _run(many)
    assert [type(part.error) for part in parts] == [ConnectionError] * 3
    assert len(server.requests) <= 2 * 3 + 1
    assert sum(part.usage.retries for part in parts) == len(server.requests) - 2
    assert len(Responses(url)) == 0


def test_a_request_that_cannot_be_made_harms_no_other(server: Server, url: str) -> None:
    good = _batch(server, url, range(5))
    bad = Request(prompt="p", text="<image>", images=(b"no image",), max_tokens=7)
    batch = Batch(endpoint=good.endpoint, model="m", responses=url, requests={"ab" * 32: bad, **good.requests})
    answered = _run(lambda asker: asker.ask(batch))
    assert isinstance(answered.error, Reject)
    assert sorted(_texts(answered)) == _said(range(5))


def test_what_nobody_waits_for_any_more_is_not_asked(server: Server, url: str) -> None:
    async def left(asker: Asker) -> Answered:
        server.plan = lambda request, attempt: "hang" if request < 2 else None
        asking = asyncio.create_task(asker.ask(_batch(server, url, range(20), 2)))
        while server.faults["hang"] < 2:
            await asyncio.sleep(0.01)
        asking.cancel()
        server.closing.set()  # ends the two
        with pytest.raises(asyncio.CancelledError):
            await asking
        return await asker.ask(_batch(server, url, range(100, 103), 2))

    answered = _run(left)
    assert answered.error is None and sorted(_texts(answered)) == _said(range(100, 103))
    assert len(server.requests) <= 2 + 3


def test_a_damaged_line_is_an_error_of_that_folder_alone(server: Server, url: str) -> None:
    Store(url).write_bytes("broken/000001-0123456789ab.jsonl", b"{}\n")

    async def both(asker: Asker) -> tuple[Answered, Answered]:
        broken = await asker.ask(_batch(server, f"{url}/broken", range(3)))
        return broken, await asker.ask(_batch(server, f"{url}/whole", range(3)))

    broken, whole = _run(both)
    assert isinstance(broken.error, OSError) and "line 1 is damaged" in str(broken.error)
    assert whole.error is None and server.paid.total() == 3


def test_an_upload_that_fails_is_said_and_nothing_is_asked_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm_asker, "FLUSH_S", 0.05)
    url, write = f"memory://asked{tmp_path}", Store.write_bytes

    async def twice(asker: Asker) -> Answered:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write_bytes", _refuses)
            assert isinstance((await asker.ask(_batch(server, url, range(3)))).error, OSError)
        assert Store.write_bytes is write
        return await asker.ask(_batch(server, url, range(3)))

    assert sorted(_texts(_run(twice))) == _said(range(3))
    assert server.paid.total() == 3
    fsspec.filesystem("memory").rm("/asked", recursive=True)


def _refuses(*given: object) -> None:
    raise OSError("the bucket refuses")


def test_a_server_that_may_not_have_the_key_is_not_asked(server: Server, url: str) -> None:
    """The worker's key may not be the driver's, which was looked at when the run began."""
    batch = replace(_batch(server, url, range(2)), endpoint=Endpoint(url="http://192.0.2.1/v1", **_LIMITS))
    answered = _run(lambda asker: asker.ask(batch))
    assert isinstance(answered.error, StopRun) and "not sent over http to another machine" in str(answered.error)
    assert not answered.answers


def test_what_a_hostile_server_says_is_stored_whole_and_read_again(server: Server, url: str) -> None:
    """Halves of surrogate pairs, control characters, what looks like the end of a line."""
    said = "\ud83d \x00\x1b[2J\u2028\u0085\r\n\udc00" + "}" * 9
    server.answer = lambda text: said
    batch = _batch(server, url, range(1))
    (answer,) = _run(lambda asker: asker.ask(batch)).answers.values()
    assert isinstance(answer, Answer) and answer.text == said
    assert {key: Responses(url).get(key) for key in batch.requests} == dict.fromkeys(batch.requests, answer)


def test_an_answer_that_was_changed_ends_what_needs_it(server: Server, tmp_path: Path) -> None:
    batch = _batch(server, str(tmp_path), range(3))
    _run(lambda asker: asker.ask(batch))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"it is 1", b"it is 7"))
    answered = _run(lambda asker: asker.ask(batch))
    assert isinstance(answered.error, OSError) and "its answer was changed after it was stored" in str(answered.error)
    assert str(path) in str(answered.error) and not answered.answers and server.paid.total() == 3
