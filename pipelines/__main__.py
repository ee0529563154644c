"""The command line: `python -m pipelines {shards,plan} TASK`. `make shards` and `make plan` call it."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from manifests.finish import finish
from pipelines import engine
from pipelines.estimate import estimate, print_estimate
from pipelines.plan import find_reader, make_job, versions
from pipelines.report import console, live, print_report
from pipelines.tasks import TASKS, Task


def main() -> int:
    arguments = _parser().parse_args()
    task = TASKS[arguments.task]
    try:
        if arguments.command == "plan":
            reader = find_reader(task, arguments.data)
            print_estimate(task, reader, estimate(task, reader, arguments.seed))
            return 0
        return make_shards(task, arguments.data, arguments.out, arguments.seed, arguments.cpus)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except engine.UnitFailed as error:
        print(f"{error}\nWhat is finished is kept: the same command goes on from there.", file=sys.stderr)
        return 1


def make_shards(task: Task, data: str | None, out: str, seed: int, cpus: int | None) -> int:
    """Plan, run what is not committed, finish. Returns the exit status."""
    reader = find_reader(task, data)
    job = make_job(task, reader, f"{_anchored(out)}/{task.name}", seed)
    done = len(job.dataset.committed())
    console.print(
        f"{task.name}: {job.plan.items:,} items of {reader.source} -> {job.plan.units:,} shards in {job.out}"
        + (f", {done:,} of them there already" if done else ""),
        highlight=False,
        soft_wrap=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what `ray job stop` and schedulers send
    try:
        with live(job.plan.units - done) as progress:
            if done < job.plan.units:
                with engine.ray_session(cpus):
                    engine.run(job, progress.add)
        totals = finish(job.dataset, job.plan, versions=versions(), licences={reader.source: reader.licence})
    except KeyboardInterrupt:
        done = len(job.dataset.committed())
        console.print(
            f"Stopped: {done:,} of {job.plan.units:,} shards are finished and kept. "
            "The same command goes on from there.",
            highlight=False,
        )
        return 130
    print_report(job, totals, progress)
    return 0


def _anchored(out: str) -> str:
    """OUT as an absolute path or URL.

    Raises ValueError for a relative path inside a submitted Ray job, where it would be lost with the job's copy of
    the working directory.
    """
    if "://" in out:
        return out.rstrip("/")
    if engine.in_ray_job() and not Path(out).is_absolute():
        raise ValueError(f"OUT={out} is relative, and a Ray job's working directory is a copy: give a full path or URL")
    return str(Path(out).resolve())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Make in-context training pairs.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("shards", "make a task's shards and manifests"),
        ("plan", "say what that would make and cost"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("task", choices=sorted(TASKS))
        command.add_argument("--data", help="root of the source (default: the bundled input)")
        command.add_argument("--seed", type=int, default=0, help="of all that is drawn at random (default: 0)")
        if name == "shards":
            command.add_argument("--out", default="data", help="where datasets go, a folder or URL (default: data)")
            command.add_argument("--cpus", type=int, help="of the Ray started on this machine (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
