"""What a node of a cluster does for the doctor: tasks of Ray run these."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from infra.doctor import machine
from infra.doctor.finding import Finding
from infra.doctor.storage import forget
from manifests.storage import Store
from operators.models.files import files_of

APPEARS_S = 10.0
"""How long a file that another node has written may take to be seen: NFS keeps what it knows of files for 3 s at the
least (nfs(5), acregmin), and may know that there is none of a name."""

_AGAIN_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Versions:
    """What a process runs on."""

    ray: str
    python: str
    ours: str
    """Of our package, "" if it is not installed."""

    @classmethod
    def here(cls) -> Versions:
        try:
            ours = version(machine.PACKAGE)
        except PackageNotFoundError:
            ours = ""
        return cls(ray=version("ray"), python=platform.python_version(), ours=ours)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a node sees of itself, and of the places that all nodes have to share."""

    versions: Versions
    findings: Sequence[Finding]
    bytes: Mapping[str, int]
    """Place -> how many bytes its files have; -1 for a place that is not there."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a node sees of OUT."""

    sees: str = ""
    """Why it does not see the driver's file; "" if it does."""
    wrote: str = ""
    """Why it cannot write one; "" if it did."""


def of_the_machine(extras: Sequence[str]) -> Iterator[Finding]:
    """All checks of machine.py that hold for a node."""
    yield from machine.python()
    yield from machine.packages(extras)
    yield from machine.memory()
    yield from machine.open_files()
    yield from machine.shared_memory()
    yield from machine.ray_folder()


def look(extras: Sequence[str], places: Sequence[str]) -> Seen:
    """What this node sees."""
    return Seen(
        versions=Versions.here(),
        findings=[*of_the_machine(extras)],
        bytes={place: bytes_in(place) for place in places},
    )


def bytes_in(place: str) -> int:
    """How many bytes the files of a local folder have, or a file has; -1 if it is not there."""
    path = Path(place)
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in files_of(path)) if path.is_dir() else -1


def share(out: str, drivers: str, mine: str, appears_s: float = APPEARS_S) -> Shared:
    """Look for the file that the driver has written into OUT, and write one of our own beside it.

    A folder that is not there is not made: it would be another one than the driver's.
    """
    store = Store(out)
    if store.is_local and not os.path.isdir(store.root):
        return Shared(sees="there is no such folder", wrote="there is no such folder")
    sees, wrote = "it does not see what the driver writes there", ""
    until_s = time.monotonic() + appears_s
    while True:
        try:
            if store.read(drivers) == drivers.encode():
                sees = ""
            break
        except FileNotFoundError:
            if time.monotonic() > until_s:
                break
            time.sleep(_AGAIN_S)
        except (OSError, ImportError, ValueError) as error:
            sees = " ".join(str(error).split())
            break
    try:
        store.write_bytes(mine, mine.encode())
    except (OSError, ImportError, ValueError) as error:
        wrote = " ".join(str(error).split())
    return Shared(sees=sees, wrote=wrote)


def remove(out: str, name: str) -> None:
    """Remove what `share` has written, if the driver did not see it."""
    store = Store(out)
    forget(store, name)


def now() -> tuple[str, float]:
    """The name of this machine, and the time by its clock in seconds since 1970."""
    return socket.gethostname(), time.time()
