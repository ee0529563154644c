from __future__ import annotations

import re
from dataclasses import replace

import pytest

from manifests.schema import Example, Pair, Reject
from operators.judge.arity import Arity, misfit
from operators.word.instruct import Instruct
from pipelines.tasks.catalogue import OUR_TASKS
from tests.sources import lossless, pair_of, photo


@pytest.mark.parametrize(
    ("instruction", "images"),
    [
        ("Blend the layout of <image 1> with the cap of <image 2>.", 2),
        ("Blend the layout of image 1 with the semantics of image 2.", 2),
        ("Take the subject of the second image, in the light of the first one.", 2),
        ("Combine the two images.", 2),
        ("Keep its second row of windows, and both towers.", 1),
        ("Remove the 3 men from this picture.", 1),
        ("Restyle image 1.", 2),
        ("Take down the two photos on the wall.", 1),
        ("Frame both pictures, and tilt the second photo.", 1),
        ("Remove the third image from the left.", 1),
        ("Swap the two pictures above the bed for the landscape of image 2.", 3),
        ("Add another cup next to the second one.", 1),
        ("Rotate the image 90 degrees, and make the picture 10% brighter.", 1),
        ("Turn the photo 15 degrees, 4 times; then crop the photo 4:3, or make the picture 4 by 6 inches.", 1),
        ("Make the image 1.5 times as large, like a photo 1980 would have had.", 1),
        ("Age the people in the picture 10 years.", 1),
        ("Hang three photographs of the cap of <image 1> over the bed of <image 2>.", 2),
    ],
)
def test_an_instruction_that_fits_its_images(instruction: str, images: int) -> None:
    assert misfit(instruction, images) is None
    Arity()(_pair(instruction, images), 0)


@pytest.mark.parametrize(
    ("instruction", "images", "said"),
    [
        ("Blend <image 1> with <image 2> and <image 3>.", 2, "image 3 is named, and the inputs are 2"),
        ("Use Image 2 for what they are.", 1, "image 2 is named, and the inputs are 1"),
        ("Put the garment of the second image on the person.", 1, "image 2 is named, and the inputs are 1"),
        ("Combine the two images.", 3, "two images are named, and the inputs are 3"),
        ("Merge both images.", 1, "both images are named, and the inputs are 1"),
        ("Merge the two input photos.", 1, "two images are named, and the inputs are 1"),
        ("Merge both pictures.", 3, "both images are named, and the inputs are 3"),
        ("Blend the style of picture 2. Keep the rest.", 1, "image 2 is named, and the inputs are 1"),
        ("Paint <image 1> in autumn.", 2, "image 2 of 2 has no placeholder"),
        ("Take picture 0 as it is.", 2, "image 0 is named, and the inputs are 2"),
    ],
)
def test_an_instruction_that_does_not_is_rejected(instruction: str, images: int, said: str) -> None:
    with pytest.raises(Reject, match=re.escape(said)) as caught:
        Arity()(_pair(instruction, images), 0)
    assert caught.value.reason == "other_arity"
    assert instruction in caught.value.message


def test_an_input_that_the_pair_does_not_have_is_named() -> None:
    pair = _pair("Combine the two images.", 2)
    without = replace(pair, images=tuple(image for image in pair.images if image.role != "input2"))
    with pytest.raises(Reject, match="input2") as caught:
        Arity()(without, 0)
    assert caught.value.reason == "missing_input"


def test_no_phrasing_of_ours_speaks_of_other_images_than_it_goes_with() -> None:
    """All pools that tasks draw from; those with two inputs are checked in a run as well."""
    instructs = [link for task in OUR_TASKS.values() for link in task.chain if isinstance(link, Instruct)]
    assert sum(len(instruct.inputs) == 2 for instruct in instructs) == 3
    for instruct in instructs:
        assert [misfit(phrase, len(instruct.inputs)) for phrase in instruct.forward] == [None] * len(instruct.forward)
        assert [misfit(phrase, 1) for phrase in instruct.reverse] == [None] * len(instruct.reverse)


def test_tasks_with_several_inputs_are_checked_after_all_that_words_them() -> None:
    for name in ("tryon", "composition", "mimicbrush"):
        assert isinstance(OUR_TASKS[name].chain[-1], Arity)


def _pair(instruction: str, images: int) -> Pair:
    roles = tuple(f"input{number + 1}" for number in range(images))
    example = Example(direction="forward", kind="generate", inputs=roles, output="target", instruction=instruction)
    shown = [lossless(role, photo(number)) for number, role in enumerate((*roles, "target"))]
    return replace(pair_of(*shown), examples=(example,))
