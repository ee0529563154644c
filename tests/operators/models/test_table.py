from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from operators.models.diffusion import pipeline
from operators.models.table import CHECKPOINTS
from pipelines.recipe import FULL_8M
from tests.sources import write_files
from tests.tiny import tiny_models

_HALF = ["unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"]
_BINS = ["text_encoder/pytorch_model.bin", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.bin"]


def test_the_table_is_complete_and_says_what_a_user_must_know() -> None:
    tasks = {entry.task for entry in FULL_8M} | {"editing"}
    for role, checkpoint in CHECKPOINTS.items():
        assert checkpoint.role == role
        assert checkpoint.licence and checkpoint.classes and checkpoint.obtain
        assert not checkpoint.hub_id or re.fullmatch(r"main|[0-9a-f]{40}", checkpoint.revision), role
        assert set(checkpoint.tasks) <= tasks
    assert {role for role, checkpoint in CHECKPOINTS.items() if checkpoint.gated} == {
        "flux",
        "flux-fill",
        "flux-kontext",
    }


def test_the_server_of_qwen2_vl_serves_the_revision_of_the_table() -> None:
    script = (Path(__file__).parents[3] / "infra/vlm/serve.sh").read_text()
    served = dict(re.findall(r"^(MODEL|REVISION)=(\S+)(?: # as in operators/models/table\.py)?$", script, re.MULTILINE))
    table = CHECKPOINTS["qwen2-vl"]
    assert served == {"MODEL": table.hub_id, "REVISION": table.revision}


def _clip(folder: str) -> None:
    from operators.shared.vision import Clip

    Clip(folder, "cpu").embed_texts(["a cat"])


def _controlnet(folder: str) -> None:
    parts = (("controlnet", "ControlNetModel", folder),)
    pipeline("StableDiffusionControlNetPipeline", f"{tiny_models('sd15')}/sd15", parts)


@pytest.mark.parametrize(
    ("role", "load", "others"),
    [
        (
            "sd15",
            lambda folder: pipeline("StableDiffusionPipeline", folder),
            [*_HALF, *_BINS, "unet/diffusion_pytorch_model.non_ema.safetensors", "v1-5-pruned.safetensors"],
        ),
        (
            "sd15-inpaint",
            lambda folder: pipeline("StableDiffusionInpaintPipeline", folder),
            [*_HALF, "text_encoder/pytorch_model.fp16.bin", "sd-v1-5-inpainting.ckpt", "config.yaml"],
        ),
        (
            "sd15-controlnet-openpose",
            _controlnet,
            ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.safetensors", "images/input.png"],
        ),
        ("clip", _clip, ["open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin", "config.json"]),
    ],
)
def test_what_is_downloaded_is_enough_to_load_and_has_each_weight_once(
    role: str, load: Callable[[str], Any], others: Sequence[str], tmp_path: Path
) -> None:
    """`others`: what the repository holds besides."""
    filter_repo_objects = pytest.importorskip("huggingface_hub.utils").filter_repo_objects
    repository = Path(tiny_models(role), role)
    needed = {str(path.relative_to(repository)): path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    if role == "sd15-inpaint":
        needed = dict(_in_bin(name, data) for name, data in needed.items())
    found = set(filter_repo_objects([*needed, *others], allow_patterns=CHECKPOINTS[role].files))
    assert found == needed.keys()
    load(str(write_files(tmp_path, {name: needed[name] for name in found})))


@pytest.mark.parametrize(("role", "weights"), [("sd15", "model.safetensors"), ("sd15-inpaint", "pytorch_model.bin")])
def test_the_safety_checker_is_downloaded_too(role: str, weights: str) -> None:
    """The tiny ones have none."""
    filter_repo_objects = pytest.importorskip("huggingface_hub.utils").filter_repo_objects
    names = ["feature_extractor/preprocessor_config.json", "safety_checker/config.json", f"safety_checker/{weights}"]
    assert [*filter_repo_objects(names, allow_patterns=CHECKPOINTS[role].files)] == names


def _in_bin(name: str, data: bytes) -> tuple[str, bytes]:
    """A file of a checkpoint as it would be if weights were pickled."""
    import torch
    from safetensors.torch import load

    if not name.endswith(".safetensors"):
        return name, data
    buffer = BytesIO()
    torch.save(load(data), buffer)
    pickled = name.replace(".safetensors", ".bin").replace("/model.", "/pytorch_model.")
    return pickled, buffer.getvalue()
