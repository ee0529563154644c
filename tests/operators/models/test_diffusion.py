from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import torch

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject
from operators.account import accounting
from operators.models import diffusion
from operators.models.checkpoints import folders_and_identities, identity
from operators.models.diffusion import (
    Denoising,
    Order,
    PictureOperator,
    painted,
    painting_gib,
    painting_s,
    pipeline,
    side_px,
    size_like,
    squares_of,
    steps_of,
)
from operators.pictures import keeping
from tests.sources import pair_of, photo
from tests.tiny import run_one, tiny_models


def test_models_are_found_loaded_once_and_named(tmp_path: Path) -> None:
    models = tiny_models("sd15", "flux")
    folders, identities = folders_and_identities(models, ["sd15", "flux"])
    assert identities == (identity(folders[0], "sd15"), identity(folders[1], "flux"))
    pipe = pipeline("StableDiffusionPipeline", folders[0])
    assert pipeline("StableDiffusionPipeline", folders[0]) is pipe
    assert side_px(pipe) == 64
    assert side_px(pipeline("FluxPipeline", folders[1])) == 128
    with pytest.raises(ValueError, match=r"^stable-cascade-prior .*needed by"):
        folders_and_identities(str(tmp_path), ["stable-cascade-prior"])
    steps = steps_of("x", 2, ("a", "b"), identities, params={"steps": 3}, seed=5, prompt="a cat")
    assert [(step.params, step.model, step.prompt) for step in steps] == [
        ({"part": "a", "steps": 3}, "sd15", "a cat"),
        ({"part": "b"}, "flux", None),
    ]
    assert [step.seed for step in steps] == [5, 5]


FOUR_STEPS = Denoising(steps=4, guidance=3.5)
SD15: Any = SimpleNamespace(unet=SimpleNamespace(config=SimpleNamespace(sample_size=64)), vae_scale_factor=8)
FLUX: Any = SimpleNamespace(vae=SimpleNamespace(config=SimpleNamespace(sample_size=1024)), vae_scale_factor=8)


@pytest.mark.parametrize(
    ("pipe", "shape", "expected"),
    [
        (SD15, (100, 100), (512, 512)),
        (SD15, (200, 100), (384, 704)),
        (SD15, (768, 1024), (576, 448)),
        (FLUX, (100, 100), (1024, 1024)),
        (FLUX, (768, 1024), (1184, 880)),
    ],
)
def test_a_picture_has_the_models_area_in_about_the_shape_asked_for(
    pipe: Any, shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert size_like(pipe, *shape) == expected


@pytest.mark.parametrize(
    ("shape", "expected"), [((768, 1024), (1024, 768)), ((3, 4), (1024, 768)), ((100, 100), (896, 896))]
)
def test_a_picture_may_have_another_area(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert size_like(SD15, *shape, 768 * 1024) == expected


@pytest.mark.parametrize(("kind", "role"), [("StableDiffusionPipeline", "sd15"), ("FluxPipeline", "flux")])
def test_a_picture_is_the_same_wherever_it_is_in_a_batch_and_whatever_is_beside_it(kind: str, role: str) -> None:
    folders, _ = folders_and_identities(tiny_models(role), [role])
    pipe = pipeline(kind, folders[0])
    side = side_px(pipe)
    orders = [Order(prompt=f"a dog in {place} metres", seed=place, size_px=(side, side)) for place in range(5)]

    def made(*places: int) -> list[bytes]:
        pixels = painted(pipe, [orders[place] for place in places], 4, FOUR_STEPS)
        return [one.tobytes() for one in pixels if not isinstance(one, Reject)]

    alone = [made(place)[0] for place in range(5)]
    assert len(set(alone)) == 5
    assert made(0, 1, 2, 3, 4) == alone
    assert made(4, 3, 2, 1, 0) == alone[::-1]
    assert made(2, 2, 0) == [alone[2], alone[2], alone[0]]


class Painter:
    """Draws from its generators alone; refuses what is too large, and cannot do more than `memory` at once."""

    def __init__(self, memory: int = 8, unsafe: bool = False) -> None:
        self.memory, self.unsafe, self.batches = memory, unsafe, list[tuple[int, int, int]]()
        self.unet = SD15.unet

    def __call__(
        self, prompt: list[str], generator: list[Any], height: int, width: int, output_type: str, **sampling: float
    ) -> Any:
        import torch

        assert sampling == {"num_inference_steps": 4, "guidance_scale": 3.5}
        self.batches.append((len(prompt), height, width))
        if len(prompt) > self.memory:
            raise torch.cuda.OutOfMemoryError
        images = [torch.rand((height, width, 3), generator=one).numpy() for one in generator]
        return SimpleNamespace(images=images, nsfw_content_detected=[self.unsafe and "bad" in one for one in prompt])


class Network(torch.nn.Module):
    """Notes where it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def to(self, device: Any) -> Self:  # type: ignore[override]
        self.sent.append(device)
        return self


def test_alone_on_a_gpu_are_the_pipelines_of_one_folder_and_what_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, kontext, fill = Network(), Network(), Network()

    def pipe(*networks: Network) -> Any:
        components = {str(place): network for place, network in enumerate(networks)} | {"tokenizer": object()}
        return SimpleNamespace(
            components=components, to=lambda device: [network.to(device) for network in networks] and None
        )

    kept = [(("K", "/kontext"), pipe(kontext, shared)), (("F", "/fill", ()), pipe(fill, shared))]
    monkeypatch.setattr(diffusion, "pipeline", SimpleNamespace(kept=kept))
    monkeypatch.setattr(diffusion, "prepared_device", lambda: "cuda")
    diffusion.alone("/fill")
    assert (kontext.sent, fill.sent, shared.sent) == (["cpu"], ["cuda"], ["cuda"])
    kept.pop()
    diffusion.alone("/fill")  # which is not loaded: it will find the memory free
    assert (kontext.sent, fill.sent, shared.sent) == (["cpu", "cpu"], ["cuda"], ["cuda", "cpu"])


def test_the_memory_to_paint_in_is_that_of_the_largest_batch() -> None:
    """By hand: 4,400 bytes a pixel, of one picture of FLUX.1 as of four of Stable Diffusion 1.5."""
    assert painting_gib("flux") == painting_gib("sd15") == 1_024 * 1_024 * 4_400 / 2**30
    assert 4.29 < painting_gib("flux") < 4.30
    assert painting_gib("flux", 2) == 2 * painting_gib("flux")


def test_the_time_to_paint_grows_with_steps_and_area() -> None:
    """By hand: 14 s of FLUX.1 for 28 steps on a megapixel, 2.5 s of Stable Diffusion 1.5 for 50 on a quarter of one."""
    assert painting_s("flux", 28) == 14.0
    assert painting_s("flux", 56, 2) == 56.0
    assert painting_s("sd15", 50, squares_of("sd15", 1024, 768)) == 7.5
    assert squares_of("flux", 2048, 1024) == 2


def test_pictures_of_one_size_are_made_together() -> None:
    painter = Painter()
    orders = [Order(prompt="", seed=seed, size_px=(4, 4 + seed % 2)) for seed in range(5)]
    made = painted(painter, orders, 2, FOUR_STEPS)
    assert painter.batches == [(2, 4, 4), (2, 4, 4), (2, 4, 5)]
    assert [one.shape for one in made if not isinstance(one, Reject)] == [(4, 4 + seed % 2, 3) for seed in range(5)]
    (again,) = painted(painter, orders[3:4], 2, FOUR_STEPS)
    assert np.array_equal(np.asarray(again), np.asarray(made[3]))
    assert not np.array_equal(np.asarray(made[1]), np.asarray(made[3]))


def test_what_the_safety_checker_blackens_is_rejected_and_nothing_else_is() -> None:
    orders = [Order(prompt=prompt, seed=1, size_px=(4, 4)) for prompt in ("good", "bad", "fine")]
    made = painted(Painter(unsafe=True), orders, 4, FOUR_STEPS)
    assert [one.reason if isinstance(one, Reject) else "" for one in made] == ["", "unsafe", ""]


def test_a_picture_of_no_numbers_is_no_black_picture() -> None:
    class Broken(Painter):
        def __call__(
            self, prompt: list[str], generator: list[Any], height: int, width: int, output_type: str, **sampling: float
        ) -> Any:
            output = super().__call__(prompt, generator, height, width, output_type, **sampling)
            output.images[prompt.index("bad")][0, 0, 0] = np.nan
            return output

    orders = [Order(prompt=prompt, seed=1, size_px=(4, 4)) for prompt in ("good", "bad")]
    good, bad = painted(Broken(), orders, 2, FOUR_STEPS)
    assert isinstance(bad, Reject) and (bad.reason, not isinstance(good, Reject)) == ("not_finite", True)
    assert bad.message.startswith("Broken gives what is no finite number")


def test_a_gpu_that_is_too_small_gets_halves_and_then_rejects() -> None:
    orders = [Order(prompt="", seed=seed, size_px=(4, 4)) for seed in range(4)]
    small = Painter(memory=1)
    assert all(not isinstance(one, Reject) for one in painted(small, orders, 4, FOUR_STEPS))
    assert [batch[0] for batch in small.batches] == [4, 2, 1, 1, 2, 1, 1]
    none = painted(Painter(memory=0), orders, 4, FOUR_STEPS)
    assert [one.reason for one in none if isinstance(one, Reject)] == ["out_of_memory"] * 4


@dataclass(frozen=True, kw_only=True)
class Draw(PictureOperator):
    """Draws what it is ordered, in one colour."""

    name: ClassVar[str] = "draw"
    version: ClassVar[int] = 1
    order: Order = field(metadata={"location": True})
    strength: float = 0.5
    params: Denoising = FOUR_STEPS

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        return [replace(self.order, seed=seed)]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return [np.full((*order.size_px, 3), order.seed, np.uint8) for order in orders]

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        return replace(pair, images=(*pair.images, encode_lossless("target", pictures[0])))


@dataclass(frozen=True, kw_only=True)
class Redraw(Draw):
    name: ClassVar[str] = "redraw"


@dataclass(frozen=True, kw_only=True)
class DrawAnew(Draw):
    version: ClassVar[int] = 2


ORDER = Order(prompt="a cat", seed=0, size_px=(4, 6), images={"image": photo(0)}, image_prompt=photo(1))
DRAW = Draw(order=ORDER, at_once=2, models=(("flux", "1"),), folders=("/here",))


def _ordered(**changed: Any) -> Draw:
    return replace(DRAW, order=replace(ORDER, **changed))


OTHERS: dict[str, Draw] = {
    "prompt": _ordered(prompt="a dog"),
    "size": _ordered(size_px=(6, 4)),
    "input picture": _ordered(images={"image": photo(2)}),
    "name of the input picture": _ordered(images={"mask_image": photo(0)}),
    "a second input picture": _ordered(images={"image": photo(0), "mask_image": photo(1)}),
    "image prompt": _ordered(image_prompt=photo(2)),
    "no image prompt": _ordered(image_prompt=None),
    "batch size": replace(DRAW, at_once=3),
    "revision": replace(DRAW, models=(("flux", "2"),)),
    "model": replace(DRAW, models=(("sd15", "1"),)),
    "parameter": replace(DRAW, strength=0.6),
    "parameter of a record": replace(DRAW, params=Denoising(steps=4, guidance=3.6)),
    "operator": Redraw(order=ORDER, at_once=2, models=DRAW.models),
    "version": DrawAnew(order=ORDER, at_once=2, models=DRAW.models),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_kept_picture_is_that_of_nothing_else(what: str, tmp_path: Path) -> None:
    with keeping(str(tmp_path)):
        run_one(DRAW, pair_of(), 7)
        with accounting() as account:
            run_one(OTHERS[what], pair_of(), 7)
    assert (account.pictures, account.replayed_pictures) == (1, 0)


def test_another_seed_is_another_picture_and_another_folder_or_pair_is_not(tmp_path: Path) -> None:
    with keeping(str(tmp_path)):
        run_one(DRAW, pair_of(), 7)
        with accounting() as account:
            made = run_one(replace(DRAW, folders=("/there",)), pair_of(key="1" * 32), 7)
            assert (account.pictures, account.replayed_pictures) == (0, 1)
            run_one(DRAW, pair_of(), 8)
        assert (account.pictures, account.replayed_pictures) == (1, 1)
    assert np.array_equal(decode_rgb(made.images[0].data), np.full((4, 6, 3), 7))
