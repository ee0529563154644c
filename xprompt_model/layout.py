"""One training example as a sequence of tokens (paper section 3.1): IE, the in-context example, then XP, the learnable
X-Prompt tokens, then TD, what is to be done.

    [IE: begin-text, instruction, input images, separator, output] [XP x S] [TD: instruction, inputs, separator, output,
    end-text]

Without a context (text-to-image needs none) there is neither IE nor XP, and TD begins with begin-text. The two may have
different numbers of images: where a person is asked for from words, IE has two persons, its input and its output, and
their pose is what XP is to carry to TD, which has no input (paper section 4.5). Positions run through all three, so
that XP's keys and values stay valid when IE is dropped. TD predicts its output and the end. "Without X-Prompt" of the
paper's Tab. 4 is the same sequence under another mask: see `mask.py`.

There may be several in-context examples, each with an XP block of its own behind it, and none seeing another:

    [IE 0] [XP 0] [IE 1] [XP 1] ... [TD]

Each begins at position 0, and TD behind the longest of them. So what an example is compressed to does not depend on the
others nor on its place among them, their order means nothing, and k examples need no more positions than the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xprompt_model.vocabulary import Ids, Vocabulary

IE, XP, TD, PADDING = 0, 1, 2, 3
"""Segment codes."""

NO_EXAMPLE = -1
"""What a token of TD, or padding, has in place of the number of an in-context example."""

WINDOW_TOKENS = 5_120
"""The paper's context window (section 4), beyond Chameleon's own 4,096 positions."""

XP_TOKENS = 64
"""The number of X-Prompt tokens, S, which the paper does not give."""


class TooLong(ValueError):
    """A document does not fit into its window. One line."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Loss weights of predicting the tokens of TD, and of each IE's output image."""

    image: float = 1.0
    """Of an output image, with the end token behind it."""
    text: float = 1.0
    """Of an output text, with its end token."""
    context_image: float = 0.0
    """Of the output image of an in-context example."""
    prompt: float = 0.0
    """Of TD's instruction, input images and separator: all of them times this, and times one of the next two.

    The paper's formula counts every token of TD, as 1 does. By default none of them counts: an instruction is one of a
    few sentences and an input image is given, so that a model that is to answer would spend half of its loss on
    learning to ask.
    """
    prompt_text: float = 1.0
    prompt_image: float = 1.0


DEFAULT_WEIGHTS = Weights()


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
    """A sequence of n tokens."""

    ids: Ids
    """Token ids, [n]; at XP, the index of the XP embedding."""
    segment: NDArray[np.int8]
    """The segment (IE, XP or TD) of each token, [n]."""
    example: NDArray[np.int8]
    """The number of the in-context example that a token of IE or XP belongs to, NO_EXAMPLE in TD, [n]."""
    weight: NDArray[np.float32]
    """Loss weight of predicting each token, [n]."""

    @property
    def position(self) -> NDArray[np.int64]:
        """The position of each token, [n]: from 0 in each example, and in TD from behind the longest of them."""
        starts = np.flatnonzero(np.diff(self.example, prepend=NO_EXAMPLE - 1))
        lengths = np.diff(starts, append=len(self))
        is_example = self.example[starts] != NO_EXAMPLE
        begins = np.where(is_example, 0, lengths[is_example].max(initial=0))
        return np.arange(len(self)) - np.repeat(starts - begins, lengths)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Tokens that have all else in common."""

    ids: Ids
    segment: int
    example: int = NO_EXAMPLE
    weight: float = 0.0


def build_document(
    turn: Turn,
    contexts: Sequence[Turn],
    vocabulary: Vocabulary,
    *,
    window_tokens: int,
    xp_tokens: int = XP_TOKENS,
    weights: Weights = DEFAULT_WEIGHTS,
) -> Document:
    """The document of a turn that is to be learned, given in-context examples to learn it from, or none.

    The examples' images may be of fewer codes than the vocabulary's, [s, s]. Behind several examples TD's first token
    has no weight: the token before it, of the last XP block, sees only the last example. Raises ValueError if a code
    or id is out of range, TooLong if the document is longer than `window_tokens`.
    """
    weight = weights.image if turn.is_image else weights.text
    asked = _asked(turn.instruction, turn.inputs, vocabulary, weights=weights)
    document = _join(
        [
            *_before(contexts, vocabulary, xp_tokens, weights.context_image),
            *asked,
            _Part(ids=_answer(turn, vocabulary), segment=TD, weight=weight),
            _Part(ids=np.array([vocabulary.end_text]), segment=TD, weight=weight),
        ]
    )
    if len(document) > window_tokens:
        raise TooLong(f"a document of {len(document):,} tokens: the context window has {window_tokens:,}")
    if len(contexts) > 1:
        document.weight[np.argmax(document.segment == TD)] = 0
    return document


def turn_tokens(turn: Turn) -> int:
    """Tokens of a turn in a document: text, images with their begin and end, the separator, begin-text or end-text."""
    images = [*turn.inputs, *([turn.output] if turn.is_image else [])]
    text = 0 if turn.is_image else turn.output.size
    return sum(image.size + 2 for image in images) + len(turn.instruction) + text + 2


def build_context(context: Turn | None, vocabulary: Vocabulary, *, xp_tokens: int = XP_TOKENS) -> Document:
    """One in-context example, IE and XP, as it is in any document; without one, begin-text only.

    Raises ValueError if a code or id is out of range.
    """
    return _join(_before([] if context is None else [context], vocabulary, xp_tokens, 0.0))


def build_prompt(instruction: Ids, inputs: Sequence[NDArray[np.integer]], vocabulary: Vocabulary) -> Document:
    """What follows the examples, up to the separator behind which the answer is to come. Raises as `build_context`."""
    return _join(_asked(instruction, inputs, vocabulary))


def _before(contexts: Sequence[Turn], vocabulary: Vocabulary, xp_tokens: int, image_weight: float) -> list[_Part]:
    begin = np.array([vocabulary.begin_text])
    if not contexts:
        return [_Part(ids=begin, segment=TD)]
    return [
        part
        for number, context in enumerate(contexts)
        for part in (
            _Part(ids=begin, segment=IE, example=number),
            *_asked(context.instruction, context.inputs, vocabulary, segment=IE, example=number),
            _Part(
                ids=_answer(context, vocabulary, IE),
                segment=IE,
                example=number,
                weight=image_weight if context.is_image else 0.0,
            ),
            _Part(ids=np.arange(xp_tokens), segment=XP, example=number),
        )
    ]


def _asked(
    instruction: Ids,
    inputs: Sequence[NDArray[np.integer]],
    vocabulary: Vocabulary,
    *,
    segment: int = TD,
    example: int = NO_EXAMPLE,
    weights: Weights = DEFAULT_WEIGHTS,
) -> list[_Part]:
    text, image = (
        weights.prompt * factor if segment == TD else 0 for factor in (weights.prompt_text, weights.prompt_image)
    )
    parts = [
        (vocabulary.text(instruction), text),
        *((_image(codes, vocabulary, segment), image) for codes in inputs),
        (np.array([vocabulary.separator]), text),
    ]
    return [_Part(ids=ids, segment=segment, example=example, weight=weight) for ids, weight in parts]


def _answer(turn: Turn, vocabulary: Vocabulary, segment: int = TD) -> Ids:
    return _image(turn.output, vocabulary, segment) if turn.is_image else vocabulary.text(turn.output)


def _image(codes: NDArray[np.integer], vocabulary: Vocabulary, segment: int) -> Ids:
    return vocabulary.image_block(codes, codes.shape[0] if segment == IE else None)


def _join(parts: Sequence[_Part]) -> Document:
    lengths = [len(part.ids) for part in parts]
    return Document(
        ids=np.concatenate([part.ids for part in parts]),
        segment=np.repeat(np.array([part.segment for part in parts], np.int8), lengths),
        example=np.repeat(np.array([part.example for part in parts], np.int8), lengths),
        weight=np.repeat(np.array([part.weight for part in parts], np.float32), lengths),
    )
