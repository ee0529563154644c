"""`xprompt icl`: the arguments of the experiment, and its progress."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from train.icl.tasks import FAMILIES, Family

SEEDS = 3
"""Runs of each arm, each with another seed."""

STEPS: dict[Family, int] = {"stencil": 1_000, "recolour": 3_000}
"""By family: half an hour of CPU for the stencils' twelve runs, three times as much for the permutations of colours."""


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt icl") -> int:
    """Run what is not finished; the report is written anew after each run. `prog` heads usage and errors.

    Returns the exit status: 0, or 2 with one line if it cannot do what was asked.
    """
    options = _parser(prog).parse_args(arguments)
    # PyTorch takes seconds to import: --help need not wait for it.
    from train.icl.experiment import run_all
    from train.icl.report import write_report
    from train.icl.runs import Run, Settings

    every = [Settings(family=family, steps=options.steps or STEPS[family]) for family in options.families]
    runs: list[Run] = []
    try:
        for run in run_all(options.out, every, options.seeds, options.workers):
            runs.append(run)
            right = f"{run.accuracy['held_out']:.3f} of held-out cells right"
            print(f"{run.name}: {right}, {run.seconds:.0f} CPU s", flush=True)
            write_report(options.out, runs)
    except OSError as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(options.out / "report.md")
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="In-context learning in miniature.")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the finished runs")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["stencil"], help="(default: stencil)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each arm (default: %(default)s)")
    parser.add_argument("--steps", type=int, help=f"steps of each run (default: {STEPS})")
    parser.add_argument("--workers", type=int, default=cpus, help="runs at once (default: all CPUs)")
    return parser
