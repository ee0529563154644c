"""Reaches the Ray of RAY_ADDRESS, or starts one on this machine; where neither works, one line says what to do.

Ray's C++ parts write their log lines to the file descriptor of stderr, which no Python logging reaches. They are kept
from a user, who is told what matters by our own errors; RAY_BACKEND_LOG_LEVEL=info brings them back.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private import services

START_ATTEMPTS = 4
"""How often a Ray on this machine is started: it allows its processes 30 s, which a busy machine may exceed more than
once."""

_PROBE_S = 5.0
_CLIENT_PORT = 10_001  # Ray's default of ray:// addresses
_AUTH_MODE = "RAY_AUTH_MODE"
_LOG_LEVEL = "RAY_BACKEND_LOG_LEVEL"
_RAY_LINE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] ")
_ERROR_CHARS = 400  # of what Ray says, in one line of ours
_QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}


class RayUnavailable(ConnectionError):
    """No Ray can be reached or started. The message, one line, says which and the way out."""


def connect(address: str, runtime_env: dict[str, Any]) -> None:
    """Connect this process to the cluster at the value of RAY_ADDRESS.

    Raises RayUnavailable within seconds if nothing answers there, or if what answers is no Ray of our version.
    """
    host, port = _host_and_port(address)
    way_out = "start that cluster, correct RAY_ADDRESS, or unset it for a Ray on this machine"
    try:
        socket.create_connection((host, port), timeout=_PROBE_S).close()
    except OSError as error:
        raise RayUnavailable(f"RAY_ADDRESS={address}: nothing answers at {host}:{port} ({error}); {way_out}") from None
    try:
        # One attempt, of 40 s; by default there are 20 of them.
        with _quietly(RAY_gcs_server_port_wait_time_s="1"):
            ray.init(address=address, runtime_env=runtime_env, **_QUIET)
    except Exception as error:  # Ray raises no narrower one
        ray.shutdown()
        raise RayUnavailable(f"RAY_ADDRESS={address}: {_one_line(error)}; {way_out}{_hint(error)}") from error


def _hint(error: Exception) -> str:
    """What else may be wrong where something answers, but lets nobody in: "" if `error` is not of that kind.

    `ray start` wants a token where one lies on its machine, and a Ray of our own leaves one there; who connects sends
    it only if told.
    """
    if not isinstance(error, ConnectionError):
        return ""
    if _AUTH_MODE in os.environ:
        return f"; {_AUTH_MODE}={os.environ[_AUTH_MODE]} has to be what it was when the cluster was started"
    return f"; if the cluster wants a token (~/.ray/auth_token), set {_AUTH_MODE}=token here"


def _host_and_port(address: str) -> tuple[str, int]:
    """Where the cluster of RAY_ADDRESS listens. Raises RayUnavailable if it cannot be made out."""
    if address == "auto":
        try:
            address = services.canonicalize_bootstrap_address_or_die(address)
        except ConnectionError:
            raise RayUnavailable(
                "RAY_ADDRESS=auto: no cluster runs on this machine; start one (ray start --head), "
                "or unset RAY_ADDRESS for a Ray of our own"
            ) from None
    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "ray"):
        raise RayUnavailable(
            f"RAY_ADDRESS={address} is not where a Ray cluster listens (of such addresses `ray job submit` knows): "
            "give host:port, by default of port 6379, or ray://host:port"
        )
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port or (_CLIENT_PORT if scheme else None)
    except ValueError:
        host = port = None
    if not host or not port:
        raise RayUnavailable(f"RAY_ADDRESS={address} is not host:port, as in {host or '10.0.0.1'}:6379")
    return host, port


def start(cpus: int | None, object_store_bytes: int, folders: Sequence[str]) -> None:
    """Start a Ray on this machine, whose workers import from `folders` too. Raises RayUnavailable if it does not start.

    It ends with this process.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A record of each task for a dashboard, which is not there: 2 KiB a unit in the driver.
    os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
    path = os.pathsep.join(filter(None, [*folders, os.environ.get("PYTHONPATH")]))
    for left in reversed(range(START_ATTEMPTS)):
        try:
            with _quietly(**({"PYTHONPATH": path} if path else {})):
                ray.init(
                    address="local",  # never a stale cluster that happens to run on this machine
                    num_cpus=cpus,
                    include_dashboard=False,
                    object_store_memory=object_store_bytes,
                    **_QUIET,
                )
            return
        except Exception as error:  # Ray raises no narrower one
            ray.shutdown()
            if left and "timed out during startup" in str(error):
                continue
            raise RayUnavailable(
                f"Ray does not start on this machine: {_one_line(error)} It needs about 2 GiB of memory, "
                f"{object_store_bytes // 2**20} MiB of /dev/shm, a RAY_TMPDIR (default: /tmp) that is writable and has "
                f"a short path, and cores that are not all busy. {_LOG_LEVEL}=info makes it say more, in its logs there"
            ) from error


@contextmanager
def _quietly(**environment: str) -> Iterator[None]:
    """Start or reach a Ray within the block: without its lines, with an environment, and without its signal handler.

    Ray's handler of SIGTERM ends a process with a stack dump.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    wanted = {_LOG_LEVEL: "fatal", **environment} if _LOG_LEVEL not in os.environ else environment
    before = {name: os.environ.get(name) for name in wanted}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    os.environ.update(wanted)
    try:
        with _without_ray_lines():
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if threading.current_thread() is threading.main_thread():  # elsewhere Ray sets none, and nor may we
            signal.signal(signal.SIGTERM, on_sigterm)


@contextmanager
def _without_ray_lines() -> Iterator[None]:
    """Keep the lines of Ray's log off stderr. All others are written at the end of the block.

    They come before the level is in force, one of them to say that it is.
    """
    if _LOG_LEVEL in os.environ and os.environ[_LOG_LEVEL] != "fatal":
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not _RAY_LINE.match(line):
                    os.write(2, line)


def source_root() -> Path | None:
    """The clone that our packages are imported from; None if they are installed as a wheel."""
    root = Path(__file__).parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _ERROR_CHARS else f"{text[:_ERROR_CHARS]} ..."
