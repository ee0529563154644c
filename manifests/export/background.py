"""Uploads at the same time: an object store answers each only after a while, and says nothing of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """Writes files in threads of its own, in no certain order, a few files behind whoever puts them."""

    def __init__(self, write: Callable[[str, bytes], None], *, threads: int) -> None:
        """`write` is called in the threads, with a path and the bytes of the file."""
        self._write, self._threads = write, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="export")
        self._running: deque[Future[None]] = deque()

    def put(self, path: str, data: bytes) -> None:
        """Write a file soon. Raises what an earlier one raised."""
        if len(self._running) > self._threads:
            self._running.popleft().result()
        self._running.append(self._pool.submit(self._write, path, data))

    def wait(self) -> None:
        """Return when all files are written. Raises what one of them raised."""
        while self._running:
            self._running.popleft().result()

    def drop(self) -> None:
        """Forget the files that no thread has begun with, and return when none is being written."""
        for future in self._running:
            future.cancel()
        while self._running:
            future = self._running.popleft()
            if not future.cancelled():
                future.exception()

    def close(self) -> None:
        """Drop what is not written, and end the threads."""
        self.drop()
        self._pool.shutdown()
