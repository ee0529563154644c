"""One training example as a sequence of tokens (paper section 3.1): IE, the in-context example, then XP, the learnable
X-Prompt tokens, then TD, what is to be done.

    [IE: begin-text, instruction, input images, separator, output] [XP x S] [TD: instruction, inputs, separator, output,
    end-text]

Without a context (text-to-image needs none) there is neither IE nor XP, and TD begins with begin-text. The two may have
different numbers of images: where a person is asked for from words, IE has two persons, its input and its output, and
their pose is what XP is to carry to TD, which has no input (paper section 4.5). Positions run through all three, so
that XP's keys and values stay valid when IE is dropped. TD predicts its output and the end. "Without X-Prompt" of the
paper's Tab. 4 is the same sequence under another mask: see `mask.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xprompt_model.vocabulary import Ids, Vocabulary

IE, XP, TD, PADDING = 0, 1, 2, 3
"""Segment codes."""

MAX_DOCUMENT_TOKENS = 5_120
"""The paper's context window (section 4), beyond Chameleon's own 4,096 positions."""

XP_TOKENS = 64
"""The number of X-Prompt tokens, S, which the paper does not give."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """An instruction with its images, and its answer."""

    instruction: Ids
    inputs: tuple[NDArray[np.integer], ...] = ()
    """Image code grids, [h, w] each."""
    output: NDArray[np.integer]
    """An image's code grid, [h, w], or the tokens of a text, [n]."""

    @property
    def is_image(self) -> bool:
        """Whether the answer is an image."""
        return self.output.ndim == 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    """A sequence of n tokens. The position of a token is its index."""

    ids: Ids
    """Token ids, [n]; at XP, the index of the XP embedding."""
    segment: NDArray[np.int8]
    """The segment (IE, XP or TD) of each token, [n]."""
    weight: NDArray[np.float32]
    """Loss weight of predicting each token, [n]."""

    def __len__(self) -> int:
        return len(self.ids)


_Part = tuple[Ids, int, float]
"""Tokens, their segment, the loss weight of predicting them."""


def build_document(
    turn: Turn,
    context: Turn | None,
    vocabulary: Vocabulary,
    *,
    xp_tokens: int = XP_TOKENS,
    image_weight: float = 1.0,
    text_weight: float = 1.0,
    context_image_weight: float = 0.0,
) -> Document:
    """The document of a turn that is to be learned, given a context to learn it from.

    The weights are those of TD's output (an image or a text, each with the end token) and of IE's output image.
    Raises ValueError if a code or id is out of range, or the document is longer than MAX_DOCUMENT_TOKENS.
    """
    weight = image_weight if turn.is_image else text_weight
    return _join(
        [
            *_before(context, vocabulary, xp_tokens, context_image_weight),
            *_asked(turn.instruction, turn.inputs, vocabulary, TD),
            (_answer(turn, vocabulary), TD, weight),
            (np.array([vocabulary.end_text]), TD, weight),
        ]
    )


def build_context(context: Turn | None, vocabulary: Vocabulary, *, xp_tokens: int = XP_TOKENS) -> Document:
    """The part of a document before TD's instruction: IE and XP, or begin-text only. Raises as `build_document`."""
    return _join(_before(context, vocabulary, xp_tokens, 0.0))


def build_prompt(instruction: Ids, inputs: Sequence[NDArray[np.integer]], vocabulary: Vocabulary) -> Document:
    """What follows `build_context`, up to the separator behind which the answer is to come. Raises likewise."""
    return _join(_asked(instruction, inputs, vocabulary, TD))


def _before(context: Turn | None, vocabulary: Vocabulary, xp_tokens: int, image_weight: float) -> list[_Part]:
    begin = np.array([vocabulary.begin_text])
    if context is None:
        return [(begin, TD, 0.0)]
    return [
        (begin, IE, 0.0),
        *_asked(context.instruction, context.inputs, vocabulary, IE),
        (_answer(context, vocabulary), IE, image_weight if context.is_image else 0.0),
        (np.arange(xp_tokens), XP, 0.0),
    ]


def _asked(
    instruction: Ids, inputs: Sequence[NDArray[np.integer]], vocabulary: Vocabulary, segment: int
) -> list[_Part]:
    images = [vocabulary.image_block(codes) for codes in inputs]
    parts = [vocabulary.text(instruction), *images, np.array([vocabulary.separator])]
    return [(ids, segment, 0.0) for ids in parts]


def _answer(turn: Turn, vocabulary: Vocabulary) -> Ids:
    return vocabulary.image_block(turn.output) if turn.is_image else vocabulary.text(turn.output)


def _join(parts: Sequence[_Part]) -> Document:
    lengths = [len(ids) for ids, _, _ in parts]
    if sum(lengths) > MAX_DOCUMENT_TOKENS:
        raise ValueError(f"a document of {sum(lengths):,} tokens: the context window has {MAX_DOCUMENT_TOKENS:,}")
    return Document(
        ids=np.concatenate([ids for ids, _, _ in parts]),
        segment=np.repeat(np.array([segment for _, segment, _ in parts], np.int8), lengths),
        weight=np.repeat(np.array([weight for _, _, weight in parts], np.float32), lengths),
    )
