"""Lets nothing wait for ever: checks in threads that are given up, programs that are killed, and what is undone after.

A disk that another machine serves may hang so that no signal and no exception ends the waiting; the thread is then left
alone with it, and the process ends without asking it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from infra.doctor.finding import Check, Finding, fails

UNDO_S = 10.0
"""How long it may take to remove what a check has made, where the check could not do it itself."""


class Undoing:
    """What checks have made and not taken away yet."""

    def __init__(self) -> None:
        self._left: list[tuple[str, Callable[[], object]]] = []

    @contextmanager
    def after(self, what: str, undo: Callable[[], object]) -> Iterator[None]:
        """Undo something at the end of the block, however it ends; it may be that it was not done.

        `what` names it for a user, who has to do it where we cannot.
        """
        entry = (what, undo)
        self._left.append(entry)
        try:
            yield
        finally:
            if entry in self._left:  # or it has been undone for a check that was given up
                self._left.remove(entry)
                undo()

    def later(self, what: str, undo: Callable[[], object]) -> None:
        """Undo something at the end of all."""
        self._left.append((what, undo))

    def all(self) -> list[str]:
        """Undo the rest, the newest first; what could not be undone."""
        failed = []
        while self._left:
            what, undo = self._left.pop()
            done = Waiting(undo)
            if not done.wait(UNDO_S) or done.error:
                failed.append(what)
        return failed


class Waiting:
    """A call in a thread of its own, which may be waited for and left alone."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error

    def wait(self, limit_s: float) -> bool:
        """Whether the call has come to its end within so many seconds."""
        self._thread.join(limit_s)
        return not self._thread.is_alive()


def findings(check: Check, waiting: Waiting) -> list[Finding]:
    """What a check that has been started finds, or that it does not come to an end."""
    if not waiting.wait(check.limit_s):
        return [
            fails(
                check.name,
                f"no answer within {check.limit_s:g} s",
                "what it asks hangs (a disk that another machine serves, a network, a GPU's driver): see to that first",
            )
        ]
    if waiting.error:
        said = " ".join(str(waiting.error).split()) or "nothing"
        text = f"it could not be looked at: {type(waiting.error).__name__}: {said[:400]}"
        return [fails(check.name, text, "if the message does not say what to do, report it")]
    found: list[Finding] = waiting.result
    return found


def start(check: Check) -> Waiting:
    """Begin with a check."""
    return Waiting(lambda: [*check.run()])


class TookTooLong(Exception):
    """A program did not end in time."""


def answer_of(module: str, arguments: Sequence[str], limit_s: float) -> Any:
    """What a module of ours, run as a program, prints as JSON. It is killed after `limit_s`.

    Raises TookTooLong, and ValueError, one line, if it prints something else.
    """
    command = [sys.executable, "-m", module, *arguments]
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = program.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        program.kill()  # and it is not waited for: a driver that hangs lets no signal through
        raise TookTooLong from None
    try:
        return json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        said = (err.strip().splitlines() or [f"status {program.returncode}"])[-1]
        raise ValueError(said[:400]) from None
