"""What the annotators of photos have in common."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from manifests.images.pixels import decode_rgb
from manifests.schema import Pair, Reject
from operators.arrange.colour_dense import ColourDense
from operators.arrange.swap import Swap
from operators.base import Setting
from operators.degrade import annotator
from operators.degrade.annotator import Annotator
from operators.degrade.depth_map import DepthMap
from operators.degrade.label_map import LabelMap
from operators.degrade.normal_map import NormalMap
from operators.models.checkpoints import identity
from tests.sources import encode, lossless, pair_of, photo
from tests.tiny import run_one, tiny_models, together_as_alone

ALL = (
    (DepthMap(), "depth2img", "relative_depth"),
    (LabelMap(), "seg2img", "class_ids"),
    (NormalMap(), "normal2img", "normals"),
)


@pytest.mark.parametrize(("operator", "task", "values"), ALL)
def test_a_photo_becomes_a_dense_pair_and_the_model_is_named(operator: Annotator, task: str, values: str) -> None:
    """75 x 101 px is a multiple of nothing. What follows turns it into a map and the photo, as it was."""
    models = tiny_models(operator.role)
    bound, before = operator.bound(models), _pair(0)
    pair = run_one(bound, before, 3)
    assert [image.role for image in pair.images] == ["input", "target"]
    assert pair.images[0].data == before.images[0].data
    assert (pair.images[1].width_px, pair.images[1].height_px) == (101, 75)
    (step,) = pair.steps
    assert (step.operator, step.version, step.seed, step.params) == (operator.name, 1, 3, {"target": values})
    assert (step.model, step.model_revision) == identity(f"{models}/{operator.role}", operator.role)
    turned = Swap()(ColourDense()(pair, 1), 1)
    assert turned.images[0].role == "target" and turned.images[0].data == before.images[0].data
    assert decode_rgb(turned.images[1].data).shape == (75, 101, 3)


@pytest.mark.parametrize(("operator", "task", "values"), ALL)
def test_what_becomes_of_a_photo_does_not_depend_on_the_others(operator: Annotator, task: str, values: str) -> None:
    assert together_as_alone(operator.bound(tiny_models(operator.role)), [_pair(number) for number in range(5)])


def test_a_damaged_photo_is_rejected_among_others() -> None:
    bound = LabelMap().bound(tiny_models("segformer-ade20k"))
    image = _pair(0).images[0]
    damaged = pair_of(replace(image, data=image.data[:200]))
    good, bad = bound.many([_pair(1), damaged], [1, 2])
    assert isinstance(good, Pair) and isinstance(bad, Reject) and bad.reason == "truncated"


@pytest.mark.parametrize("size", [(9, 1), (1, 9), (450, 1), (65, 8)])
def test_a_strip_is_rejected_before_a_network_sees_it(size: tuple[int, int]) -> None:
    """At a shorter side of 518 px, a row of 1,000 px would be 518,000 px wide."""
    bound = DepthMap().bound(tiny_models("depth-anything"))
    strip, panorama = (pair_of(lossless("target", photo(0, *sides))) for sides in (size, (64, 8)))
    narrow, wide = bound.many([strip, panorama], [1, 2])
    assert isinstance(narrow, Reject) and narrow.reason == "too_narrow"
    assert narrow.message.startswith(f"{size[0]} x {size[1]} px") and isinstance(wide, Pair)


@pytest.mark.parametrize(("operator", "task", "values"), ALL)
def test_missing_weights_are_one_line_that_says_what_to_do(
    operator: Annotator, task: str, values: str, tmp_path: Path
) -> None:
    for models in (None, str(tmp_path)):
        with pytest.raises(ValueError, match="make tiny-models, MODELS=tiny") as error:
            operator.bound(models)
        message = str(error.value)
        assert "\n" not in message and message.startswith(f"{operator.role} (")
        assert "licence: " in message and message.endswith(f"it is needed by {task}")


@pytest.mark.parametrize(("operator", "task", "values"), ALL)
def test_a_missing_package_is_one_line_that_says_what_to_do(
    operator: Annotator, task: str, values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotator, "find_spec", lambda name: None)
    said = rf"^{operator.name} needs {operator.library}: pip install 'xprompt-data-engine\[models\]'$"
    with pytest.raises(ValueError, match=said):
        operator.bound(tiny_models(operator.role))


def test_the_weights_count_and_not_their_place(tmp_path: Path) -> None:
    for folder, data in (("one", b"weights"), ("other", b"weights"), ("third", b"changed")):
        (tmp_path / folder / "depth-anything").mkdir(parents=True)
        (tmp_path / folder / "depth-anything/pytorch_model.bin").write_bytes(data)
    one, other, third = (DepthMap().bound(str(tmp_path / name)) for name in ("one", "other", "third"))
    assert replace(one, folder="") == replace(other, folder="") != replace(third, folder="")
    for operator, *_ in ALL:
        assert [one.name for one in fields(operator) if one.metadata.get("location")] == ["folder"]


def test_they_are_for_sources_that_bring_photos_alone() -> None:
    for operator, *_ in ALL:
        assert operator.fitted(Setting(paired=True, examples=(), chain=())) is None
        assert operator.fitted(Setting(paired=False, examples=(), chain=())) is operator


def _pair(number: int) -> Pair:
    """Of another photo for each number, of another shape too."""
    image = lossless("target", photo(number, 101 + 8 * number, 75))
    return pair_of(replace(image, data=encode(photo(number, 101 + 8 * number, 75))), key=f"{number:032x}")
