"""Sequences that are written side by side, one token each at a time, as the rows of one batch.

What a row begins with is its own: compressed examples, and tokens behind them. Rows that begin alike are run once; rows
that begin differently are run together where their lengths are nearly the same. Each beginning ends in the same column
of the cache, and a mask hides what is to its left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xprompt_model.cache import Compressed, KeyValues, StaticKeyValues, beside
from xprompt_model.layout import TD
from xprompt_model.model import XPromptChameleon
from xprompt_model.vocabulary import Ids

_MOST_PADDING = 0.25
"""Share of its tokens by which a beginning may be padded to be run together with a longer one."""
_SHORT_TOKENS = 16
"""Up to this difference padding costs less than another pass."""
_PASS_TOKENS = 16_384
"""As many tokens, with padding, are run at once: more would fill memory, and not make a GPU any faster."""
_COLUMNS = 256
"""Columns of compiled steps are a multiple of this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beginning:
    """What a sequence begins with: compressed examples, of which none sees another, and at least one token."""

    contexts: tuple[Compressed, ...]
    ids: Ids

    @property
    def start(self) -> int:
        """The position of the first token: behind the longest example."""
        return max(context.tokens for context in self.contexts)

    @property
    def held(self) -> int:
        """The number of tokens whose keys and values are kept of the examples."""
        return sum(len(context.cache) for context in self.contexts)

    @property
    def key(self) -> tuple[object, ...]:
        """What is equal if two beginnings are."""
        return (*map(id, self.contexts), self.ids.tobytes())


class Rows:
    """Sequences that have begun, [rows], and go on by a token each."""

    @torch.inference_mode()
    def __init__(
        self,
        model: XPromptChameleon,
        beginnings: Sequence[Beginning],
        *,
        room_tokens: int,
        steps: CompiledSteps | None = None,
    ) -> None:
        """Run what the rows begin with, and make room for so many tokens more in each.

        With `steps` these are compiled, and rows cannot be dropped.
        """
        self._model, self._device = model, model.xp.device
        distinct = list({beginning.key: beginning for beginning in beginnings}.values())
        place = {beginning.key: index for index, beginning in enumerate(distinct)}
        whose = np.array([place[beginning.key] for beginning in beginnings])
        passes = list(_passes(distinct))
        self._column = max(map(_columns, passes))
        like, rows, columns = distinct[0].contexts[0].cache, len(beginnings), self._column + room_tokens
        if steps:
            steps.prepare(like, rows, columns)
        self._steps = steps
        self._cache = steps.cache if steps else StaticKeyValues(like, rows=rows, columns=columns)
        visible = torch.zeros(rows, columns, dtype=torch.bool, device=self._device)
        visible[:, self._column :] = True
        logits = []
        for group in passes:
            numbers = [place[beginning.key] for beginning in group]
            found = np.flatnonzero(np.isin(whose, numbers))
            into, source = self._index(found), self._index([numbers.index(whose[row]) for row in found])
            held, seen, last = self._begin(group)
            self._cache.place(held, source, into, self._column)
            visible[into, self._column - seen.shape[1] : self._column] = seen[source]
            logits.append((into, last[source]))
        order = torch.cat([into for into, _ in logits]).argsort()
        self.logits = torch.cat([last for _, last in logits])[order]
        """Those of the tokens that follow, [rows, vocabulary], float32."""
        self._is_padded = bool((~visible).any())
        self._visible = visible[:, None, None]
        self._position = self._index([beginning.start + len(beginning.ids) for beginning in beginnings])[:, None]
        self._segment = torch.full((1,), TD, dtype=torch.int8, device=self._device)
        if steps:
            steps.begin(self._visible, self._column)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._position)

    @property
    def nbytes(self) -> int:
        """Memory of the rows' keys and values, with the room."""
        return self._cache.nbytes

    @torch.inference_mode()
    def feed(self, tokens: Tensor) -> None:
        """Go on with a token in each row, [rows]."""
        ids = tokens[:, None]
        if self._steps:
            self.logits = self._steps.step(ids, self._position)
        else:
            self._cache.column = self._column
            mask = self._visible[..., : self._column + 1] if self._is_padded else None
            hidden = self._model.advance(ids, self._segment, self._position, mask, self._cache)
            self.logits = self._model.logits(hidden[:, -1])
        self._column += 1
        self._position = self._position + 1

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only: what others held is freed, and they cost nothing any more."""
        assert not self._steps, "compiled steps are of one number of rows"
        index = self._index(rows)
        self._cache.keep(index)
        self.logits, self._visible, self._position = self.logits[index], self._visible[index], self._position[index]

    def _begin(self, group: Sequence[Beginning]) -> tuple[KeyValues, Tensor, Tensor]:
        """Keys and values of beginnings, which of them are no padding, [group, n], and logits behind the last token."""
        cache = beside([[context.cache for context in beginning.contexts] for beginning in group])
        held, length = len(cache), max(len(beginning.ids) for beginning in group)
        ids = np.full((len(group), length), self._model.vocabulary.pad, np.int64)
        position = np.zeros((len(group), length), np.int64)
        seen = np.zeros((len(group), held + length), np.bool_)
        for row, beginning in enumerate(group):
            count = len(beginning.ids)
            ids[row, length - count :] = beginning.ids
            position[row, length - count :] = np.arange(beginning.start, beginning.start + count)
            seen[row, held - beginning.held : held] = seen[row, held + length - count :] = True
        visible = torch.from_numpy(seen).to(self._device)
        before = torch.ones(length, held + length, dtype=torch.bool, device=self._device).tril(held)
        # What is padding sees itself: without any key a softmax would give no numbers, which a mask does not stop.
        itself = before & ~before.tril(held - 1)
        mask = ((before & visible[:, None]) | itself)[:, None]
        segment = torch.full((length,), TD, dtype=torch.int8, device=self._device)
        hidden = self._model.advance(self._index(ids), segment, self._index(position), mask, cache)
        return cache, visible, self._model.logits(hidden[:, -1])

    def _index(self, values: Sequence[int] | np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.int64)).to(self._device)


class CompiledSteps:
    """Steps whose shapes do not change, compiled for CUDA, which replays them as a graph without asking Python.

    Compiled once for a number of rows and of columns; for both to be the same again, columns are rounded up.
    """

    def __init__(self, model: XPromptChameleon) -> None:
        self._model = model
        self._shape = (0, 0)
        self._segment = torch.full((1,), TD, dtype=torch.int8, device=model.xp.device)
        self._column = torch.zeros(1, dtype=torch.int64, device=model.xp.device)
        self._run = torch.compile(self._plain, mode="reduce-overhead", fullgraph=True, dynamic=False)

    def prepare(self, like: KeyValues, rows: int, columns: int) -> None:
        """Make room for rows of at least so many columns, or use what there is: `cache`."""
        shape = (rows, -(-columns // _COLUMNS) * _COLUMNS)
        if shape == self._shape:
            return
        self._shape = shape
        self.cache = StaticKeyValues(like, rows=rows, columns=shape[1])
        self.cache.column = self._column
        self._visible = torch.zeros(rows, 1, 1, shape[1], dtype=torch.bool, device=self._column.device)
        for tensor in (self._column, self._visible, *(part for layer in self.cache.layers for part in layer)):
            torch._dynamo.mark_static_address(tensor)

    def begin(self, visible: Tensor, column: int) -> None:
        """Go on at a column, before which `visible`, [rows, 1, 1, n], says what is no padding."""
        self._column.fill_(column)
        self._visible.fill_(False)
        self._visible[..., :column] = visible[..., :column]

    def step(self, ids: Tensor, position: Tensor) -> Tensor:
        """Logits, [rows, vocabulary], behind a token in each row, [rows, 1]."""
        self._visible.index_fill_(3, self._column, True)
        logits: Tensor = self._run(ids, position).clone()  # a graph writes to the same memory again
        self._column += 1
        return logits

    def _plain(self, ids: Tensor, position: Tensor) -> Tensor:
        hidden = self._model.advance(ids, self._segment, position, self._visible, self.cache)
        return self._model.logits(hidden[:, -1])


def _columns(group: Sequence[Beginning]) -> int:
    """The columns that beginnings take when they are run together."""
    return max(one.held for one in group) + max(len(one.ids) for one in group)


def _passes(beginnings: Sequence[Beginning]) -> Iterator[list[Beginning]]:
    """Beginnings that are run together: the longest first, as long as padding is little."""
    group: list[Beginning] = []
    for beginning in sorted(beginnings, key=lambda one: -len(one.ids)):
        if group:
            longest = len(group[0].ids)
            padding = longest - len(beginning.ids)
            is_near = padding <= max(_SHORT_TOKENS, _MOST_PADDING * longest)
            if not is_near or (len(group) + 1) * longest > _PASS_TOKENS:
                yield group
                group = []
        group.append(beginning)
    yield group
