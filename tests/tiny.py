"""Tiny checkpoints for tests, written when one is first asked for and shared by the whole run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import pytest

from manifests.schema import Pair, Reject
from operators.account import accounting
from operators.base import BatchOperator
from operators.models.diffusion import AT_ONCE, DENOISING, FILL, Denoising, Family
from operators.pictures import keeping

_HOLDER = tempfile.TemporaryDirectory(prefix="tiny-")


def tiny_models(*roles: str) -> str:
    """MODELS with the checkpoints of some roles."""
    for role in roles:
        _write(role)
    return _HOLDER.name


@cache
def _write(role: str) -> None:
    _writers()[role](Path(_HOLDER.name, role))


def _writers() -> Mapping[str, Callable[[Path], None]]:
    from infra.tiny.annotators import write_depth_anything, write_marigold_normals, write_segformer
    from infra.tiny.blazepose import fetch_blazepose
    from infra.tiny.clip import write_clip, write_csd, write_dino
    from infra.tiny.diffusion import write_cascade, write_flux
    from infra.tiny.dwpose import write_dwpose
    from infra.tiny.flux import write_flux_controlnet, write_flux_fill
    from infra.tiny.ip_adapter import write_flux_ip_adapter, write_image_encoder, write_sd15_ip_adapter
    from infra.tiny.models import write_annotators
    from infra.tiny.openpose import write_openpose
    from infra.tiny.sd import write_sd15, write_sd15_controlnet, write_sd15_inpaint, write_sd15_tryon

    return {
        "blazepose": fetch_blazepose,
        "clip": write_clip,
        "csd": write_csd,
        "depth-anything": write_depth_anything,
        "dino": write_dino,
        "dwpose": write_dwpose,
        "hed": lambda folder: write_annotators(folder.parent),  # and mlsd
        "marigold-normals": write_marigold_normals,
        "openpose": write_openpose,
        "segformer-ade20k": write_segformer,
        "stable-cascade": lambda folder: write_cascade(folder.with_name("stable-cascade-prior"), folder),
        "flux": write_flux,
        "flux-controlnet-pose": write_flux_controlnet,
        "sd15-ip-adapter": write_sd15_ip_adapter,
        "flux-fill": write_flux_fill,
        "flux-ip-adapter": write_flux_ip_adapter,
        "flux-ip-adapter-image-encoder": write_image_encoder,
        "sd15": write_sd15,
        "sd15-controlnet-openpose": write_sd15_controlnet,
        "sd15-inpaint": write_sd15_inpaint,
        "sd15-tryon": write_sd15_tryon,
    }


def run_one(operator: BatchOperator, pair: Pair, seed: int) -> Pair:
    """What an operator makes of a single pair. Raises the Reject, if it is one."""
    (made,) = operator.many([pair], [seed])
    if isinstance(made, Reject):
        raise made
    return made


def together_as_alone(operator: BatchOperator, pairs: Sequence[Pair]) -> bool:
    """Whether pairs become the same in one batch, in another order, and each alone; and no two the same."""
    seeds = [*range(len(pairs))]
    together = [*operator.many(pairs, seeds)]
    alone = [run_one(operator, pair, seed) for pair, seed in zip(pairs, seeds, strict=True)]
    backwards = [*operator.many(pairs[::-1], seeds[::-1])][::-1]
    pictures = {image.data for pair in alone for image in pair.images[-1:]}
    return together == alone == backwards and len(pictures) == len(pairs)


def kept_as_painted(
    operator: BatchOperator, pairs: Sequence[Pair], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Whether pairs become the same without keeping, with keeping, and again from what is kept, when nothing paints."""
    seeds = [*range(len(pairs))]
    expected = [run_one(operator, pair, seed) for pair, seed in zip(pairs, seeds, strict=True)]
    with keeping(str(folder)):
        with accounting() as painting:
            painted = [*operator.many(pairs, seeds)]
        monkeypatch.setattr(type(operator), "paint", _paints_nothing)
        with accounting() as replaying:
            replayed = [*operator.many(pairs, seeds)]
    assert painting.pictures == replaying.replayed_pictures == len([*folder.iterdir()]) > 0
    assert painting.replayed_pictures == replaying.pictures == 0
    return painted == expected == replayed


def _paints_nothing(*_: object) -> None:
    pytest.fail("a picture that is kept was painted")


def few_steps(monkeypatch: pytest.MonkeyPatch, steps: int = 3, at_once: int = 2) -> None:
    """Let both families and Fill sample in a few steps, in small batches: the same code, in a fraction of the time."""
    monkeypatch.setattr("operators.paint.inpaint.FILL", replace(FILL, steps=steps))
    for family, sampling in DENOISING.items():
        monkeypatch.setitem(cast(dict[Family, Denoising], DENOISING), family, replace(sampling, steps=steps))
        monkeypatch.setitem(cast(dict[Family, int], AT_ONCE), family, at_once)
