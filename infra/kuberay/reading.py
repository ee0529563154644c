"""Reads dataclasses from YAML, strictly: every key is a field, every value has its type and passes its check."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable
from dataclasses import MISSING, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

Read = TypeVar("Read")


def value(check: Callable[[Any], None] | None = None, default: Any = MISSING, *, key: str = "") -> Any:
    """A field with the check of its value, which raises ValueError with what is allowed.

    `key` is what it is called in the file, if not by its name.
    """
    metadata = {"check": check, "key": key}
    if default is MISSING:
        return field(metadata=metadata)
    return field(metadata=metadata, default_factory=lambda: default)


def read_yaml(path: Path) -> Any:
    """What a file says. Raises ValueError, one line with the file and the place in it, for what is no YAML."""
    try:
        return yaml.load(path.read_text(), Loader=_OneOfEach)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: no YAML: {error.problem}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: no YAML: {' '.join(str(error).split())}") from None


class _OneOfEach(yaml.SafeLoader):
    """A loader that takes no key twice, of which YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def record(kind: type[Read], read: Any, at: str = "", **others: Any) -> Read:
    """A dataclass from what was read at the key `at`, with `others` for its fields that are no keys: those with
    "given" in their metadata.

    Raises ValueError, one line that begins with the key, for one that is unknown, missing or wrong.
    """
    if not isinstance(read, dict):
        raise ValueError(f"{at or 'the file'} has to be keys and values")
    types_ = get_type_hints(kind)
    ours = [one for one in fields(kind) if not one.metadata.get("given")]  # type: ignore[arg-type]
    known = {one.metadata.get("key") or one.name: one for one in ours}
    values: dict[str, Any] = {}
    for key, inner in read.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            guess = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(known)}"
            raise ValueError(f"{at}{'.' if at else ''}{key} is not known: {guess}")
        one = known[key]
        name = f"{at}.{key}" if at else str(key)
        values[one.name] = _typed(types_[one.name], inner, name)
        if values[one.name] is not None and (check := one.metadata.get("check")):
            try:
                check(values[one.name])
            except ValueError as error:
                shown = "" if isinstance(inner, (dict, list)) else f"{inner} is wrong: "
                raise ValueError(f"{name}: {shown}it takes {error}") from None
    for key, one in known.items():
        if one.name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise ValueError(f"{at}{'.' if at else ''}{key} is missing")
    return kind(**values, **others)


def _typed(kind: Any, value: Any, at: str) -> Any:
    """A value as the type of its field; ValueError says what is allowed in its place."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return None if value is None else _typed(inner[0], value, at)
    if is_dataclass(kind):
        return record(kind, value, at)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{at}: {value} is wrong: it takes {', '.join(inner)}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{at} has to be a list")
        return tuple(_typed(inner[0], one, f"{at}[{place}]") for place, one in enumerate(value))
    if origin is not None:
        if not isinstance(value, dict):
            raise ValueError(f"{at} has to be keys and values")
        for key, one in value.items():
            if not isinstance(one, (str, int, float)) or isinstance(one, bool) or one == "":
                raise ValueError(f"{at}.{key} has to be a text")  # without what is there, which may be a key
        return {str(key): str(one) for key, one in value.items()}
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # 4 CPUs, and the numbers of a command line
    if type(value) is not kind or value == "":
        what = {str: "a text, in quotes where YAML takes it for something else", int: "a whole number"}[kind]
        raise ValueError(f"{at}: {value!r} is wrong: it takes {what}")
    return value
