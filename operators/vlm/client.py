"""Asks a vision-language model: any OpenAI-compatible server, or Qwen2-VL in this process.

Every request is hashed; its answer is stored (operators/vlm/responses.py) and replayed when the same is asked again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeGuard, runtime_checkable
from urllib.parse import urlsplit

from manifests.answers import request_key
from manifests.schema import Direction, Kind, Pair, Reject, Step
from operators.account import open_account
from operators.base import BatchOperator, StopRun
from operators.batching import each_pair
from operators.models import checkpoints
from operators.vlm.keys import check_way
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request, Usage
from operators.vlm.responses import ENDED_EARLY, Answer, Responses

if TYPE_CHECKING:
    from operators.vlm.asker import Answered, Batch

LOCAL = "local"
"""VLM=local: the checkpoint qwen2-vl of MODELS, in the worker's own process."""

_LOCAL_GPUS = 0.5  # share of a GPU: the weights of Qwen2-VL-7B are 15.5 GiB
_DEFAULT_CONCURRENCY = 16
_DEFAULT_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Vlm:
    """A model and how to reach it. `model` and `revision` are in the fingerprint; where it runs and how fast is not."""

    model: str
    revision: str = ""
    """The revision of a local checkpoint; "" for a server, which tells with each answer what it ran."""
    url_or_folder: str = field(metadata={"location": True})
    responses: str = field(default="", metadata={"location": True})
    """URL of the folder of stored answers."""
    concurrency: int = field(default=_DEFAULT_CONCURRENCY, metadata={"location": True})
    """How many requests of the whole run may be in the air at once."""
    requests_per_s: float = field(default=0.0, metadata={"location": True})
    """How many requests the whole run may begin each second; 0 for as many as the server takes."""
    timeout_s: float = field(default=_DEFAULT_TIMEOUT_S, metadata={"location": True})
    through: Callable[[Batch], Answered] | None = field(default=None, metadata={"location": True})
    """Who asks the server for the whole run (pipelines/run/asking.py); None where this process asks itself."""
    urgent: bool = field(default=False, metadata={"location": True})
    """Whether a GPU waits for the answers: such requests are asked before the others of the run."""

    @classmethod
    def of(cls, vlm: str, model: str | None, models: str | None, **limits: Any) -> Vlm:
        """From VLM (a URL, or "local"), VLM_MODEL and MODELS. Raises ValueError, one line, for what cannot be."""
        if vlm == LOCAL:
            folder = checkpoints.folder(models, "qwen2-vl")
            name, revision = checkpoints.identity(folder, "qwen2-vl")
            return cls(model=name, revision=revision, url_or_folder=folder, **limits)
        if any(sign in vlm for sign in "@?#"):
            raise ValueError("VLM: a URL with a key or password in it would be logged; put it into OPENAI_API_KEY")
        if not _is_url(vlm):
            raise ValueError(f"VLM={vlm[:200]} is neither {LOCAL} nor a URL such as http://localhost:8000/v1")
        if not model:
            raise ValueError("VLM_MODEL is not set: the name of the model, as the server at VLM knows it")
        check_way(vlm, model)
        return cls(model=model, url_or_folder=vlm.rstrip("/"), **limits)

    @property
    def is_local(self) -> bool:
        return "://" not in self.url_or_folder

    @property
    def gpus(self) -> float | None:
        """Share of a GPU that a worker needs for it, where there is one."""
        return _LOCAL_GPUS if self.is_local else None

    def check(self) -> None:
        """Ask the server whether it takes the key. Raises StopRun if not, ConnectionError if it cannot be reached."""
        if not self.is_local:
            from operators.vlm.openai import check

            check(self.url_or_folder, self.timeout_s)

    def key(self, request: Request) -> str:
        """The request's hash, by which its answer is stored."""
        return request_key(request.described(self.model, self.revision))

    def ask(self, requests: Sequence[Request]) -> list[Answer | Reject]:
        """One answer a request, in order: stored ones replayed, equal ones asked once, new ones stored as they arrive.

        A Reject is for a request that the model does not answer though it answers others: no_answer, refused,
        truncated_answer, out_of_memory. Raises StopRun for what no other try would cure (a refused key, a bad request)
        and OSError for what may pass (no connection, a limit, a full disk): what has been answered is kept.

        What was asked is written into the account that is open (operators/account.py).
        """
        keys = [self.key(request) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        if not distinct:
            return []
        answers = self._answers_here(distinct) if self.is_local else self._answers_of_server(distinct)
        return [_whole(answers[key]) for key in keys]

    def ask_each(
        self,
        pairs: Sequence[Pair],
        seeds: Sequence[int],
        requests: Callable[[Pair, int], Sequence[Request]],
        finished: Callable[[Pair, int, Sequence[Answer]], Pair],
    ) -> list[Pair | Reject]:
        """Every pair, finished with the answers to its own requests, as `operators.batching.each_pair` has it."""
        return each_pair(pairs, seeds, requests, self.ask, finished)

    def each_at_its_pace(
        self, pairs: Sequence[Pair], seeds: Sequence[int], one: Callable[[Pair, int], Pair | Reject]
    ) -> list[Pair | Reject]:
        """What `one` makes of each pair and its seed, in order. It may ask several times, one question after the other.

        Where a server is asked, no pair waits for another one. Raises what `one` raises, but for a Reject.
        """
        if self.is_local or len(pairs) < 2:
            return [_or_reject(one, pair, seed) for pair, seed in zip(pairs, seeds, strict=True)]
        with ThreadPoolExecutor(len(pairs)) as pool:
            # In this thread's context: its account is written into, and what it remembers of images is used.
            made = [
                pool.submit(copy_context().run, _or_reject, one, pair, seed)
                for pair, seed in zip(pairs, seeds, strict=True)
            ]
        errors = [error for future in made if (error := future.exception())]
        if errors:
            raise next((error for error in errors if isinstance(error, StopRun)), errors[0])
        return [future.result() for future in made]

    def step(
        self, operator: BatchOperator, prompt: Prompt, answer: Answer, seed: int | None, params: Mapping[str, Any]
    ) -> Step:
        """The provenance of what an answer was made into. The revision of a server's model is what it calls itself."""
        return Step(
            operator=operator.name,
            version=operator.version,
            params=params,
            seed=seed,
            model=self.model,
            model_revision=self.revision or answer.model,
            prompt=prompt.name,
        )

    def _answers_of_server(self, requests: Mapping[str, Request]) -> Mapping[str, Answer | Reject]:
        from operators.vlm.asker import Batch, ask_here
        from operators.vlm.openai import Endpoint

        endpoint = Endpoint(
            url=self.url_or_folder,
            concurrency=self.concurrency,
            requests_per_s=self.requests_per_s,
            timeout_s=self.timeout_s,
        )
        batch = Batch(
            endpoint=endpoint, model=self.model, responses=self.responses, requests=requests, urgent=self.urgent
        )
        answered = (self.through or ask_here)(batch)
        open_account().add_usage(answered.usage)
        if answered.error:
            raise answered.error
        return answered.answers

    def _answers_here(self, requests: Mapping[str, Request]) -> Mapping[str, Answer | Reject]:
        """The stored answers to requests, or new ones of the model in this process, which are stored."""
        from operators.vlm.local import generate

        responses, account = _responses(self.responses, os.getpid()), open_account()
        responses.refresh()
        answers: dict[str, Answer | Reject] = {}
        for key, request in requests.items():
            if stored := responses.get(key):
                answers[key] = stored
                account.add_usage(Usage(replayed=1))
                continue
            answers[key] = answer = generate(self.url_or_folder, self.model, request)
            if isinstance(answer, Answer):
                responses.add(key, request.described(self.model, self.revision), answer)
                responses.flush()
                account.add_usage(Usage(calls=1, tokens_in=answer.tokens_in, tokens_out=answer.tokens_out))
        responses.tidy()
        return answers


@lru_cache(maxsize=8)
def _responses(url: str, process: int) -> Responses:
    """The answers below a URL, which a process writes into files of its own."""
    return Responses(url)


@runtime_checkable
class Asks(Protocol):
    """A batch operator that asks a vision-language model."""

    name: ClassVar[str]
    calls: ClassVar[int]
    """The most that it asks about a pair."""
    optional: ClassVar[bool]
    """Whether a task can do without it where there is no model."""
    vlm: Vlm | None
    """None until `asking` has been called."""

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        """The operator with a model, and with the prompts of a user's folder, if they are there."""
        ...

    def requests(self, pair: Pair, seed: int) -> Sequence[Request]:
        """The most that it may ask about a pair: the plan counts them. Raises Reject."""
        ...


def asks(operator: object) -> TypeGuard[Asks]:
    """Whether an operator asks a model as it is set up: one that may also judge by rules then makes no calls."""
    return isinstance(operator, Asks) and operator.calls > 0


@runtime_checkable
class Promising(Asks, Protocol):
    """An operator whose answers become examples: a plan tells how many."""

    def promised(self, pair: Pair) -> Collection[tuple[Direction, Kind]]:
        """The examples that it adds to a pair, if the model answers."""
        ...


def _or_reject(one: Callable[[Pair, int], Pair | Reject], pair: Pair, seed: int) -> Pair | Reject:
    try:
        return one(pair, seed)
    except Reject as reject:
        return reject


def _is_url(vlm: str) -> bool:
    try:
        parts = urlsplit(vlm)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is no number, brackets that are not closed
        return False


def _whole(answer: Answer | Reject) -> Answer | Reject:
    """The answer; or a Reject where the limit of tokens cut it off, truncated_answer, or it is none, refused."""
    if isinstance(answer, Answer) and answer.finish_reason == "length":
        return Reject("truncated_answer", f"the answer was cut off at {answer.tokens_out} tokens: {answer.text}")
    if isinstance(answer, Answer) and answer.finish_reason in ENDED_EARLY:
        return Reject("refused", answer.text or "the server's filter left nothing of the answer")
    return answer
