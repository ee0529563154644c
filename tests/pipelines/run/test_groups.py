from __future__ import annotations

from dataclasses import replace

from manifests.schema import Pair, Reject
from pipelines.run.chain import Rejected
from pipelines.run.groups import without_small_groups
from tests.sources import pair_of


def test_pairs_of_a_group_that_is_too_small_are_rejected_and_the_others_stay_in_order() -> None:
    bad = Rejected(step="check_pose", reject=Reject("other_pose", "no"))
    a, b, c, d = (_pair(key, group) for key, group in (("a", "x"), ("b", "y"), ("c", "x"), ("d", "z")))
    first, second, third, fourth, fifth = without_small_groups([a, b, bad, c, d], 2)
    assert (first, third, fourth) == (a, bad, c)
    for one, group in ((second, "y"), (fifth, "z")):
        assert isinstance(one, Rejected) and one.step == "group"
        assert (one.reject.reason, one.reject.scores) == ("small_group", {"oks": 0.9})
        assert one.reject.message == f"of the group {group} 1 pairs are left, and an in-context example needs 2"


def test_where_one_is_enough_nothing_is_rejected() -> None:
    made = [_pair("a", ""), _pair("b", "y")]
    assert without_small_groups(made, 1) == made


def _pair(key: str, group: str) -> Pair:
    return replace(pair_of(key=key), context_group=group, scores={"oks": 0.9})
