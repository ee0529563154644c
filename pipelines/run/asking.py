"""Asks vision-language models on servers for a whole run: an actor that all workers hand their requests to.

So VLM_CONCURRENCY and VLM_RATE hold exactly, whatever the number of workers, datasets and machines, and one process
alone writes each dataset's answers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from operators.base import StopRun
from operators.vlm.asker import Answered, Asker, Batch
from operators.vlm.responses import Answer
from pipelines.report.vlm_metrics import telling_ray
from pipelines.run.plan import Job

_TRIES = 6  # at an actor that dies; what it answered before is replayed
_FIRST_WAIT_S = 1.0  # before the second try; doubled before each further one
_AT_ONCE = 10_000  # calls; how many requests are in the air is for the endpoint to say
_CLOSE_S = 60.0

_ON_THE_WAY_BYTES = 64 * 2**20
"""How many bytes of requests a worker may have on their way: they lie in Ray's store, which is small (session.py), and
go to disk where it is full."""


@dataclass(frozen=True, kw_only=True)
class ThroughActor:
    """The way of a worker to the actor, for `Vlm.through`."""

    actor: Any

    def __call__(self, batch: Batch) -> Answered:
        """What became of the requests: stored answers are looked for first, at once, without sending any image.

        Raises ConnectionError if the actor died again and again.
        """
        stored = self._stored(batch)
        if isinstance(stored, OSError):
            return Answered(error=stored)
        answered = Answered(answers=dict(stored))
        answered.usage.replayed = len(stored)
        missing = [key for key in batch.requests if key not in stored]
        errors: list[Exception] = []
        for part in self._asked([replace(batch, requests={key: batch.requests[key]}) for key in missing], errors):
            answered.answers.update(part.answers)
            answered.usage.add(part.usage)
            if part.error:
                errors.append(part.error)
        answered.error = next((error for error in errors if isinstance(error, StopRun)), errors[0] if errors else None)
        return answered

    def _stored(self, batch: Batch) -> dict[str, Answer] | OSError:
        for tried in range(_TRIES):
            try:
                stored: dict[str, Answer] | OSError = ray.get(
                    self.actor.stored.remote(batch.responses, [*batch.requests])
                )
                return stored
            except RayActorError as error:
                _wait_for_another(tried, batch, error)
        raise AssertionError

    def _asked(self, batches: Sequence[Batch], errors: Collection[Exception]) -> Iterator[Answered]:
        """What became of each, as it is known; after an error no further one is sent."""
        ahead, on_the_way, tried = deque(batches), dict[Any, Batch](), 0
        while (ahead and not errors) or on_the_way:
            while ahead and not errors and _way.take(_bytes(ahead[0]), wait=not on_the_way):
                batch = ahead.popleft()
                on_the_way[self.actor.ask.remote(batch)] = batch
            (done, *_), _ = ray.wait([*on_the_way])
            batch = on_the_way.pop(done)
            _way.give_back(_bytes(batch))
            try:
                yield ray.get(done)
            except RayActorError as error:
                if not on_the_way:  # all that were on their way fail with the first
                    _wait_for_another(tried, batch, error)
                    tried += 1
                ahead.appendleft(batch)


def _wait_for_another(tried: int, batch: Batch, error: RayError) -> None:
    """Wait for an actor that died to be started again. Raises ConnectionError if that has been enough."""
    if tried + 1 == _TRIES:
        what = " ".join(str(error).split())[:300]
        raise ConnectionError(f"the actor that asks {batch.endpoint.url} died {_TRIES} times: {what}") from None
    time.sleep(_FIRST_WAIT_S * 2**tried)


@contextmanager
def asking(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs, with one actor for all until the block ends that asks the servers of their vision-language models.

    It takes no CPU of the cluster, and is started only where a job asks a server.
    """
    if not any(_asks_server(job) for job in jobs):
        yield [*jobs]
        return
    with through_actor() as through:
        yield [_with(job, through) if _asks_server(job) else job for job in jobs]


@contextmanager
def through_actor() -> Iterator[ThroughActor]:
    """An actor that asks servers until the block ends, on this node. It is started again if it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": _AT_ONCE, "scheduling_strategy": here}
    actor: Any = ray.remote(**options)(_Asking).remote()
    try:
        yield ThroughActor(actor=actor)
    finally:
        with suppress(RayError):
            ray.get(actor.close.remote(), timeout=_CLOSE_S)
        ray.kill(actor)


def _with(job: Job, through: ThroughActor) -> Job:
    return replace(job, task=job.task.with_vlm(lambda vlm: replace(vlm, through=through)))


def _asks_server(job: Job) -> bool:
    return job.task.vlm is not None and not job.task.vlm.is_local


class _Asking:
    """The actor: an asker behind a name that Ray knows."""

    def __init__(self) -> None:
        self._asker = Asker(telling_ray())

    async def stored(self, responses: str, keys: Sequence[str]) -> dict[str, Answer] | OSError:
        try:
            return await self._asker.stored(responses, keys)
        except OSError as error:
            return error

    async def ask(self, batch: Batch) -> Answered:
        return await self._asker.ask(batch)

    async def close(self) -> None:
        await self._asker.close()


class _Way:
    """How much a process has on its way to the actor."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._changed = threading.Condition()

    def take(self, size: int, *, wait: bool) -> bool:
        """Take room for so many bytes, if there is some; one that is larger than all goes alone. Whether there was."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._has(size))
            if not self._has(size):
                return False
            self._bytes += size
            return True

    def give_back(self, size: int) -> None:
        with self._changed:
            self._bytes -= size
            self._changed.notify_all()

    def _has(self, size: int) -> bool:
        return not self._bytes or self._bytes + size <= self._most_bytes


_way = _Way(_ON_THE_WAY_BYTES)


def _bytes(batch: Batch) -> int:
    return sum(len(image) for request in batch.requests.values() for image in request.images)
