"""How long a pair may take at an operator before the process that works on it counts as hanging.

That is for what no exception ends: a GPU that waits for ever, a file system that does not answer. A process that is
ended too early loses work and gives its pair a bad name, one that is ended too late only some minutes. So the times
are generous: many times what is assumed, and all that a server may take by the rules of the client.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.base import Limited, Link, ModelOperator
from operators.vlm import openai
from operators.vlm.client import Vlm, asks

LOADING_S = 600.0
"""Seconds for what comes before the first picture: to read two FLUX pipelines, 63 GiB, over a network of 1 Gbit/s."""

DEFAULT_S = 600.0
"""Seconds for an operator that runs no model and asks none. Ours take less than a second a pair."""

SLOWER = 20.0
"""How many times the seconds of an A100 (`ModelOperator.gpu_s`, which are assumed) an operator may take."""


DISK_S = 300.0
"""Seconds for a file system or a bucket to answer at all: a tape is found, a server is started again."""

DISK_PAIR_S = 10.0
"""Seconds to read, or to hash and write, the images of a pair: some 100 MB over a slow network."""

TOKENS_PAIR_S = 60.0
"""Seconds to tokenize a pair's images on a CPU, several times what three of 512 px take."""


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Work that is no operator's, and how long it may take in all."""

    timeout_s: float


def disk(pairs: int) -> Allowed:
    """Reading so many pairs from their source, or writing them."""
    return Allowed(timeout_s=DISK_S + DISK_PAIR_S * pairs)


def tokenizing(pairs: int) -> Allowed:
    """Loading a tokenizer, and tokenizing so many pairs."""
    return Allowed(timeout_s=LOADING_S + DISK_S + TOKENS_PAIR_S * pairs)


def timeout_s(link: Link | Limited) -> float:
    """The most seconds that a pair may take at an operator.

    An operator that states its `timeout_s` is believed (operators.base.Limited). One that asks a vision-language model
    has the time of all its requests, each with all its attempts; one that runs models has LOADING_S and SLOWER times
    its `gpu_s`; others have DEFAULT_S.
    """
    if isinstance(link, Limited):
        return link.timeout_s
    model_s = LOADING_S + SLOWER * link.gpu_s if isinstance(link, ModelOperator) else 0.0
    asking_s = link.calls * _request_s(link.vlm) if asks(link) and link.vlm else 0.0
    return model_s + asking_s or DEFAULT_S


def _request_s(vlm: Vlm) -> float:
    """The most seconds that one request may take. Waiting for its turn is not in it."""
    if vlm.is_local:
        return LOADING_S
    return openai.ATTEMPTS * (vlm.timeout_s + openai.MAX_RETRY_AFTER_S)
