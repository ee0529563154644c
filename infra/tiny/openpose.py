"""A random OpenPose in the published files' format. The networks have one size, so the files are made small instead:
all weights of an output channel are one number, which is stored once. It finds nobody.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

FILES = ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth")
"""The files' names, as in https://huggingface.co/lllyasviel/Annotators."""


def write_openpose(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional detectors that are not installed
        from controlnet_aux.open_pose.face import FaceNet
        from controlnet_aux.open_pose.model import bodypose_model, handpose_model

    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    body, hand, face = FILES
    for name, model in ((body, bodypose_model()), (hand, handpose_model())):
        # Layers are named without the block that they are in.
        state = {key.split(".", 1)[1]: _small(value, generator) for key, value in model.state_dict().items()}
        torch.save(state, folder / name)
    torch.save({key: _small(value, generator) for key, value in FaceNet().state_dict().items()}, folder / face)


def _small(weights: torch.Tensor, generator: torch.Generator) -> Any:
    """Random weights of the same shape, with one number for each output channel.

    Where all of a channel are alike, their products with what is never negative do not cancel out: an output is larger
    by the number of inputs, not by its root, and fifty layers would leave the numbers. Maps stay below the 0.1 from
    which on OpenPose sees a keypoint, since whole plains of them would be above it.
    """
    inputs = weights[0].numel()
    rows = torch.randn((len(weights), *[1] * (weights.dim() - 1)), generator=generator) / inputs / 100
    return rows.expand(weights.shape)
