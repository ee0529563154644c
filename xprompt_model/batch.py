"""Documents packed behind one another into one flat micro-batch of a fixed length.

The context window, 5,120 tokens in the paper, bounds a document. A micro-batch spans several windows, because documents
of about 4,300 tokens leave no room for another in one. No token attends to another document: see `mask.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xprompt_model.layout import NO_EXAMPLE, PADDING, Document

NO_DOCUMENT = -1
"""The number in `document` that marks padding."""


class MicroBatch:
    """A micro-batch of T tokens. All tensors are [T].

    Not a dataclass: FSDP looks into those, and casts the weights to bfloat16 on the way into the model.
    """

    def __init__(
        self, *, ids: Tensor, segment: Tensor, document: Tensor, example: Tensor, position: Tensor, weight: Tensor
    ) -> None:
        self.ids = ids
        """int64: token ids, at XP the index of the XP embedding, at padding 0."""
        self.segment = segment
        """int8: IE, XP, TD or PADDING of `layout.py`."""
        self.document = document
        """int32: 0, 1, ... in the order of the documents, NO_DOCUMENT at the padding behind them."""
        self.example = example
        """int8: the number of the in-context example in its document, NO_EXAMPLE in TD and at padding."""
        self.position = position
        """int64: `Document.position`; at padding 0, 1, ..."""
        self.weight = weight
        """float32: loss weight of predicting this token from those before it. 0 at a document's first."""

    def to(self, device: torch.device | str) -> MicroBatch:
        """The same micro-batch on a device."""
        return MicroBatch(**{name: tensor.to(device, non_blocking=True) for name, tensor in vars(self).items()})

    def __len__(self) -> int:
        """The number of tokens, T."""
        return len(self.ids)


def collate(documents: Sequence[Document], length: int) -> MicroBatch:
    """Pack documents in their order, padding behind them. Raises ValueError if they are longer than `length`."""
    lengths = [len(document) for document in documents]
    padding = length - sum(lengths)
    if padding < 0:
        raise ValueError(f"{len(documents)} documents of {sum(lengths):,} tokens: the micro-batch has {length:,}")
    numbers = np.arange(len(documents), dtype=np.int32)
    spans = [*lengths, padding]
    return MicroBatch(
        ids=_tensor([document.ids for document in documents], padding, 0, np.int64),
        segment=_tensor([document.segment for document in documents], padding, PADDING, np.int8),
        document=torch.from_numpy(np.repeat(np.append(numbers, np.int32(NO_DOCUMENT)), spans)),
        example=_tensor([document.example for document in documents], padding, NO_EXAMPLE, np.int8),
        position=torch.from_numpy(np.concatenate([*(one.position for one in documents), np.arange(padding)])),
        weight=_tensor([document.weight for document in documents], padding, 0, np.float32),
    )


def _tensor(parts: Sequence[np.ndarray], padding: int, value: int, dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.concatenate([*parts, np.full(padding, value, dtype)]).astype(dtype))
