from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.xprompt_model.small import XP_TOKENS, batch_of, build, changed, document, small_model, turn, vocabulary
from xprompt_model.batch import MicroBatch
from xprompt_model.cache import KeyValues
from xprompt_model.layout import IE, TD, XP, build_context
from xprompt_model.mask import block_mask, dense_mask
from xprompt_model.model import XPromptChameleon

eager = torch.compiler.set_stance("force_eager")
"""flex_attention's reference implementation, without a compiler."""


def packed() -> MicroBatch:
    """Four documents, one without an example and one with two, and padding: more than two tiles of 128."""
    several = build(turn(7), [turn(8), turn(9, words=11)])
    return batch_of(document(0), document(3, context=False), document(5, describe=True), several, padding=11)


@pytest.mark.parametrize("causal", [False, True])
def test_the_dense_mask_is_what_two_loops_say(causal: bool) -> None:
    batch = packed()
    segment, number, example = batch.segment.tolist(), batch.document.tolist(), batch.example.tolist()
    expected = np.zeros((len(segment), len(segment)), np.bool_)
    for q in range(len(segment)):
        for k in range(q + 1):
            leak = segment[q] == TD and segment[k] == IE and not causal
            leak |= example[q] >= 0 and example[q] != example[k]
            expected[q, k] = number[q] == number[k] and not leak
    found = dense_mask(batch, causal=causal)
    assert found.shape == (1, 1, len(segment), len(segment))
    assert np.array_equal(found[0, 0].numpy(), expected)
    assert found.any(-1).all(), "a row without any allowed key"


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_attention_agrees_with_the_dense_mask() -> None:
    model, batch = small_model(), packed()
    with torch.no_grad(), eager:
        dense, flex = model(batch, dense_mask(batch)), model(batch, block_mask(batch))
        causal = model(batch, block_mask(batch, causal=True))
    assert (dense - flex).abs().max() < 1e-5
    assert torch.allclose(causal, model(batch, dense_mask(batch, causal=True)), atol=1e-5)
    assert not torch.allclose(causal, dense, atol=1e-2)


def test_block_masks_skip_the_tiles_in_which_nothing_is_allowed() -> None:
    batch = packed()
    for causal in (False, True):
        dense = dense_mask(batch, causal=causal)[0, 0]
        size = -(-len(dense) // 128)
        full, partial = torch.zeros(size, dtype=torch.int32), torch.zeros(size, dtype=torch.int32)
        for row, band in enumerate(torch.split(dense, 128)):
            for tile in torch.split(band, 128, 1):
                whole = bool(tile.all()) and tile.shape == (128, 128)
                full[row] += whole
                partial[row] += bool(tile.any()) and not whole
        found = block_mask(batch, causal=causal)
        assert found.full_kv_num_blocks is not None
        assert found.full_kv_num_blocks[0, 0].tolist() == full.tolist()
        assert found.kv_num_blocks[0, 0].tolist() == partial.tolist()


def test_all_that_td_learns_of_the_example_passes_through_xp() -> None:
    model, batch = small_model(), batch_of(document(0))
    is_ie = batch.segment == IE
    other = changed(batch, ids=torch.where(is_ie, batch_of(document(50)).ids, batch.ids))
    assert (other.ids != batch.ids).sum() > 30
    is_td = batch.segment == TD
    is_open = dense_mask(batch)
    is_cut = is_open & ~((batch.segment == XP)[:, None] & is_ie)

    def difference(mask: Tensor) -> float:
        with torch.no_grad():
            return float((model(batch, mask) - model(other, mask))[is_td].abs().max())

    assert difference(is_cut) == 0.0
    assert difference(is_open) > 0.1


def test_what_td_learns_of_each_of_several_examples_passes_through_that_ones_xp() -> None:
    """In float64: with one example's IE cut from its XP, TD does not depend on that IE at all, and on the others'."""
    model, batch = small_model().double(), batch_of(build(turn(0), [turn(1), turn(2, words=9), turn(3, words=2)]))
    is_open, is_td = dense_mask(batch), batch.segment == TD
    for cut in range(3):
        is_cut = is_open & ~((batch.segment == XP)[:, None] & (batch.segment == IE) & (batch.example == cut))
        for mask, expected in ((is_open, {0, 1, 2}), (is_cut, {0, 1, 2} - {cut})):
            assert _examples_behind(model, batch, mask, is_td) == expected
        assert _examples_behind(model, batch, is_open, batch.example == cut) == {cut}
        is_causal = dense_mask(batch, causal=True)
        assert _examples_behind(model, batch, is_causal, batch.example == cut) == {cut}
    unseen = dense_mask(batch, causal=True) & ~(is_td[:, None] & (batch.segment == XP))
    assert _examples_behind(model, batch, unseen, is_td) == {0, 1, 2}, "the causal arm sees IE itself"


def _examples_behind(model: XPromptChameleon, batch: MicroBatch, mask: Tensor, of: Tensor) -> set[int]:
    """The examples whose IE the hidden states of some tokens depend on, by the gradients and by a change of IE."""
    embedded: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = model.embed_tokens.register_forward_hook(keep)
    found = model(batch, mask)[of]
    handle.remove()
    (gradient,) = torch.autograd.grad(found.square().sum(), embedded)
    by_gradient, by_change = set[int](), set[int]()
    for example in range(3):
        is_ie = (batch.segment == IE) & (batch.example == example)
        swapped = changed(batch, ids=torch.where(is_ie, batch.ids.roll(1), batch.ids))
        with torch.no_grad():
            difference = float((model(swapped, mask)[of] - found).abs().max())
        by_gradient |= {example} if float(gradient[is_ie].abs().max()) else set()
        by_change |= {example} if difference else set()
        assert difference == 0 or difference > 1e-3
    assert by_gradient == by_change
    return by_change


def test_an_example_is_compressed_among_others_to_what_it_is_alone_and_their_order_means_nothing() -> None:
    model, contexts = small_model().double(), [turn(1), turn(2, words=9), turn(3, words=2)]
    whole = build(turn(0), contexts)
    batch, together = batch_of(whole), KeyValues()
    with torch.no_grad():
        hidden = model.advance(batch.ids, batch.segment, batch.position, dense_mask(batch), together)
        for number, context in enumerate(contexts):
            one, cache = batch_of(build_context(context, vocabulary(), xp_tokens=XP_TOKENS)), KeyValues()
            model.advance(one.ids, one.segment, one.position, None, cache)
            there, here = (batch.segment == XP) & (batch.example == number), one.segment == XP
            for among, alone in zip(together.layers, cache.layers, strict=True):
                for a, b in zip(among, alone, strict=True):
                    assert (a[:, :, there] - b[:, :, here]).abs().max() < 1e-12
        other = batch_of(build(turn(0), contexts[::-1]))
        reversed_hidden = model(other, dense_mask(other))
    td = int((batch.segment == TD).sum())
    assert (hidden[-td:] - reversed_hidden[-td:]).abs().max() < 1e-12
    assert (hidden[:-td] - reversed_hidden[:-td]).abs().max() > 0.1


def test_no_token_attends_to_another_document() -> None:
    model = small_model()
    first, second, third = document(0), document(3), document(5, context=False)
    before = batch_of(first, second, third, padding=5)
    after = batch_of(document(20), second, document(25, context=False), padding=5)
    is_second = before.document == 1
    with torch.no_grad():
        a, b = model(before, dense_mask(before)), model(after, dense_mask(after))
        alone = batch_of(second)
        assert torch.allclose(model(alone, dense_mask(alone)), a[is_second], atol=1e-5)
    assert torch.equal(a[is_second], b[is_second])
    assert not torch.equal(a[before.document == 0], b[before.document == 0])


def test_the_mask_equals_two_causal_calls() -> None:
    batch = batch_of(document(0))
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, len(batch), 8, dtype=torch.float64)
    masked = scaled_dot_product_attention(q, k, v, attn_mask=dense_mask(batch))
    ie, td = int((batch.segment == IE).sum()), int((batch.segment == TD).sum())
    first = scaled_dot_product_attention(q[:, :, :-td], k[:, :, :-td], v[:, :, :-td], is_causal=True)
    lower_right = torch.ones(td, len(batch) - ie, dtype=torch.bool).tril(len(batch) - ie - td)
    second = scaled_dot_product_attention(q[:, :, -td:], k[:, :, ie:], v[:, :, ie:], attn_mask=lower_right)
    assert (masked - torch.cat((first, second), 2)).abs().max() < 1e-15
