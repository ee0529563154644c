"""The commands that make datasets: tasks, models, shards, plan, tokens, recipe.

`xprompt` (infra/command.py) has them beside those that look.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from manifests.dataset import Dataset
from manifests.log import add_option as add_log_option
from manifests.printing import say
from manifests.schema import NOTHING_KEPT
from operators.base import StopRun
from operators.option import Option
from pipelines.models import add_command
from pipelines.options import RUN, WHERE
from pipelines.prepare import checked
from pipelines.report.hints import as_typed
from pipelines.tasks.catalogue import OUR_TASKS, find_task, offered_tasks
from pipelines.tasks.task import Task

STOPPED = 130
"""Exit status after Ctrl-C or SIGTERM, as shells give it."""


def add_commands(commands: Any, arguments: Sequence[str]) -> None:
    """Add the commands to a parser's subparsers. Those of a task have the options of the task that `arguments` name."""
    listing = commands.add_parser("tasks", help="list the tasks, and what each reads")
    listing.set_defaults(run=lambda options: _tasks())
    task = _named(arguments)
    looking = add_command(commands)
    if task:
        add_options(looking.add_argument_group(f"what {task.name} itself lets you set"), task.options.values())
    for name, text, run in (
        ("shards", "make a task's shards and manifests", _shards),
        ("plan", "say what `xprompt shards` with the same options would make and cost", _plan),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("task", help="a name that `xprompt tasks` lists, file.py:NAME or module:NAME")
        add_options(command, RUN)
        add_log_option(command)
        if task:
            group = command.add_argument_group(f"what {task.name} itself lets you set")
            add_options(group, task.options.values())
        command.set_defaults(run=run)
    tokens = commands.add_parser("tokens", help="add token shards to a task's finished dataset")
    tokens.add_argument("task", help="the task whose dataset in OUT is tokenized")
    tokens.add_argument("--models", default="tiny", help="folder with the tokenizers, in chameleon/ (default: tiny)")
    tokens.add_argument(
        "--context-pixels", type=int, default=0, help="tokens of smaller images, for in-context examples, as well: 256"
    )
    add_options(tokens, [one for one in WHERE if one.name in ("out", "cpus")])
    add_log_option(tokens)
    tokens.set_defaults(run=_tokens)


def add_options(parser: Any, options: Iterable[Option]) -> None:
    """Add declared options to a parser; what is not typed is left out of its namespace's values (None)."""
    for one in options:

        def parsed(text: str, one: Option = one) -> Any:
            try:
                return one.parsed(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error).removeprefix(f"{one.flag}: ")) from None

        text = one.help.replace("%", "%%")
        if one.choices and not one.many:
            text += f" ({', '.join(map(str, one.choices))})"
        given: dict[str, Any] = {"nargs": "+", "choices": one.choices or None} if one.many else {}
        if one.type is bool:
            given = {"nargs": "?", "const": True}
        parser.add_argument(one.flag, dest=one.name, type=parsed, help=text, metavar=one.name.upper(), **given)


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were typed, by name."""
    return {name: value for name, value in vars(options).items() if name not in ("task", "run") and value is not None}


def ended(prog: str, run: Callable[[], object]) -> int:
    """The exit status of what `run` does: 0, 1 if it could not be done, 2 if it cannot be as asked, or one of ours.

    `prog` is the command as the user typed it: it heads what is printed of an error.
    """
    # Ray takes seconds to import; what is wrong with a command line has been said by now.
    from pipelines.run.dataset import Stopped
    from pipelines.run.engine import UnitFailed
    from pipelines.run.nothing import NothingKept
    from pipelines.run.signals import stopping_on_signals

    try:
        with stopping_on_signals():
            run()
        return 0
    except Stopped as stopped:
        say(str(stopped), event="stopped", level="warning")
        return STOPPED
    except NothingKept as nothing:
        say(f"{prog}: {nothing}", error=True)
        return NOTHING_KEPT
    except (StopRun, ConnectionError) as error:
        say(f"{prog}: {error}", error=True)
        return 1
    except (ValueError, ImportError, OSError) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2
    except UnitFailed as error:
        say(f"{prog}: {error}", error=True)
        say("What is finished is kept: the same command goes on from there.", error=True)
        return 1


def _named(arguments: Sequence[str]) -> Task | None:
    """The task that `shards TASK`, `plan TASK` or `models TASK` names, if it does and there is one."""
    if len(arguments) < 2 or arguments[0] not in ("shards", "plan", "models") or arguments[1].startswith("-"):
        return None
    if arguments[0] == "models" and "=" in arguments[1]:  # which can do without a task
        return None
    return find_task(arguments[1])


def _tasks() -> int:
    from rich.table import Table

    from pipelines.report.terminal import TERMINAL

    table = Table("task", "family", "reads, one of", "without DATA", box=None)
    for task in OUR_TASKS.values():
        reads = "; ".join(dict.fromkeys(source.reader.source for source in task.sources)) or "prompts"
        bundled = task.bundled.reader.source if task.bundled else ""
        table.add_row(task.name, task.prototype_task, reads, bundled)
    for name, entry in offered_tasks().items():
        table.add_row(name, f"of {entry.dist.name if entry.dist else entry.value}", "", "")
    TERMINAL.print(table)
    TERMINAL.print("next: xprompt plan TASK, xprompt shards TASK --help", highlight=False)
    return 0


def extras(command: str, options: argparse.Namespace) -> list[str]:
    """The extras of the package that a command needs, after all checks that cost nothing.

    The Makefile asks, so that nothing is installed for a command that cannot be run. Raises ValueError as the command
    itself would.
    """
    if command == "tokens":
        _tokenized(options).plan()
        return ["models"]
    if command == "models":
        return ["models"] if options.models else []
    runs = checked(options.task, given(options)).runs_models(named=bool(options.models))
    return ["models"] if runs or options.vlm else []


def _shards(options: argparse.Namespace) -> int:
    checked(options.task, given(options))
    from pipelines.api import make
    from pipelines.report.terminal import TERMINAL

    return ended("xprompt shards", lambda: make(options.task, console=TERMINAL, **given(options)))


def _plan(options: argparse.Namespace) -> int:
    checked(options.task, given(options))
    from pipelines.api import plan
    from pipelines.report.cost import print_sums, sums
    from pipelines.report.estimate import print_estimate
    from pipelines.report.terminal import TERMINAL

    def run() -> None:
        prepared, estimated = plan(options.task, **given(options))
        print_estimate(prepared.task, prepared.reader, estimated, prepared.taken_as, TERMINAL)
        print_sums(sums(estimated, str(prepared.values["out"])), prepared.costs, TERMINAL, prepared.prices)
        TERMINAL.print(f"next: {as_typed('shards', options.task)} with the same options", highlight=False)

    return ended("xprompt plan", run)


def _tokenized(options: argparse.Namespace) -> Dataset:
    """The dataset of a task, which may be of a task that is not ours: then its name is enough, or file.py:NAME."""
    name = find_task(options.task).name if ":" in options.task else options.task
    dataset = Dataset(f"{options.out or 'data'}/{name}")
    if not dataset.store.exists("plan.parquet"):
        find_task(options.task)  # a name that is mistyped is said first
    return dataset


def _tokens(options: argparse.Namespace) -> int:
    _tokenized(options).plan()  # says if there is none
    from operators.models.checkpoints import TINY
    from pipelines.report.terminal import TERMINAL
    from pipelines.run.dataset import anchored
    from pipelines.run.session import ray_session
    from pipelines.run.tokens import make_tokens

    def run() -> None:
        out = anchored(_tokenized(options).url)
        models = str(TINY) if options.models == "tiny" else options.models
        make_tokens(
            out, models, lambda: ray_session(options.cpus, say=TERMINAL.print), TERMINAL, options.context_pixels
        )

    return ended("xprompt tokens", run)
