"""Networks that pipelines share: which, that pictures stay the same, and that they are let go of."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from manifests.schema import Reject
from operators.models import diffusion
from operators.models.diffusion import Denoising, pipeline
from operators.models.sharing import shared_networks
from operators.paint.edit_pictures import by_fill, by_kontext
from tests.sources import photo
from tests.tiny import tiny_models

TEXT_AND_VAE = ("text_encoder", "text_encoder_2", "vae")
WEIGHTS = "model.safetensors"


def _bytes(*pipes: Any) -> int:
    """Bytes of all parameters that pipelines hold, each once."""
    networks = [part for pipe in pipes for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    held = {one.data_ptr(): one.numel() * one.element_size() for network in networks for one in network.parameters()}
    return sum(held.values())


def test_the_flux_pipelines_share_what_is_the_same_and_nothing_else(tiny: str) -> None:
    kontext = pipeline.load("FluxKontextPipeline", f"{tiny}/flux-kontext")
    fill = pipeline.load("FluxFillPipeline", f"{tiny}/flux-fill")
    assert [getattr(kontext, name) is getattr(fill, name) for name in TEXT_AND_VAE] == [True] * 3
    assert kontext.transformer is not fill.transformer
    common = sum(one.numel() * one.element_size() for name in TEXT_AND_VAE for one in getattr(fill, name).parameters())
    assert common > 10_000
    assert _bytes(kontext, fill) == _bytes(kontext) + _bytes(fill) - common


def test_pictures_are_the_same_with_and_without_sharing(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, two = photo(0, 96, 64), Denoising(steps=2, guidance=3.5)

    def pictures() -> tuple[list[bytes], bool]:
        pipes = {kind: pipeline.load(kind, f"{tiny}/{role}") for kind, role in _KINDS.items()}
        monkeypatch.setattr("operators.paint.edit_pictures.pipeline", lambda kind, folder: pipes[kind])
        made = [
            *by_kontext("", source, "add a hat", two, [1, 2], 1),
            *by_fill("", source, "a cat with a hat", (250, 500, 750, 1000), two, [1, 2], 1),
            *by_kontext("", source, "add a hat", two, [1], 1),  # after the other has used the same networks
        ]
        one, other = pipes.values()
        return [np.asarray(picture).tobytes() for picture in made if not isinstance(picture, Reject)], (
            one.vae is other.vae
        )

    together, was_shared = pictures()
    monkeypatch.setattr(diffusion, "shared_networks", lambda folder: {})
    apart, was_shared_again = pictures()
    assert (was_shared, was_shared_again) == (True, False)
    assert len(set(together)) == 4 and len(together) == 5
    assert together == apart


_KINDS = {"FluxKontextPipeline": "flux-kontext", "FluxFillPipeline": "flux-fill"}


def test_what_operators_change_is_each_pipelines_own() -> None:
    """An IP-Adapter replaces the attention of a UNet, CatVTON takes it out."""
    from operators.models.catvton import without_text

    folder = f"{tiny_models('sd15')}/sd15"
    changed, other = (pipeline.load("StableDiffusionPipeline", folder) for _ in range(2))
    assert changed.text_encoder is other.text_encoder and changed.vae is other.vae
    without_text(changed.unet, "removed")
    assert not any(getattr(module, "attn2", None) for module in changed.unet.modules())
    assert any(getattr(module, "attn2", None) for module in other.unet.modules())


def test_a_part_from_another_folder_is_not_shared_as_that_of_the_pipeline(tmp_path: Path) -> None:
    folder = f"{tiny_models('sd15')}/sd15"
    own = shutil.copytree(Path(folder, "vae"), tmp_path / "vae")
    _change_weights(own / "diffusion_pytorch_model.safetensors")
    changed = pipeline.load("StableDiffusionPipeline", folder, (("vae", "AutoencoderKL", str(own)),))
    plain = pipeline.load("StableDiffusionPipeline", folder)
    assert plain.vae is not changed.vae
    assert plain.text_encoder is changed.text_encoder
    assert not _same(plain.vae, changed.vae)


def _change_weights(file: Path) -> None:
    """Change a number of a file of weights, but not its size."""
    weights = load_file(file)
    name = sorted(weights)[0]
    weights[name] = weights[name].clone() + 1
    size = file.stat().st_size
    save_file(weights, file, metadata={"format": "pt"})
    assert file.stat().st_size == size


def _same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def _bookkeeping(folder: Path) -> None:
    _change_config(folder, {"_name_or_path": "elsewhere", "transformers_version": "4.0.0"})


def _another_activation(folder: Path) -> None:
    _change_config(folder, {"hidden_act": "gelu"})


def _change_config(folder: Path, changes: dict[str, str]) -> None:
    file = folder / "text_encoder/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        (_bookkeeping, {"text_encoder", "vae"}),
        (_another_activation, {"vae"}),
        (lambda folder: _change_weights(folder / "text_encoder" / WEIGHTS), {"vae"}),
        (lambda folder: (folder / "text_encoder/merges.txt").write_text("more"), {"vae"}),
    ],
)
def test_equal_files_alone_are_shared(change: Callable[[Path], object], shared: set[str], tmp_path: Path) -> None:
    folder = f"{tiny_models('sd15')}/sd15"
    copied = shutil.copytree(folder, tmp_path / "copy")
    change(copied)
    pipe = pipeline.load("StableDiffusionPipeline", folder)
    assert shared_networks(str(copied)).keys() == shared
    other = pipeline.load("StableDiffusionPipeline", str(copied))
    assert {name for name in ("text_encoder", "vae") if getattr(pipe, name) is getattr(other, name)} == shared


def test_what_no_pipeline_holds_any_more_is_freed(tmp_path: Path) -> None:
    folder = str(shutil.copytree(f"{tiny_models('sd15')}/sd15", tmp_path / "own"))
    _change_weights(Path(folder, "vae/diffusion_pytorch_model.safetensors"))  # nobody else's
    pipes = [pipeline.load("StableDiffusionPipeline", folder) for _ in range(2)]
    vae = weakref.ref(pipes[0].vae)
    pipes.pop()
    gc.collect()
    assert vae() is not None and "vae" in shared_networks(folder)
    pipes.pop()
    gc.collect()
    assert vae() is None
    assert "vae" not in shared_networks(folder)
