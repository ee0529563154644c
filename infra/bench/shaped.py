"""Writes checkpoints of the published models' shapes, with random weights and fewer blocks, in a minute.

Tokenizers, schedulers and whatever else is small are those of MODELS=tiny; each network is built on the meta device
after the published config, filled by a generator on the GPU, where there is one, and saved. Widths are the published
ones, and so are what a step of a block, a text encoder's layer, a VAE and a score cost; what they make is noise.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import open_clip
import torch
import transformers
from open_clip.transformer import QuickGELU, VisionTransformer
from safetensors.torch import load_file, save_file
from torch import nn

from infra.tiny.clip import write_clip, write_csd, write_dino
from infra.tiny.diffusion import write_cascade, write_flux
from infra.tiny.dwpose import write_dwpose
from infra.tiny.flux import write_flux_controlnet, write_flux_fill
from operators.models.cascade import EFFNET_FILE, LATENT_CHANNELS, PREVIEWER_FILE, effnet_backbone, previewer_blocks
from operators.models.table import CHECKPOINTS, Part, parts_of

State = dict[str, torch.Tensor]

ROLES = (
    "flux",
    "flux-kontext",
    "flux-fill",
    "flux-controlnet-pose",
    "stable-cascade-prior",
    "stable-cascade",
    "csd",
    "clip",
    "dino",
)
"""The checkpoints that are written. Beside them there is the tiny DWPose, which runs on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How many blocks networks have; the defaults are as many as are written and run in some minutes."""

    flux: tuple[int, int] = (2, 4)
    """Blocks of FLUX.1's transformers: those of two streams, those of one."""
    controlnet: tuple[int, int] = (1, 2)
    t5: int = 2
    stage_c: tuple[int, ...] = (2, 4)
    stage_b: tuple[int, ...] = (1, 2, 4, 2)
    clip: int = 4
    """Layers of Stable Cascade's text encoders."""


PUBLISHED = Depth(flux=(19, 38), controlnet=(5, 10), t5=24, stage_c=(8, 24), stage_b=(2, 6, 28, 6), clip=32)
"""The blocks of the published models, in the configs of their repositories (operators/models/table.py)."""

_FLUX: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": [16, 56, 56],
}
_VAE: dict[str, Any] = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 16}
_VAE |= {"norm_num_groups": 32, "sample_size": 1024}
_T5: dict[str, Any] = {"vocab_size": 32_128, "d_model": 4096, "d_kv": 64, "d_ff": 10_240, "num_heads": 64}
_T5 |= {"feed_forward_proj": "gated-gelu"}
_T5_TOKENS = 512
_CLIP_L: dict[str, Any] = {"vocab_size": 49_408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
_CLIP_L |= {"num_attention_heads": 12, "projection_dim": 768}
_CLIP_G: dict[str, Any] = {
    "vocab_size": 49_408,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
}
_CLIP_G |= {"projection_dim": 1280, "hidden_act": "gelu"}
_VISION_L: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
_VISION_L |= {"patch_size": 14, "projection_dim": 768}
_RES, _TIME, _ATTENTION = "SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"
_DINO: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
}
_DINO |= {"patch_size": 16}
_CLIP_B: dict[str, Any] = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49_408, "width": 512, "heads": 8, "layers": 12},
}
_EFFNET_WIDTHS, _EFFNET_BLOCKS, _EFFNET_LAST = (24, 24, 48, 64, 128, 160, 256), (2, 4, 4, 6, 9, 15), 1280
_PREVIEWER_WIDTH = 512


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of a checkpoint, on the meta device, and the file that its weights are saved in."""

    part: str
    """The name of the part of the model table that it is, or is a piece of."""
    file: str
    state: State
    save_config: Callable[[Path], None] = lambda folder: None
    """Given the checkpoint's folder."""
    dtype: torch.dtype = torch.bfloat16


def write_shaped(
    folder: Path, depth: Depth | None, device: str = "cpu", roles: Sequence[str] = ROLES
) -> tuple[Part, ...]:
    """Write the checkpoints of roles into a folder; the parts that they hold, with the number of their parameters.

    `depth` is None for the small shapes of MODELS=tiny, which are written in the same way. What is no role's is small.
    """
    _write_tiny(folder)
    if depth:
        _lengthen_prompts(folder)
    generator = torch.Generator(device).manual_seed(0)
    millions = dict.fromkeys((part.name for part in parts_of(roles)), 0.0)
    written: dict[str, Path] = {}
    for role in roles:
        for network in networks(folder, role, depth):
            path = folder / role / network.file
            network.save_config(folder / role)
            path.unlink()
            if network.part in written and written[network.part].name == path.name:
                path.hardlink_to(written[network.part])  # what FLUX.1's pipelines share
                continue
            filled = {name: fill(name, value, generator) for name, value in network.state.items()}
            saved = {name: _cast(value, network.dtype).cpu().contiguous() for name, value in filled.items()}
            save_file(saved, path, metadata={"format": "pt"})
            written[network.part] = path
            millions[network.part] += parameters(network) / 1e6
    return tuple(replace(part, parameters_m=millions[part.name]) for part in parts_of(roles))


def networks(folder: Path, role: str, depth: Depth | None) -> list[Network]:
    """The networks of a role, in the order of the table's parts; those of MODELS=tiny in `folder` say what is left."""
    names = [part.name for part in CHECKPOINTS[role].parts]
    if role == "stable-cascade":
        names.append(names[-1])  # EfficientNet and previewer are two files
    makers = _makers(depth)[role]
    return [make(folder / role, name) for make, name in zip(makers, names, strict=True)]


def parameters(network: Network) -> int:
    """How many parameters a network has; buffers do not count."""
    return sum(value.numel() for value in network.state.values() if isinstance(value, nn.Parameter))


def fill(name: str, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random weights of a shape that keep the scale of what passes through; norms, biases, buffers as they begin."""
    made = torch.zeros(like.shape, dtype=like.dtype, device=generator.device)
    if name.endswith("position_ids"):
        return torch.arange(like.numel(), device=generator.device).reshape(like.shape)
    if not like.is_floating_point():
        return made
    if like.dim() > 1 and not name.endswith(("gamma", "beta", "gammas")):
        return made.normal_(0, (like[0].numel()) ** -0.5, generator=generator)
    return made.fill_(1.0) if name.endswith(("weight", "running_var", "logit_scale")) else made


Maker = Callable[[Path, str], Network]


def _makers(depth: Depth | None) -> Mapping[str, Sequence[Maker]]:
    """Role -> what makes each of its networks, in the order of the table's parts."""
    one = depth or PUBLISHED

    def flux(**more: Any) -> Maker:
        sizes = {**_FLUX, "num_layers": one.flux[0], "num_single_layers": one.flux[1], **more}
        return _diffusers("FluxTransformer2DModel", "transformer", sizes if depth else {})

    shared = (
        _transformers("T5EncoderModel", "text_encoder_2", {**_T5, "num_layers": one.t5} if depth else {}),
        _transformers("CLIPTextModel", "text_encoder", _CLIP_L if depth else {}),
        _diffusers("AutoencoderKL", "vae", _VAE if depth else {}),
    )
    control = {**_FLUX, "num_layers": one.controlnet[0], "num_single_layers": one.controlnet[1]}
    text = {**_CLIP_G, "num_hidden_layers": one.clip} if depth else {}
    return {
        "flux": (flux(), *shared),
        "flux-kontext": (flux(), *shared),
        "flux-fill": (flux(in_channels=384, out_channels=64), *shared),
        "flux-controlnet-pose": (_diffusers("FluxControlNetModel", "", control if depth else {}),),
        "stable-cascade-prior": (
            _diffusers("StableCascadeUNet", "prior", _stage_c(one.stage_c) if depth else {}),
            _transformers("CLIPTextModelWithProjection", "text_encoder", text),
            _transformers("CLIPVisionModelWithProjection", "image_encoder", _VISION_L if depth else {}),
        ),
        "stable-cascade": (
            _diffusers("StableCascadeUNet", "decoder", _stage_b(one.stage_b) if depth else {}),
            _transformers("CLIPTextModelWithProjection", "text_encoder", text),
            _paella({"bottleneck_blocks": 12, "embed_dim": 384, "num_vq_embeddings": 8192} if depth else {}),
            _effnet if depth else _as_is(EFFNET_FILE),
            _previewer if depth else _as_is(PREVIEWER_FILE),
        ),
        "csd": (_csd if depth else _as_is("model.safetensors"),),
        "clip": (_clip if depth else _as_is("open_clip_model.safetensors"),),
        "dino": (_transformers("ViTModel", "", _DINO if depth else {}, torch.float32, add_pooling_layer=False),),
    }


def _stage_c(blocks: Sequence[int]) -> dict[str, Any]:
    return {
        "timestep_ratio_embedding_dim": 64,
        "conditioning_dim": 2048,
        "block_out_channels": [2048, 2048],
        "num_attention_heads": [32, 32],
        "down_num_layers_per_block": [*blocks],
        "up_num_layers_per_block": [*blocks[::-1]],
        "clip_text_in_channels": 1280,
        "clip_text_pooled_in_channels": 1280,
        "clip_image_in_channels": 768,
    }


def _stage_b(blocks: Sequence[int]) -> dict[str, Any]:
    return {
        "timestep_ratio_embedding_dim": 64,
        "conditioning_dim": 1280,
        "block_out_channels": [320, 640, 1280, 1280],
        "num_attention_heads": [-1, -1, 20, 20],
        "down_num_layers_per_block": [*blocks],
        "up_num_layers_per_block": [*blocks[::-1]],
        "down_blocks_repeat_mappers": [1, 1, 1, 1],
        "up_blocks_repeat_mappers": [3, 3, 2, 2],
        "block_types_per_layer": [[_RES, _TIME], [_RES, _TIME], [_RES, _TIME, _ATTENTION], [_RES, _TIME, _ATTENTION]],
        "clip_text_pooled_in_channels": 1280,
        "dropout": [0, 0, 0.1, 0.1],
    }


def _diffusers(kind: str, component: str, sizes: Mapping[str, Any]) -> Maker:
    return _of_diffusers(getattr(diffusers, kind), component, sizes)


def _paella(sizes: Mapping[str, Any]) -> Maker:
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    return _of_diffusers(PaellaVQModel, "vqgan", sizes)


def _of_diffusers(kind: Any, component: str, sizes: Mapping[str, Any]) -> Maker:
    def make(folder: Path, part: str) -> Network:
        known = json.loads((folder / component / "config.json").read_text("utf-8"))
        config = {key: value for key, value in known.items() if not key.startswith("_")}
        with torch.device("meta"):
            network = kind(**{**config, **sizes})
        file = str(Path(component, "diffusion_pytorch_model.safetensors"))
        state, save = _state(network), lambda folder: network.save_config(folder / component)
        return Network(part=part, file=file, state=state, save_config=save)

    return make


def _transformers(
    kind: str, component: str, sizes: dict[str, Any], dtype: torch.dtype = torch.bfloat16, **given: Any
) -> Maker:
    def make(folder: Path, part: str) -> Network:
        model: Any = getattr(transformers, kind)
        known = model.config_class.from_pretrained(folder / component).to_dict()
        derived = ("is_gated_act", "dense_act_fn") if "feed_forward_proj" in sizes else ()  # of T5, from that
        config = model.config_class(**{key: value for key, value in known.items() if key not in derived} | sizes)
        with torch.device("meta"):
            network = model(config, **given)
        file = str(Path(component, "model.safetensors"))

        def save(folder: Path) -> None:
            config.save_pretrained(folder / component)

        return Network(part=part, file=file, state=_state(network), save_config=save, dtype=dtype)

    return make


def _as_is(file: str) -> Maker:
    """The network as MODELS=tiny has it, parameters and buffers alike."""

    def make(folder: Path, part: str) -> Network:
        known = load_file(folder / file)
        buffers = ("running_mean", "running_var")
        state = {
            name: value
            if name.endswith(buffers) or not value.is_floating_point()
            else nn.Parameter(value, requires_grad=False)
            for name, value in known.items()
        }
        return Network(part=part, file=file, state=state, dtype=torch.float32)

    return make


def _effnet(folder: Path, part: str) -> Network:
    with torch.device("meta"):
        backbone = effnet_backbone(_EFFNET_WIDTHS, _EFFNET_BLOCKS, _EFFNET_LAST)
        mapper = nn.Sequential(
            nn.Conv2d(_EFFNET_LAST, LATENT_CHANNELS, 1, bias=False), nn.BatchNorm2d(LATENT_CHANNELS, affine=False)
        )
    state = _state(nn.ModuleDict({"backbone": backbone, "mapper": mapper}))
    return Network(part=part, file=EFFNET_FILE, state=state, dtype=torch.float32)


def _previewer(folder: Path, part: str) -> Network:
    with torch.device("meta"):
        blocks = previewer_blocks(_PREVIEWER_WIDTH)
    state = _state(nn.ModuleDict({"blocks": blocks}))
    return Network(part=part, file=PREVIEWER_FILE, state=state, dtype=torch.float32)


def _csd(folder: Path, part: str) -> Network:
    with torch.device("meta"):
        tower = VisionTransformer(224, 14, 1024, 24, 16, 4.0, output_dim=1024, act_layer=QuickGELU)
        tower.proj = None
        heads = {f"last_layer_{name}": nn.Parameter(torch.empty(1024, 768)) for name in ("style", "content")}
    state = {f"backbone.{name}": value for name, value in _state(tower).items()} | heads
    return Network(part=part, file="model.safetensors", state=state, dtype=torch.float32)


def _clip(folder: Path, part: str) -> Network:
    with torch.device("meta"):
        network = open_clip.CLIP(**_CLIP_B)

    def save(folder: Path) -> None:
        path = folder / "open_clip_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "model_cfg": _CLIP_B}, indent=2))

    file = "open_clip_model.safetensors"
    return Network(part=part, file=file, state=_state(network), save_config=save, dtype=torch.float32)


def _state(network: nn.Module) -> State:
    """What a checkpoint of the network holds; of parameters that are one, the first name alone."""
    seen: set[int] = set()
    state = {}
    for name, value in network.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            state[name] = value
        seen.add(id(value))
    return state


def _cast(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _write_tiny(folder: Path) -> None:
    write_flux(folder / "flux")
    write_flux(folder / "flux-kontext", diffusers.FluxKontextPipeline)
    write_flux_fill(folder / "flux-fill")
    write_flux_controlnet(folder / "flux-controlnet-pose")
    write_cascade(folder / "stable-cascade-prior", folder / "stable-cascade")
    for role, write in (("csd", write_csd), ("clip", write_clip), ("dino", write_dino), ("dwpose", write_dwpose)):
        shutil.rmtree(folder / role, ignore_errors=True)
        write(folder / role)


def _lengthen_prompts(folder: Path) -> None:
    """Let T5 see as many tokens as FLUX.1's does."""
    for role in ("flux", "flux-kontext", "flux-fill"):
        path = folder / role / "tokenizer_2" / "tokenizer_config.json"
        config = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**config, "model_max_length": _T5_TOKENS}, indent=2), encoding="utf-8")
