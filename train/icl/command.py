"""`xprompt icl`: the arguments of the experiment, and its progress."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from train.icl.runs import BASE, Run, Settings

SEEDS = 5
"""Runs of each arm, each with another seed."""

BUDGETS = (4, 16, 64)
"""Numbers of X-Prompt tokens, S: a sixth of an example's 25 tokens, two thirds, and more than all of them."""


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt icl") -> int:
    """Run what is not finished; the report is written anew after each run. `prog` heads usage and errors.

    Returns the exit status: 0, or 2 with one line if it cannot do what was asked.
    """
    options = _parser(prog).parse_args(arguments)
    # PyTorch takes seconds to import: --help need not wait for it.
    import torch

    from train.icl.experiment import run_all
    from train.icl.report import write_report

    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"{prog}: PyTorch sees no CUDA device on this machine", file=sys.stderr)
        return 2
    given = {field.name: value for field in fields(Settings) if (value := getattr(options, field.name)) is not None}
    runs: list[Run] = []
    try:
        settings = replace(Settings(), **given)
        workers = 0 if options.report else options.workers
        for run in run_all(options.out, settings, options.seeds, options.budgets, workers, options.device):
            runs.append(run)
            if options.report:
                continue
            psnr = ", ".join(f"{name} {score.psnr_db:.2f}" for name, score in run.scores.items())
            print(f"{run.name}: {psnr} dB, {run.seconds:.0f} CPU s", flush=True)
            if any(run.arm != BASE for run in runs):
                write_report(options.out, runs)
        if all(run.arm == BASE for run in runs):
            raise ValueError(f"{options.out / 'runs'} has no finished arm with these settings: leave --report away")
        write_report(options.out, runs)
    except (OSError, ValueError) as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(options.out / "report.md")
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, prog=prog, description="The paper's Tab. 4 in miniature.")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the finished runs")
    parser.add_argument("--seeds", type=_positive, default=SEEDS, help="runs of each arm (default: %(default)s)")
    budgets = " ".join(map(str, BUDGETS))
    parser.add_argument(
        "--budgets",
        type=_positive,
        nargs="+",
        default=BUDGETS,
        metavar="S",
        help=f"X-Prompt tokens (default: {budgets})",
    )
    parser.add_argument("--workers", type=_positive, default=cpus, help="runs at once (default: all CPUs)")
    parser.add_argument("--report", action="store_true", help="train nothing, write the report of what is finished")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    for field in fields(Settings):
        kind = float if isinstance(field.default, float) else int
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=kind, metavar="N", help=f"{field.metadata['help']} (default: {field.default})")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)
