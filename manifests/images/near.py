"""Finds near-duplicates among 64-bit hashes by banding, without comparing all with all.

Cut the bits into d + k bands: two hashes that differ in at most d bits agree in at least k of them. So for each choice
of k bands, only hashes that agree there are compared. More bands a choice mean more passes and shorter runs.
Hashes that are nearly all the same but not equal, tens of thousands of them, make long runs and cost time squared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from manifests.images.phash import BITS, Hashes

MAX_DISTANCE = 8
"""The largest distance that may be asked for, in bits: beyond it, hashes of unrelated photos begin to be found (their
median distance is 32)."""

Positions = npt.NDArray[np.int64]
_SORTED_PER_S, _COMPARED_PER_S = 5e6, 1e8  # measured with numpy on one core; they only choose k
_MAX_EDGES = 4_000_000  # pending, about 64 MB
_MAX_BAND_CHOICES = 4


def groups(hashes: Hashes, distance: int) -> Positions:
    """For each hash the number of its group: those reachable by steps of at most `distance` bits.

    A million, measured on one core: 3 s at distance 4, 45 s at distance 8. Memory: about 80 bytes a hash, and 64 MB.
    """
    unique, inverse = np.unique(hashes, return_inverse=True)
    merged = _Merged(len(unique))
    for mask in _masks(distance, len(unique)):
        keys = unique & mask
        order = np.argsort(keys, kind="stable").astype(np.int32 if len(unique) < 2**31 else np.int64)
        keys, values = keys[order], unique[order]
        # Neighbours in a run of equal keys, then those two apart, ... until no run is long enough.
        start = np.flatnonzero(keys[1:] == keys[:-1])
        for step in itertools.count(1):
            if not len(start):
                break
            near = start[np.bitwise_count(values[start] ^ values[start + step]) <= distance]
            merged.add(order[near], order[near + step])
            start = start[start + step + 1 < len(keys)]
            start = start[keys[start] == keys[start + step + 1]]
    return merged.labels()[inverse]


def near_any(hashes: Hashes, others: Hashes, distance: int) -> npt.NDArray[np.bool_]:
    """For each hash whether one of some others is at most `distance` bits away."""
    near = np.zeros(len(hashes), np.bool_)
    others = np.unique(others)
    for mask in _band_masks(distance + 1):
        keys = others & mask
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], others[order]
        waiting = np.flatnonzero(~near)
        start = np.searchsorted(keys, hashes[waiting] & mask, "left")
        stop = np.searchsorted(keys, hashes[waiting] & mask, "right")
        while len(waiting):  # the next of each run of equal keys
            inside = start < stop
            waiting, start, stop = waiting[inside], start[inside], stop[inside]
            found = np.bitwise_count(values[start] ^ hashes[waiting]) <= distance
            near[waiting[found]] = True
            waiting, start, stop = waiting[~found], start[~found] + 1, stop[~found]
    return near


@dataclass(frozen=True, kw_only=True)
class NearIndex:
    """Looks up the hash nearest to a given one, among up to some millions."""

    hashes: Hashes
    distance: int

    def nearest(self, wanted: int) -> tuple[int, int] | None:
        """Position and distance of the nearest hash within `distance`, the first of equals; None if there is none."""
        query = np.uint64(wanted)
        best: tuple[int, int] | None = None
        for mask, keys, order in self._bands:
            key = query & mask
            found = order[np.searchsorted(keys, key, "left") : np.searchsorted(keys, key, "right")]
            if len(found):
                away = np.bitwise_count(self.hashes[found] ^ query)
                nearest = int(away.argmin())  # a run is in order of position
                candidate = (int(away[nearest]), int(found[nearest]))
                if candidate[0] <= self.distance and (best is None or candidate < best):
                    best = candidate
        return (best[1], best[0]) if best else None

    @cached_property
    def _bands(self) -> list[tuple[np.uint64, Hashes, Positions]]:
        bands = []
        for mask in _band_masks(self.distance + 1):
            keys = self.hashes & mask
            order = np.argsort(keys, kind="stable")
            bands.append((mask, keys[order], order))
        return bands


class _Merged:
    """Sets that are joined pair by pair, many at a time."""

    def __init__(self, count: int) -> None:
        self._labels: Positions = np.arange(count)
        self._pending: list[tuple[Positions, Positions]] = []
        self._edges = 0

    def add(self, one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> None:
        left, right = self._labels[one], self._labels[other]
        apart = left != right
        if apart.any():
            self._pending.append((left[apart], right[apart]))
            self._edges += int(apart.sum())
            if self._edges > _MAX_EDGES:
                self.labels()

    def labels(self) -> Positions:
        if self._pending:
            left, right = (np.concatenate(ends) for ends in zip(*self._pending, strict=True))
            size = len(self._labels)
            graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(size, size))
            self._labels = connected_components(graph, directed=False)[1].astype(np.int64)[self._labels]
            self._pending, self._edges = [], 0
        return self._labels


def _masks(distance: int, count: int) -> Iterator[np.uint64]:
    """The masks of every choice of k bands, with the k that is estimated to be fastest for so many hashes."""

    def seconds(k: int) -> float:
        run = count / 2 ** (BITS * k / (distance + k))
        return math.comb(distance + k, k) * count * (1 / _SORTED_PER_S + run / 2 / _COMPARED_PER_S)

    best = min(range(1, _MAX_BAND_CHOICES + 1), key=seconds)
    for bands in itertools.combinations(_band_masks(distance + best), best):
        yield np.bitwise_or.reduce(np.array(bands, np.uint64))


def _band_masks(count: int) -> list[np.uint64]:
    """The 64 bits cut into bands of nearly one width."""
    edges = [BITS * band // count for band in range(count + 1)]
    return [np.uint64((1 << stop) - (1 << start)) for start, stop in itertools.pairwise(edges)]
