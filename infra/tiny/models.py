"""Writes small, randomly initialised checkpoints in the on-disk formats of the real ones: `make tiny-models`.

With them every model operator runs end to end without a download; only the path differs from a real run. HED and MLSD
have one architecture each, so these are full-sized, with random weights.
"""

from __future__ import annotations

import fcntl
import warnings
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import FluxKontextPipeline
from torch import nn
from torch.nn import functional

from infra.tiny.annotators import write_depth_anything, write_marigold_normals, write_segformer
from infra.tiny.blazepose import fetch_blazepose
from infra.tiny.chameleon import write_chameleon
from infra.tiny.clip import write_aesthetic, write_clip, write_csd, write_dino, write_lpips
from infra.tiny.diffusion import write_cascade, write_flux
from infra.tiny.dwpose import write_dwpose
from infra.tiny.flux import write_flux_controlnet, write_flux_fill
from infra.tiny.ip_adapter import write_flux_ip_adapter, write_image_encoder, write_sd15_ip_adapter
from infra.tiny.layers import output_of
from infra.tiny.openpose import write_openpose
from infra.tiny.qwen2_vl import write_qwen2_vl
from infra.tiny.sd import write_sd15, write_sd15_controlnet, write_sd15_inpaint, write_sd15_tryon
from operators.degrade.edges import WEIGHTS

FINISHED = ".made"
"""The file that says that all checkpoints of a folder are written; the Makefile knows its name."""

_MLSD_REACH_PX = 10.0
"""Standard deviation of a line's ends about its middle, in MLSD's map of half the image's size."""


def write_annotators(folder: Path) -> None:
    """The two edge detectors: HED's map varies smoothly over a photo, MLSD finds some lines in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional detectors that are not installed
        from controlnet_aux.hed import ControlNetHED_Apache2
        from controlnet_aux.mlsd.models.mbv2_mlsd_large import MobileV2_MLSD_Large
    torch.manual_seed(0)
    picture = functional.interpolate(255 * torch.rand(1, 3, 16, 16), scale_factor=8, mode="bilinear")
    hed = ControlNetHED_Apache2().eval()
    mlsd = MobileV2_MLSD_Large().eval()
    with torch.no_grad():
        hed.norm.fill_(127.5)
        _initialise(hed)
        blocks = (hed.block1, hed.block2, hed.block3, hed.block4, hed.block5)
        for block, output in zip(blocks, hed(picture), strict=True):
            _standardise(block.projection, output)
            block.projection.weight *= 2  # the mean of the five is what counts: most of the range of a sigmoid
            block.projection.bias *= 2
        _initialise(mlsd)
        last = mlsd.block23.conv3
        _standardise(last, output_of(mlsd, last, functional.pad(picture, (0, 0, 0, 0, 0, 1), value=1) / 127.5 - 1))
        # Of its 16 channels, 7 is a line's score, 8 to 11 are the ways to its two ends: controlnet_aux/mlsd/utils.py.
        # A score counts from 0.1 on, a logit of -2.2: about every local maximum becomes a line.
        last.weight[8:12] *= _MLSD_REACH_PX
    for name, model in (("hed", hed), ("mlsd", mlsd)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), folder / name / WEIGHTS[name])


def _initialise(model: nn.Module) -> None:
    """Convolutions that keep the scale of what passes through them; PyTorch's own shrink it, layer by layer."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _standardise(layer: nn.Conv2d, output: torch.Tensor) -> None:
    """Rescale a layer so that what it gave has mean 0 and standard deviation 1 in each channel."""
    assert layer.bias is not None
    # Rounded, so that the order of summation, which depends on the number of threads, does not show.
    std, mean = (value.bfloat16().float() for value in torch.std_mean(output, (0, 2, 3)))
    layer.weight /= std[:, None, None, None]
    layer.bias.copy_((layer.bias - mean) / std)


def write_tiny(folder: Path) -> None:
    """Write the checkpoints of all roles into a folder, over what is there."""
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()  # of Stable Cascade's pipelines, which it no longer mends
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of names that diffusers itself still uses
        _write_all(folder)


def _write_all(folder: Path) -> None:
    write_annotators(folder)
    write_flux(folder / "flux")
    write_flux(folder / "flux-kontext", FluxKontextPipeline)
    write_cascade(folder / "stable-cascade-prior", folder / "stable-cascade")
    for role, write in (
        ("csd", write_csd),
        ("clip", write_clip),
        ("dino", write_dino),
        ("lpips", write_lpips),
        ("aesthetic", write_aesthetic),
        ("sd15", write_sd15),
        ("sd15-controlnet-openpose", write_sd15_controlnet),
        ("sd15-inpaint", write_sd15_inpaint),
        ("sd15-tryon", write_sd15_tryon),
        ("flux-controlnet-pose", write_flux_controlnet),
        ("sd15-ip-adapter", write_sd15_ip_adapter),
        ("flux-ip-adapter", write_flux_ip_adapter),
        ("flux-ip-adapter-image-encoder", write_image_encoder),
        ("flux-fill", write_flux_fill),
        ("blazepose", fetch_blazepose),
        ("dwpose", write_dwpose),
        ("openpose", write_openpose),
        ("depth-anything", write_depth_anything),
        ("segformer-ade20k", write_segformer),
        ("marigold-normals", write_marigold_normals),
    ):
        write(folder / role)
    write_qwen2_vl(folder / "qwen2-vl")
    write_chameleon(folder)


def ensure_tiny(folder: Path) -> None:
    """Write the checkpoints into a folder once: a file in it says that all are there.

    Of several processes one writes, and the others wait for it. What one that was killed left is written over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / FINISHED).exists():
        return
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it when the process ends, however it does
        if not (folder / FINISHED).exists():
            write_tiny(folder)
            (folder / FINISHED).touch()
