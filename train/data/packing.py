"""Packs whole documents into flattened micro-batches of several windows.

One document a 5,120-token window would leave a quarter of the recipe's tokens padding, and first-fit into single
windows a sixth: a long document leaves no room for a short one. A micro-batch of eight windows holds nine long and two
short ones; from a small buffer of documents the best set is chosen. The paper's window bounds a document, not the
micro-batch. `python -m infra.bench.packing` prints the figures.
"""

from __future__ import annotations

from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[int]:
    """Which of the buffered documents, oldest first, fill a micro-batch of `capacity` tokens best: indices, sorted.

    The oldest is always among them, so that none waits for ever; of the sets with that document the fullest is taken,
    of equally full ones one that leaves the newest. Subset sums are bits of one integer: for 32 documents and 40,960
    tokens well under a millisecond. `lengths` are at most `capacity` each, and there is one at least.
    """
    room = capacity - lengths[0]
    fits = (1 << room + 1) - 1
    reachable = [1]  # bit s of reachable[i]: the first i documents after the oldest have a subset of s tokens
    for length in lengths[1:]:
        reachable.append((reachable[-1] | reachable[-1] << length) & fits)
    filled = reachable[-1].bit_length() - 1
    chosen = []
    for index in range(len(lengths) - 1, 0, -1):
        if not reachable[index - 1] >> filled & 1:
            chosen.append(index)
            filled -= lengths[index]
    return [0, *reversed(chosen)]
