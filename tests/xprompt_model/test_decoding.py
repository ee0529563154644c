"""Rows of one batch against the plain forward pass: each whole document by itself, under its mask, uncached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.xprompt_model.small import XP_TOKENS, picture, small_model, text, turn, vocabulary
from xprompt_model import decoding
from xprompt_model.decoding import Beginning, CompiledSteps, Rows
from xprompt_model.generator import Generator
from xprompt_model.layout import IE, Turn, build_context, build_prompt
from xprompt_model.vocabulary import Ids

WORDS = vocabulary()
MODEL = small_model(num_key_value_heads=2)
GENERATOR = Generator(MODEL)
EXAMPLES = [turn(1), turn(2, describe=True), turn(3)]
STEPS = 5


def plain(examples: Sequence[Turn], ids: Ids, *, causal: bool = False) -> Tensor:
    """Logits behind each of the tokens that come behind examples, [n, vocabulary], by one pass over all of them."""
    shown: Sequence[Turn | None] = examples or [None]
    parts = [build_context(example, WORDS, xp_tokens=XP_TOKENS) for example in shown]
    lengths = [len(part) for part in parts]
    total = sum(lengths) + len(ids)
    owner = np.concatenate([*(np.full(length, index) for index, length in enumerate(lengths)), np.full(len(ids), -1)])
    segment = np.concatenate([*(part.segment for part in parts), np.full(len(ids), 2)]).astype(np.int8)
    position = np.concatenate([*map(np.arange, lengths), max(lengths) + np.arange(len(ids))])
    index, is_td = np.arange(total), owner == -1
    mask = (index[:, None] >= index) & ((owner[:, None] == owner) | is_td[:, None])
    if not causal:
        mask &= ~(is_td[:, None] & (segment == IE))
    joined = np.concatenate([*(part.ids for part in parts), ids])
    tokens, segments, positions, seen = map(torch.from_numpy, (joined, segment, position, mask))
    with torch.no_grad():
        hidden = MODEL.advance(tokens, segments, positions, seen[None, None])
        return MODEL.logits(hidden[-len(ids) :])


def beginning(examples: Sequence[int], words: int, images: int = 1, *, causal: bool = False) -> Beginning:
    contexts = [COMPRESSED[number, causal] for number in examples]
    prompt = build_prompt(text(words, 3 + words), [picture(number) for number in range(images)], WORDS).ids
    return Beginning(contexts=(*contexts,) or (NOTHING,), ids=prompt)


COMPRESSED = {
    (number, causal): GENERATOR.compress(EXAMPLES[number], keep_example=causal)
    for number in range(3)
    for causal in (False, True)
}
NOTHING = GENERATOR.compress(None)
ASKED: list[tuple[list[int], Beginning, bool]] = [
    ([0], beginning([0], 1), False),
    ([2, 0], beginning([2, 0], 40), False),
    ([], beginning([], 0, 0), False),
    ([0], beginning([0], 1), False),
    ([1], beginning([1], 2, causal=True), True),
    ([0, 1, 2], beginning([0, 1, 2], 3, causal=True), True),
]
"""Of different lengths, in the context of none to three examples, two of them alike."""


@pytest.mark.parametrize("kind", ["sliced", "whole"])
def test_rows_are_whole_documents_without_a_cache(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cache's columns up to the last token, and with all of them, as compiled code has them, twice in turn."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    steps = CompiledSteps(MODEL) if kind == "whole" else None
    memory = set()
    for asked in (ASKED, ASKED[::-1]) if steps else (ASKED,):
        rows = Rows(MODEL, [begun for _, begun, _ in asked], room_tokens=STEPS, steps=steps)
        fed = np.random.default_rng(0).integers(0, WORDS.size, (STEPS, len(asked)))
        for step in range(STEPS + 1):
            for row, (examples, begun, causal) in enumerate(asked):
                whole = np.concatenate((begun.ids, fed[:step, row]))
                expected = plain([EXAMPLES[number] for number in examples], whole, causal=causal)[-1]
                assert (rows.logits[row] - expected).abs().max() < 2e-5
                assert rows.logits[row].argmax() == expected.argmax()
            if step < STEPS:
                rows.feed(torch.from_numpy(fed[step]))
        memory.add(steps.cache.layers[0][0].data_ptr() if steps else 0)
    assert len(memory) == 1, "compiled steps find their memory where it was"


def test_rows_that_are_dropped_leave_the_others_alone() -> None:
    rows = Rows(MODEL, [begun for _, begun, _ in ASKED], room_tokens=3)
    held, size = rows.nbytes, len(rows)
    fed = torch.arange(300, 300 + size)
    rows.feed(fed)
    rows.keep([5, 1])
    rows.feed(torch.tensor([320, 321]))
    assert len(rows) == 2 and rows.nbytes * size == held * 2
    for row, (index, last) in enumerate([(5, 320), (1, 321)]):
        examples, begun, causal = ASKED[index]
        whole = np.append(begun.ids, [300 + index, last])
        expected = plain([EXAMPLES[number] for number in examples], whole, causal=causal)[-1]
        assert (rows.logits[row] - expected).abs().max() < 2e-5


def test_what_begins_alike_is_run_once_and_what_is_about_as_long_together(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[tuple[int, ...]] = []
    advance = MODEL.advance

    def watched(ids: Tensor, *rest: Any) -> Tensor:
        run.append(tuple(ids.shape))
        return advance(ids, *rest)

    monkeypatch.setattr(MODEL, "advance", watched)
    Rows(MODEL, [begun for _, begun, _ in ASKED], room_tokens=1)
    lengths = {len(begun.ids): None for _, begun, _ in ASKED}
    assert sorted(lengths) == [4, 23, 24, 25, 62]
    assert run == [(1, 62), (3, 25), (1, 4)]
    run.clear()
    monkeypatch.setattr(decoding, "_PASS_TOKENS", 60)
    Rows(MODEL, [begun for _, begun, _ in ASKED], room_tokens=1)
    assert run == [(1, 62), (2, 25), (1, 23), (1, 4)]
