"""CPU time of the derain job: our engine, a plain two-process script, naive Ray Data. `make bench` runs it.

synthesis       a folder of clean 512 px JPEG photos; the rainy input is synthesised and encoded without loss
pass-through    Rain13K's layout of 512 px JPEG pairs; files are copied after a check

The arms, which run in turn, round by round, on warm workers (a first round is not measured):

ours            what `make shards` does: plan, units on Ray, dataset.json
plain           `plain.py` in a pool of two processes: ordinary cv2 code, cv2's PNG for synthesised images
plain, our PNG  the same with the encoder that ours uses, so that the ratio is about the rest of the code
naive           `naive.py` on the same Ray, cv2's PNG
encoder         our PNG encoder alone on such images

CPU time is that of the process tree: driver, raylet, GCS and workers, or script and pool. Wall time is printed too, but
is noise on a shared machine.

`--against PATH` compares with another clone of this repository instead, such as the commit before, on the bundled input
and on the same two (infra/bench/checkouts.py).
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2

from infra.bench.checkouts import AIM, compare
from infra.bench.fixtures import SIDE_PX, write_photos, write_rain13k
from infra.bench.meter import Meter, descendants
from infra.bench.naive import copy_pairs, synthesise_folder
from infra.bench.plain import Encode, add_rain, cv2_png, decode, our_png, pass_through, synthesise, write_shard
from manifests.write.finish import finish
from pipelines.run import engine
from pipelines.run.plan import find_source, make_job, versions
from pipelines.run.session import ray_session
from pipelines.run.watch import Watch
from pipelines.tasks.low_level import DERAIN

Arm = Callable[[Path, Path], float | None]
"""Reads the first folder, writes below the second. Returns CPU seconds if it measures itself."""

PROCESSES = 2
_SHARDS = 8  # as many as the engine makes of up to 4,096 pairs
_OBJECT_STORE_BYTES = 2 * 2**30  # naive Ray Data keeps images in it; without room it would spill them to disk
AIMS = {"synthesis": 0.6, "pass-through": 1.5}
"""What ours may cost, in CPU time of plain."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one arm in one round, seconds."""

    cpu_s: float
    wall_s: float


def main() -> int:
    arguments = _parser().parse_args()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for mode, write in (("synthesis", write_photos), ("pass-through", write_rain13k)):
            if mode in arguments.modes:
                write(root / mode, arguments.pairs)
        if arguments.against:
            compare(arguments.against, "bundled", None, arguments.rounds, root)
            print(f"aim: CPU time at most {AIM} of the other's")
            for mode in arguments.modes:
                compare(arguments.against, mode, root / mode, arguments.rounds, root)
            return 0
        spawn = multiprocessing.get_context("spawn")  # forks of a process that runs Ray are not safe
        pool = stack.enter_context(
            ProcessPoolExecutor(PROCESSES, mp_context=spawn, initializer=cv2.setNumThreads, initargs=(1,))
        )
        list(pool.map(time.sleep, [0.5] * PROCESSES))  # starts all its processes
        pooled = descendants()
        stack.enter_context(ray_session(PROCESSES, object_store_bytes=_OBJECT_STORE_BYTES))
        for mode in arguments.modes:
            costs = _rounds(_arms(mode, pool), root / mode, root / "out" / mode, pooled, arguments.rounds)
            _print_table(mode, arguments.pairs, costs)
    return 0


def _rounds(
    arms: Mapping[str, Arm], folder: Path, out: Path, pooled: set[int], rounds: int
) -> Mapping[str, Sequence[Cost]]:
    """Every arm in turn, `rounds` times after one that is not measured. `pooled`: processes of the plain script."""
    costs: dict[str, list[Cost]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            place = out / f"{number}-{name}"
            place.mkdir(parents=True)
            on_ray = name in ("ours", "naive")
            with Meter(lambda pid, on_ray=on_ray: (pid in pooled) != on_ray) as meter:  # type: ignore[misc]
                own_s = arm(folder, place)
            shutil.rmtree(place)
            if number:
                costs[name].append(Cost(cpu_s=meter.cpu_s if own_s is None else own_s, wall_s=meter.wall_s))
    return costs


def _arms(mode: str, pool: ProcessPoolExecutor) -> Mapping[str, Arm]:
    if mode == "pass-through":
        return {"ours": ours, "plain": partial(plain, pool, _copy_shard), "naive": copy_pairs}
    return {
        "ours": ours,
        "plain": partial(plain, pool, partial(_synthesise_shard, cv2_png)),
        "plain, our PNG": partial(plain, pool, partial(_synthesise_shard, our_png)),
        "naive": synthesise_folder,
        "encoder": partial(encoder, pool),
    }


def ours(folder: Path, out: Path) -> None:
    """What `make shards` does, less its progress line."""
    reader = find_source(DERAIN, str(folder)).reader
    job = make_job(DERAIN, reader, str(out / "derain"), seed=0)
    engine.run([job], Watch())
    totals = finish(job.dataset, job.plan, versions=versions(job.task), licences={reader.source: reader.licence})
    assert not totals.rejects, totals.rejects


def plain(
    pool: ProcessPoolExecutor, make_shard: Callable[[Sequence[Path], Path, str], int], folder: Path, out: Path
) -> None:
    """A shard at a time, in a pool of two processes."""
    paths = _paths(folder)
    made = [pool.submit(make_shard, paths[n::_SHARDS], out, f"derain-{n:06d}") for n in range(_SHARDS)]
    assert sum(future.result() for future in made) == len(paths)


def encoder(pool: ProcessPoolExecutor, folder: Path, out: Path) -> float:
    """CPU seconds of encoding the rainy images alone."""
    paths = _paths(folder)
    return sum(pool.map(_encode_only, [paths[n::_SHARDS] for n in range(_SHARDS)]))


def _paths(folder: Path) -> list[Path]:
    return sorted((folder / "input" if (folder / "input").is_dir() else folder).iterdir())


def _synthesise_shard(encode: Encode, paths: Sequence[Path], out: Path, name: str) -> int:
    return write_shard((synthesise(path.read_bytes(), path.name, encode) for path in paths), out, name)


def _copy_shard(paths: Sequence[Path], out: Path, name: str) -> int:
    return write_shard((pair for path in paths if (pair := pass_through(path))), out, name)


def _encode_only(paths: Sequence[Path]) -> float:
    cpu_s = 0.0
    for number, path in enumerate(paths):
        clean = decode(path.read_bytes())
        assert clean is not None, path
        rainy, _ = add_rain(clean, number)
        cpu_s -= time.process_time()
        our_png(rainy)
        cpu_s += time.process_time()
    return cpu_s


def _print_table(mode: str, pairs: int, costs: Mapping[str, Sequence[Cost]]) -> None:
    rounds = len(costs["ours"])
    print(f"\n{mode}: {pairs:,} pairs of {SIDE_PX} px, {rounds} rounds, {PROCESSES} processes; median (min - max)")
    print(f"{'':<16}{'CPU ms a pair':>24}{'CPU against plain':>26}{'wall s, noise':>18}")
    for name, measured in costs.items():
        per_pair = _spread([1_000 * cost.cpu_s / pairs for cost in measured], 1)
        wall = f"{statistics.median(cost.wall_s for cost in measured):.1f}" if name != "encoder" else ""
        print(f"{name:<16}{per_pair:>24}{_ratio(costs, name, 'plain'):>26}{wall:>18}")
    if "encoder" in costs:
        print(f"ours against plain with our PNG: {_ratio(costs, 'ours', 'plain, our PNG')}")
        less = _ratio(costs, "ours", "plain, our PNG", less="encoder")
        print(f"the same, the encoder's time taken off both: {less}")
    print(f"aim: ours against plain at most {AIMS[mode]}", flush=True)


def _ratio(costs: Mapping[str, Sequence[Cost]], above: str, below: str, less: str | None = None) -> str:
    """Round by round, since neighbours in time share the machine's mood."""
    off = [cost.cpu_s for cost in costs[less]] if less else [0.0] * len(costs[above])
    rounds = zip(costs[above], costs[below], off, strict=True)
    return _spread([(a.cpu_s - o) / (b.cpu_s - o) for a, b, o in rounds], 2)


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.derain", description="The derain job, side by side.")
    parser.add_argument("--pairs", type=int, default=1_000, help="in each folder (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="measured, after one that is not (default: 3)")
    parser.add_argument("--modes", nargs="*", choices=list(AIMS), default=list(AIMS), help="(default: both)")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another clone of this repository")
    return parser


if __name__ == "__main__":
    sys.exit(main())
