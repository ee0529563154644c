"""A request to a vision-language model, and the counters of many requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from operators.vlm.prompting import IMAGE, Prompt


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt with its images, which stand where the text says <image>, and the parameters of the answer."""

    prompt: str
    """Name of the prompt, id and hash, for provenance."""
    text: str
    images: tuple[bytes, ...]
    max_tokens: int
    """The longest that the answer may be."""
    schema: str = ""
    """The JSON schema by which a server may be told to answer; "" for none.

    It is no part of what is hashed. It asks nothing else: the model, the text and the images are the same, and greedy
    decoding comes to the same answer wherever that has the form asked for. Whether a server can do it is like which
    kernels it has: an answer that was paid for is replayed though another server would be asked otherwise now.
    """

    def __post_init__(self) -> None:
        assert self.text.count(IMAGE) == len(self.images), f"{self.prompt} and {len(self.images)} images"

    @classmethod
    def of(
        cls, prompt: Prompt, images: Sequence[bytes], *, schema: Mapping[str, Any] | None = None, **values: str
    ) -> Request:
        """A prompt with its images and values. `schema` is that of the answer, of use if the prompt asks for it."""
        return cls(
            prompt=prompt.name,
            text=prompt.filled(**values),
            images=tuple(images),
            max_tokens=prompt.max_tokens,
            schema=json.dumps(schema) if schema and prompt.guided else "",
        )

    def described(self, model: str, revision: str) -> dict[str, Any]:
        """What the answer depends on, images by their sha256. Decoding is greedy."""
        return {
            "model": model,
            "revision": revision,
            "prompt": self.prompt,
            "text": self.text,
            "images": [hashlib.sha256(image).hexdigest() for image in self.images],
            "params": {"max_tokens": self.max_tokens, "temperature": 0},
        }


def object_schema(**properties: Sequence[str] | None) -> dict[str, Any]:
    """The schema of a JSON object of texts by name, each free or one of some, in this order; none is left out."""
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "enum": [*choices]} if choices else {"type": "string"}
            for name, choices in properties.items()
        },
        "required": [*properties],
        "additionalProperties": False,
    }


@dataclass(kw_only=True)
class Usage:
    """The requests of a work unit, or of a whole run."""

    calls: int = 0
    """How many requests the model answered."""
    replayed: int = 0
    """How many requests were answered by stored answers, at no cost."""
    retries: int = 0
    tokens_in: int = 0
    """How many tokens the model read in `calls`."""
    tokens_out: int = 0
    """How many tokens the model wrote in `calls`."""

    def add(self, other: Usage) -> None:
        for counter in fields(self):
            setattr(self, counter.name, getattr(self, counter.name) + getattr(other, counter.name))
