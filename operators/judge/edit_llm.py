"""Classifies edit instructions by a language model behind any OpenAI-compatible endpoint, as the paper does (4.4).

    OPENAI_BASE_URL   where it is served: http://localhost:8000/v1 for vLLM, unset for OpenAI
    OPENAI_API_KEY    its key; any value for a server that asks for none

Both come from the environment alone: they are no part of what a dataset is made from, and a key must not get into a
plan, a manifest or a message.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from manifests.schema import canonical_json
from operators.judge.edit_classifier import LABELS, EditLabel

if TYPE_CHECKING:
    from openai import OpenAI

# The paper prints no prompt; the wording is ours and says what `operators.judge.edit_classifier` does.
_PROMPT = """\
You sort instructions for editing a photo. Answer with exactly one of these words and nothing else:

object_addition - afterwards something is in the photo that was not: a thing, a person, an animal, clothing, text
object_removal - afterwards something that was in the photo is gone
other - anything else: colour, light, style, weather, expression, pose, background, moving something, or replacing one
thing by another

If the instruction asks for several edits, the first addition or removal of an object decides.

Instruction: {instruction}
Answer:"""

PROMPTS = {"edit-class-1": _PROMPT}
"""By id. A changed wording gets a new id, since manifests name it."""

_MAX_RETRIES = 5  # by the client, with backoff: connection, 408, 409, 429 (after Retry-After) and 5xx; nothing else
_TIMEOUT_S = 60.0
_MAX_ANSWER_TOKENS = 16
_MAX_CACHED = 200_000  # answers of this process, some 30 MB
_answers: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class LlmClassifier:
    """Asks `model` for one word. Raises ValueError with the raw text for any other answer, and OSError if the endpoint
    cannot be used: that is not the pair's fault."""

    model: str = "meta-llama/Meta-Llama-3-8B-Instruct"
    """The paper's (4.4)."""
    prompt: str = "edit-class-1"

    def __call__(self, instruction: str) -> EditLabel:
        text = PROMPTS[self.prompt].format(instruction=" ".join(instruction.split()))
        key = hashlib.sha256(canonical_json([self.model, PROMPTS[self.prompt], instruction]).encode()).hexdigest()
        if key not in _answers:
            if len(_answers) >= _MAX_CACHED:
                _answers.pop(next(iter(_answers)))
            _answers[key] = _ask(self.model, text)
        return parse_label(_answers[key])


def parse_label(answer: str) -> EditLabel:
    """The class that an answer is, white space aside. Raises ValueError with the raw text for any other answer."""
    for label in LABELS:
        if answer.strip() == label:
            return label
    raise ValueError(answer)


def _ask(model: str, text: str) -> str:
    """The model's answer, "" if it gives none. Raises OSError for a failure that would hit every other request too."""
    import openai

    try:
        completion = _client(
            os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
        ).chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            temperature=0.0,
            max_tokens=_MAX_ANSWER_TOKENS,
        )
    except openai.BadRequestError as error:
        raise RuntimeError(f"{model} refused the request with status {error.status_code}") from None
    except openai.APIStatusError as error:  # without the server's words: some repeat the key
        raise PermissionError(f"{_where()} answered {error.status_code}: check OPENAI_API_KEY and {model}") from None
    except openai.APIConnectionError as error:  # a time-out too
        raise ConnectionError(f"{_where()} cannot be reached: {type(error).__name__}") from None
    except openai.OpenAIError:
        raise PermissionError("OPENAI_API_KEY is not set; any value will do for a server without keys") from None
    return completion.choices[0].message.content or "" if completion.choices else ""


def _where() -> str:
    return os.environ.get("OPENAI_BASE_URL") or "the OpenAI API"


@lru_cache(maxsize=4)
def _client(base_url: str | None, api_key: str | None) -> OpenAI:
    from openai import OpenAI

    return OpenAI(base_url=base_url, api_key=api_key, max_retries=_MAX_RETRIES, timeout=_TIMEOUT_S)
