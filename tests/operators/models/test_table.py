from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from operators.degrade import depth_map, label_map
from operators.models.diffusion import pipeline
from operators.models.table import CHECKPOINTS, parts_of
from operators.paint.compose import FLUX_WEIGHTS
from pipelines.recipe import FULL_8M
from tests.sources import write_files
from tests.tiny import tiny_models

_HALF = ["unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"]
_BINS = ["text_encoder/pytorch_model.bin", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.bin"]


def test_the_table_is_complete_and_says_what_a_user_must_know() -> None:
    tasks = {entry.task for entry in FULL_8M} | {"editing"}
    for role, checkpoint in CHECKPOINTS.items():
        assert checkpoint.role == role
        assert checkpoint.licence and checkpoint.outputs and checkpoint.classes and checkpoint.obtain
        assert not checkpoint.hub_id or re.fullmatch(r"main|[0-9a-f]{40}", checkpoint.revision), role
        assert set(checkpoint.tasks) <= tasks
    assert {role for role, checkpoint in CHECKPOINTS.items() if checkpoint.gated} == {
        "flux",
        "flux-fill",
        "flux-kontext",
    }


def test_what_comes_from_the_hub_is_pinned_but_for_one() -> None:
    unpinned = {role for role, one in CHECKPOINTS.items() if one.hub_id and one.revision == "main"}
    assert unpinned == {"flux-controlnet-pose"}
    assert CHECKPOINTS["flux-ip-adapter"].revision.startswith("18f6940")  # whose file has the name that is loaded
    assert CHECKPOINTS["flux-ip-adapter"].files == (FLUX_WEIGHTS,)


def test_the_server_of_qwen2_vl_serves_the_revision_of_the_table() -> None:
    script = (Path(__file__).parents[3] / "infra/vlm/serve.sh").read_text()
    served = dict(re.findall(r"^(MODEL|REVISION)=(\S+)(?: # as in operators/models/table\.py)?$", script, re.MULTILINE))
    table = CHECKPOINTS["qwen2-vl"]
    assert served == {"MODEL": table.hub_id, "REVISION": table.revision}


def _autoencoder(**sizes: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        **sizes,
    )


def _unet(**sizes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, **sizes)


def _vision(**sizes: Any) -> Any:
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(image_size=224, num_attention_heads=16, patch_size=14, **sizes)


def _large_vision() -> Any:
    return _vision(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, projection_dim=768)


def _big_text() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    sizes: dict[str, Any] = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
    }
    return CLIPTextModelWithProjection(CLIPTextConfig(projection_dim=1280, **sizes))


def _networks() -> dict[str, Any]:
    """Part -> the network of the published config.json, written down here, without its weights."""
    import diffusers
    import transformers as hf
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    taken: dict[str, Any] = {"out_indices": [3, 6, 9, 12]}  # options of which the signatures know nothing
    classes: dict[str, Any] = {"num_labels": 150}
    res, attn = ("SDCascadeResBlock", "SDCascadeTimestepBlock"), "SDCascadeAttnBlock"
    return {
        "FLUX.1 [dev]'s transformer": diffusers.FluxTransformer2DModel(guidance_embeds=True),
        "Kontext's transformer": diffusers.FluxTransformer2DModel(guidance_embeds=True),
        "Fill's transformer": diffusers.FluxTransformer2DModel(in_channels=384, out_channels=64, guidance_embeds=True),
        "FLUX.1's ControlNet": diffusers.FluxControlNetModel(
            num_layers=5, num_single_layers=10, num_mode=10, guidance_embeds=True
        ),
        "T5-XXL": hf.T5EncoderModel(
            hf.T5Config(
                vocab_size=32128,
                d_model=4096,
                d_ff=10240,
                num_layers=24,
                num_heads=64,
                feed_forward_proj="gated-gelu",
            )
        ),
        "FLUX.1's CLIP": hf.CLIPTextModel(
            hf.CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
        ),
        "FLUX.1's VAE": _autoencoder(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False),
        "SD 1.5's VAE": _autoencoder(latent_channels=4),
        "SD 1.5's UNet": _unet(in_channels=4),
        "SD 1.5 inpainting's UNet": _unet(in_channels=9),
        "SD 1.5's ControlNet": diffusers.ControlNetModel(cross_attention_dim=768, attention_head_dim=8),
        "SD 1.5's safety checker": StableDiffusionSafetyChecker(
            hf.CLIPConfig(vision_config=_large_vision(), projection_dim=768)
        ),
        "CLIP ViT-L/14's vision tower": hf.CLIPVisionModelWithProjection(_large_vision()),
        "CLIP ViT-H/14's vision tower": hf.CLIPVisionModelWithProjection(
            _vision(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, projection_dim=1024)
        ),
        "stage C": diffusers.StableCascadeUNet(
            conditioning_dim=2048,
            block_out_channels=(2048, 2048),
            num_attention_heads=(32, 32),
            down_num_layers_per_block=(8, 24),
            up_num_layers_per_block=(24, 8),
            down_blocks_repeat_mappers=(1, 1),
            up_blocks_repeat_mappers=(1, 1),
            block_types_per_layer=((*res, attn),) * 2,
            clip_text_in_channels=1280,
            clip_text_pooled_in_channels=1280,
            clip_image_in_channels=768,
            timestep_conditioning_type=("sca", "crp"),
            switch_level=(False,),
        ),
        "stage B": diffusers.StableCascadeUNet(
            in_channels=4,
            out_channels=4,
            patch_size=2,
            conditioning_dim=1280,
            block_out_channels=(320, 640, 1280, 1280),
            num_attention_heads=(-1, -1, 20, 20),
            down_num_layers_per_block=(2, 6, 28, 6),
            up_num_layers_per_block=(6, 28, 6, 2),
            down_blocks_repeat_mappers=(1, 1, 1, 1),
            up_blocks_repeat_mappers=(3, 3, 2, 2),
            block_types_per_layer=(res, res, (*res, attn), (*res, attn)),
            dropout=(0.1,) * 4,
            clip_text_pooled_in_channels=1280,
            effnet_in_channels=16,
            pixel_mapper_in_channels=3,
            timestep_conditioning_type=("sca",),
        ),
        "stage B's CLIP": _big_text(),
        "stage A": PaellaVQModel(),
        "CLIP ViT-B/32": hf.CLIPModel(
            hf.CLIPConfig(
                projection_dim=512,
                text_config={"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8},
                vision_config={"hidden_size": 768, "intermediate_size": 3072, "patch_size": 32},
            )
        ),
        "DINO ViT-S/16": hf.ViTModel(
            hf.ViTConfig(hidden_size=384, intermediate_size=1536, num_attention_heads=6), add_pooling_layer=False
        ),
        "Depth Anything V2 Small": hf.DepthAnythingForDepthEstimation(
            hf.DepthAnythingConfig(
                backbone_config=hf.Dinov2Config(
                    hidden_size=384,
                    num_attention_heads=6,
                    image_size=518,
                    patch_size=14,
                    reshape_hidden_states=False,
                    **taken,
                ),
                reassemble_hidden_size=384,
                neck_hidden_sizes=[48, 96, 192, 384],
                fusion_hidden_size=64,
                head_hidden_size=32,
            )
        ),
        "SegFormer-B5": hf.SegformerForSemanticSegmentation(
            hf.SegformerConfig(
                hidden_sizes=[64, 128, 320, 512], depths=[3, 6, 40, 3], decoder_hidden_size=768, **classes
            )
        ),
        "Marigold's UNet": diffusers.UNet2DConditionModel(
            in_channels=8, cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], use_linear_projection=True
        ),
        "Marigold's CLIP": hf.CLIPTextModel(
            hf.CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16)
        ),
        "Marigold's VAE": _autoencoder(latent_channels=4),
        "Qwen2-VL-7B": hf.Qwen2VLForConditionalGeneration(
            hf.Qwen2VLConfig(
                text_config={
                    "hidden_size": 3584,
                    "intermediate_size": 18944,
                    "num_hidden_layers": 28,
                    "num_attention_heads": 28,
                    "num_key_value_heads": 4,
                    "vocab_size": 152064,
                },
                vision_config={"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16},
            )
        ),
    }


def test_parameters_are_those_of_the_published_networks() -> None:
    """Their libraries build them from their configs, on the device that stores nothing."""
    import torch

    table = {part.name: part for part in parts_of(CHECKPOINTS)}
    with torch.device("meta"):
        networks = _networks()
    counted = {name: sum(one.numel() for one in network.parameters()) / 1e6 for name, network in networks.items()}
    assert {name: round(count, 1) for name, count in counted.items()} == {
        name: table[name].parameters_m for name in counted
    }


def test_what_checkpoints_have_in_common_counts_once() -> None:
    """By hand: two transformers, T5, CLIP and VAE, 2 bytes a parameter."""
    both = sum(part.gib for part in parts_of(["flux-kontext", "flux-fill"]))
    assert both == pytest.approx((11_901.4 + 11_902.4 + 4_762.3 + 123.1 + 83.8) * 1e6 * 2 / 2**30)
    assert CHECKPOINTS["flux"].gpu_gib == pytest.approx((11_901.4 + 4_762.3 + 123.1 + 83.8) * 1e6 * 2 / 2**30)
    assert 31.4 < CHECKPOINTS["flux"].gpu_gib < 31.5 and 53.5 < both < 53.7
    assert CHECKPOINTS["clip"].gpu_gib == pytest.approx(151.3e6 * 4 / 2**30)
    assert parts_of(["sd15-inpaint", "sd15-tryon"]) == CHECKPOINTS["sd15-inpaint"].parts
    assert not {*CHECKPOINTS["sd15"].parts} & {*CHECKPOINTS["sd15-inpaint"].parts}


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
        ("depth-anything", lambda folder: depth_map._network(folder), [".gitattributes", "README.md"]),
        ("segformer-ade20k", lambda folder: label_map._network(folder), ["tf_model.h5", "README.md"]),
        (
            "marigold-normals",
            lambda folder: pipeline("MarigoldNormalsPipeline", folder),
            [*_HALF, "text_encoder/model.fp16.safetensors", "README.md"],
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
