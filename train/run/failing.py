"""An error that a user can put right is printed once for all ranks that have it, and nowhere with a traceback.

A rank that fails leaves its line in the store through which the ranks met, looks whose lines are there, and prints it
if no rank before it has the same. The others' collectives then break: they find the line there and end without a word.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import cache

from torch._C._distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from manifests.printing import say

_WAIT_S = 15.0
"""How long a rank that fails waits for the others to say whether they fail likewise: they may have begun later."""

GONE = "another rank is gone: the same command goes on from the newest checkpoint"
"""What a rank says that has lost another one, which said nothing."""

_LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe", re.IGNORECASE)
"""What is in the error of a collective whose other side is gone."""


def tell(line: str) -> bool:
    """Print an error, unless another rank does. Returns whether all ranks have it."""
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        say(line, error=True)
        return True
    try:
        said = _exchange(line, rank, ranks)
    except Exception:  # the ranks cannot be reached, whatever the reason: the line must be seen all the same
        said = {rank: line}
    same = [other for other, words in sorted(said.items()) if words == line]
    if same[0] == rank:
        names = f"rank{'s' if same[1:] else ''} {', '.join(map(str, same))}: "
        say(("" if len(same) == ranks else names) + line, error=True)
    return len(same) == ranks


def is_consequence(error: RuntimeError) -> bool:
    """Whether a collective broke since another rank has failed. If none says that it did, a line says that one is gone.

    An error of another kind is none.
    """
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1 or not _LOST.search(str(error)):
        return False
    try:
        store = _store()
        deadline_s = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline_s:
            if any(store.check([_key(other)]) for other in range(ranks) if other != rank):
                return True
            time.sleep(0.1)
    except Exception:  # where the store was on the rank that is gone
        pass
    tell(GONE)
    return True


def announce(rank: int) -> None:
    """Let the others know that this rank ends with a traceback of its own."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        _store().set(_key(rank), "traceback")


def _exchange(line: str, rank: int, ranks: int) -> Mapping[int, str]:
    """The lines of all ranks that have failed, by rank, after a while in which others may."""
    store = _store()
    store.set(_key(rank), line)
    _wait(store, [_key(other) for other in range(ranks)], _WAIT_S)
    said = {other: store.get(_key(other)).decode() for other in range(ranks) if store.check([_key(other)])}
    # Rank 0 may hold the store, so it stays until the others have read. No other rank waits: rank 0 would be gone.
    if rank == 0:
        _wait(store, [f"read/{other}" for other in said if other != 0], _WAIT_S)
    else:
        store.set(f"read/{rank}", "")
    return said


@cache
def _store() -> Store:
    """The store of torchrun's agent, or of rank 0, with the names of this attempt."""
    store: Store
    store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=_WAIT_S)))
    return store


def _wait(store: Store, keys: list[str], seconds: float) -> None:
    """Until all keys are there, or so long. A store's own `wait` prints warnings of C++ when the time is over."""
    deadline_s = time.monotonic() + seconds
    while not store.check(keys) and time.monotonic() < deadline_s:
        time.sleep(0.1)


def _key(rank: int) -> str:
    return f"error/{rank}"
