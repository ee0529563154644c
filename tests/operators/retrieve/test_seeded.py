from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from manifests.schema import Direction, Example, Kind, Pair
from operators.retrieve.seeded import METHOD, choose_contexts
from tests.sources import pair_of

GENERATE: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"), ("reverse", "generate"))
DESCRIBE: tuple[tuple[Direction, Kind], ...] = (("forward", "describe"), ("reverse", "describe"))


def test_every_example_gets_a_pair_of_another_picture_that_has_the_same_direction_and_kind() -> None:
    # Half of the pairs have no describe examples; pictures have one to four pairs.
    pairs = [
        _pair(f"{number:02d}", f"picture {number % 7}", GENERATE if number % 2 else GENERATE + DESCRIBE)
        for number in range(20)
    ]
    by_key = {pair.key: pair for pair in pairs}
    contexts, needing = choose_contexts(pairs, 0)
    assert needing == 20 * 2 + 10 * 2
    assert contexts.keys() == {(p.key, e.direction, e.kind) for p in pairs for e in p.examples}
    for (key, direction, kind), context in contexts.items():
        other = by_key[context.pair]
        assert other.group != by_key[key].group
        assert (direction, kind) in {(example.direction, example.kind) for example in other.examples}
        assert context.method == METHOD


def test_a_context_is_of_the_same_context_group() -> None:
    pairs = [replace(_pair(str(number), str(number)), context_group="ab"[number % 2]) for number in range(8)]
    contexts, needing = choose_contexts([*pairs, replace(_pair("8", "8"), context_group="c")], 0)
    assert needing == 18 and len(contexts) == 16  # alone in its group, the last one has none
    assert all(int(key) % 2 == int(context.pair) % 2 for (key, _, _), context in contexts.items())


def test_of_one_picture_only_another_pair_is_chosen_and_never_itself() -> None:
    pairs = [_pair(key, "one") for key in "abc"]
    contexts, _ = choose_contexts(pairs, 0)
    assert len(contexts) == 6
    assert all(context.pair != key and context.pair in "abc" for (key, _, _), context in contexts.items())


def test_a_picture_with_most_pairs_takes_the_few_others() -> None:
    pairs = [*(_pair(f"big {n}", "big") for n in range(5)), _pair("small", "small")]
    contexts, _ = choose_contexts(pairs, 0)
    assert {contexts[f"big {n}", "forward", "generate"].pair for n in range(5)} == {"small"}
    assert contexts["small", "forward", "generate"].pair.startswith("big ")


def test_alone_there_is_none_though_one_is_needed() -> None:
    assert choose_contexts([_pair("a", "one")], 0) == ({}, 2)
    assert choose_contexts([], 0) == ({}, 0)


def test_an_example_alone_in_its_kind_gets_none_while_the_others_do() -> None:
    pairs = [_pair("a", "one", GENERATE + DESCRIBE), _pair("b", "two")]
    contexts, needing = choose_contexts(pairs, 0)
    assert needing == 6
    assert contexts.keys() == {(key, direction, kind) for key in "ab" for direction, kind in GENERATE}


def test_an_example_without_an_input_image_needs_none() -> None:
    text_to_image = [
        replace(pair, examples=tuple(replace(example, inputs=()) for example in pair.examples))
        for pair in (_pair("a", "one"), _pair("b", "two"))
    ]
    assert choose_contexts(text_to_image, 0) == ({}, 0)


def test_a_task_may_list_which_examples_get_one() -> None:
    """Persons of whom nothing but words is given get one, captions of images get none."""
    persons = [replace(_from_words(str(number)), context_group="ab"[number % 2]) for number in range(5)]
    contexts, needing = choose_contexts(persons, 0, [("forward", "generate")])
    assert needing == len(contexts) == 5
    assert all(
        int(key) % 2 == int(context.pair) % 2 and key != context.pair for (key, _, _), context in contexts.items()
    )
    captioned = [_pair(str(number), str(number), DESCRIBE) for number in range(3)]
    assert choose_contexts(captioned, 0, []) == ({}, 0)
    assert choose_contexts(captioned, 0)[1] == 6


def test_the_choice_does_not_depend_on_the_order_of_the_pairs() -> None:
    pairs = [_pair(f"{number:03d}", f"picture {number // 3}") for number in range(60)]
    shuffled = random.Random(0).sample(pairs, len(pairs))
    assert choose_contexts(pairs, 5) == choose_contexts(shuffled, 5)


def test_the_choice_depends_on_the_seed_and_differs_between_examples() -> None:
    pairs = [_pair(f"{number:03d}", str(number)) for number in range(60)]
    contexts, _ = choose_contexts(pairs, 0)
    assert contexts != choose_contexts(pairs, 1)[0]
    same = sum(contexts[p.key, "forward", "generate"] == contexts[p.key, "reverse", "generate"] for p in pairs)
    assert same < 10  # 1 expected


def test_the_choice_is_uniform_over_the_pairs_of_other_pictures() -> None:
    pairs = [_pair(f"{number:02d}", f"picture {number // 2}") for number in range(12)]
    counts = Counter(choose_contexts(pairs, seed)[0]["04", "forward", "generate"].pair for seed in range(2_000))
    assert counts.keys() == {pair.key for pair in pairs} - {"04", "05"}
    assert min(counts.values()) > 146 and max(counts.values()) < 254  # 200 +- 4 standard deviations


def _pair(key: str, group: str, examples: tuple[tuple[Direction, Kind], ...] = GENERATE) -> Pair:
    made = tuple(
        Example(direction=direction, kind=kind, inputs=("input",), output="target", instruction="")
        for direction, kind in examples
    )
    return replace(pair_of(key=key, group=group), examples=made)


def _from_words(key: str) -> Pair:
    pair = _pair(key, "one", (("forward", "generate"),))
    return replace(pair, examples=tuple(replace(example, inputs=()) for example in pair.examples))
