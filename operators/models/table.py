"""The model table: which checkpoint plays which role, where it comes from, and under which licence.

Revisions are commits that others report to have downloaded, in public code; those of csd and stable-cascade-prior were
reported to us, and we did not find them there. One of "main" is one for which we found none (flux-controlnet-pose; its
file is known by its size, operators/models/published.py); what was in fact downloaded is recorded all the same
(operators/models/checkpoints.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from manifests.licences.records import LICENCES, MODELS

_FLUX = "FLUX.1 [dev] non-commercial"
_RAIL = "CreativeML OpenRAIL-M"
_RAIL_PLUS = "CreativeML OpenRAIL++-M"
_SEGFORMER = "NVIDIA Source Code License for SegFormer: non-commercial"
_CASCADE = "Stability AI non-commercial research"
_ANNOTATORS = "lllyasviel/Annotators: other"
_FLUX_FILES = (
    "model_index.json",
    "scheduler/*",
    "text_encoder/*",
    "text_encoder_2/*",
    "tokenizer/*",
    "tokenizer_2/*",
    "transformer/*",
    "vae/*",
)
_SAFETENSORS_FILES = ("*.json", "tokenizer/*", "*/model.safetensors", "*/diffusion_pytorch_model.safetensors")
"""The files that are taken of a repository that holds each weight several times."""
_BIN_FILES = ("*.json", "tokenizer/*", "*/pytorch_model.bin", "*/diffusion_pytorch_model.bin")
"""The files that are taken of a repository whose safetensors are all in half precision."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A network of a checkpoint. Checkpoints that hold the same weights have the same part: a process loads it once."""

    name: str
    parameters_m: float
    """Number of its parameters in millions, counted on the network that the published config describes, or from the
    size of its file where it has no config."""
    bytes_each: int = 2
    """Bytes of a parameter on a GPU: 2 in bfloat16, 4 in float32."""

    @property
    def gib(self) -> float:
        """Memory of its weights on a GPU, GiB."""
        return self.parameters_m * 1e6 * self.bytes_each / 2**30


_FLUX_SHARED = (
    Part(name="T5-XXL", parameters_m=4_762.3),
    Part(name="FLUX.1's CLIP", parameters_m=123.1),
    Part(name="FLUX.1's VAE", parameters_m=83.8),
)
"""FLUX.1's two text encoders and its VAE. Kontext's files have the sha256 of [dev]'s, by lists that others published;
of Fill's we assume it. What is in fact loaded once is found by the files (operators/models/sharing.py)."""


def _sd15_parts(kind: str) -> tuple[Part, ...]:
    """The networks of a Stable Diffusion 1.5, whose own text encoder and VAE are no other repository's files."""
    sizes = {"UNet": 859.5, "CLIP": 123.1, "VAE": 83.7, "safety checker": 304.0}
    return tuple(Part(name=f"{kind}'s {name}", parameters_m=size) for name, size in sizes.items())


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One line of the table."""

    role: str
    """What operators call the checkpoint, which is also the name of its folder below MODELS."""
    hub_id: str
    """The repository on huggingface.co; "" for a checkpoint that is not there."""
    revision: str
    licence: str
    outputs: str
    """What the licence says of what the model makes, and of training on that: in words, no legal advice. Its terms are
    those of manifests/licences/records.py."""
    gated: bool = False
    """Whether the hub gives it only to who has accepted its licence."""
    classes: tuple[str, ...]
    """The classes, or the module, that load the checkpoint."""
    parts: tuple[Part, ...]
    """The networks that run on a GPU, if there is one."""
    obtain: str
    tasks: tuple[str, ...]
    """The tasks that cannot be made without it."""
    files: tuple[str, ...] = ()
    """Patterns of what is downloaded; () for all."""

    @property
    def gpu_gib(self) -> float:
        """Memory of its weights in the precision it is run in, GiB: computed from parameter counts, not measured."""
        return sum(part.gib for part in self.parts)


def _outputs(role: str) -> str:
    return LICENCES[MODELS[role]].outputs


def _hub(
    role: str,
    hub_id: str,
    licence: str,
    classes: tuple[str, ...],
    parts: tuple[Part, ...],
    *tasks: str,
    revision: str = "main",
    gated: bool = False,
    files: tuple[str, ...] = (),
) -> Checkpoint:
    accept = f"accept the licence at https://huggingface.co/{hub_id}, then " if gated else ""
    command = f"hf download {hub_id} --revision {revision} --local-dir MODELS/{role}"
    return Checkpoint(
        role=role,
        hub_id=hub_id,
        revision=revision,
        licence=licence,
        outputs=_outputs(role),
        gated=gated,
        classes=classes,
        parts=parts,
        obtain=f"{accept}MODELS=hub, or {command}",
        tasks=tasks,
        files=files,
    )


CHECKPOINTS: Mapping[str, Checkpoint] = {
    checkpoint.role: checkpoint
    for checkpoint in (
        _hub(
            "flux",
            "black-forest-labs/FLUX.1-dev",
            _FLUX,
            ("FluxPipeline",),
            (Part(name="FLUX.1 [dev]'s transformer", parameters_m=11_901.4), *_FLUX_SHARED),
            "style",
            "composition",
            "pose",
            gated=True,
            files=_FLUX_FILES,
            revision="3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        ),
        _hub(
            "flux-ip-adapter",
            "XLabs-AI/flux-ip-adapter",
            _FLUX,
            ("FluxPipeline.load_ip_adapter",),
            (Part(name="FLUX.1's IP-Adapter", parameters_m=490.9),),
            "composition",
            # The file had another name before. Two public downloaders take it by this name at this commit.
            files=("ip_adapter.safetensors",),
            revision="18f6940238ab5dc3744df7a8e30315892279d5f9",
        ),
        _hub(
            "flux-ip-adapter-image-encoder",
            "openai/clip-vit-large-patch14",
            "none stated; code MIT",
            ("CLIPVisionModelWithProjection", "CLIPImageProcessor"),
            (Part(name="CLIP ViT-L/14's vision tower", parameters_m=304.0),),
            "composition",
            files=("*.json", "model.safetensors"),
            revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
        ),
        _hub(
            "flux-fill",
            "black-forest-labs/FLUX.1-Fill-dev",
            _FLUX,
            ("FluxFillPipeline",),
            (Part(name="Fill's transformer", parameters_m=11_902.4), *_FLUX_SHARED),
            "mimicbrush",
            "editing",
            gated=True,
            files=_FLUX_FILES,
            revision="358293da0354175698b67ec8299acf928313a78a",
        ),
        _hub(
            "flux-kontext",
            "black-forest-labs/FLUX.1-Kontext-dev",
            _FLUX,
            ("FluxKontextPipeline",),
            (Part(name="Kontext's transformer", parameters_m=11_901.4), *_FLUX_SHARED),
            "editing",
            gated=True,
            files=_FLUX_FILES,
            revision="af58063aa431f4d2bbc11ae46f57451d4416a170",
        ),
        _hub(
            "flux-controlnet-pose",
            "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro",
            _FLUX,
            ("FluxControlNetModel", "FluxControlNetPipeline"),
            (Part(name="FLUX.1's ControlNet", parameters_m=3_302.0),),
            "pose",
        ),
        _hub(
            "sd15",
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            _RAIL,
            ("StableDiffusionPipeline",),
            _sd15_parts("SD 1.5"),
            "composition",
            "pose",
            files=_SAFETENSORS_FILES,
            revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        ),
        _hub(
            "sd15-ip-adapter",
            "h94/IP-Adapter",
            "Apache-2.0",
            ("StableDiffusionPipeline.load_ip_adapter", "CLIPVisionModelWithProjection"),
            (
                Part(name="CLIP ViT-H/14's vision tower", parameters_m=632.1),
                Part(name="SD 1.5's IP-Adapter", parameters_m=22.3),
            ),
            "composition",
            files=(
                "models/ip-adapter_sd15.safetensors",
                "models/image_encoder/*.json",
                "models/image_encoder/model.safetensors",
            ),
            revision="018e402774aeeddd60609b4ecdb7e298259dc729",
        ),
        _hub(
            "sd15-controlnet-openpose",
            "lllyasviel/control_v11p_sd15_openpose",
            "OpenRAIL",
            ("ControlNetModel", "StableDiffusionControlNetPipeline"),
            (Part(name="SD 1.5's ControlNet", parameters_m=361.3),),
            "pose",
            files=("config.json", "diffusion_pytorch_model.safetensors"),
            revision="9ae9f970358db89e211b87c915f9535c6686d5ba",
        ),
        _hub(
            "sd15-inpaint",
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            _RAIL,
            ("StableDiffusionInpaintPipeline",),
            _sd15_parts("SD 1.5 inpainting"),
            "tryon",
            "mimicbrush",
            files=_BIN_FILES,
            revision="8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
        ),
        Checkpoint(
            role="sd15-tryon",
            hub_id="",
            revision="main",
            licence="that of who trained it",
            outputs="that of who trained it; of its base: " + _outputs("sd15"),
            classes=("UNet2DConditionModel", "AutoencoderKL", "operators.models.catvton"),
            parts=_sd15_parts("SD 1.5 inpainting")[:1],  # it takes the place of that UNet
            obtain="an SD 1.5 inpainting UNet whose self-attention was trained as in arXiv 2407.15886, saved by "
            "diffusers in MODELS/sd15-tryon beside tryon.json, which says axis, cross-attention, eta, VAE and size of "
            "its training (only pairs whose target is missing need it)",
            tasks=("tryon",),
        ),
        _hub(
            "stable-cascade-prior",
            "stabilityai/stable-cascade-prior",
            _CASCADE,
            ("StableCascadePriorPipeline",),
            (
                Part(name="stage C", parameters_m=3_589.1),
                Part(name="stage C's CLIP", parameters_m=694.7),
                Part(name="stage C's vision tower", parameters_m=304.0),
            ),
            "style",
            files=_SAFETENSORS_FILES,
            revision="22a78febb95e62e2299f39aadd1599d494323c9c",
        ),
        _hub(
            "stable-cascade",
            "stabilityai/stable-cascade",
            _CASCADE,
            ("StableCascadeDecoderPipeline", "operators.models.cascade"),
            (
                Part(name="stage B", parameters_m=1_562.9),
                Part(name="stage B's CLIP", parameters_m=694.7),
                Part(name="stage A", parameters_m=18.4),
                Part(name="EfficientNet and previewer", parameters_m=24.2, bytes_each=4),
            ),
            "style",
            files=(*_SAFETENSORS_FILES, "effnet_encoder.safetensors", "previewer.safetensors"),
            revision="a89f66d459ae653e3b4d4f992a7c3789d0dc4d16",
        ),
        _hub(
            "csd",
            "yuxi-liu-wired/CSD",
            "MIT",
            ("CLIP ViT-L/14 with a style head",),
            (Part(name="CSD", parameters_m=304.8, bytes_each=4),),
            "style",
            files=("config.json", "model.safetensors"),
            revision="cd2dac3ad9398e42906127bc44988a6de47abe68",
        ),
        _hub(
            "clip",
            "timm/vit_base_patch32_clip_224.openai",
            "none stated; code MIT",
            ("open_clip local-dir",),
            (Part(name="CLIP ViT-B/32", parameters_m=151.3, bytes_each=4),),
            "style",
            "composition",
            "editing",
            files=("open_clip_config.json", "open_clip_model.safetensors"),
            revision="a6f597a30f7b82c51704746581f9a4e41421e878",
        ),
        _hub(
            "dino",
            "facebook/dino-vits16",
            "Apache-2.0",
            ("ViTModel", "ViTImageProcessor"),
            (Part(name="DINO ViT-S/16", parameters_m=21.7, bytes_each=4),),
            "style",
            "composition",
            "editing",
            revision="abe3b354cb6a9b6f146096b14a4a9d7eecbcb4bd",
        ),
        Checkpoint(
            role="lpips",
            hub_id="",
            revision="v0.1",
            licence="BSD-2-Clause",
            outputs=_outputs("lpips"),
            classes=("LPIPS",),
            parts=(Part(name="LPIPS", parameters_m=2.5, bytes_each=4),),
            obtain="the package lpips: its alex.pth beside torchvision's alexnet-owt-7be5be79.pth in MODELS/lpips",
            tasks=(),
        ),
        Checkpoint(
            role="aesthetic",
            hub_id="",
            revision="main",
            licence="Apache-2.0",
            outputs=_outputs("aesthetic"),
            classes=("LAION's aesthetic head",),
            parts=(Part(name="CLIP ViT-L/14", parameters_m=427.6, bytes_each=4),),
            obtain="sac+logos+ava1-l14-linearMSE.pth of github.com/christophschuhmann/improved-aesthetic-predictor "
            "in MODELS/aesthetic, beside timm/vit_large_patch14_clip_224.openai in MODELS/aesthetic/ViT-L-14",
            tasks=(),
        ),
        Checkpoint(
            role="blazepose",
            hub_id="",
            revision="0.10.21",
            licence="Apache-2.0",
            outputs=_outputs("blazepose"),
            classes=("ai_edge_litert",),
            parts=(),
            obtain="make blazepose BLAZEPOSE=MODELS/blazepose (for MODELS=hub: make blazepose)",
            tasks=("pose",),
        ),
        _hub(
            "openpose",
            "lllyasviel/Annotators",
            _ANNOTATORS,
            ("OpenposeDetector",),
            (Part(name="OpenPose", parameters_m=127.6, bytes_each=4),),
            "pose",
            files=("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"),
            revision="982e7edaec38759d914a963c48c4726685de7d96",
        ),
        _hub(
            "dwpose",
            "yzd-v/DWPose",
            "Apache-2.0",
            ("onnxruntime", "operators.models.pose.dwpose"),
            (Part(name="DWPose", parameters_m=87.8, bytes_each=4),),
            "pose",
            files=("yolox_l.onnx", "dw-ll_ucoco_384.onnx"),
            revision="1a7144101628d69ee7a3768d1ee3a094070dc388",
        ),
        _hub(
            "qwen2-vl",
            "Qwen/Qwen2-VL-7B-Instruct",
            "Apache-2.0",
            ("Qwen2VLForConditionalGeneration", "Qwen2VLProcessor"),
            (Part(name="Qwen2-VL-7B", parameters_m=8_291.4),),
            revision="a7a06a1cc11b4514ce9edcde0e3ca1d16e5ff2fc",
        ),
        _hub(
            "hed",
            "lllyasviel/Annotators",
            _ANNOTATORS,
            ("HEDdetector",),
            (Part(name="HED", parameters_m=14.7, bytes_each=4),),
            "hed2img",
            files=("ControlNetHED.pth",),
            revision="982e7edaec38759d914a963c48c4726685de7d96",
        ),
        _hub(
            "mlsd",
            "lllyasviel/Annotators",
            _ANNOTATORS,
            ("MLSDdetector",),
            (Part(name="MLSD", parameters_m=1.5, bytes_each=4),),
            "mlsd2img",
            files=("mlsd_large_512_fp32.pth",),
            revision="982e7edaec38759d914a963c48c4726685de7d96",
        ),
        _hub(
            "depth-anything",
            "depth-anything/Depth-Anything-V2-Small-hf",
            "Apache-2.0",  # of the small one; Base and Large are CC-BY-NC-4.0
            ("AutoModelForDepthEstimation", "AutoImageProcessor"),
            (Part(name="Depth Anything V2 Small", parameters_m=24.8, bytes_each=4),),
            "depth2img",
            files=("*.json", "model.safetensors"),
            revision="5426e4f0f36572d16453bbda7a8389317b1bef99",
        ),
        _hub(
            "segformer-ade20k",
            "nvidia/segformer-b5-finetuned-ade-640-640",
            _SEGFORMER,
            ("AutoModelForSemanticSegmentation", "AutoImageProcessor"),
            (Part(name="SegFormer-B5", parameters_m=84.7, bytes_each=4),),
            "seg2img",
            files=("*.json", "pytorch_model.bin"),
            revision="739f5d4692954e4a185eac280dec1ba5a7d52f1d",
        ),
        _hub(
            "marigold-normals",
            "prs-eth/marigold-normals-v1-1",
            _RAIL_PLUS,
            ("MarigoldNormalsPipeline",),
            (
                Part(name="Marigold's UNet", parameters_m=865.9),
                Part(name="Marigold's CLIP", parameters_m=340.4),
                Part(name="Marigold's VAE", parameters_m=83.7),
            ),
            "normal2img",
            files=_SAFETENSORS_FILES,
            revision="09cfdd258cb281fa006cf1afcd2284376d16687d",
        ),
    )
}
"""Role -> checkpoint."""


def parts_of(roles: Iterable[str]) -> tuple[Part, ...]:
    """The networks of several checkpoints, each once: what a process that loads all of them has on its GPU."""
    return tuple(dict.fromkeys(part for role in roles for part in CHECKPOINTS[role].parts))
