"""What a work unit costs whatever is in it, and whether memory depends on their number. `make bench` runs it.

Units of one 8 x 8 px pair each are made by the engine, on one Ray, smaller numbers first. Printed for each number:
CPU time a unit of all processes, split by kind; what the same units cost without Ray, in this process; the most
memory of their own that driver and workers had.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from infra.bench.meter import KINDS, Meter
from infra.bench.tiny import TINY, TinyPairs
from pipelines.run import engine
from pipelines.run.plan import Job, make_job
from pipelines.run.session import ray_session
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.run.watch import Watch

_ALONE = 100  # units made without Ray


def main() -> int:
    arguments = _parser().parse_args()
    sizes = sorted(arguments.units)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        job = _job(out / "alone", _ALONE)
        started_s = time.process_time()
        for unit in range(_ALONE):
            make_unit(job, unit, Spent())
        alone_ms = 1_000 * (time.process_time() - started_s) / _ALONE
        print(f"a unit of one 8 x 8 px pair, made without Ray: {alone_ms:.1f} ms of CPU", flush=True)
        with ray_session(arguments.cpus):
            engine.run([_job(out / "warm", _ALONE)], Watch())
            print(f"{'':>8} {'CPU ms a unit: median (min - max)':>36} {'driver':>8} {'workers':>8} {'rest':>8}", end="")
            print(f" {'driver peak':>18} {'worker peak':>18}   wall, noisy")
            meters: dict[int, list[Meter]] = {size: [] for size in sizes}
            for number in range(arguments.rounds):
                for size in sizes:
                    job = _job(out / f"{number}-{size}", size)
                    with Meter() as meter:
                        engine.run([job], Watch())
                    assert len(job.dataset.committed()) == size
                    meters[size].append(meter)
            for size in sizes:
                _print_row(size, meters[size])
            if len(sizes) > 1:
                (few, many), (less_s, more_s) = (
                    (sizes[0], sizes[-1]),
                    (_cpu_s(meters[size]) for size in (sizes[0], sizes[-1])),
                )
                print(f"each further unit: {1_000 * (more_s - less_s) / (many - few):.1f} ms of CPU")
    return 0


def _print_row(units: int, meters: list[Meter]) -> None:
    costs_ms = sorted(1_000 * meter.cpu_s / units for meter in meters)
    spread = f"{statistics.median(costs_ms):.1f} ({costs_ms[0]:.1f} - {costs_ms[-1]:.1f})"
    print(f"{units:>8,} {spread:>36}", end="")
    for kind in KINDS:
        print(f" {statistics.median(1_000 * meter.cpu_s_of(kind) / units for meter in meters):>8.1f}", end="")
    for kind in KINDS[:2]:
        print(f" {max(meter.peak_private_bytes(kind) for meter in meters) / 2**20:>14,.0f} MiB", end="")
    print(f"   {statistics.median(meter.wall_s for meter in meters):.1f} s", flush=True)


def _cpu_s(meters: list[Meter]) -> float:
    return statistics.median(meter.cpu_s for meter in meters)


def _job(out: Path, units: int) -> Job:
    return make_job(TINY, TinyPairs(count=units), str(out), seed=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.scaling", description="Overhead of a work unit.")
    parser.add_argument(
        "--units", type=int, nargs="+", default=[100, 1_000], help="numbers of units (default: 100 1000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--cpus", type=int, default=2, help="(default: 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
