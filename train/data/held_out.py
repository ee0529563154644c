"""A share of the data that is never trained on, to validate on: whole groups, so that no picture is on both sides.

A group (manifests' `source_group`) names an original picture or scene. Whether it is held out is a hash of its name
alone: the same in every dataset, at every seed, whatever else is trained on. In-context examples come from groups that
are trained on, on both sides: a validation pair is shown to no training example, and none is shown to a validation
example, which would make it easier than a question that a user asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from manifests.schema import canonical_json
from train.data.corpus import Corpus, Examples


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A corpus as two, with the same datasets and labels."""

    training: Corpus
    validation: Corpus
    left_out: int
    """Examples on neither side: they had in-context examples, and all of them are of groups that are held out."""
    identity: str
    """As Corpus.identity, of the training side."""


def split(corpus: Corpus, share: float) -> Split:
    """Hold out a share of all groups. Raises ValueError, with the way out, if that leaves a side without examples."""
    held = [is_held_out(pairs.groups, share) for pairs in corpus.pairs]
    sides: tuple[list[Examples], list[Examples]] = ([], [])
    left_out = 0
    for own, rows in zip(held, corpus.examples, strict=False):
        for side, chosen in zip(sides, (~own[rows.pair], own[rows.pair]), strict=True):
            part = _part(rows, chosen, held)
            left_out += int(chosen.sum()) - len(part.pair)
            side.append(part)
    training, validation = (replace(corpus, examples=tuple(side)) for side in sides)
    for pairs, rows in zip(training.pairs, training.examples, strict=False):
        if not len(rows.pair):
            raise ValueError(f"--validation-share {share:g} holds out all of {pairs.task}: lower it")
    if not any(len(rows.pair) for rows in validation.examples):
        raise ValueError(f"--validation-share {share:g} holds out no group: raise it")
    identity = hashlib.sha256(canonical_json([corpus.identity, "held out", share]).encode()).hexdigest()
    return Split(training=training, validation=validation, left_out=left_out, identity=identity)


def is_held_out(groups: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Whether groups are of the share that is held out, by the hashes of their names (Pairs.groups), [n] each.

    A group stays held out when the share grows.
    """
    return np.asarray(groups < np.uint64(share * 2.0**64))


def _part(rows: Examples, chosen: NDArray[np.bool_], held: Sequence[NDArray[np.bool_]]) -> Examples:
    """The chosen ones of a dataset's examples, [N] each, less those who lose all their in-context examples."""
    end = int(rows.contexts[-1])  # 0 of a corpus without contexts
    context, context_dataset = rows.context[:end], rows.context_dataset[:end]
    is_shown = np.ones(end, bool)
    for dataset, pairs in enumerate(held):
        of = context_dataset == dataset
        is_shown[of] = ~pairs[context[of]]
    counts = np.diff(rows.contexts)
    owner = np.repeat(np.arange(len(counts)), counts)
    left = np.bincount(owner[is_shown], minlength=len(counts))
    kept = chosen & ((counts == 0) | (left > 0))
    shown = is_shown & kept[owner]
    return Examples(
        starts=np.concatenate([[0], np.cumsum(kept)])[rows.starts],
        pair=rows.pair[kept],
        code=rows.code[kept],
        contexts=np.cumsum([0, *left[kept]]),
        context=context[shown],
        context_dataset=context_dataset[shown],
    )
