"""The keys and values of tokens that have been run, from which those of an in-context example can be dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor


class KeyValues:
    """The keys and values of all layers, [batch, heads, n, head_dim] each. Gradients go through it.

    Of what a cache of transformers can do, the layers call only `update`.
    """

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def joined(cls, parts: Sequence[KeyValues]) -> KeyValues:
        """The tokens of several, of as many layers each, beside one another."""
        whole = cls()
        for layers in zip(*(part.layers for part in parts), strict=True):
            keys, values = zip(*layers, strict=True)
            whole._layers.append((torch.cat(keys, 2), torch.cat(values, 2)))
        return whole

    @property
    def layers(self) -> Sequence[tuple[Tensor, Tensor]]:
        """The keys and the values of each layer, from the first to the last."""
        return self._layers

    def __len__(self) -> int:
        """The number of tokens held."""
        return self._layers[0][0].shape[2] if self._layers else 0

    @property
    def nbytes(self) -> int:
        """Memory of all keys and values."""
        return sum(keys.nbytes + values.nbytes for keys, values in self._layers)

    def update(self, keys: Tensor, values: Tensor, layer: int, **_: Any) -> tuple[Tensor, Tensor]:
        """Append a layer's new keys and values, and return all of them."""
        if layer == len(self._layers):
            self._layers.append((keys, values))
        else:
            old_keys, old_values = self._layers[layer]
            self._layers[layer] = torch.cat((old_keys, keys), 2), torch.cat((old_values, values), 2)
        return self._layers[layer]

    def keep(self, tokens: Tensor) -> None:
        """Drop all tokens but these, an int64 index [m]. Their memory is freed."""
        self._layers = [(keys[:, :, tokens], values[:, :, tokens]) for keys, values in self._layers]

    def fork(self) -> KeyValues:
        """Another cache that goes on from here. Nothing is copied: tensors are never written to."""
        forked = KeyValues()
        forked._layers = list(self._layers)
        return forked


class RoomyKeyValues:
    """Keys and values that go on from others, in memory that is there from the start: nothing is copied at each step.

    The sequences of a batch, whose number is that of the rows, begin with the same tokens. There are no gradients.
    """

    def __init__(self, begun: KeyValues, *, room_tokens: int, rows: int) -> None:
        """Copy what has been run, and make room for so many tokens more, in each of `rows` sequences."""
        self._layers = [
            (_roomy(keys, room_tokens, rows), _roomy(values, room_tokens, rows)) for keys, values in begun.layers
        ]
        self._lengths = [len(begun)] * len(self._layers)

    def __len__(self) -> int:
        """The number of tokens held, of each sequence."""
        return self._lengths[0]

    def update(self, keys: Tensor, values: Tensor, layer: int, **_: Any) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values behind its others, and return all of them, as views."""
        start = self._lengths[layer]
        end = self._lengths[layer] = start + keys.shape[2]
        for room, new in zip(self._layers[layer], (keys, values), strict=True):
            room[:, :, start:end] = new
        all_keys, all_values = (room[:, :, :end] for room in self._layers[layer])
        return all_keys, all_values


Cache: TypeAlias = KeyValues | RoomyKeyValues
"""What the layers append to and attend to."""


def _roomy(held: Tensor, room_tokens: int, rows: int) -> Tensor:
    """A tensor, [1, heads, n, head_dim], at the beginning of another, [rows, heads, n + room_tokens, head_dim]."""
    _, heads, length, width = held.shape
    roomy = held.new_empty(rows, heads, length + room_tokens, width)
    roomy[:, :, :length] = held
    return roomy
