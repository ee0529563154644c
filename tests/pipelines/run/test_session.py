"""Leaving Ray at the end of a session."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import ray

from pipelines.run import session


class _Cycle:
    """What only a garbage collection frees."""

    def __init__(self) -> None:
        self.itself = self


def test_nothing_is_collected_while_ray_shuts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever thread: a reference of Ray's that is freed then ends the process (Ray 2.60)."""
    before, meanwhile = weakref.ref(_Cycle()), []

    def shutdown() -> None:
        meanwhile.append(before() is None)  # freed while Ray was there
        thread = threading.Thread(target=lambda: meanwhile.append(_free_by_itself()))
        thread.start()
        thread.join()

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session, "start", lambda *given: None)
    monkeypatch.setattr(ray, "shutdown", shutdown)
    with pytest.raises(KeyError), session.ray_session():
        raise KeyError
    assert meanwhile == [True, False]
    assert gc.isenabled() and _free_by_itself()


def _free_by_itself() -> bool:
    """Whether garbage is collected while a thread makes many objects."""
    garbage = weakref.ref(_Cycle())
    for _ in range(10):
        if garbage() is None:
            return True
        kept: list[list[int]] = [[] for _ in range(100_000)]
        del kept
    return garbage() is None
