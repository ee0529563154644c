"""This machine, or a node of a cluster: Python, packages, memory, open files, /dev/shm, Ray's folder, ports."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from infra.doctor.finding import GIB, Finding, fails, ok, skipped, warning
from manifests.printing import size
from pipelines.run.session import OBJECT_STORE_BYTES

PACKAGE = "xprompt-data-engine"

_MEMORY_GIB = 2.0
"""What a Ray of our own needs, by what pipelines/run/start.py says where it does not start."""

_FEW_FILES = 4_096
"""Below it Ray warns of connection errors (ray/_private/worker.py, ray.init). Ray itself raises the limit of its
processes up to the hard one, which therefore counts."""

_TOO_FEW_FILES = 128
"""With so many a Ray with two workers made a dataset; with 80 Ray did not start (both tried, Ray 2.60)."""

_SOCKET_CHARS = 107
"""The longest path of a socket on Linux (sun_path of unix(7), less its end)."""

_SESSION = f"session_2026-12-31_23-59-59_999999_{2**22}/sockets/plasma_store"
"""The longest name that Ray gives to a socket below its folder: process ids go up to 2**22 (proc(5))."""

_FULL = 0.95
"""From this share of the disk on Ray writes no objects to it (RAY_local_fs_capacity_threshold, its default)."""

_CONNECT_S = 5.0


def python() -> Iterator[Finding]:
    """The version of Python, against what the package needs."""
    from packaging.specifiers import SpecifierSet

    here = platform.python_version()
    text = f"{here}, {sys.executable}"
    try:
        needed = distribution(PACKAGE).metadata["Requires-Python"]
    except PackageNotFoundError:
        yield warning("Python", text, f"{PACKAGE} is not installed here, so nothing says what it needs: pip install .")
        return
    if SpecifierSet(needed).contains(here, prereleases=True):
        yield ok("Python", text)
    else:
        yield fails("Python", f"{text}: {needed} is needed", "make a virtual environment of a newer Python")


def packages(extras: Sequence[str]) -> Iterator[Finding]:
    """The packages that a run with these extras imports, and whether their versions are those that we know of."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(text) for text in distribution(PACKAGE).requires or ()]
    except PackageNotFoundError:
        yield skipped("packages", f"{PACKAGE} is not installed here, so nothing says what it needs")
        return
    missing, other, seen = [], [], set[str]()
    for one in requirements:
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        seen.add(one.name)
        try:
            here = version(one.name)
        except PackageNotFoundError:
            missing.append(one.name)
            continue
        if not one.specifier.contains(here, prereleases=True):
            other.append(f"{one.name} {here} (known to work: {one.specifier})")
    named = f"{PACKAGE}[{','.join(extras)}]" if extras else PACKAGE
    install = f"pip install --upgrade '{named}' (make does it by itself)"
    if missing:
        yield fails("packages", f"not installed: {', '.join(sorted(set(missing)))}", install)
    if other:
        yield warning("packages", f"another version than we tested: {', '.join(sorted(set(other)))}", install)
    if not missing and not other:
        yield ok("packages", f"{len(seen)} of {named} are there; Ray {version('ray')}")


def memory() -> Iterator[Finding]:
    """The main memory that is free, by the kernel, or by the limit of this container."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return
    try:
        most, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, most - used)
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    text = f"{size(free)} free"
    if free < _MEMORY_GIB * GIB:
        yield warning(
            "memory", f"{text}: Ray needs about {_MEMORY_GIB:g}", "end other programs, or give the container more"
        )
    else:
        yield ok("memory", text)


def open_files() -> Iterator[Finding]:
    """How many files a process may have open (`ulimit -n`)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "no limit" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    text = f"{soft:,} at a time, which Ray raises to at most {most}"
    way_out = "raise the hard limit: nofile in /etc/security/limits.conf, LimitNOFILE of systemd, or docker --ulimit"
    if hard != resource.RLIM_INFINITY and hard < _TOO_FEW_FILES:
        yield fails("open files", f"{text}: Ray does not start with so few", way_out)
    elif hard != resource.RLIM_INFINITY and hard < _FEW_FILES:
        yield warning("open files", f"{text}: below {_FEW_FILES:,} Ray may lose connections", way_out)
    else:
        yield ok("open files", text)


def shared_memory(folder: str = "/dev/shm") -> Iterator[Finding]:
    """What is free of the memory that processes share, where Ray keeps objects."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield fails(folder, f"it is not there ({error.strerror})", "mount a tmpfs there: Ray needs one")
        return
    text = f"{size(free)} free"
    if free < OBJECT_STORE_BYTES:
        yield warning(
            folder,
            f"{text}: Ray keeps {OBJECT_STORE_BYTES // 2**20} MiB of objects there, else on the disk, which is slow",
            "remove what other programs left there, or give the container more: docker run --shm-size=1g",
        )
    else:
        yield ok(folder, text)


def ray_folder() -> Iterator[Finding]:
    """The folder of Ray's logs and sockets: its path, rights and room."""
    from ray._common.utils import get_default_ray_temp_dir

    name, folder = "Ray's folder", Path(get_default_ray_temp_dir())
    other = "set RAY_TMPDIR to a folder of yours on this machine's own disk, by a short path"
    there = nearest(folder)
    if len(socket_path := f"{folder}/{_SESSION}") > _SOCKET_CHARS:
        yield fails(
            name, f"{folder} is too long: Ray's sockets there have {len(socket_path)} characters, of 107 at most", other
        )
        return
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield fails(name, f"nothing can be written to {there} ({error.strerror})", other)
        return
    usage = shutil.disk_usage(there)
    text = f"{folder}, {size(usage.free)} free"
    if usage.used > _FULL * (usage.used + usage.free):
        yield warning(
            name, f"{text}: on a disk that is over {_FULL:.0%} full Ray keeps no objects", f"free some; {other}"
        )
    else:
        yield ok(name, text)


def own_address() -> Iterator[Finding]:
    """Whether this machine reaches itself by the address that Ray gives to others, at a port that is free."""
    from ray.util import get_node_ip_address

    address = get_node_ip_address()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.create_server((address, 0), family=family) as server:
            port = server.getsockname()[1]
            socket.create_connection((address, port), timeout=_CONNECT_S).close()
    except OSError as error:
        yield fails(
            "ports",
            f"this machine cannot reach itself at {address} ({error.strerror or error})",
            "see to its firewall or VPN, and to its name in /etc/hosts: Ray's processes talk to each other so",
        )
        return
    yield ok("ports", f"this machine reaches itself at {address}")


def port(number: int, what: str, way_out: str) -> Finding:
    """Whether a port that a program has to have is free."""
    name = f"port {number}"
    with socket.socket() as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            asked.bind(("", number))
        except (OSError, OverflowError) as error:
            return fails(name, f"{what} cannot have it ({getattr(error, 'strerror', None) or error})", way_out)
    return ok(name, f"free, for {what}")


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above that is there."""
    return next((one for one in (folder, *folder.parents) if os.path.isdir(one)), Path("/"))
