from __future__ import annotations

from operators.read.person_prompts import PersonPrompts
from operators.read.persons import ACTIONS, PERSONS
from tests.readers import read_all


def test_each_action_comes_with_varied_persons() -> None:
    pairs, rejects = read_all(PersonPrompts())
    assert rejects == []
    assert len({pair.key for pair in pairs}) == len(PERSONS) * len(ACTIONS)
    assert {pair.texts["person"] for pair in pairs} == set(PERSONS)
    assert {pair.texts["action"] for pair in pairs} == set(ACTIONS)
    first = pairs[0]
    assert first.texts["person_prompt"] == f"a full body photo of {first.texts['person']} {ACTIONS[0]}"
    assert first.images == ()
    assert first.steps[0].params == {"person": first.texts["person"], "action": ACTIONS[0]}
    again, _ = read_all(PersonPrompts(count=40))
    assert again == pairs[:40]
