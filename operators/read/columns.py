"""What a table's columns are taken for: which hold the images of a pair, and which what goes with them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from manifests.schema import in_a_line

MOST_INPUTS = 16
"""Input images that a pair may have. The most that we know published pairs to have are 5 (X2I)."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of pairs, by what they hold.

    A name with dots reaches into a column: "meta.task" is the field `task` of the column `meta`, "prompts.1" the second
    of a list, unless a column is called so in full. What it holds of images may be bytes, a struct of bytes and path as
    the hub stores images, or a path beside the table's file; an input may also be a list of such.
    """

    input: tuple[str, ...]
    """The input images, in order: their roles are "input", "input_2", "input_3" and so on. A column that holds a list
    counts as all that is in it."""
    target: str
    """The image that is to be made."""
    instruction: str
    """What makes the target of the inputs. Of a list of texts the first is taken."""
    reverse: str = ""
    """The instruction of the way back, which makes the first input of the target."""
    caption: str = ""
    """What the target shows."""
    mask: str = ""
    """An image of the first input's size that says where it changes."""
    group: str = ""
    """What pairs of one picture or scene have in common: none of them is the in-context example of another."""
    licence: str = ""
    """The licence of the pair's images."""

    def __post_init__(self) -> None:
        """Raises ValueError, one line, for a map that lacks what each pair has, or names a column for two images."""
        if lacking := [name for name in (INPUT, "target", "instruction") if not getattr(self, name)]:
            raise ValueError(f"no column is named for the {' and the '.join(lacking)} of pairs, as in {EXAMPLE}")
        images = [*self.input, self.target, *filter(None, [self.mask])]
        if twice := [name for name in images if images.count(name) > 1]:
            raise ValueError(f"the column {twice[0]} is named for two images of a pair")

    @classmethod
    def of(cls, given: Columns | str | Mapping[str, Any] | Iterable[Any]) -> Columns:
        """The columns as a user writes them: "input=a,b target=c instruction=d", its words, or a mapping of the same.

        Raises ValueError, one line, for a word that says nothing of columns, with the nearest.
        """
        if isinstance(given, Columns):
            return given
        if isinstance(given, Mapping):
            words: list[Any] = [(role, value) for role, value in given.items()]
        else:
            parts = [given] if isinstance(given, str) else [*given]
            words = [one for part in parts for one in (_words(part) if isinstance(part, str) else [part])]
        found: dict[str, Any] = {}
        for role, value in words:
            names = (value,) if isinstance(value, str) else tuple(value)
            _check(role, names)
            if role in found:
                raise ValueError(f"{role} is named twice: several inputs are written {INPUT}=a,b")
            found[role] = names if role == INPUT else names[0]
        return cls(**{INPUT: (), "target": "", "instruction": "", **found})

    @property
    def images(self) -> tuple[str, ...]:
        """All columns that hold images."""
        return tuple(filter(None, (*self.input, self.target, self.mask)))

    @property
    def taken(self) -> dict[str, str]:
        """What each column is taken for, in words, by the column's name."""
        inputs = dict(zip(self.input, roles(len(self.input)), strict=True))
        others = {name: one.name for one in fields(self) if one.name != INPUT and (name := getattr(self, one.name))}
        return inputs | others


INPUT = "input"
ROLES = tuple(one.name for one in fields(Columns))
"""What a column may hold."""

EXAMPLE = "--columns input=before target=after instruction=prompt"


def roles(count: int) -> Iterator[str]:
    """The roles of so many input images: input, input_2, input_3 ..."""
    return (INPUT if number == 1 else f"{INPUT}_{number}" for number in range(1, count + 1))


def assigned(word: str) -> tuple[str, tuple[str, ...]]:
    """What a word like "input=a,b" says: the role, and the columns. Raises ValueError, one line, for another."""
    role, equals, names = word.partition("=")
    if not equals:
        raise ValueError(f"{word!r} says of no column what it is, as in {EXAMPLE}")
    found = role.strip(), tuple(name.strip() for name in names.split(","))
    _check(*found)
    return found


def _words(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a text of one word or several says. A column's name may have spaces in it: "input=the photo target=c"."""
    for word in _NEXT_WORD.split(text.strip()) if text.strip() else ():
        yield assigned(word)


_NEXT_WORD = re.compile(r",?\s+(?=[A-Za-z]+=)")


def _check(role: str, names: Sequence[Any]) -> None:
    if role not in ROLES:
        near = difflib.get_close_matches(str(role), ROLES, n=1)
        guess = f"did you mean {near[0]}?" if near else f"it may be {', '.join(ROLES)}"
        raise ValueError(f"{role} is nothing that a column is taken for: {guess}")
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{role} names no column, as in {EXAMPLE}")
    if len(names) > 1 and role != INPUT:
        raise ValueError(f"{role} is one column, not {len(names)}: {', '.join(names)}")
    if len(names) > MOST_INPUTS:
        raise ValueError(f"a pair has {MOST_INPUTS} inputs at the most, not {len(names)}")


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """The value of a row that a column's name stands for, None if there is none."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 7 and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def top(name: str, there: Collection[str]) -> str:
    """The column that a name reaches into, of those that are there."""
    parts = name.split(".")
    heads = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((head for head in heads if head in there), parts[0])


def names_in(row: Mapping[str, Any], deep: int = 3) -> Iterator[str]:
    """The names of what a row holds: of a column with fields those of the fields, unless it is an image."""
    for name, value in row.items():
        if isinstance(value, Mapping) and value and deep and not {"bytes", "path"} & value.keys():
            yield from (f"{name}.{inner}" for inner in names_in(value, deep - 1))
        else:
            yield str(name)


def is_among(name: str, there: Collection[str]) -> bool:
    """Whether a column's name, as a user writes it, is one of those that are there: a whole one, one with fields, or
    the place in a list."""
    while True:
        if name in there or any(one.startswith(f"{name}.") for one in there):
            return True
        name, _, last = name.rpartition(".")
        if not name or not last.isdigit():
            return False


def refuse_unknown(wanted: Iterable[str], there: Collection[str], where: str) -> None:
    """Raises ValueError, one line with the nearest name, for a column that is not there."""
    for name in wanted:
        if not is_among(name, there):
            if not there:
                raise ValueError(f"{where} has no column {name}: it has no columns, being empty or of another format")
            near = difflib.get_close_matches(name, list(there), n=1, cutoff=0.5)
            guess = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{where} has no column {name}: {guess}it has {listed(there)}")


def listed(names: Iterable[str], most: int = 40) -> str:
    """The names of columns, in words."""
    shown = [in_a_line(name, 80).encode("utf-8", "backslashreplace").decode() for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most:,} more" if len(shown) > most else "") or "none"


def is_url(value: str) -> bool:
    """Whether what should be a path is a URL, or an image written as one (data:)."""
    return bool(_URL.match(value))


_URL = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://|\s*data:", re.IGNORECASE)
