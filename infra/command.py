"""The command `xprompt`: all that a user does, under one name.

    xprompt tasks, models, licences                 what there is, which checkpoints it needs, what licences allow
    xprompt shards derain --data PHOTOS --out OUT   make a dataset
    xprompt doctor derain --out OUT                 whether this machine and cluster can
    xprompt plan, tokens, recipe                    what it would cost; add tokens; all of the paper's datasets
    xprompt retry, contexts                         make rejects again; choose in-context examples anew
    xprompt browse, verify, sql, show, ls, ...      look at datasets
    xprompt diff data/derain other/derain           tell which pairs of two datasets differ, and in what
    xprompt derive data/derain --out chosen         a dataset of the pairs that reviewers or SQL choose
    xprompt agreement data/derain                   how far reviewers agree, with each other and with gates
    xprompt export data/derain --to FORMAT --out F  write datasets in the layout that another trainer reads
    xprompt push data/derain NAMESPACE/NAME         upload a dataset to a hub
    xprompt train, generate                         train a model, use it
    xprompt predict, evaluate                       predict over a test set, print the paper's tables
    xprompt reconstruct                             score the image tokenizer alone
    xprompt demo --out demo                         all of this, small: from photos to a picture of a model's answers

The Makefile passes its variables on as they were typed: `xprompt shards TASK=derain OUT=data` is the same as
`xprompt shards derain --out data`, and a variable that a command does not have is refused.

Every command takes --log json: it then prints progress and errors as JSON, an object a line.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from infra.arguments import VARIABLE, Parser, as_options, task_of
from manifests.log import chosen
from manifests.printing import say
from manifests.storage import expanded, spelled_out

PROGRAMS = {
    "contexts": ("operators.retrieve.contexts", "choose the in-context examples of datasets, ranked"),
    "demo": ("infra.demo.command", "from nothing to a picture of a model's answers, on two cores"),
    "doctor": ("infra.doctor.command", "say whether a task would run on this machine and cluster"),
    "evaluate": ("train.evaluate.command", "score predictions against a dataset"),
    "generate": ("xprompt_model.generate", "generate an image or text by a trained model"),
    "icl": ("train.icl.command", "the paper's Tab. 4 in miniature, on a CPU"),
    "reconstruct": ("train.evaluate.reconstruct", "say what the VQ tokenizer alone loses, the paper's Tab. 5"),
    "predict": ("train.predict.command", "predict over a test set, for evaluate to score"),
    "push": ("manifests.publish.push", "upload a finished dataset to the Hugging Face hub"),
    "recipe": ("pipelines.full_8m", "make all datasets of the paper, or of a recipe file"),
    "retry": ("pipelines.retry_command", "make again what a dataset rejected for a reason, as a new dataset"),
    "tiny-models": ("infra.tiny.command", "write small random checkpoints to try model operators with"),
    "train": ("train.fsdp_train", "train a model on token shards (one process; torchrun for more)"),
}
"""By command: the module of a program with a parser of its own, and what the program does. Its `main` takes the
arguments and `prog`, the command as the user typed it, which heads the program's usage and errors."""

_START_RAY = ("shards", "tokens", "recipe", "retry", "doctor")
_MAKE = ("shards", "plan", "tokens")  # beside the programs: what they print is said, and not data that was asked for

_NAMED = re.compile(r"--[a-z][a-z0-9-]*=|[A-Z][A-Z0-9_]*=")
_HOME = re.compile(r"~[A-Za-z0-9_.-]*(/|$)")  # a sentence may begin with ~ too


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 if it found something wrong or could not go on, 2 if asked wrongly,
    NOTHING_KEPT (manifests/schema.py) if it keeps nothing, 130 if it was stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    makes = given[:1] and (given[0] in PROGRAMS or given[0] in _MAKE)
    try:
        with chosen(given, stdout=bool(makes)) as rest:
            return _main(rest)
    except SystemExit as end:  # what is wrong with --log, or a failure that nobody has caught, has been said
        return int(end.code or 0)


def _main(given: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files that are not UTF-8 can be printed
            stream.reconfigure(errors="backslashreplace")
    arguments = [with_home(one) for one in given]
    asked = arguments[:1] == ["needs"]  # of the Makefile: which extras are to be installed for a command
    arguments = arguments[1:] if asked else arguments
    command = arguments[0] if arguments else ""
    try:
        if command in _START_RAY:
            _refuse_not_utf8(arguments)
        if command in PROGRAMS:
            return _program(command, arguments[1:])
        parser = _parser(arguments)
        options, unknown = parser.parse_known_args(_typed(parser, arguments))
        if unknown:
            _subparser(parser, command).error(f"unrecognized arguments: {' '.join(unknown)}")
        if asked:
            from pipelines.commands import extras

            print(*extras(command, options))
            return 0
        if getattr(options, "models", None) == "tiny" and command in ("shards", "plan", "tokens"):
            _with_tiny_models(command, options)
        return int(options.run(options))
    except (ValueError, OSError, ImportError) as error:
        say(f"xprompt{f' {command}' if command else ''}: {' '.join(str(error).split())}", error=True)
        return 2
    except SystemExit as end:  # of a parser: it has said why
        return int(end.code or 0)
    except KeyboardInterrupt:
        return 130


def _refuse_not_utf8(arguments: Sequence[str]) -> None:
    """Raises ValueError for an argument that is not UTF-8: Ray sends the command line to its cluster as text."""
    for argument in arguments:
        if spelled_out(argument) != argument:
            raise ValueError(
                f"{spelled_out(argument)} is not UTF-8, and Ray starts with no such command line: give the path of a "
                "link to it (names of files below it may be what they are)"
            )


def with_home(argument: str) -> str:
    """An argument of a command line with the home folder in the place of `~`, where it is or names a path.

    A shell leaves it to us in --out=~/x, in OUT=~/x of make, and in quotes.
    """
    named = _NAMED.match(argument)
    name = named[0] if named else ""
    return name + expanded(argument.removeprefix(name)) if _HOME.match(argument, len(name)) else argument


def _program(command: str, arguments: Sequence[str]) -> int:
    if command == "recipe":
        from pipelines.full_8m import asked_for

        with suppress(ValueError, ImportError, OSError):  # which the program itself says
            if asked_for(arguments, f"xprompt {command}").shared.get("models") == "tiny":
                _write_tiny()
    return int(import_module(PROGRAMS[command][0]).main([*arguments], prog=f"xprompt {command}"))


def _with_tiny_models(command: str, options: argparse.Namespace) -> None:
    """Write the small random checkpoints of MODELS=tiny, the first time, for a command that can be run."""
    from pipelines.commands import extras

    if extras(command, options):  # after the checks of the command itself
        _write_tiny()


def _write_tiny() -> None:
    from operators.models.checkpoints import TINY

    if not (TINY / ".made").exists():
        say(f"Writing small random checkpoints into {TINY} (once, about a minute) ...")
    import_module("infra.tiny.models").ensure_tiny(TINY)


def _parser(arguments: Sequence[str]) -> Parser:
    from manifests.commands import add_commands as add_looking

    parser = Parser(prog="xprompt", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    add_looking(commands)
    if not arguments or arguments[0] not in commands.choices:  # Ray is imported for the commands that may start one
        from pipelines.commands import add_commands as add_making

        add_making(commands, _with_task(arguments))
        for name, (_, text) in PROGRAMS.items():
            commands.add_parser(name, help=text)
    return parser


def _with_task(arguments: Sequence[str]) -> list[str]:
    """Arguments with the task in its place, where it was typed as a variable."""
    if len(arguments) < 2:
        return [*arguments]
    named = task_of(arguments[1:])
    return [arguments[0], *([named] if named is not None else []), *arguments[1:]]


def _typed(parser: Parser, arguments: Sequence[str]) -> list[str]:
    """Arguments with variables in the way of make, NAME=value, turned into options and arguments. Raises ValueError."""
    if not any(VARIABLE.fullmatch(one) for one in arguments):
        return [*arguments]
    return [arguments[0], *as_options(_subparser(parser, arguments[0]), arguments[1:])]


def _subparser(parser: Parser, command: str) -> Any:
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    if command not in commands.choices:
        parser.parse_args([command])  # says what is nearest, and ends
    return commands.choices[command]


if __name__ == "__main__":
    sys.exit(main())
