"""The Ray that a run works on: that of RAY_ADDRESS, or one of our own on this machine."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from pipelines.run.start import connect, source_root, start
from pipelines.run.targets import announced

OBJECT_STORE_BYTES = 256 * 2**20  # statistics, and images that a model is asked about; Ray's default is 30% of memory


@contextmanager
def ray_session(
    cpus: int | None = None,
    object_store_bytes: int = OBJECT_STORE_BYTES,
    *,
    py_modules: Sequence[str] = (),
    not_sent: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """The cluster of RAY_ADDRESS, or a Ray of our own on this machine, left again at the end of the block.

    A Ray that this process has initialised already, as in a notebook, is used as it is and stays. Otherwise `cpus` and
    `object_store_bytes` bound our own Ray; a cluster has its size. `py_modules` are paths of Python files and package
    folders of the user's that workers import: a cluster is sent them, and our clone if our packages run from one,
    less what is in the folders `not_sent`, such as the datasets. `say` is told what is waited for.

    Raises RayUnavailable, one line.
    """
    if ray.is_initialized():
        yield
        return
    say = say or (lambda text: None)
    modules = [str(Path(module).resolve()) for module in py_modules]
    address = os.environ.get("RAY_ADDRESS", "local")
    root = source_root()
    if address == "local":
        say("Starting Ray on this machine ...")
        start(
            cpus,
            object_store_bytes,
            [*(str(Path(module).parent) for module in modules), *([str(root)] if root else [])],
        )
    else:
        say(f"Connecting to the Ray of RAY_ADDRESS={address} ...")
        runtime_env: dict[str, Any] = {"py_modules": modules} if modules else {}
        # Inside a submitted job the working directory is set already and must not be set again.
        if root and not in_ray_job():
            # Besides what .gitignore names, data/ and models/ among it. Excludes hold for `py_modules` too. Files of
            # environment variables hold keys, and a cluster keeps what it is sent.
            runtime_env |= {"working_dir": str(root), "excludes": [".git", ".venv", ".env*", *_inside(root, not_sent)]}
        connect(address, runtime_env)
    try:
        with announced(say) if address == "local" else nullcontext():
            yield
    finally:
        _shut_down()


def _shut_down() -> None:
    """Leave Ray, while other threads go on.

    One that then came upon a reference of Ray's among its garbage would end the process, without a word and with
    status 1 (seen in 2.60: the reference asks for a core worker that is gone). So all garbage is collected before, and
    none meanwhile.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        gc.collect()
        ray.shutdown()
    finally:
        if collects:
            gc.enable()


def _inside(root: Path, folders: Sequence[str]) -> list[str]:
    """Those of some folders that are inside of our clone, as patterns of .gitignore."""
    inside = []
    for folder in folders:
        if "://" not in folder and (path := Path(folder).resolve()) != root and path.is_relative_to(root):
            inside.append(f"/{path.relative_to(root).as_posix()}")
    return inside


def on_cluster() -> bool:
    """Whether `ray_session` gives a Ray that was there before, which may grow, and not one of our own."""
    return ray.is_initialized() or in_ray_job() or os.environ.get("RAY_ADDRESS", "local") != "local"


def in_ray_job() -> bool:
    """Whether this process is the driver of a job submitted by `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
