"""What both recipes of prompts owe to the engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.read.person_prompts import PersonPrompts
from operators.read.prompt_recipe import PromptRecipe
from operators.read.style_prompts import StylePrompts


@pytest.mark.parametrize("recipe", [PersonPrompts(), StylePrompts()])
def test_more_candidates_begin_with_the_same_ones_and_no_two_are_named_alike(recipe: PromptRecipe) -> None:
    few, many = (list(replace(recipe, count=count).items([])) for count in (5, 12))
    assert many[:5] == few
    assert len({item.ref for item in many}) == 12


@pytest.mark.parametrize("recipe", [PersonPrompts(), StylePrompts()])
def test_it_reads_no_folder_and_all_its_images_are_new(recipe: PromptRecipe) -> None:
    assert recipe.located("/data", []) is None
    assert recipe.suffixes([]) == dict.fromkeys(recipe.roles, "png")
