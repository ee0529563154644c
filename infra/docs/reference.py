"""Writes the pages that follow from the code: commands.md, and the list of public functions in python.md.

    python -m infra.docs.reference

A test holds the files equal to what this writes. Tables are made of the parsers' own arguments and not of argparse's
help, which is laid out in another way by each version of Python.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from infra.command import PROGRAMS, main
from pipelines.tasks.catalogue import OUR_TASKS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

FIRST = ("shards", "plan", "tasks", "models", "recipe", "retry", "tokens", "contexts")
"""The commands that make data come first; the others follow as `xprompt --help` lists them."""

_OPEN, _CLOSE = "<!-- written by infra/docs/reference.py -->\n", "<!-- /written -->\n"

PUBLIC = (
    ("pipelines", "pipelines/api.py", ("make", "plan")),
    ("pipelines", "pipelines/tasks/task.py", ("Task",)),
    ("pipelines.run.nothing", "pipelines/run/nothing.py", ("NothingKept",)),
    ("manifests", "manifests/dataset.py", ("Dataset",)),
    ("manifests", "manifests/schema.py", ("DatasetError",)),
    ("manifests.read.pairs", "manifests/read/pairs.py", ("StoredPair", "StoredExample")),
    ("manifests.schema", "manifests/schema.py", ("Pair", "Image", "Example", "Step", "Item", "Candidate", "Reject")),
    ("operators.base", "operators/base.py", ("Operator", "BatchOperator", "Reader")),
    ("operators.option", "operators/option.py", ("option",)),
)
"""What a program of somebody else may import: the module to import it from, the file that it is in, its names."""


def parser_of(*command: str) -> argparse.ArgumentParser:
    """The parser that the command `xprompt ...` has, as its `--help` would print it."""
    asked: list[argparse.ArgumentParser] = []
    with patch.object(argparse.ArgumentParser, "print_help", lambda self, file=None: asked.append(self)):
        main([*command, "--help"])
    (parser,) = asked
    return parser


def commands() -> list[str]:
    """The names of all commands, those that make data first."""
    (of_all,) = (action for action in parser_of()._actions if isinstance(action, argparse._SubParsersAction))
    return [*FIRST, *(name for name in of_all.choices if name not in FIRST)]


def commands_page() -> str:
    """commands.md."""
    (of_all,) = (action for action in parser_of()._actions if isinstance(action, argparse._SubParsersAction))
    said = {choice.dest: str(choice.help) for choice in of_all._choices_actions}
    lines = [
        "# Commands",
        "",
        "What `xprompt COMMAND --help` says of each. As targets of make they take variables: `--out` is OUT. `~` that",
        "begins a path is the home folder. What a command returns is among the",
        "[exit statuses](errors.md#exit-statuses).",
        "",
        _OPEN.rstrip(),
    ]
    for name in commands():
        lines += ["", f"## xprompt {name}", "", _sentence(said[name]), *_described(name), *_tables(parser_of(name))]
        if name == "shards":
            lines += _own_options()
    return "\n".join([*lines, "", _CLOSE.rstrip(), ""])


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}."


def _described(name: str) -> list[str]:
    """What a program of its own says above its options, beside the line that `xprompt --help` has of it."""
    if name not in PROGRAMS:
        return []
    text = inspect.cleandoc(parser_of(name).description or "").rstrip()
    return ["", "```text", *text.splitlines(), "```"] if "\n" in text else []


def _tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if not actions:
            continue
        is_plain = group.title in ("positional arguments", "options")
        yield from ("", f"{group.title}:", "") if group.title and not is_plain else ("",)
        yield from (f"| {'option' if actions[0].option_strings else 'argument'} | what it is |", "|---|---|")
        yield from (f"| {_name(parser, action)} | {_help(parser, action)} |" for action in actions)


def _name(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    default = formatter._get_default_metavar_for_optional(action)
    if not action.option_strings:
        return f"`{formatter._format_args(action, formatter._get_default_metavar_for_positional(action))}`"
    values = "" if action.nargs == 0 else " " + formatter._format_args(action, default)
    return f"`{action.option_strings[-1]}{values}`" + (", required" if action.required else "")


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return _plain(" ".join(text.replace(f"{ROOT}/", "").split()), "*<[]|")


def _plain(text: str, letters: str) -> str:
    """A text of which some letters mean nothing in Markdown, but for what stands between backticks."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(f"[{re.escape(letters)}]", lambda found: f"&#{ord(found[0])};", parts[place])
    return "`".join(parts)


def _own_options() -> Iterator[str]:
    """What single tasks let one set, with the tasks that do."""
    general = {action.dest for action in parser_of("shards")._actions}
    tasks: dict[tuple[str, str], list[str]] = {}
    for task in OUR_TASKS:
        parser = parser_of("shards", task)
        for action in parser._actions:
            if action.dest not in general:
                tasks.setdefault((_name(parser, action), _help(parser, action)), []).append(task)
    yield from ("", "What single tasks let you set, of `shards`, `plan`, `retry` and recipes:", "")
    yield from ("| option | of | what it is |", "|---|---|---|")
    for (name, text), having in sorted(tasks.items()):
        yield f"| {name} | {', '.join(having)} | {text} |"


def python_list() -> str:
    """The part of python.md that lists the public functions and classes."""
    lines: list[str] = []
    for module, file, names in PUBLIC:
        tree = ast.parse((ROOT / file).read_text())
        for name in names:
            (node,) = (one for one in tree.body if getattr(one, "name", None) == name)
            lines += ["", f"### {module}.{name}", "", *_documented(node)]
    return "\n".join([*lines, ""])


def _documented(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield from _function(node)
        return
    assert isinstance(node, ast.ClassDef)
    yield from _docstring(node)
    fields = list(_fields(node.body))
    if fields:
        yield ""
        yield from (f"- `{text}`" + (f": {said}" if said else "") for text, said in fields)
    yield ""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and ast.get_docstring(method):
            is_property = any(ast.unparse(one) == "property" for one in method.decorator_list)
            yield f"- `.{method.name if is_property else _signature(method)}`: {_first(method)}"


def _function(node: ast.FunctionDef) -> Iterator[str]:
    yield from ("```text", _signature(node), "```", "")
    yield from _docstring(node)


def _docstring(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    yield from (_plain(line, "<") for line in (ast.get_docstring(node) or "").splitlines())


def _first(node: ast.FunctionDef) -> str:
    """A method's docstring in one line of a list."""
    return _plain(" ".join((ast.get_docstring(node) or "").split()), "<")


def _signature(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args).removeprefix("self, ").removeprefix("self")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({arguments}){returns}"


def _fields(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """The annotated fields of a class that are public, with the docstring below each, in one line."""
    for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.target).startswith("_"):
            below = following.value if isinstance(following, ast.Expr) else None
            said = below.value if isinstance(below, ast.Constant) and isinstance(below.value, str) else ""
            yield ast.unparse(statement), _plain(" ".join(said.split()), "<")


def with_part(page: str, part: str) -> str:
    """A page with the written part in the place of the one that it has."""
    before, _, rest = page.partition(_OPEN)
    _, _, after = rest.partition(_CLOSE)
    return f"{before}{_OPEN}{part}\n{_CLOSE}{after}"


def pages() -> Iterable[tuple[Path, str]]:
    """The files that follow from the code, as they are to be."""
    yield HERE / "commands.md", commands_page()
    python = HERE / "python.md"
    yield python, with_part(python.read_text(), python_list())


def write() -> Any:
    """Write them."""
    for path, text in pages():
        path.write_text(text)


if __name__ == "__main__":
    write()
