"""Keys and seeds are pinned: a change of the scheme would silently make other data of the same configuration."""

from __future__ import annotations

import math
import pickle

import pytest

from manifests.schema import Reject, canonical_json, in_short, pair_key, seed_for


def test_pair_key_is_pinned() -> None:
    assert pair_key("derain", "train/input/12.png", b"input", b"target") == "8cff51c53f921b0c39bc46f514758d35"
    assert pair_key("derain", "été/日本.png") == "d4a74093e8645482aebf77fd5d571736"


@pytest.mark.parametrize(
    "other",
    [
        pair_key("deblur", "a.png", b"1", b"2"),
        pair_key("derain", "b.png", b"1", b"2"),
        pair_key("derain", "a.png", b"2", b"1"),
        pair_key("derain", "a.png", b"12"),
        pair_key("derain", "a.png", b"1"),
    ],
)
def test_pair_key_depends_on_all_that_it_is_made_of(other: str) -> None:
    assert other != pair_key("derain", "a.png", b"1", b"2")


def test_pair_key_can_be_a_member_name() -> None:
    """WebDataset splits a name at its first dot and at slashes."""
    key = pair_key("derain", "../a.b/c.png", b"")
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


def test_seed_is_pinned() -> None:
    assert seed_for(0) == 7_520_536_977_032_167_579
    assert seed_for(0, "0123", "rain") == 429_181_759_610_527_999
    assert seed_for(1, "0123", "rain") == 4_313_837_930_275_815_962


def test_seed_fits_a_signed_64_bit_integer() -> None:
    seeds = [seed_for(0, str(number)) for number in range(1_000)]
    assert len(set(seeds)) == 1_000
    assert 0 <= min(seeds) < 2**60  # spread over the whole range
    assert 2**62 < max(seeds) < 2**63


def test_names_of_a_seed_are_kept_apart() -> None:
    assert seed_for(0, "ab", "c") != seed_for(0, "a", "bc")


def test_canonical_json_has_one_spelling() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'
    assert canonical_json({"a": "é", "b": [1, 2.5]}) == canonical_json({"b": [1, 2.5], "a": "é"})


def test_canonical_json_refuses_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(math.nan)


@pytest.mark.parametrize("length", [0, 3_999, 4_000, 4_001, 6_000_000])
def test_a_message_is_short_and_stays_as_it_is_from_process_to_process(length: int) -> None:
    said = "x" * length
    reject = Reject("unparsed", said)
    for _ in range(3):
        assert len(reject.message) == min(length, 4_000) and str(reject) == reject.message
        assert reject.message == said or reject.message.endswith(f" ... (of {length:,} characters)")
        reject = pickle.loads(pickle.dumps(reject))


def test_what_is_cut_off_says_how_long_it_was() -> None:
    assert in_short("abcdefghij" * 10, 30) == "abcdef ... (of 100 characters)"
    assert in_short("abcdefghij", 10) == "abcdefghij"
