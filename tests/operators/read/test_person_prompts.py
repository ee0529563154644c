from __future__ import annotations

import itertools

from operators.read.person_prompts import PersonPrompts
from operators.read.persons import ACTIONS, GROUP, PERSONS
from tests.readers import read_all


def test_each_action_is_done_by_groups_of_different_persons() -> None:
    pairs, rejects = read_all(PersonPrompts())
    assert rejects == []
    assert len({pair.key for pair in pairs}) == len(PERSONS) * len(ACTIONS) == 600
    assert {pair.texts["person"] for pair in pairs} == set(PERSONS)
    assert {pair.texts["action"] for pair in pairs} == set(ACTIONS)
    groups = [[*group] for _, group in itertools.groupby(pairs, lambda pair: pair.context_group)]
    assert [len(group) for group in groups] == [GROUP] * 150
    assert len({group[0].context_group for group in groups}) == 150
    for group in groups:
        # One first picture, and with it five persons who are all different and do the same.
        (prompt,) = {pair.texts["person_prompt"] for pair in group}
        (action,) = {pair.texts["action"] for pair in group}
        first = str(group[0].steps[0].params["first_person"])
        assert prompt == f"a full body photo of {first} {action}"
        assert len({first, *(pair.texts["person"] for pair in group)}) == GROUP + 1
    first_pair = pairs[0]
    assert first_pair.images == ()
    assert first_pair.steps[0].params["person"] == first_pair.texts["person"]
    again, _ = read_all(PersonPrompts(count=40))
    assert again == pairs[:40]
