from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from manifests.schema import Reject
from operators.checkpoints import identity
from operators.diffusion import found, like, picture, pipeline, side_px, steps_of
from tests.tiny import tiny_models


def test_models_are_found_loaded_once_and_named() -> None:
    models = tiny_models("sd15", "flux")
    folders, identities = found(models, ["sd15", "flux"])
    assert identities == (identity(folders[0], "sd15"), identity(folders[1], "flux"))
    pipe = pipeline("StableDiffusionPipeline", folders[0])
    assert pipeline("StableDiffusionPipeline", folders[0]) is pipe
    assert side_px(pipe) == 64
    assert side_px(pipeline("FluxPipeline", folders[1])) == 128
    with pytest.raises(ValueError, match=r"^openpose .*needed by"):
        found(models, ["sd15", "openpose"])
    steps = steps_of("x", 2, ("a", "b"), identities, params={"steps": 3}, seed=5, prompt="a cat")
    assert [(step.params, step.model, step.prompt) for step in steps] == [
        ({"part": "a", "steps": 3}, "sd15", "a cat"),
        ({"part": "b"}, "flux", None),
    ]
    assert [step.seed for step in steps] == [5, 5]


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 100), (512, 512)), ((200, 100), (384, 704)), ((768, 1024), (576, 448))]
)
def test_a_picture_has_the_models_area_in_about_the_shape_asked_for(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    pipe: Any = SimpleNamespace(unet=SimpleNamespace(config=SimpleNamespace(sample_size=64)), vae_scale_factor=8)
    assert like(pipe, *shape) == expected


def test_the_seed_alone_decides_and_what_the_safety_checker_blackens_is_rejected() -> None:
    def draw(generator: Any) -> Any:
        import torch

        return SimpleNamespace(images=[torch.rand((4, 5, 3), generator=generator).numpy()])

    assert np.array_equal(picture(draw, 3), picture(draw, 3))
    assert not np.array_equal(picture(draw, 3), picture(draw, 4))
    unsafe = SimpleNamespace(images=[np.zeros((4, 5, 3))], nsfw_content_detected=[True])
    with pytest.raises(Reject) as reject:
        picture(lambda generator: unsafe, 1)
    assert reject.value.reason == "unsafe"


def test_a_gpu_that_is_too_small_is_a_reject() -> None:
    import torch

    def fail(generator: Any) -> Any:
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(Reject) as reject:
        picture(fail, 1)
    assert reject.value.reason == "out_of_memory"
