"""The derain job of two clones of this repository, cold, as a user starts it: `derain.py --against PATH`.

    git worktree add /tmp/before HEAD~1 && python -m infra.bench.derain --against /tmp/before

Each run is a process of its own that starts its own Ray and ends it: `xprompt shards derain` by this Python, with the
packages of that clone. The two take turns, and who is first changes from round to round; a first round, which compiles
and warms the disk's cache, is not measured. CPU time is that of all processes of the run.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.bench.meter import Meter

AIM = 0.8
"""What ours may cost of the other's CPU time, until the first shard and in the whole run, on the bundled input."""

_OURS = Path(__file__).parents[2]
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Cold:
    """One run, seconds from its start."""

    first_cpu_s: float
    """CPU time of all its processes until the first shard was committed."""
    first_wall_s: float
    cpu_s: float
    wall_s: float


def compare(other: Path, name: str, data: Path | None, rounds: int, scratch: Path) -> None:
    """Print what ours and another clone cost on an input: a folder, or None for the bundled one.

    Raises ValueError if `other` is no clone of this repository, RuntimeError if a run fails.
    """
    clones = {"ours": _OURS, "other": other.resolve()}
    for clone in clones.values():
        _refuse_other_packages(clone)
    runs: dict[str, list[Cold]] = {arm: [] for arm in clones}
    for number in range(rounds + 1):
        for arm in sorted(clones, reverse=number % 2 == 0):
            cold = _run(clones[arm], data, scratch / f"{name}-{number}-{arm}")
            if number:
                runs[arm].append(cold)
    _print_table(name, runs, other)


def _refuse_other_packages(clone: Path) -> None:
    """Which packages a Python imports in a folder depends on how they are installed."""
    code = "import pipelines.run.engine as engine; print(engine.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=clone, env=_environment(), capture_output=True, text=True)
    if found.stdout.strip() != str(clone / "pipelines/run/engine.py"):
        raise ValueError(f"--against {clone}: no clone of this repository; git worktree add makes one")


def _run(clone: Path, data: Path | None, out: Path) -> Cold:
    command = [sys.executable, "-m", "infra.command", "shards", "derain", "--out", str(out)]
    manifests, first = out / "derain" / "manifest", None
    with Meter() as meter:
        started_s = time.monotonic()
        process = subprocess.Popen(
            [*command, *(["--data", str(data)] if data else [])],
            cwd=clone,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None:
            if first is None and any(manifests.glob("*.parquet")):
                first_wall_s = time.monotonic() - started_s
                meter.look()
                first = (_cpu_s(meter), first_wall_s)
            time.sleep(_LOOK_EVERY_S)
        wall_s = time.monotonic() - started_s
    if process.returncode or first is None:
        raise RuntimeError(f"{clone}: {process.stderr.read() if process.stderr else ''}")
    shutil.rmtree(out)
    return Cold(first_cpu_s=first[0], first_wall_s=first[1], cpu_s=_cpu_s(meter), wall_s=wall_s)


def _cpu_s(meter: Meter) -> float:
    """Without this process, which only looks on."""
    return meter.cpu_s_of("workers") + meter.cpu_s_of("rest of Ray")


def _environment() -> dict[str, str]:
    """A user's, in which nothing leads to the packages of one of the two clones, or to a Ray that is there already."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}


def _print_table(name: str, runs: Mapping[str, Sequence[Cold]], other: Path) -> None:
    print(f"\n{name}, cold: ours against {other}, {len(runs['ours'])} rounds; median (min - max)")
    print(f"{'':<22}{'ours':>22}{'other':>22}{'ours / other':>22}")
    for what, field in (
        ("first shard, CPU s", "first_cpu_s"),
        ("whole run, CPU s", "cpu_s"),
        ("first shard, wall s", "first_wall_s"),
        ("whole run, wall s", "wall_s"),
    ):
        ours, others = ([getattr(run, field) for run in runs[arm]] for arm in ("ours", "other"))
        ratios = [a / b for a, b in zip(ours, others, strict=True)]
        print(f"{what:<22}{_spread(ours, 1):>22}{_spread(others, 1):>22}{_spread(ratios, 2):>22}", flush=True)


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"
