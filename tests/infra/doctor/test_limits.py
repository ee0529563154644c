"""Nothing waits for ever, and what was made is taken away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from infra.doctor.finding import Check, Finding, ok
from infra.doctor.limits import TookTooLong, Undoing, Waiting, answer_of, findings, start


def test_a_check_that_hangs_is_given_up() -> None:
    end = threading.Event()

    def hangs() -> Iterator[Finding]:
        end.wait()
        yield ok("disk", "at last")

    check = Check(name="disk", limit_s=0.1, run=hangs)
    waiting = start(check)
    (found,) = findings(check, waiting)
    assert (found.name, found.state, found.text) == ("disk", "fails", "no answer within 0.1 s")
    assert "hangs" in found.way_out and not waiting.wait(0)
    end.set()
    assert waiting.wait(5)


def test_a_check_that_ends_and_one_that_breaks() -> None:
    check = Check(name="disk", limit_s=5, run=lambda: [ok("disk", "large")])
    assert findings(check, start(check)) == [ok("disk", "large")]
    check = Check(name="disk", limit_s=5, run=lambda: [ok("disk", str(1 // 0))])
    (found,) = findings(check, start(check))
    assert found.state == "fails" and "ZeroDivisionError" in found.text


def test_what_was_made_is_undone_once_the_newest_first() -> None:
    done: list[str] = []
    undoing = Undoing()
    undoing.later("a connection", lambda: done.append("connection"))
    with pytest.raises(OSError, match="full"), undoing.after("a file", lambda: done.append("file")):
        raise OSError("full")
    assert done == ["file"]
    with undoing.after("another", lambda: done.append("another")):
        assert undoing.all() == []  # as where the check was given up
    assert done == ["file", "another", "connection"]
    undoing.later("what cannot be undone", lambda: 1 // 0)
    assert undoing.all() == ["what cannot be undone"]


def test_a_program_that_does_not_end_is_killed() -> None:
    before_s = time.monotonic()
    with pytest.raises(TookTooLong):
        answer_of("http.server", ["--bind", "127.0.0.1", "0"], 0.3)
    assert time.monotonic() - before_s < 30
    with pytest.raises(ValueError, match="No module named no_such_module"):
        answer_of("no_such_module", [], 60)


def test_waiting_keeps_what_was_raised() -> None:
    waiting = Waiting(lambda: [][0])
    assert waiting.wait(5) and isinstance(waiting.error, IndexError)
