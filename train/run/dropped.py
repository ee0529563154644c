"""What of a corpus fits into a window, told before it is trained on.

Lengths are counted from the manifests and the model's text tokenizer; no token shard is read. Of several in-context
examples some are drawn anew each epoch, so numbers are means over epochs: an example that loses its context in every
third epoch counts a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from manifests.schema import shown_inputs
from manifests.write.contexts import read_columns
from train.data.corpus import EXAMPLE_KINDS, Corpus, Pairs
from xprompt_model.text import NoTokens, TextTokenizer

_COLUMNS = ["pair", "direction", "kind", "instruction", "inputs", "text", "images"]
_CACHED_TEXTS = 100_000
"""Instructions are few; captions seldom come twice."""

_NO_TOKENS = -1
"""In place of the length of an example one of whose texts has no tokens."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """What decides how many tokens a document has, and may have."""

    tokens: int
    xp_tokens: int
    image_tokens: int
    """Codes of an image."""
    context_image_tokens: int
    """Codes of an in-context example's image."""
    examples: int
    """In-context examples of a document, at most."""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """The examples of one task, direction and kind, in an epoch."""

    label: str
    examples: int
    with_context: float
    """Trained on with at least one in-context example."""
    no_context: float
    """Trained on without: they have contexts, and those do not fit."""
    too_long: float
    """Left out: too long themselves, or for the context that alone says what is to be done."""
    no_tokens: int
    """Left out: a text of theirs has no tokens."""

    @property
    def without(self) -> float:
        """Trained on without a context, having none."""
        return self.examples - self.with_context - self.no_context - self.too_long - self.no_tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lengths:
    """Tokens of a dataset's examples, and of what their pairs show as in-context examples."""

    turn: NDArray[np.int64]
    """In manifest order, without the begin-text that an example without a context has, [N]."""
    has_inputs: NDArray[np.bool_]
    shown: NDArray[np.int64]
    """By pair and code of EXAMPLE_KINDS, [P, 4]; _NO_TOKENS where there is no such example."""
    shows_inputs: NDArray[np.bool_]


def dropped(corpus: Corpus, tokenizer: TextTokenizer, window: Window) -> list[Dropped]:
    """What fits, for each label of a corpus that has examples."""
    lengths = [_lengths(known, tokenizer, window) for known in corpus.pairs]
    found = []
    for dataset, rows in enumerate(corpus.examples):
        own = lengths[dataset]
        counts = np.diff(rows.contexts)
        owner = np.repeat(np.arange(len(rows.pair)), counts)
        shown, shows = np.zeros(len(owner), np.int64), np.zeros(len(owner), np.bool_)
        # A corpus without contexts has their rows still, and no example that owns one.
        context, context_dataset = rows.context[: len(owner)], rows.context_dataset[: len(owner)]
        for other in np.unique(context_dataset):
            of = context_dataset == other
            place = context[of], rows.code[owner[of]]
            shown[of], shows[of] = lengths[other].shown[place], lengths[other].shows_inputs[place]
        fits = (shown != _NO_TOKENS) & (own.turn[owner] + shown + window.xp_tokens <= window.tokens)
        fitting = np.bincount(owner[fits], minlength=len(counts))
        none_fits = _none_drawn(counts, fitting, window.examples)
        must = ~own.has_inputs & (np.bincount(owner[shows], minlength=len(counts)) > 0)
        is_lost = must | (own.turn + 1 > window.tokens)
        has_tokens = own.turn != _NO_TOKENS
        for code in range(len(EXAMPLE_KINDS)):
            of = (rows.code == code) & has_tokens
            if not (rows.code == code).any():
                continue
            lost_context = np.where(counts > 0, none_fits, 0.0)[of]
            too_long = np.where(counts > 0, none_fits, 1.0)[of] * is_lost[of]
            found.append(
                Dropped(
                    label=corpus.label(dataset, code),
                    examples=int((rows.code == code).sum()),
                    with_context=float(((counts > 0) * (1 - none_fits))[of].sum()),
                    no_context=float((lost_context * ~is_lost[of]).sum()),
                    too_long=float(too_long.sum()),
                    no_tokens=int(((rows.code == code) & ~has_tokens).sum()),
                )
            )
    return found


def table(rows: Sequence[Dropped], window: Window) -> list[str]:
    """Lines for the terminal: what is lost in each task, and what can be done about it."""
    lines = [f"{'examples in an epoch':<44}{'all':>11}{'in context':>12}{'no context':>12}{'left out':>11}"]
    for row in rows:
        out = row.too_long + row.no_tokens
        lines.append(
            f"{row.label:<44}{row.examples:>11,}{row.with_context:>12,.0f}{row.no_context:>12,.0f}{out:>11,.0f}"
        )
    examples, no_context = sum(row.examples for row in rows), sum(row.no_context for row in rows)
    too_long, no_tokens = sum(row.too_long for row in rows), sum(row.no_tokens for row in rows)
    lines.append(
        f"a window of {window.tokens:,} tokens: {no_context:,.0f} of {examples:,} examples lose their context, "
        f"{too_long:,.0f} are too long and left out, {no_tokens:,} have no tokens"
    )
    if no_context or too_long:
        lines.append("ways out: --window-tokens (and --rope), --context-pixels, or none: they are trained on so")
    return lines


def _none_drawn(counts: NDArray[np.integer], fitting: NDArray[np.integer], draws: int) -> NDArray[np.float64]:
    """The probability that of `draws` contexts, or all if there are fewer, not one is among the fitting, [N]."""
    chance = np.ones(len(counts))
    for drawn in range(min(draws, int(counts.max(initial=0)))):
        left = np.maximum(counts - drawn, 1)
        chance = np.where(drawn < counts, chance * np.maximum(counts - fitting - drawn, 0) / left, chance)
    return chance


def _lengths(known: Pairs, tokenizer: TextTokenizer, window: Window) -> _Lengths:
    @lru_cache(maxsize=_CACHED_TEXTS)
    def words(text: str) -> int:
        try:
            return len(tokenizer.ids(text))
        except NoTokens:
            return _NO_TOKENS

    turns, has_inputs = list[int](), list[bool]()
    shown = np.full((int(known.starts[-1]), len(EXAMPLE_KINDS)), _NO_TOKENS, np.int64)
    shows = np.zeros(shown.shape, np.bool_)
    for start, name in zip(known.starts, known.shards, strict=False):
        numbers: dict[str, int] = {}
        for row in read_columns(known.dataset, name, _COLUMNS).to_pylist():
            pair = int(start) + numbers.setdefault(row["pair"], len(numbers))
            code = EXAMPLE_KINDS.index((row["direction"], row["kind"]))
            is_image = row["kind"] == "generate"
            texts = [words(row["instruction"]), *([] if is_image else [words(row["text"])])]
            has_inputs.append(bool(row["inputs"]))
            if _NO_TOKENS in texts:
                turns.append(_NO_TOKENS)
                continue
            inputs = shown_inputs(row["inputs"], [image["role"] for image in row["images"]])
            rest = sum(texts) + 2  # the separator, and begin-text or end-text
            turns.append((len(row["inputs"]) + is_image) * (window.image_tokens + 2) + rest)
            shown[pair, code] = (len(inputs) + is_image) * (window.context_image_tokens + 2) + rest
            shows[pair, code] = bool(inputs)
    return _Lengths(
        turn=np.array(turns, np.int64), has_inputs=np.array(has_inputs, np.bool_), shown=shown, shows_inputs=shows
    )
