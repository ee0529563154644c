from __future__ import annotations

from collections import Counter

from operators.read.style_prompts import BLOCK, STYLES, SUBJECTS, StylePrompts


def test_the_keywords_are_those_of_tab_8_and_there_are_subjects_enough() -> None:
    assert len(STYLES) == len(set(STYLES)) == 24
    assert (STYLES[0], STYLES[-1]) == ("Rendering", "Low-Poly")
    assert len(set(SUBJECTS)) == len(SUBJECTS) >= 40


def test_each_style_comes_in_blocks_of_different_subjects_and_exemplars_show_something_else() -> None:
    reader = StylePrompts(count=2 * len(STYLES) * BLOCK)
    pairs = [reader.read(item, "style") for item in reader.items(())]
    assert len({pair.key for pair in pairs}) == len(pairs)
    assert Counter(pair.context_group for pair in pairs) == dict.fromkeys(STYLES, 2 * BLOCK)
    for start in range(0, len(pairs), BLOCK):
        block = pairs[start : start + BLOCK]
        assert len({pair.context_group for pair in block}) == 1
        shown = [pair.steps[0].params[name] for pair in block for name in ("subject", "exemplar_subject")]
        assert len(set(shown)) == 2 * BLOCK
    first = pairs[0]
    assert first.texts["style_prompt"].endswith(", Rendering style")
    subject = first.steps[0].params["subject"]
    assert first.texts["base_prompt"] == f"{subject}, photo"
    assert first.texts["prompt"] == f"{subject} in Rendering style"  # "<caption> in <style description>"
    # Another round of the same style has other subjects.
    assert [p.texts["prompt"] for p in pairs[:BLOCK]] != [p.texts["prompt"] for p in pairs[len(pairs) // 2 :][:BLOCK]]


def test_a_longer_listing_begins_with_the_shorter_one() -> None:
    shorter, longer = StylePrompts(count=10), StylePrompts(count=20)
    assert list(longer.items(()))[:10] == list(shorter.items(()))
    item = list(shorter.items(()))[9]
    assert shorter.read(item, "style") == longer.read(item, "style")
