"""Chameleon's text tokenizer, to which the names of its other tokens are words like any other.

A caption may hold `</s>`, `<image>` or `IMGIMGAZ`. Read by the file's own rules, these become the tokens of that name:
the end of a text, or a piece of an image. There are three ways to such a token, and all are closed:

- it is a *special* added token: the library passes over these with `encode_special_tokens`;
- it is an added token that is not marked special, which that setting does not touch: it is taken off the file's list;
- it is an entry of the vocabulary that merges lead to: the last of the merges is taken out.

What is left over is refused by `TextTokenizer.ids`, so no text ever holds a reserved token.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from xprompt_model.vocabulary import Ids, is_reserved

TEXT_FILE = "tokenizer.json"

RULES = "names of reserved tokens are text, 1"
"""Named in the fingerprint: tokens made by other rules are not to be mixed."""


class NoTokens(ValueError):
    """A text that cannot be made into tokens: `reason` is a short code, the message is for people, one line."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TextTokenizer:
    """The text tokenizer of a model directory."""

    def __init__(self, folder: Path | str) -> None:
        """Raises ValueError, one line, if the directory has no tokenizer.json, or one that is not of the format."""
        path = Path(folder) / TEXT_FILE
        if not path.is_file():
            raise ValueError(f"{folder} has no {TEXT_FILE}: it is to be in the format of facebook/chameleon-7b")
        self._file = path.read_bytes()
        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(_without_reserved(json.loads(self._file))))
        except Exception as error:  # the library's own type is a bare Exception
            raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        self._tokenizer.encode_special_tokens = True
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        added = self._tokenizer.get_added_tokens_decoder()
        self._reserved = {
            index: name
            for name, index in vocabulary.items()
            if is_reserved(name) or (index in added and added[index].special)
        }

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 over all that a text's tokens depend on: the file, and the rules by which it is used."""
        return hashlib.sha256(f"{RULES}\n".encode() + self._file).hexdigest()

    def ids(self, text: str) -> Ids:
        """The tokens of a text, [n], without any that begin or end it.

        Raises NoTokens for a text without a word ("empty"), and for one of which a part would be lost, or would become
        a token that is not text ("unencodable").
        """
        if not text.strip():
            raise NoTokens("empty", "it has no words")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise NoTokens("unencodable", f"character {error.start + 1} is half of a surrogate pair") from None
        try:
            found = self._tokenizer.encode(text, add_special_tokens=False)
        except Exception as error:  # the library's own type is a bare Exception
            raise NoTokens("unencodable", " ".join(str(error).split())) from None
        if reserved := [self._reserved[index] for index in found.ids if index in self._reserved]:
            raise NoTokens("unencodable", f"it would hold the token {reserved[0]}, which is not text")
        covered = np.zeros(len(text), bool)
        for start, end in found.offsets:
            covered[start:end] = True
        lost = sum(not (kept or character.isspace()) for character, kept in zip(text, covered, strict=True))
        if lost:
            raise NoTokens("unencodable", f"{lost:,} of its characters have no tokens")
        return np.array(found.ids, np.int64)

    def text(self, ids: Ids) -> str:
        """The text of tokens."""
        decoded: str = self._tokenizer.decode(ids.tolist())
        return decoded


def _without_reserved(content: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json in which no rule but that of special tokens leads to a reserved token."""
    model = dict(content["model"])
    added = [
        token for token in content.get("added_tokens") or [] if token["special"] or not is_reserved(token["content"])
    ]
    if "merges" in model:
        # "a b" in older files, ["a", "b"] in newer ones.
        parts = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [merge for merge in parts if not is_reserved("".join(merge))]
    return {**content, "added_tokens": added, "model": model}
