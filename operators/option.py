"""Options of operators and readers: fields that a user may set, each declared where it lives and nowhere else.

The command line, the Makefile, recipes, `plan`, the help and the fingerprint all read the declaration:

    strength: float = option(1.0, "how thick the haze is")      # --strength 0.5, STRENGTH=0.5, make(..., strength=0.5)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

Record = TypeVar("Record")

_KEY = "option"


@dataclass(frozen=True, kw_only=True)
class Option:
    """Something that a user may set: `--<name>` on the command line, `<NAME>=` for make, a keyword from Python."""

    name: str
    """The option's name in lower case, with underscores; the command line has hyphens in their place."""
    help: str
    type: Callable[[str], Any] = str
    """What makes a value of the text of a command line. Raises ValueError, one line, for what is no value."""
    choices: tuple[Any, ...] = ()
    default: Any = None
    many: bool = False
    """Whether the option takes several values."""
    of: Callable[[Any], Any] | None = None
    """What makes the field's value of what is given: of the several values of a command line, or of what Python or a
    recipe have in their place. Raises ValueError, one line. None for what is given as it is."""
    says_what: bool = False
    """Whether the option says how DATA is to be read: where it is given, only sources that have it are looked for."""

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    def parsed(self, text: str) -> Any:
        """The value that a text stands for. Raises ValueError, one line that names the option and the way out."""
        try:
            value = _truth(text) if self.type is bool else self.type(text)
        except ValueError as error:
            kinds: dict[Any, str] = {int: "a whole number", float: "a number", bool: "yes or no"}
            kind = kinds.get(self.type)
            raise ValueError(f"{self.flag}: {f'{text} is not {kind}' if kind else error}") from None
        self.check(value)
        return value

    def value(self, given: Any) -> Any:
        """What a field is set to. Raises ValueError, one line that names the option, for what is no value."""
        if self.of is None:
            return given
        try:
            return self.of(given)
        except ValueError as error:
            raise ValueError(f"{self.flag}: {error}") from None

    def check(self, value: Any) -> None:
        """Raises ValueError, one line, for a value that is none of the choices."""
        for one in value if self.many and isinstance(value, list | tuple) else (value,):
            if self.choices and one not in self.choices:
                raise ValueError(f"{self.flag}: {one} is none of {', '.join(map(str, self.choices))}")


def option(
    default: Any,
    help: str,
    *,
    name: str = "",
    type: Callable[[str], Any] | None = None,
    choices: tuple[Any, ...] = (),
    many: bool = False,
    of: Callable[[Any], Any] | None = None,
    says_what: bool = False,
    in_fingerprint: bool = True,
) -> Any:
    """A dataclass field that a user may set. Its type is that of the default unless another is given.

    `name` is the option's, if it is to differ from the field's. With `in_fingerprint=False` the field must not change
    what is made: it says where something lies, or how fast it is done.
    """
    kind = type or (str if default is None else default.__class__)
    declared = Option(
        name=name, help=help, type=kind, choices=choices, default=default, many=many, of=of, says_what=says_what
    )
    return field(default=default, metadata={_KEY: declared, "location": not in_fingerprint})


def options_of(record: Any) -> Iterator[tuple[str, Option]]:
    """The options that a record declares: name of the field, and the option with its name and present value."""
    for one in fields(record) if is_dataclass(record) else ():
        if declared := one.metadata.get(_KEY):
            yield one.name, replace(declared, name=declared.name or one.name, default=getattr(record, one.name))


def with_options(record: Record, values: Mapping[str, Any]) -> Record:
    """The record with those of its options set that `values` names. Raises ValueError for what is no choice."""
    given = {}
    for name, declared in options_of(record):
        if declared.name in values:
            declared.check(values[declared.name])
            given[name] = declared.value(values[declared.name])
    return replace(record, **given) if given else record  # type: ignore[type-var]  # a dataclass, since it has options


def parameters(record: Any) -> dict[str, Any]:
    """What is set of a reader or operator, as JSON: its fields, less those that only say where something lies."""
    values: dict[str, Any] = _plain(record)
    return values


def at_least_one(text: str) -> int:
    """The type of an option that counts something. Raises ValueError, one line, for less than one."""
    number = int(text)
    if number < 1:
        raise ValueError(f"{text} is less than 1")
    return number


def _plain(value: Any) -> Any:
    """A record as JSON, and the records in it."""
    if is_dataclass(value):
        named = (field.name for field in fields(value) if not field.metadata.get("location"))
        return {name: _plain(getattr(value, name)) for name in named}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def _truth(text: str) -> bool:
    words = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]
