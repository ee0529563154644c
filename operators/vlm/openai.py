"""One request to an OpenAI-compatible server, with retries by the type of the failure.

The key comes from OPENAI_API_KEY alone (any value, or none, for a server that asks for none) and gets into no message
and no answer (operators/vlm/keys.py): what servers say of a refused key, some with the key in it, is not repeated.

A server may be broken or hostile: what it sends is bounded in size (operators/vlm/bodies.py), an attempt in time, and
it cannot send the request on to another server, which would get the images.

What cannot be known here: a server may have finished, and charge for, a request whose answer was lost on the way or
came after the time-out. Give it time enough.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from manifests.images.pixels import read_header
from manifests.schema import Reject
from operators.base import StopRun
from operators.vlm.bodies import BadBody, client
from operators.vlm.keys import api_key, check_way, is_this_machine, without_key
from operators.vlm.places import Places
from operators.vlm.prompting import IMAGE
from operators.vlm.request import Request
from operators.vlm.responses import ENDED_EARLY, REFUSAL, Answer

if TYPE_CHECKING:
    import openai


ATTEMPTS = 10
"""How often one request is tried."""

BACKOFF_S = 1.0
"""How long to wait before the second attempt, with jitter; doubled before each further one, up to MAX_BACKOFF_S. All
waits together are two to four minutes, in which a server can be started again."""

MAX_BACKOFF_S = 60.0
MAX_RETRY_AFTER_S = 600.0
"""The longest wait that a server may ask for; beyond, the run is better started again later."""

REFUSAL_S = 1.0
"""How long other requests wait, at the begin, to hear whether a server refuses an answer by a schema: it looks at that
before it begins to answer."""

_CONNECT_TIMEOUT_S = 10.0
_REFUSALS = {"content_filter", "content_policy_violation"}  # a 400 that is about this pair's images or text
_TOKEN_CHARS = 128  # in no vocabulary are tokens that long on average
_NAME_CHARS = 200  # of what a server says beside its text: its model's name, why an answer ended
_MOST_TOKENS = 2**31  # more than any context


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a server is and how fast it may be asked."""

    url: str
    concurrency: int
    """How many requests may be in the air at once."""
    requests_per_s: float
    """How many requests may begin each second; 0 for as many as the server takes."""
    timeout_s: float
    """How long an attempt may take in all, from the connection to the last byte of the answer."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request, from when it was sent to its answer or error."""

    model: str
    seconds: float
    error: str = ""
    """What kind of error it brought, as xprompt_vlm_errors_total (manifests/metrics.py) has them; "" for an answer."""
    tokens_in: int = 0
    tokens_out: int = 0


class Server:
    """A server as one event loop asks it: all who share this object share its connections and its limits.

    Raises StopRun, one line, if it may not be sent the key.
    """

    def __init__(self, endpoint: Endpoint, heard: Callable[[Attempt], None] = lambda attempt: None) -> None:
        """`heard` is told of each request when it has come to its end."""
        self.endpoint = endpoint
        self._heard = heard
        self.pacer = Pacer(endpoint.requests_per_s)
        self._client = _client(endpoint.url, endpoint.timeout_s)
        self._places = Places(endpoint.concurrency)
        self._guides: dict[tuple[str, str], bool] = {}  # by model and schema, as far as it is known
        self._first: dict[tuple[str, str], asyncio.Event] = {}  # set when the first by a schema has come to its end

    async def chat(
        self,
        model: str,
        key: str,
        request: Request,
        stop: asyncio.Event,
        on_retry: Callable[[], None],
        *,
        urgent: bool = False,
    ) -> Answer | Reject:
        """Ask the server's chat endpoint until there is an answer.

        It takes one of the endpoint's places, before others if it is urgent, and keeps it between attempts. `key` is
        the request's hash, from which the jitter is drawn; `stop` lets no further attempt begin, and ends the waiting
        for one; `on_retry` is called before each attempt but the first.

        A request with a schema asks for an answer by it. A server that refuses that, with status 400 or 422, is asked
        without from then on: one refusal for each model and schema, which costs nothing.

        Raises StopRun for 401, 403, 400, 404, 422 and an exhausted quota, at once; ConnectionError if the attempts are
        used up, or none is to be made any more. If the server has answered others meanwhile, it is this request that it
        cannot answer: a Reject, no_answer.
        """
        async with self._places.one(urgent=urgent):
            return await self._chat(model, key, request, stop, on_retry)

    async def close(self) -> None:
        await self._client.close()

    async def _completion(self, model: str, messages: list[Any], request: Request) -> Any:
        """One attempt, by the request's schema unless the server takes none. Raises what the library raises."""
        place = model, request.schema
        if not request.schema:
            return await self._create(model, messages, request, guided=False)
        if place not in self._guides and place not in self._first:
            self._first[place] = asyncio.Event()
            try:
                return await self._by_schema(place, messages, request)
            finally:
                self._first.pop(place).set()
        if place not in self._guides:  # so as not to be refused too; an answer takes longer, and is not waited for
            with suppress(TimeoutError):
                await asyncio.wait_for(self._first[place].wait(), REFUSAL_S)
        if self._guides.get(place, True):
            return await self._by_schema(place, messages, request)
        return await self._create(model, messages, request, guided=False)

    async def _by_schema(self, place: tuple[str, str], messages: list[Any], request: Request) -> Any:
        """One attempt by the schema, and if the server refuses it one without; what it took is remembered."""
        import openai

        try:
            completion = await self._create(place[0], messages, request, guided=True)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if str(error.code or "") in _REFUSALS:  # the pair is refused, and not the schema
                raise
            await self.pacer.wait()
            completion = await self._create(place[0], messages, request, guided=False)
            self._guides[place] = False
        else:
            self._guides[place] = True
        return completion

    async def _create(self, model: str, messages: list[Any], request: Request, *, guided: bool) -> Any:
        form: dict[str, Any] = {}
        if guided:
            schema = {"name": "answer", "schema": json.loads(request.schema), "strict": True}
            form = {"response_format": {"type": "json_schema", "json_schema": schema}}
        async with asyncio.timeout(self.endpoint.timeout_s):  # the library's own begins anew with each byte
            return await self._client.chat.completions.create(
                model=model, messages=messages, max_tokens=request.max_tokens, temperature=0.0, **form
            )

    async def _chat(
        self, model: str, key: str, request: Request, stop: asyncio.Event, on_retry: Callable[[], None]
    ) -> Answer | Reject:
        import openai

        answered_before, messages, problem = self.pacer.answered, _messages(request), ""
        for attempt in range(ATTEMPTS):
            if stop.is_set():
                raise ConnectionError(f"{self.endpoint.url} is not asked any more")
            if attempt:
                on_retry()
            await self.pacer.wait()
            hold_s, sent_s = 0.0, time.monotonic()
            try:
                answer = _answer(await self._completion(model, messages, request), model, request.max_tokens)
                self.pacer.answered += 1
                self._tell(model, sent_s, answer)
                return answer
            except openai.APIStatusError as error:
                self._tell(model, sent_s, _kind(error))
                if refused := _refused(error, self.endpoint.url, model):
                    return refused
                problem = f"status {error.status_code}"
                hold_s = _retry_after_s(error.response.headers)
                if hold_s:
                    self.pacer.hold(hold_s)
            except (TimeoutError, openai.APITimeoutError):
                self._tell(model, sent_s, "timeout")
                problem = f"no answer within {self.endpoint.timeout_s:g} s"
            except BadBody as error:
                self._tell(model, sent_s, "answer")
                problem = str(error)
            except (openai.OpenAIError, ValueError, RecursionError) as error:
                self._tell(model, sent_s, "connection" if isinstance(error, openai.APIConnectionError) else "answer")
                problem = type(error).__name__  # no connection, garbage: without the server's words
            if attempt + 1 < ATTEMPTS:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(hold_s, backoff_s(key, attempt)))
        message = f"{self.endpoint.url} gave no answer in {ATTEMPTS} attempts; the last failed with {problem}"
        if self.pacer.answered > answered_before and problem != "status 429":
            return Reject("no_answer", message)
        raise ConnectionError(message)

    def _tell(self, model: str, sent_s: float, came: Answer | str) -> None:
        """Tell who wants to hear of a request that brought an answer, or an error of a kind."""
        seconds = time.monotonic() - sent_s
        if isinstance(came, Answer):
            attempt = Attempt(model=model, seconds=seconds, tokens_in=came.tokens_in, tokens_out=came.tokens_out)
        else:
            attempt = Attempt(model=model, seconds=seconds, error=came)
        self._heard(attempt)


def check(url: str, timeout_s: float) -> None:
    """One request that costs nothing. Raises StopRun for a refused key, ConnectionError if there is no server."""
    done: Future[None] = Future()

    def run() -> None:  # in a thread of its own: in a notebook this one has an event loop already
        try:
            asyncio.run(_check(url, timeout_s))
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    done.result()


async def _check(url: str, timeout_s: float) -> None:
    import openai

    try:
        async with asyncio.timeout(timeout_s), _client(url, timeout_s) as asked:
            await asked.models.list()
    except openai.APIStatusError as error:
        if error.status_code in (401, 403) or error.status_code < 400:
            _refused(error, url, "")
    except (TimeoutError, openai.APIConnectionError) as error:
        raise ConnectionError(f"VLM: {url} cannot be reached ({type(error).__name__})") from None
    except (openai.OpenAIError, ValueError, RecursionError):
        pass  # it is not every server's to list its models


class Pacer:
    """Spaces the requests of one event loop evenly, and holds all of them back when the server says for how long."""

    def __init__(self, requests_per_s: float) -> None:
        self._interval_s = 1 / requests_per_s if requests_per_s else 0.0
        self._next_s = 0.0
        self.answered = 0
        """How many requests the server has answered."""

    async def wait(self) -> None:
        """Sleep until it is this request's turn."""
        while (wait_s := self._next_s - time.monotonic()) > 0:
            if self._interval_s:
                self._next_s += self._interval_s
                await asyncio.sleep(wait_s)
                return
            await asyncio.sleep(wait_s)  # held back: it may have been prolonged meanwhile
        self._next_s = time.monotonic() + self._interval_s

    def hold(self, seconds: float) -> None:
        """Let no request begin before so many seconds from now."""
        self._next_s = max(self._next_s, time.monotonic() + seconds)


def _client(url: str, timeout_s: float) -> openai.AsyncOpenAI:
    """A client of the library. It is not to try again: that is done here. Raises StopRun as `Server`."""
    from openai import AsyncOpenAI, Timeout

    try:
        check_way(url)
        key = api_key()
    except ValueError as error:
        raise StopRun(str(error)) from None
    timeout = Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))
    # A proxy of the environment's (HTTP_PROXY) would be another machine that is sent the key over http.
    http = client(timeout=timeout, trust_env=not is_this_machine(urlsplit(url).hostname or ""))
    return AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout, http_client=http)


def _messages(request: Request) -> list[Any]:
    texts = request.text.split(IMAGE)
    content: list[dict[str, Any]] = [{"type": "text", "text": texts[0]}]
    for image, text in zip(request.images, texts[1:], strict=True):
        url = f"data:image/{read_header(image).format};base64,{base64.b64encode(image).decode()}"
        content += [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return [{"role": "user", "content": [part for part in content if part.get("text") != ""]}]


def _answer(completion: Any, model: str, max_tokens: int) -> Answer:
    """The answer in a completion, without the key. Raises ValueError if it is none: some servers say 200 to everything.

    A text that is longer than so many tokens can be is cut, and has ended for its length.
    """
    try:
        choice, usage = completion.choices[0], completion.usage
        text, finish_reason = choice.message.content, choice.finish_reason
    except (AttributeError, IndexError, TypeError, KeyError) as error:
        raise ValueError("not a completion") from error
    if text is None and isinstance(refusal := getattr(choice.message, "refusal", None), str):
        text, finish_reason = refusal, REFUSAL  # of models that answer by a schema, which has no place for it
    if text is None and isinstance(finish_reason, str) and finish_reason in ENDED_EARLY:
        # it was all filtered, or all spent on thinking
        text = ""
    if not isinstance(text, str):
        raise ValueError("a completion without text")
    if len(text) > max_tokens * _TOKEN_CHARS:
        text, finish_reason = text[: max_tokens * _TOKEN_CHARS], "length"
    return Answer(
        text=without_key(text),
        model=_name(getattr(completion, "model", "") or model),
        finish_reason=_name(finish_reason),
        tokens_in=_tokens(getattr(usage, "prompt_tokens", 0)),
        tokens_out=_tokens(getattr(usage, "completion_tokens", 0)),
    )


def _name(said: object) -> str:
    """A name that a server says: in one line, short, and without the key."""
    return "".join(letter for letter in without_key(str(said)) if letter.isprintable())[:_NAME_CHARS]


def _tokens(said: object) -> int:
    """A number of tokens that a server says; 0 for what is none."""
    return said if type(said) is int and 0 <= said <= _MOST_TOKENS else 0


def _refused(error: openai.APIStatusError, url: str, model: str) -> Reject | None:
    """Judge a status that is an error: a Reject where the server's rules refuse the pair, None where the request is
    worth another try. Raises StopRun where no other try would help."""
    status, code = error.status_code, str(getattr(error, "code", "") or "")
    if status in (401, 403):
        raise StopRun(f"{url} refuses the key in OPENAI_API_KEY (status {status})") from None
    if status == 429 and code == "insufficient_quota":
        raise StopRun(f"{url}: the quota of the key in OPENAI_API_KEY is used up") from None
    if status < 400:
        raise StopRun(
            f"{url} answers that it is elsewhere (status {status}), where neither key nor images are sent: set VLM to "
            "the URL where the server is"
        ) from None
    words = _in_short(str(error.message))
    if status == 400 and code in _REFUSALS:
        return Reject("refused", words)
    if status < 500 and status not in (408, 409, 425, 429):
        raise StopRun(f"{url} takes no such request for the model {model} (status {status}): {words}") from None
    return None


def _kind(error: openai.APIStatusError) -> str:
    """What kind of error a status is, as `_refused` judges it."""
    status, code = error.status_code, str(getattr(error, "code", "") or "")
    if status in (401, 403):
        return "key"
    if status == 429:
        return "quota" if code == "insufficient_quota" else "rate_limit"
    if status < 400:
        return "elsewhere"
    if status == 400 and code in _REFUSALS:
        return "filter"
    return "request" if status < 500 and status not in (408, 409, 425) else "server"


def _in_short(said: str) -> str:
    """What a server says, in a line that may be shown."""
    said = " ".join(without_key(said).split())
    return "".join(letter for letter in said if letter.isprintable())[:300]


def _retry_after_s(headers: Any) -> float:
    """What Retry-After asks for, in seconds or as a date; 0 without it."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError, OSError):  # of dates that no calendar has
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def backoff_s(key: str, attempt: int) -> float:
    """Seconds before another attempt: doubled each time, and 50 to 100 per cent of that as the request's hash says."""
    jitter = int(key[4 * attempt : 4 * attempt + 4], 16) / 0xFFFF
    return min(BACKOFF_S * 2.0**attempt, MAX_BACKOFF_S) * (0.5 + jitter / 2)
