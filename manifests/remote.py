"""File systems of fsspec, whose errors are all OSErrors that name the place, whatever library is behind them.

An OSError fails a work unit, which is tried again, and is one line for a user. What botocore, aiohttp, httpx and others
raise of their own accord would pass for the fault of the pair that is being read, and be a traceback elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""By the scheme of a URL, the extra of our package that brings its file system."""

_URL = re.compile(r"[a-z][a-z0-9]*://")

_CONNECTED: set[Any] = set()
"""All file systems that were connected to. A forked process inherits those of its parent: it must not use them, whose
event loop has no thread there, nor let them go, for their end would close connections that the parent reads from."""


def connect(url: str) -> tuple[Any, str]:
    """The file system of a URL or local path, and the path there.

    Raises ImportError, one line with the way out, if the package that it needs is not installed; ValueError for a URL
    that cannot be; OSError as all that the file system does.
    """
    scheme = url.partition("://")[0]
    try:
        with _named(url):
            fs, root = fsspec.core.url_to_fs(url, **_options(scheme))
            _CONNECTED.add(fs)
    except ValueError as error:
        raise ValueError(f"{url}: {_line(error)}") from error
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        way_out = f"install the extra, pip install 'xprompt-data-engine[{extra}]'" if extra else "install it"
        raise ImportError(f"{url}: there is no file system for {scheme}:// here ({_line(error)}): {way_out}") from error
    return (fs if isinstance(fs, LocalFileSystem) else _Remote(fs, url)), root


def _options(scheme: str) -> dict[str, bool]:
    """What a file system is connected to with. Buckets have listings kept for later, by which a file would be there, or
    have the size, that it had when its folder was listed, whatever other processes have written since."""
    return {"use_listings_cache": False} if scheme in _EXTRAS else {}


class _Remote:
    """A file system, or a file of one, all of whose methods raise OSErrors. A forked process cannot use it."""

    def __init__(self, of: Any, url: str) -> None:
        self._of = of
        self._url = url
        self._process = os.getpid()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while a copy of it is being made, which has no fields yet
            raise AttributeError(name)
        with _named(self._url):
            found = getattr(self._of, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **options: Any) -> Any:
            if self._process != os.getpid():  # or it would wait for a thread that is not there
                raise OSError(f"{self._url}: it was opened before this process was forked: open it again here")
            place = self._place(arguments)
            with _named(place):
                result = found(*arguments, **options)
            return _RemoteFile(result, place) if name == "open" else result

        return called

    def _place(self, arguments: tuple[Any, ...]) -> str:
        """The URL of the file that a method is called with, or of the whole if it is called with none."""
        scheme, _, root = self._url.partition("://")
        paths = (path.lstrip("/") for path in arguments if isinstance(path, str))
        return next((f"{scheme}://{path}" for path in paths if path.startswith(root.rstrip("/"))), self._url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Remote) and bool(self._of == other._of)

    def __hash__(self) -> int:
        return hash(self._of)


class _RemoteFile(_Remote):
    """An open file: its bytes are fetched while it is read."""

    def __enter__(self) -> _RemoteFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        with _named(self._url):
            yield from self._of


def is_outage(error: BaseException) -> bool:
    """Whether a remote file system could not do something, which says nothing against what is stored there."""
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and bool(_URL.match(str(error)))


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Errors of the block are OSErrors that name the URL, but for ValueError and ImportError, which users are told."""
    try:
        yield
    except OSError as error:
        if url in str(error):
            raise
        kind = next(base for base in type(error).__mro__ if base.__module__ == "builtins")  # and no library's own
        named = kind(f"{url}: {_line(error)}")
        named.errno = error.errno
        raise named from error
    except (ValueError, ImportError, AttributeError, GeneratorExit):
        raise
    except Exception as error:
        raise OSError(f"{url}: {type(error).__name__}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
