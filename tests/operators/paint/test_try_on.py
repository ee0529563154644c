from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject
from operators.base import StopRun
from operators.models.catvton import RELEASED, Axis, CrossAttention, Trained, Vae
from operators.models.checkpoints import identity
from operators.models.diffusion import Order
from operators.paint.try_on import TryOn
from tests.sources import lossless, pair_of, photo
from tests.tiny import few_steps, kept_as_painted, run_one, tiny_models, together_as_alone

ROLES = ("sd15-inpaint", "sd15-tryon")


def test_the_garment_decides_what_is_worn_and_the_rest_of_the_person_stays() -> None:
    models = tiny_models(*ROLES)
    operator = TryOn(steps=3).bound(models)
    pair = _pair(photo(1, 100, 140))
    made = run_one(operator, pair, 7)
    assert run_one(operator, pair, 7) == made
    target = _target(made)
    person = decode_rgb(pair.images[0].data)
    assert target.shape == person.shape == (140, 100, 3)
    hole = np.zeros((140, 100), bool)
    hole[40:100, 20:80] = True
    assert np.array_equal(target[~hole], person[~hole])
    assert target[hole].std() > 15
    for other in (run_one(operator, pair, 8), run_one(operator, _pair(photo(0, 100, 140)), 7)):
        assert np.abs(_target(other).astype(float) - target)[hole].mean() > 2
    steps = made.steps[-2:]
    assert [(step.model, step.model_revision) for step in steps] == [
        identity(f"{models}/{role}", role) for role in ROLES
    ]
    trained = {"axis": "height", "cross_attention": "identity", "eta": 1.0, "vae": "own"}
    assert steps[0].params == {
        "part": "autoencoder and schedule",
        "steps": 3,
        "guidance": 2.5,
        "trained": {**trained, "height_px": 64, "width_px": 64},
    }
    assert {step.seed for step in steps} == {7}


def test_a_pair_as_published_stays_and_needs_no_model() -> None:
    pair = pair_of(*(lossless(role, photo(0)) for role in ("person", "cloth", "target")))
    assert run_one(TryOn().bound(None), pair, 1) is pair
    assert (TryOn().bound(None).gpus, TryOn().bound(tiny_models(*ROLES)).gpus) == (0, 0.5)
    with pytest.raises(StopRun, match="no sd15-inpaint or sd15-tryon"):
        run_one(TryOn().bound("/nowhere"), _pair(photo(0, 100, 140)), 1)


@pytest.mark.parametrize("axis", ["height", "width"])
@pytest.mark.parametrize(
    ("cross_attention", "eta", "vae"), [("identity", 1.0, "own"), ("removed", 0.0, "base"), ("identity", 0.5, "base")]
)
def test_a_picture_is_what_the_released_code_makes_of_it(
    axis: Axis, cross_attention: CrossAttention, eta: float, vae: Vae, tmp_path: Path
) -> None:
    """The loop of CatVTONPipeline.__call__ by hand, with the axis, the skipping, eta and the VAE of the checkpoint."""
    models = _models(tmp_path, axis=axis, cross_attention=cross_attention, eta=eta, vae=vae, height_px=128)
    operator = TryOn(steps=4).bound(str(models))
    assert operator.trained and (operator.trained.axis, operator.trained.eta) == (axis, eta)
    (order,) = operator.orders(_pair(photo(1, 100, 140)), 7)
    assert order.size_px == (128, 64)
    expected = _by_hand(models, order, axis, cross_attention, eta, vae)
    (made, *_) = operator.paint([order])
    assert not isinstance(made, Reject) and made.shape == expected.shape == (128, 64, 3)
    assert np.abs(made.astype(int) - expected).max() <= 1  # rounded
    for other_axis, other_skip, other_eta in (
        ("width" if axis == "height" else "height", cross_attention, eta),
        (axis, "removed" if cross_attention == "identity" else "identity", eta),
        (axis, cross_attention, 1 - eta if eta != 0.5 else 0.0),
    ):
        assert np.abs(_by_hand(models, order, other_axis, other_skip, other_eta, vae) - expected).max() > 1


def _models(folder: Path, **changed: Any) -> Path:
    """MODELS whose try-on checkpoint says that it was trained otherwise, and whose inpainting VAE is another."""
    models = Path(tiny_models(*ROLES))
    for role in ROLES:
        shutil.copytree(models / role, folder / role)
    replace(Trained.of(str(folder / ROLES[1])), **changed).write(folder / ROLES[1])
    own = AutoencoderKL.from_pretrained(folder / ROLES[1] / "vae")
    with torch.no_grad():
        own.decoder.conv_out.bias += 0.2
    own.save_pretrained(folder / ROLES[1] / "vae")
    return folder


def _by_hand(models: Path, order: Order, axis: str, cross_attention: str, eta: float, vae: str) -> Any:
    """What the loop makes of an order, H x W x 3 from 0 to 255: four steps of DDIM, guidance 2.5."""
    unet = UNet2DConditionModel.from_pretrained(models / "sd15-tryon")
    for module in unet.modules():
        if getattr(module, "attn2", None) is not None:
            if cross_attention == "identity":
                module.attn2.forward = lambda hidden_states, *_, **__: hidden_states
            else:
                module.attn2.forward = lambda hidden_states, *_, **__: torch.zeros_like(hidden_states)
    folder = {"own": models / "sd15-tryon/vae", "base": models / "sd15-inpaint/vae"}[vae]
    coder, dim = AutoencoderKL.from_pretrained(folder), {"height": 2, "width": 3}[axis]
    person, mask, cloth = (
        torch.from_numpy(np.array(order.images[role])).permute(2, 0, 1)[None].float()
        for role in ("person", "mask", "cloth")
    )
    white = (mask[:, :1] / 255 >= 0.5).float()
    draws = torch.Generator().manual_seed(order.seed)
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float32) ** 2)
    with torch.no_grad():
        masked = 0.18215 * coder.encode((person / 127.5 - 1) * (white < 0.5)).latent_dist.mean
        worn = 0.18215 * coder.encode(cloth / 127.5 - 1).latent_dist.mean
        small = white[:, :, ::8, ::8]  # the nearest pixel of an eighth
        holes = torch.cat([small, torch.zeros_like(small)], dim)
        latents = torch.randn(torch.cat([masked, worn], dim).shape, generator=draws)
        for time in (751, 501, 251, 1):
            with_garment, without = (
                unet(torch.cat([latents, holes, torch.cat([masked, garment], dim)], 1), time, None).sample
                for garment in (worn, torch.zeros_like(worn))
            )
            noise = without + 2.5 * (with_garment - without)
            before, after = float(kept[time]), float(kept[max(time - 250, 0)])
            clean = ((latents - (1 - before) ** 0.5 * noise) / before**0.5).clamp(-1, 1)  # as DDIM's config is here
            drawn = eta * ((1 - after) / (1 - before) * (1 - before / after)) ** 0.5
            latents = after**0.5 * clean + (1 - after - drawn**2) ** 0.5 * noise
            if eta:
                latents = latents + drawn * torch.randn(latents.shape, generator=draws)
        decoded = coder.decode(latents.chunk(2, dim)[0] / 0.18215).sample
    return (255 * (decoded[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)).round().int().numpy()


def test_a_garment_of_another_shape_is_shown_whole_on_white() -> None:
    """By hand: 30 x 90 px of garment in 64 x 64 are 21 x 64 in the middle."""
    (order,) = TryOn().bound(tiny_models(*ROLES)).orders(_pair(np.full((90, 30, 3), 10, np.uint8)), 1)
    dark = (order.images["cloth"] == 10).all(-1)
    assert (dark | (order.images["cloth"] == 255).all(-1)).all()
    rows, columns = np.where(dark)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 63, 21, 41)
    assert dark.sum() == 64 * 21


def test_a_size_of_its_training_is_what_a_checkpoint_costs() -> None:
    """By hand: person and garment of 768 x 1,024 px are six pictures of 512 x 512 of 2.5 s each."""
    released = TryOn(folders=("/base", "/unet"), trained=RELEASED)
    assert released.gpu_s == pytest.approx(6 * 2.5)
    assert released.working_gib == pytest.approx(2 * 768 * 1024 * 4_400 / 2**30)
    smaller = replace(released, trained=replace(RELEASED, height_px=512, width_px=384))
    assert smaller.gpu_s == pytest.approx(1.5 * 2.5)
    assert smaller.working_gib == pytest.approx(2 * 2 * 512 * 384 * 4_400 / 2**30)  # two at once


def test_a_checkpoint_that_does_not_say_how_it_was_trained_is_refused(tmp_path: Path) -> None:
    models = _models(tmp_path)
    (models / "sd15-tryon/tryon.json").unlink()
    with pytest.raises(ValueError, match=r"tryon\.json is missing: it says how the network was trained"):
        TryOn().bound(str(models))


def test_garments_are_put_on_together_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = TryOn(steps=3).bound(tiny_models(*ROLES))
    assert together_as_alone(operator, [_pair(photo(cloth, 100, 140)) for cloth in (0, 1, 3)])


def test_what_is_worn_is_kept_as_it_is_painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = TryOn(steps=3).bound(tiny_models(*ROLES))
    assert kept_as_painted(operator, [_pair(photo(cloth, 100, 140)) for cloth in (0, 1, 3)], tmp_path, monkeypatch)


def test_what_is_worn_is_not_black_where_the_network_gives_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = TryOn(steps=1).bound(tiny_models(*ROLES))
    unet = operator._pipeline().unet
    monkeypatch.setattr(unet.conv_out.bias, "data", torch.full_like(unet.conv_out.bias, torch.nan))
    with pytest.raises(Reject, match="the try-on network gives what is no finite number") as reject:
        run_one(operator, _pair(photo(0, 100, 140)), 1)
    assert reject.value.reason == "not_finite"


def _pair(cloth: Pixels) -> Pair:
    person = photo(2, 100, 140)
    mask = np.zeros_like(person)
    mask[40:100, 20:80] = 255
    pair = pair_of(lossless("person", person), lossless("mask", mask), lossless("cloth", cloth))
    return replace(pair, key="1" * 32)


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)
