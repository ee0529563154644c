"""The prompts of vision-language models: versioned data files, filled in with what a pair brings.

Each is a TOML file in operators/vlm/prompts: `id`, `max_tokens`, and `text`, in which <image> stands where an image
goes and {name} where a value goes; a text need not use all values that there are. `guided = true` says that the text
asks for the JSON that the operator's schema describes, so that a server may be told to answer by it.

A file of the same name in a folder of the user's (PROMPTS=folder) replaces one; PROMPTS=paper takes those of
operators/vlm/prompts/paper. The paper prints the gist of C.1's prompt, the two questions of C.2 and C.3's request
(its Fig. 9). The set `paper` asks just that, and is answered in prose; the others ask the same for an answer in parts,
and C.4 and what is not in the paper. All wordings are ours. A changed wording must get a new id; the hash beside the
id in a manifest shows if somebody forgot.
"""

from __future__ import annotations

import hashlib
import string
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

IMAGE = "<image>"

PAPER = "paper"
"""PROMPTS=paper: the packaged prompts that ask as the paper does, where it says how."""

_PACKAGED = Path(__file__).parent / "prompts"
_MAX_VALUE_CHARS = 2_000  # of a caption or instruction: more is an accident, or an attempt to push the prompt out


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt, part of a fingerprint."""

    id: str
    text: str
    max_tokens: int
    """The longest that the answer may be."""
    guided: bool = False
    """Whether the text asks for JSON by the operator's schema, so that a server may be told to answer by it."""

    @property
    def name(self) -> str:
        """Id and hash of the text, as manifests name it."""
        return f"{self.id}@{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    @property
    def images(self) -> int:
        """How many images it asks about."""
        return self.text.count(IMAGE)

    def filled(self, **values: str) -> str:
        """The text with values in it, each on one line: a source can neither end the message nor add an image."""
        return self.text.format(**{name: _harmless(value) for name, value in values.items()})


def load_prompt(file: str, folder: str | None, *, images: int, values: Collection[str] = ()) -> Prompt:
    """The prompt `file`.toml, from the user's folder or the set `paper` if it is there, else the packaged one.

    Raises ValueError, naming the file, if it does not ask about that many images, or with other values than these.
    """
    own = (_PACKAGED / PAPER if folder == PAPER else Path(folder)) / f"{file}.toml" if folder else None
    if folder and folder != PAPER and not Path(folder).is_dir():
        raise ValueError(f"PROMPTS: there is no folder {folder}; the packaged set is {PAPER}")
    path = own if own and own.is_file() else _PACKAGED / f"{file}.toml"
    try:
        record = tomllib.loads(path.read_text("utf-8-sig"))
        prompt = Prompt(
            id=_of_type(record, "id", str),
            text=_of_type(record, "text", str).strip(),
            max_tokens=_of_type(record, "max_tokens", int),
            guided=_of_type({"guided": False} | record, "guided", bool),
        )
        places = [place for place in string.Formatter().parse(prompt.text) if place[1] is not None]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]} is missing; it needs id, text and max_tokens") from None
    if prompt.max_tokens < 1 or not prompt.text:
        raise ValueError(f"{path}: max_tokens is at least 1, and text is not empty")
    named = sorted({_as_written(*place[1:]) for place in places})
    further = sorted(record.keys() - {"id", "text", "max_tokens", "guided"})
    if further or not set(named) <= set(values) or prompt.images != images:
        raise ValueError(
            f"{path}: it must have {images} times {IMAGE}, and may have {sorted(values)} in braces, and no other key; "
            f"it has {prompt.images}, {named}, and {further}"
        )
    return prompt


_Value = TypeVar("_Value")


def _of_type(record: Mapping[str, Any], key: str, kind: type[_Value]) -> _Value:
    """The value of a key. Raises KeyError if it is not there, ValueError if it is of another type."""
    value = record[key]
    if type(value) is not kind:  # True is an int too
        raise ValueError(f"{key} is a {type(value).__name__}, and must be a {kind.__name__}")
    return value


def _as_written(name: str | None, form: str | None, conversion: str | None) -> str:
    """What stands in braces: more than a name would have a value changed, or fail when it is filled in."""
    return f"{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"


def _harmless(value: str) -> str:
    return " ".join(value.split())[:_MAX_VALUE_CHARS].replace("<", "‹").replace("|>", "›")
