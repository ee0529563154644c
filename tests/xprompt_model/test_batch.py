from __future__ import annotations

import pytest
import torch

from tests.xprompt_model.small import build, document, turn
from xprompt_model.batch import collate
from xprompt_model.layout import PADDING


def test_documents_lie_whole_behind_one_another_and_padding_behind_them() -> None:
    first, second = build(turn(0), [turn(1), turn(2, words=3)]), document(1, context=False)
    batch = collate([first, second], len(first) + len(second) + 3)
    assert batch.ids.tolist() == [*first.ids, *second.ids, 0, 0, 0]
    assert batch.segment.tolist() == [*first.segment, *second.segment, *[PADDING] * 3]
    assert batch.document.tolist() == [0] * len(first) + [1] * len(second) + [-1] * 3
    assert batch.example.tolist() == [*first.example, *[-1] * len(second), *[-1] * 3]
    assert batch.position.tolist() == [*first.position, *range(len(second)), *range(3)]
    assert batch.weight.tolist() == [*first.weight, *second.weight, 0, 0, 0]
    types = [tensor.dtype for tensor in vars(batch).values()]
    assert types == [torch.int64, torch.int8, torch.int32, torch.int8, torch.int64, torch.float32]


def test_no_document_predicts_the_first_token_of_the_next() -> None:
    batch = collate([document(0), document(1), document(2, context=False)], 400)
    assert (batch.weight[batch.position == 0] == 0).all()


def test_more_than_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="1 documents of 93 tokens: the micro-batch has 92"):
        collate([document(0)], len(document(0)) - 1)


def test_a_batch_of_padding_only() -> None:
    assert collate([], 5).document.tolist() == [-1] * 5
