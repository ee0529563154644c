from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import skimage.data

from manifests.images.pixels import decode_rgb
from manifests.schema import Reject
from operators.models import checkpoints
from operators.models.checkpoints import identity
from operators.models.pose.estimators import EstimatorName
from operators.models.pose.keypoints import draw
from operators.paint.estimate_pose import EstimatePose, estimated
from tests.sources import lossless, pair_of
from tests.tiny import tiny_models


def test_the_pose_is_an_image_of_the_pair_and_its_keypoints_are_kept() -> None:
    models = tiny_models("blazepose")
    operator = EstimatePose().bound(models)
    pair = operator(pair_of(lossless("input", skimage.data.astronaut())), 1)
    pose = pair.image("pose")
    assert pose and (pose.width_px, pose.height_px) == (512, 512)
    keypoints = estimated(pair)
    assert np.array_equal(decode_rgb(pose.data), draw(keypoints, 512, 512))
    assert decode_rgb(pose.data).any()
    (step,) = pair.steps
    assert (step.model, step.model_revision) == identity(f"{models}/blazepose", "blazepose")
    assert step.params["estimator"] == "blazepose"
    assert 7 <= pair.scores["pose_keypoints"] <= 13  # no legs


def test_nobody_or_too_little_of_a_person_is_rejected_with_the_score() -> None:
    models = tiny_models("blazepose")
    with pytest.raises(Reject) as reject:
        EstimatePose().bound(models)(pair_of(lossless("input", skimage.data.chelsea())), 1)
    assert (reject.value.reason, reject.value.scores) == ("no_person", {"pose_keypoints": 0})
    with pytest.raises(Reject) as reject:
        EstimatePose(min_keypoints=17).bound(models)(pair_of(lossless("input", skimage.data.astronaut())), 1)
    assert reject.value.reason == "few_keypoints"
    assert reject.value.scores["pose_keypoints"] >= 7


@pytest.mark.parametrize("name", get_args(EstimatorName))
def test_missing_weights_are_one_line(name: EstimatorName) -> None:
    with pytest.raises(ValueError, match=rf"^{name} .*needed by pose$"):
        EstimatePose(estimator=name).bound("/nowhere")


def test_with_the_hub_blazepose_is_where_make_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "TINY", tmp_path / "tiny")
    with pytest.raises(ValueError, match="make blazepose"):
        EstimatePose().bound("hub")
    shutil.copytree(f"{tiny_models('blazepose')}/blazepose", tmp_path / "blazepose")
    assert EstimatePose().bound("hub").folder == str(tmp_path / "blazepose")
