"""What `xprompt export` takes beside `cp` of the same images, where their bytes pass through.

    python -m infra.bench.export                   # 10,000 pairs

JPEG pairs of 512 px in a dataset of files as they are, which is exported as two folders with captions (musubi-tuner: 3
files an example) and as Parquet. `cp -r` copies the same photos, in a folder as Rain13K has it: ratios are to it. Two
more arms show what else cp would take: `cp -r` of the exported folders, which have the captions too, and of the shards,
which are few and large. The arms take turns, round by round, each after a sync of the disk that is not measured. A
ratio of bytes a second is 1 if it is as fast as cp, one of CPU time 1 if it takes as much.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from infra.bench.fixtures import SIDE_PX, write_rain13k
from infra.bench.reading import write_dataset
from manifests import Dataset
from manifests.export.formats import format_named
from manifests.export.run import export
from manifests.export.select import Choice

AIM = 0.8
"""Of cp's throughput, at least."""

_PHOTOS = 200
"""That are different. Further files are links to them, which cp copies as files of their own."""

_FORMATS = ("musubi-tuner", "parquet")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.export", description="Export beside cp.")
    parser.add_argument("--pairs", type=int, default=10_000, help="(default: 10000)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--folder", default=None, help="where to work: GB needed: one for a thousand pairs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        folder = Path(root)
        size = _write_photos(folder, options.pairs)
        write_dataset(folder / "photos", str(folder / "derain"))
        arms = _arms(folder)
        arms["musubi-tuner"](folder / "exported")
        costs = _rounds(arms, folder / "out", options.rounds)
    print(
        f"{options.pairs:,} pairs of {SIDE_PX} px, {size / 2**20:,.0f} MiB, {options.rounds} rounds; median (min - max)"
    )
    for name, spent in costs.items():
        rates = [size / 2**20 / wall_s for wall_s, _ in spent]
        ratios = [cp_s / wall_s for (wall_s, _), (cp_s, _) in zip(spent, costs["cp -r"], strict=True)]
        cpu = [cpu_s / cp_cpu_s for (_, cpu_s), (_, cp_cpu_s) in zip(spent, costs["cp -r"], strict=True)]
        shown = (_spread(rates, 0), _spread(ratios, 2), _spread(cpu, 2))
        print(f"{name:<16}{shown[0]:>20} MiB/s{shown[1]:>24} of cp{shown[2]:>24} of its CPU time")
    print(f"aim: at least {AIM} of cp's throughput", flush=True)
    return 0


def _write_photos(folder: Path, pairs: int) -> int:
    """Write `photos/`, and say how many bytes are in it."""
    photos = folder / "photos"
    write_rain13k(photos, min(pairs, _PHOTOS))
    size = 0
    for role in ("input", "target"):
        for number in range(pairs):
            path = photos / role / f"{number:05d}.jpg"
            if number >= _PHOTOS:
                os.link(photos / role / f"{number % _PHOTOS:05d}.jpg", path)
            size += path.stat().st_size
    return size


def _arms(folder: Path) -> Mapping[str, Callable[[Path], None]]:
    def copied(name: str) -> Callable[[Path], None]:
        return partial(_copy, folder / name)

    def exported(name: str) -> Callable[[Path], None]:
        def arm(out: Path) -> None:
            choice = Choice(kind="generate", contexts=0)  # the same images once, as cp has them
            done = export([Dataset(str(folder / "derain"))], format_named(name), str(out), choice)
            assert not done.was_there and not done.description["converted"]

        return arm

    others = {"cp -r exported": "exported", "cp -r shards": "derain/shards"}
    return (
        {"cp -r": copied("photos")}
        | {name: exported(name) for name in _FORMATS}
        | {name: copied(source) for name, source in others.items()}
    )


def _copy(source: Path, out: Path) -> None:
    subprocess.run(["cp", "-r", str(source), str(out)], check=True)


def _rounds(
    arms: Mapping[str, Callable[[Path], None]], out: Path, rounds: int
) -> Mapping[str, list[tuple[float, float]]]:
    """Seconds, and seconds of CPU, of each arm in each round; one that is not measured goes ahead."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            os.sync()
            started_s, started_cpu_s = time.perf_counter(), _cpu_s()
            arm(out)
            spent = (time.perf_counter() - started_s, _cpu_s() - started_cpu_s)
            if number:
                costs[name].append(spent)
            shutil.rmtree(out)
    return costs


def _cpu_s() -> float:
    """User and system time of this process and of those that it started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} - {max(values):,.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
