"""The keys and values of tokens that have been run, from which those of an in-context example can be dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    def of(cls, layers: Sequence[tuple[Tensor, Tensor]]) -> KeyValues:
        """What holds these keys and values, a pair for each layer."""
        made = cls()
        made._layers = [*layers]
        return made

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed:
    """What is kept of an in-context example: keys and values, and where its document goes on."""

    cache: KeyValues
    tokens: int
    """Length of IE and XP together: the position of TD's first token."""
    bytes_before: int
    """Size of all keys and values, before IE's were dropped."""
    bytes_after: int
    seconds: float
    """What running the example took; 0 where it was not run but read from a `Library`."""


class StaticKeyValues:
    """Keys and values of sequences that are written side by side, in memory that is there from the start.

    Each layer has [rows, heads, columns, head_dim]. What the sequences begin with may differ in length: it ends in the
    same column, so that the tokens behind it share theirs, and nothing is copied at any step. Columns to its left are
    zeros, which a mask must hide. There are no gradients.
    """

    def __init__(self, like: KeyValues, *, rows: int, columns: int) -> None:
        """Allocate for as many layers and heads, and of the type, as another's."""
        self._layers = [(_zeros(keys, rows, columns), _zeros(values, rows, columns)) for keys, values in like.layers]
        self.column: int | Tensor = 0
        """Where the next token is written. With a tensor, [1], the layers see all columns, of which a mask must hide
        those to come: then no shape changes from step to step, as compiled code needs it."""

    @property
    def layers(self) -> Sequence[tuple[Tensor, Tensor]]:
        """The keys and the values of each layer, from the first to the last."""
        return self._layers

    @property
    def nbytes(self) -> int:
        """Memory of all keys and values."""
        return sum(keys.nbytes + values.nbytes for keys, values in self._layers)

    def place(self, held: KeyValues, source: Tensor, rows: Tensor, column: int) -> None:
        """Write what sequences begin with: of `held`, whose batch `source` indexes, into `rows`, up to a column.

        `source` and `rows` are int64, [n] each.
        """
        start = column - len(held)
        for room, layer in zip(self._layers, held.layers, strict=True):
            for into, taken in zip(room, layer, strict=True):
                into[rows, :, start:column] = taken[source]

    def update(self, keys: Tensor, values: Tensor, layer: int, **_: Any) -> tuple[Tensor, Tensor]:
        """Write a layer's keys and values of one token a row, and return those that layers see, as views."""
        room_keys, room_values = self._layers[layer]
        if isinstance(self.column, Tensor):
            return room_keys.index_copy_(2, self.column, keys), room_values.index_copy_(2, self.column, values)
        end = self.column + 1
        room_keys[:, :, self.column : end] = keys
        room_values[:, :, self.column : end] = values
        return room_keys[:, :, :end], room_values[:, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these, an int64 index [m]. Their memory is freed, layer by layer."""
        for index, (keys, values) in enumerate(self._layers):
            self._layers[index] = keys[rows], values[rows]


Cache: TypeAlias = KeyValues | StaticKeyValues
"""What the layers append to and attend to."""


def beside(rows: Sequence[Sequence[KeyValues]]) -> KeyValues:
    """Rows of one batch, each of which holds the tokens of several caches, one beside the other.

    Shorter rows have zeros on the left, which a mask must hide.
    """
    length = max(sum(map(len, row)) for row in rows)
    layers = []
    for layer, (keys, values) in enumerate(rows[0][0].layers):
        padded = _zeros(keys, len(rows), length), _zeros(values, len(rows), length)
        for number, row in enumerate(rows):
            column = length
            for held in reversed(row):
                start = column - len(held)
                for into, taken in zip(padded, held.layers[layer], strict=True):
                    into[number, :, start:column] = taken[0]
                column = start
        layers.append(padded)
    return KeyValues.of(layers)


def _zeros(like: Tensor, rows: int, columns: int) -> Tensor:
    """[rows, heads, columns, head_dim] of zeros: numbers, since what a mask hides is multiplied by 0 all the same."""
    return like.new_zeros(rows, like.shape[1], columns, like.shape[3])
