"""Asks servers for all who share it: one client and one set of limits a server, one store of answers a dataset.

A run on Ray has one asker, in an actor (pipelines/run/asking.py), so that its limits are exact however many workers it
has. Where there is none, each process has its own (`ask_here`).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

from manifests.schema import Reject
from operators.base import StopRun
from operators.vlm.keys import api_key
from operators.vlm.openai import Attempt, Endpoint, Server
from operators.vlm.request import Request, Usage
from operators.vlm.responses import Answer, Responses

FLUSH_S = 1.0
"""How long answers wait for others to be kept with them: in a bucket in one object; on a disk, where they are kept
already, to be safe from a failure of the machine too."""

_REFRESH_S = 1.0  # how old what is known of other processes' answers may be
_REFUSED_S = 5.0  # for which a refusal holds for those who had not asked yet: other pairs of a unit, other units
_SERVERS = 8  # to which connections are kept open, though nobody asks them


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Requests that are asked together."""

    endpoint: Endpoint
    model: str
    responses: str
    """URL of the folder of stored answers."""
    requests: Mapping[str, Request]
    """The requests by their hashes."""
    urgent: bool = False
    """Whether they are asked before those that wait already: a GPU waits for the answers."""


@dataclass(kw_only=True)
class Answered:
    """What became of a batch."""

    answers: dict[str, Answer | Reject] = field(default_factory=dict)
    """By hash; all of them, unless there is an error."""
    usage: Usage = field(default_factory=Usage)
    error: Exception | None = None
    """A StopRun for what no other try would cure, an OSError for what may pass, any other for a fault of a request."""


class Asker:
    """Asks as one event loop. Never more is in the air than an endpoint says, whoever asks and however many.

    Equal requests in the air are asked once. Where a server refuses the key, or has given no answer in all attempts at
    a request, nobody's further requests are sent there; those in the air come to their end and are kept.
    """

    def __init__(self, heard: Callable[[Attempt], None] = lambda attempt: None) -> None:
        """`heard` is told of each request to a server, when it has come to its end."""
        self._heard = heard
        self._lines: dict[tuple[Endpoint, str], _Line] = {}
        self._kept: dict[str, asyncio.Task[_Kept]] = {}
        self._flights: dict[tuple[str, str], _Flight] = {}

    async def stored(self, responses: str, keys: Collection[str]) -> dict[str, Answer]:
        """Those answers of a folder that are there already, by hash. Raises OSError for a damaged one."""
        return await (await self._kept_in(responses)).stored(keys)

    async def ask(self, batch: Batch) -> Answered:
        """Answers to all requests, stored ones or new ones, which are stored as they arrive."""
        answered = Answered()
        try:
            kept = await self._kept_in(batch.responses)
            answered.answers.update(await kept.stored(batch.requests))
        except OSError as error:
            answered.error = error
            return answered
        answered.usage.replayed = len(answered.answers)
        if missing := [key for key in batch.requests if key not in answered.answers]:
            try:
                line = await self._line_to(batch.endpoint)
            except StopRun as error:
                answered.error = error
                return answered
            await self._ask(batch, missing, kept, line, answered)
        return answered

    async def close(self) -> None:
        """Keep what is still to be kept, and close files and connections."""
        for task in self._kept.values():
            with suppress(OSError):
                await (await task).close()
        for line in self._lines.values():
            await line.server.close()
        self._kept.clear()
        self._lines.clear()

    async def _ask(self, batch: Batch, missing: list[str], kept: _Kept, line: _Line, answered: Answered) -> None:
        if not line.askers and time.monotonic() - line.refused_s >= _REFUSED_S:
            line.refusal = None  # whoever comes now may have mended what was wrong
        line.askers += 1
        flights: dict[str, _Flight] = {}
        own = set()
        try:
            for key in missing:
                flight = self._flights.get((batch.responses, key))
                if flight is None:
                    flight = _Flight()
                    self._flights[batch.responses, key] = flight
                    flight.task = asyncio.create_task(self._fly(flight, batch, key, kept, line))
                    flight.task.add_done_callback(_seen)
                    own.add(key)
                flight.waiting += 1
                flights[key] = flight
            await asyncio.wait([flight.task for flight in flights.values() if flight.task])
        finally:  # cancelled too: what nobody waits for is not asked any more
            line.askers -= 1
            for flight in flights.values():
                flight.waiting -= 1
                if not flight.waiting:
                    flight.stop.set()
        errors = []
        for key, flight in flights.items():
            assert flight.task
            if key in own:
                answered.usage.add(flight.usage)
            if error := flight.task.exception():
                errors.append(error)
                continue
            answered.answers[key] = flight.task.result()
            if key not in own and isinstance(answered.answers[key], Answer):
                answered.usage.replayed += 1
        stops = [error for error in errors if isinstance(error, StopRun)]
        answered.error = next((error for error in [*stops, *errors] if isinstance(error, Exception)), None)

    async def _fly(self, flight: _Flight, batch: Batch, key: str, kept: _Kept, line: _Line) -> Answer | Reject:
        """The answer to a request that nobody else is asking."""
        line.flights.add(flight)
        try:
            if stored := await kept.get(key):  # since it was looked for
                flight.usage.replayed += 1
                return stored
            if line.refusal:
                raise line.refusal
            request = batch.requests[key]
            answer = await line.server.chat(
                batch.model, key, request, flight.stop, flight.count_retry, urgent=batch.urgent
            )
            if isinstance(answer, Answer):
                flight.usage.add(Usage(calls=1, tokens_in=answer.tokens_in, tokens_out=answer.tokens_out))
                await kept.keep(key, request, batch.model, answer)
            return answer
        except (StopRun, OSError) as error:
            if flight.ended_by:
                raise flight.ended_by from None
            if not flight.stop.is_set():  # else nobody waits for it any more
                line.end(error)
            raise
        finally:
            line.flights.discard(flight)
            del self._flights[batch.responses, key]

    async def _kept_in(self, responses: str) -> _Kept:
        if responses not in self._kept:
            self._kept[responses] = asyncio.create_task(_Kept.open(responses))
        task = self._kept[responses]
        try:
            return await asyncio.shield(task)
        except OSError:
            if self._kept.get(responses) is task:
                del self._kept[responses]
            raise

    async def _line_to(self, endpoint: Endpoint) -> _Line:
        """The line to a server, with the key as it is now."""
        place = endpoint, api_key()
        if place not in self._lines:
            idle = [other for other, line in self._lines.items() if not line.askers]
            closed = [self._lines.pop(other) for other in idle[: max(0, len(idle) + 1 - _SERVERS)]]
            self._lines[place] = _Line(server=Server(endpoint, self._heard))
            for line in closed:
                await line.server.close()
        return self._lines[place]


@dataclass(kw_only=True)
class _Line:
    """The way to a server."""

    server: Server
    askers: int = 0
    """How many batches are on their way."""
    flights: set[_Flight] = field(default_factory=set)
    refusal: StopRun | None = None
    """Why no request is sent to it any more."""
    refused_s: float = 0.0

    def end(self, error: Exception) -> None:
        """Let no further request, and no further attempt at one, begin."""
        if isinstance(error, StopRun):
            self.refusal, self.refused_s = error, time.monotonic()
        for flight in self.flights:
            if not flight.stop.is_set():
                flight.ended_by = error
                flight.stop.set()


@dataclass(eq=False, kw_only=True)
class _Flight:
    """A request that is being asked, or waits for its turn."""

    task: asyncio.Task[Answer | Reject] | None = None
    waiting: int = 0
    """How many batches wait for its answer."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ended_by: Exception | None = None
    """What became of another request, so that this one is not asked any more."""
    usage: Usage = field(default_factory=Usage)

    def count_retry(self) -> None:
        self.usage.retries += 1


class _Kept:
    """The answers of one folder."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._refreshed_s = time.monotonic()
        self._flushing: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._failed: OSError | None = None

    @classmethod
    async def open(cls, url: str) -> _Kept:
        return cls(await asyncio.to_thread(Responses, url))

    async def stored(self, keys: Collection[str]) -> dict[str, Answer]:
        return await asyncio.to_thread(self._stored, keys)

    async def get(self, key: str) -> Answer | None:
        """The answer to a request, if there is one. One that could not be kept before is kept first."""
        if waiting := self._responses.waiting(key):
            await self._flush()
            return waiting
        return await asyncio.to_thread(self._responses.get, key) if key in self._responses else None

    async def keep(self, key: str, request: Request, model: str, answer: Answer) -> None:
        """Store an answer. Raises OSError if it cannot be, or if one before it turned out not to be."""
        self._responses.add(key, request.described(model, ""), answer)
        if self._failed:
            error, self._failed = self._failed, None
            raise error
        await self._flush()

    async def close(self) -> None:
        await asyncio.to_thread(self._responses.close)

    def _stored(self, keys: Collection[str]) -> dict[str, Answer]:
        if any(key not in self._responses for key in keys) and time.monotonic() - self._refreshed_s >= _REFRESH_S:
            self._refreshed_s = time.monotonic()
            self._responses.refresh()
        return {key: answer for key in keys if (answer := self._responses.get(key))}

    async def _flush(self) -> None:
        """See to it that what was added is kept: where it is not at once, by the next flush, which is waited for."""
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_later())
        if not self._responses.kept_at_once:
            await asyncio.shield(self._flushing)

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        self._flushing = None  # what is added from now on waits for the next
        try:
            await asyncio.to_thread(self._responses.flush)
        except OSError as error:
            if not self._responses.kept_at_once:
                raise
            self._failed = error  # nobody waits for this: the next who keeps an answer is told
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.create_task(asyncio.to_thread(self._responses.tidy))


def _seen(task: asyncio.Task[Answer | Reject]) -> None:
    """Look at a task's exception, which nobody else does where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def ask_here(batch: Batch) -> Answered:
    """Ask from this process, by the one asker that all its threads share."""
    asker, loop = _here(os.getpid())
    asked = asyncio.run_coroutine_threadsafe(asker.ask(batch), loop)
    try:
        return asked.result()
    except BaseException:
        asked.cancel()
        raise


def _here(process: int) -> tuple[Asker, asyncio.AbstractEventLoop]:
    with _starting:
        return _started(process)


_starting = threading.Lock()


@lru_cache(maxsize=1)
def _started(process: int) -> tuple[Asker, asyncio.AbstractEventLoop]:
    """The asker of a process, and its event loop, which runs in a thread. A forked process needs its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="asker", daemon=True).start()
    return Asker(), loop
