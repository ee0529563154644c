from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.xprompt_model.small import batch_of, changed, document, small_model
from xprompt_model.batch import MicroBatch
from xprompt_model.layout import IE, TD, XP
from xprompt_model.mask import block_mask, dense_mask

eager = torch.compiler.set_stance("force_eager")
"""flex_attention's reference implementation, without a compiler."""


def packed() -> MicroBatch:
    """Three documents, one without an example, and padding: more than two tiles of 128."""
    return batch_of(document(0), document(3, context=False), document(5, describe=True), document(7), padding=11)


@pytest.mark.parametrize("causal", [False, True])
def test_the_dense_mask_is_what_two_loops_say(causal: bool) -> None:
    batch = packed()
    segment, number = batch.segment.tolist(), batch.document.tolist()
    expected = np.zeros((len(segment), len(segment)), np.bool_)
    for q in range(len(segment)):
        for k in range(q + 1):
            leak = segment[q] == TD and segment[k] == IE and not causal
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
