from __future__ import annotations

import numpy as np
import pytest

from operators.retrieve.leaks import Guards, Leak, Traits, leaks

PAIRS = [
    ("a", "photo 1", b"1", [0b0, 0b1 << 40]),
    ("a", "photo 9", b"9", [2**64 - 1]),  # the key of the first
    ("c", "photo 1", b"3", [2**64 - 1]),
    ("d", "photo 4", b"1", [2**64 - 1]),
    ("e", "photo 5", b"5", [2**32 - 1, 2**48 - 1, (1 << 40) ^ 0b1111_1111]),  # the third is 8 bits from the second
    ("f", "photo 6", b"6", [2**32 - 1, (1 << 40) ^ 0b1_1111_1111]),  # 9 bits from it, and 10 from the other
    ("g", "photo 7", b"7", []),
]


@pytest.mark.parametrize(
    ("guards", "expected"),
    [
        (Guards.ALL, [Leak.ITSELF, Leak.ITSELF, Leak.GROUP, Leak.COPY, Leak.NEAR, Leak.NONE, Leak.NONE]),
        (Guards.SOURCE, [Leak.ITSELF, Leak.ITSELF, Leak.GROUP, *[Leak.NONE] * 4]),
        (Guards.ITSELF, [Leak.ITSELF, Leak.ITSELF, *[Leak.NONE] * 5]),
    ],
)
def test_each_leak_is_told_by_its_trait(guards: Guards, expected: list[Leak]) -> None:
    keys, groups, contents, hashes = map(list, zip(*PAIRS, strict=True))
    traits = Traits.of(keys, groups, contents, hashes).under(guards)
    first, everyone = np.zeros(len(PAIRS), np.int64), np.arange(len(PAIRS))
    assert leaks(traits.at(first), traits).tolist() == expected
    assert leaks(traits.at(everyone[::-1]), traits.at(first)).tolist() == expected[::-1]
