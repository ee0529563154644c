"""`xprompt demo`: from photos to a picture of a model's answers, on two cores, by the commands that a user would type.

    xprompt demo --out demo                    photos, datasets, tokens, training from the packaged model, answers
    xprompt demo --out demo --from-scratch     the same, but the tokenizer and the model are trained from nothing

Each command is printed before it runs. The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGED = Path(__file__).parent / "checkpoint"
"""The trained tokenizer and model that come with the package, in the format of facebook/chameleon-7b."""

TASKS = (
    *("derain", "denoise", "lowlight"),
    *(f"infra.demo.tasks:{name}" for name in ("NEGATIVE", "SWAPPED", "GREY")),
)

_STEPS, _SCRATCH_STEPS = 20, 500
_PHOTOS, _SCRATCH_PHOTOS = 60, 700
_HELD_OUT = 6
_ROWS = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a demo is asked for."""

    out: Path
    from_scratch: bool
    tasks: tuple[str, ...]
    photos: int
    held_out: int
    rows: int
    steps: int
    tokenizer_steps: int
    cpus: int


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt demo") -> int:
    """Do what is not done yet; `prog` heads usage and errors.

    Returns the exit status: 0, the first other one of a command, or 2 with one line if it cannot do what was asked.
    Raises KeyboardInterrupt, of which `xprompt` makes status 130, when it has said that it can go on.
    """
    options = _parse(arguments, prog)
    from infra.demo.steps import run_all  # torch and Ray take seconds to import: --help need not wait for them

    try:
        return run_all(options, _command)
    except (ValueError, OSError, ImportError) as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # between commands, each of which says so by itself
        print("Stopped: the same command goes on from there.")
        raise


def _command(arguments: Sequence[str]) -> int:
    """One command of `xprompt`, said and run."""
    from infra.command import main as xprompt

    print(f"\n$ {shlex.join(['xprompt', *arguments])}", flush=True)
    return xprompt(arguments)


def _parse(arguments: Sequence[str] | None, prog: str) -> Options:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="train the tokenizer and the model from nothing (half an hour)",
    )
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], help="tasks to train and show (default: all six)")
    parser.add_argument("--photos", type=int, help=f"pictures to train on ({_PHOTOS}; from scratch {_SCRATCH_PHOTOS})")
    parser.add_argument(
        "--held-out", type=int, default=_HELD_OUT, help="crops of unseen photos to score, of each task (%(default)s)"
    )
    parser.add_argument("--rows", type=int, default=_ROWS, help="rows of each task in the sheet (default: %(default)s)")
    parser.add_argument("--steps", type=int, help=f"training steps ({_STEPS}; from scratch {_SCRATCH_STEPS})")
    parser.add_argument("--tokenizer-steps", type=int, help="steps of the tokenizer's training, with --from-scratch")
    parser.add_argument("--cpus", type=int, default=cpus, help="cores to use (default: all)")
    given = parser.parse_args(arguments)
    if given.tokenizer_steps is not None and not given.from_scratch:
        parser.error("--tokenizer-steps goes with --from-scratch: otherwise the packaged tokenizer is used")
    if len(given.tasks) < 2:
        parser.error("--tasks names two or more: answers after an example of another task are shown beside")
    for name in ("photos", "held_out", "rows", "steps", "tokenizer_steps", "cpus"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is at least 1")
    return Options(
        out=given.out,
        from_scratch=given.from_scratch,
        tasks=tuple(given.tasks),
        photos=given.photos or (_SCRATCH_PHOTOS if given.from_scratch else _PHOTOS),
        held_out=given.held_out,
        rows=given.rows,
        steps=given.steps or (_SCRATCH_STEPS if given.from_scratch else _STEPS),
        tokenizer_steps=given.tokenizer_steps or 0,
        cpus=given.cpus,
    )
