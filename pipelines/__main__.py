"""The command line: `python -m pipelines {shards,plan,tokens} TASK`. Targets of these names in the Makefile call it."""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from operators.base import StopRun
from operators.models.pose.estimators import EstimatorName
from pipelines.options import add_scale_option, add_vlm_options, prices_of, vlm_of
from pipelines.report.estimate import estimate, print_estimate
from pipelines.report.progress import console
from pipelines.run import engine
from pipelines.run.dataset import anchored, make_dataset
from pipelines.run.lock import only_run
from pipelines.run.plan import counted, find_reader, make_job
from pipelines.run.signals import stopping_on_signals
from pipelines.run.tokens import make_tokens
from pipelines.tasks.catalogue import TASKS


def main() -> int:
    with stopping_on_signals():
        return _main()


def _main() -> int:
    arguments = _parser().parse_args()
    task = TASKS[arguments.task]
    try:
        if arguments.command == "tokens":
            out = f"{anchored(arguments.out)}/{task.name}"
            with only_run(out, console.print):
                return make_tokens(out, arguments.models, lambda: engine.ray_session(arguments.cpus, say=console.print))
        reader = find_reader(task, arguments.data)
        if arguments.count is not None:
            prompted = None if arguments.data else task.prompted
            reader = counted(prompted.reader if prompted else reader, arguments.count)
        if arguments.generator:
            task = task.painted_by(arguments.generator)
        if arguments.estimator:
            task = task.posed_by(arguments.estimator)
        if arguments.keep_all:
            task = task.keeping_all()
        elif arguments.models == "tiny" and task.judges:
            console.print("MODELS=tiny: the scores of random weights mean nothing, so gates store them and keep all.")
        task = task.bound(arguments.models).asking(vlm_of(arguments), arguments.prompts)
        prices = prices_of(arguments)
        if arguments.command == "plan":
            print_estimate(task, reader, estimate(task, reader, arguments.seed, arguments.scale), prices)
            return 0
        out = f"{anchored(arguments.out)}/{task.name}"
        with only_run(out, console.print):
            job = make_job(task, reader, out, arguments.seed, arguments.scale)
            return make_dataset(
                job, lambda: engine.ray_session(arguments.cpus, say=console.print), arguments.models, prices
            )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except (StopRun, ConnectionError) as error:
        print(error, file=sys.stderr)
        return 1
    except engine.UnitFailed as error:
        print(f"{error}\nWhat is finished is kept: the same command goes on from there.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Make in-context training pairs.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("shards", "make a task's shards and manifests"),
        ("plan", "say what that would make and cost"),
        ("tokens", "add token shards to a task's finished dataset"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("task", choices=sorted(TASKS))
        if name == "tokens":
            command.add_argument("--models", required=True, help="folder with the tokenizers, in chameleon/")
        else:
            command.add_argument("--data", help="root of the source (default: the bundled input)")
            command.add_argument("--generator", choices=("sd15", "flux"), help="where a task has a choice of models")
            command.add_argument("--estimator", choices=get_args(EstimatorName), help="where a task estimates poses")
            command.add_argument("--count", type=int, help="candidates that a task whose source is prompts begins with")
            command.add_argument("--models", help="where checkpoints are: a folder, hub or tiny")
            command.add_argument("--keep-all", action="store_true", help="store scores, and reject no pair for them")
            command.add_argument("--seed", type=int, default=0, help="of all that is drawn at random (default: 0)")
            add_scale_option(command)
            add_vlm_options(command)
        if name != "plan":
            command.add_argument("--out", default="data", help="where datasets go, a folder or URL (default: data)")
            command.add_argument("--cpus", type=int, help="of the Ray started on this machine (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
