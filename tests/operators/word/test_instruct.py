from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from manifests.schema import Example
from operators.base import Setting
from operators.word.instruct import Instruct, pick
from pipelines.tasks.low_level import DERAIN
from tests.sources import pair_of

POOL = tuple("abcdefgh")


def test_pick_depends_on_seed_and_name_alone() -> None:
    assert [pick(POOL, seed, "forward") for seed in range(20)] == [pick(POOL, seed, "forward") for seed in range(20)]
    assert [pick(POOL, seed, "forward") for seed in range(20)] != [pick(POOL, seed, "reverse") for seed in range(20)]


def test_pick_covers_the_pool_evenly() -> None:
    counts = Counter(pick(POOL, seed, "forward") for seed in range(8_000))
    assert counts.keys() == set(POOL)
    assert min(counts.values()) > 880 and max(counts.values()) < 1_120  # 1,000 +- 4 standard deviations


def test_both_directions_swap_input_and_target() -> None:
    pair = Instruct(forward=("remove",), reverse=("add",))(pair_of(), 5)
    assert pair.examples == (
        Example(direction="forward", kind="generate", inputs=("input",), output="target", instruction="remove"),
        Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction="add"),
    )
    (step,) = pair.steps
    assert (step.operator, step.seed) == ("instruct", 5)


def test_a_task_without_a_meaningful_swap_has_no_reverse_example() -> None:
    (example,) = Instruct(forward=("remove",))(pair_of(), 5).examples
    assert example.direction == "forward"


@pytest.mark.parametrize(
    ("texts", "forward"),
    [
        ({"caption": " A cat\n on a  mat. "}, "Paint it. A cat on a mat."),
        ({"caption": " \n"}, "Paint it."),
        ({}, "Paint it."),
    ],
)
def test_a_caption_completes_the_forward_instruction_alone(texts: dict[str, str], forward: str) -> None:
    pair = replace(pair_of(), texts=texts)
    made = Instruct(forward=("Paint it.",), reverse=("Map it.",), with_caption=True)(pair, 5)
    assert [example.instruction for example in made.examples] == [forward, "Map it."]
    without = Instruct(forward=("Paint it.",), reverse=("Map it.",))(pair, 5)
    assert [example.instruction for example in without.examples] == ["Paint it.", "Map it."]


def test_a_task_of_dense_datasets_and_photos_has_captions_of_photos_alone() -> None:
    """What is fitted has a plain yes or no: the fingerprint of a dense dataset knows nothing of photos."""
    either = Instruct(forward=("Paint it.",), with_caption="unpaired")
    setting = Setting(paired=True, examples=(), chain=())
    assert either.fitted(setting) == Instruct(forward=("Paint it.",), with_caption=False)
    assert either.fitted(replace(setting, paired=False)) == Instruct(forward=("Paint it.",), with_caption=True)
    for always in (True, False):
        plain = Instruct(forward=("Paint it.",), with_caption=always)
        assert plain.fitted(setting) == plain.fitted(replace(setting, paired=False)) == plain


def test_every_phrasing_of_derain_is_used_and_none_is_there_twice() -> None:
    (instruct,) = (link for link in DERAIN.chain if isinstance(link, Instruct))
    phrasings = (*instruct.forward, *instruct.reverse)
    assert len(set(phrasings)) == len(phrasings) == 20
    pairs = [instruct(pair_of(), seed) for seed in range(300)]
    assert {example.instruction for pair in pairs for example in pair.examples} == set(phrasings)
    assert instruct(pair_of(), 3) == instruct(pair_of(), 3)
