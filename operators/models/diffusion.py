"""What all operators that run a diffusers pipeline share: the operator itself, loading, sizes, pictures in batches.

An operator that paints is three functions, which `with_pictures` calls one after the other: `orders` says which
pictures a pair needs, `paint` has a pipeline paint those of all pairs (most often by `painted`), and `finished` adds to
a pair its own. `paint` is not asked for pictures that are kept (operators/pictures.py).
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, Self, get_args

import cv2
import numpy as np

from manifests.images.pixels import Pixels
from manifests.schema import Pair, Reject, Step
from operators.batching import PAIRS, each_pair, in_batches
from operators.models import checkpoints
from operators.models.device import loaded_once, prepared_device
from operators.models.sharing import remember, shared_networks
from operators.option import option, parameters
from operators.pictures import kept_or_painted, sha256_of
from operators.shared.extras import need
from operators.shared.finite import not_finite

Family = Literal["sd15", "flux"]
"""Stable Diffusion 1.5 or FLUX.1."""


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """How a pipeline makes a picture out of noise."""

    steps: int
    guidance: float
    """Weight of the prompt: of classifier-free guidance, or what FLUX.1 is told in its place."""

    @property
    def params(self) -> dict[str, Any]:
        """The settings as `Step.params` records them."""
        return {"steps": self.steps, "guidance": self.guidance}


DENOISING: Mapping[Family, Denoising] = {
    "sd15": Denoising(steps=50, guidance=7.5),
    "flux": Denoising(steps=28, guidance=3.5),
}
"""Defaults of diffusers 0.42's StableDiffusionPipeline and FluxPipeline."""

FILL = Denoising(steps=50, guidance=30.0)
"""Of FLUX.1 Fill: diffusers' defaults, and those of https://huggingface.co/black-forest-labs/FLUX.1-Fill-dev."""

_DECODING_BYTES_PER_PX = 4_400
"""Memory of a GPU in which a VAE turns latents into pictures in bfloat16, for each pixel: 2 bytes times the 2,200 that
InvokeAI has measured for SD 1.5 and FLUX.1, memory that the allocator reserves included
(https://github.com/invoke-ai/InvokeAI, invokeai/backend/util/vae_working_memory.py). Denoising needs less (assumed)."""

PICTURE_GPU_S: Mapping[Family, float] = {"sd15": 2.5, "flux": 14.0}
"""Seconds of an A100 for one picture of the family's own size in the steps of DENOISING: assumed, not measured."""

TEXT_TO_IMAGE: Mapping[Family, str] = {"sd15": "StableDiffusionPipeline", "flux": "FluxPipeline"}
"""The class of diffusers that makes a picture from a prompt."""

AT_ONCE: Mapping[Family, int] = {"sd15": 4, "flux": 1}
"""How many pictures are made together. A step of FLUX's 12B parameters on 4,608 tokens is 110 TFLOP, a third of a
second of an A100 at its best, so one picture fills a GPU; one of SD 1.5's with guidance is 1.6 TFLOP, and does not.
More than four would often be copies: photos have many shapes, and only pictures of one size are made together."""

FAMILY_GPUS: Mapping[Family, float] = {"sd15": 0.25, "flux": 1.0}
"""Share of a GPU that a painter keeps busy. A picture of FLUX.1 fills one; four painters of SD 1.5 do, which take turns
at it while others encode and decode pictures (assumed, not measured)."""

_SIDE_PX: Mapping[Family, int] = {"sd15": 512, "flux": 1024}
"""The side of the square pictures that the published checkpoints were trained on."""

_PROMPT_SIDE_PX = 512

_LATENTS: Mapping[Family, int] = {"sd15": 8, "flux": 2}
"""Sides of latents are multiples of it: SD 1.5's UNet halves them three times, FLUX.1 sees them in patches of 2 x 2."""


def painting_gib(family: Family, squares: float = 1.0) -> float:
    """GiB of a GPU that a family's pipeline paints a batch in, beside its weights.

    A picture has the area of `squares` squares of the family's own side.
    """
    return AT_ONCE[family] * squares * _SIDE_PX[family] ** 2 * _DECODING_BYTES_PER_PX / 2**30


def painting_s(family: Family, steps: float, squares: float = 1.0) -> float:
    """Seconds of an A100 for a picture of the area of so many squares, in so many steps.

    Assumed to grow with both alike, as PICTURE_GPU_S itself is assumed.
    """
    return PICTURE_GPU_S[family] * squares * steps / DENOISING[family].steps


def squares_of(family: Family, height_px: int, width_px: int) -> float:
    """The area of a picture, in squares of the family's own side."""
    return height_px * width_px / _SIDE_PX[family] ** 2


def steps_of(
    name: str,
    version: int,
    parts: Sequence[str],
    models: Sequence[tuple[str, str]],
    *,
    params: Mapping[str, Any],
    seed: int,
    prompt: str | None = None,
) -> tuple[Step, ...]:
    """The provenance of a picture: one step for each model, so that every revision is named.

    `parts` says what each of `models` (name, revision) did. The first step has the parameters and the prompt too.
    """
    return tuple(
        Step(
            operator=name,
            version=version,
            params={"part": part, **(params if part == parts[0] else {})},
            seed=seed,
            model=model,
            model_revision=revision,
            prompt=prompt if part == parts[0] else None,
        )
        for part, (model, revision) in zip(parts, models, strict=True)
    )


@loaded_once(2)
def pipeline(kind: str, folder: str, parts: tuple[tuple[str, str, str], ...] = ()) -> Any:
    """A diffusers pipeline from a folder, on a GPU in bfloat16, on a CPU in float32 on one thread.

    `parts` are components from folders of their own: (component, its class in diffusers, folder). Text encoders and
    VAEs that another pipeline of this process has loaded from equal files are shared with it.
    """
    import torch

    diffusers, device = need("diffusers"), prepared_device()
    options = {"local_files_only": True, "dtype": torch.bfloat16 if device == "cuda" else torch.float32}
    extra = {name: getattr(diffusers, cls).from_pretrained(path, **options) for name, cls, path in parts}
    pipe = getattr(diffusers, kind).from_pretrained(folder, **{**shared_networks(folder), **extra}, **options)
    remember(pipe, folder, extra)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def alone(folder: str) -> None:
    """Leave the GPU to the pipelines of one folder: what others do not share with them goes to main memory meanwhile.

    For pipelines that are too large to be on a GPU together. They come back as they were, by the same call for theirs.
    """
    device = prepared_device()
    own, others = (
        [pipe for (_, where, *_), pipe in pipeline.kept if (where == folder) is wanted] for wanted in (True, False)
    )
    staying = {id(network) for pipe in own for network in _networks(pipe)}
    for network in (network for pipe in others for network in _networks(pipe) if id(network) not in staying):
        network.to("cpu")
    for pipe in own:
        pipe.to(device)


def _networks(pipe: Any) -> list[Any]:
    import torch

    return [network for network in pipe.components.values() if isinstance(network, torch.nn.Module)]


@loaded_once(1)
def with_controlnet(kind: str, base: Any, control_kind: str, folder: str) -> Any:
    """A pipeline of another kind on the networks of `base`, which both then share, and a ControlNet from a folder."""
    diffusers = need("diffusers")
    control = getattr(diffusers, control_kind).from_pretrained(folder, local_files_only=True, dtype=base.dtype)
    pipe = getattr(diffusers, kind).from_pipe(base, controlnet=control.to(base.device), dtype=base.dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@dataclass(frozen=True, kw_only=True)
class Order:
    """One picture that a pipeline is to make."""

    prompt: str
    seed: int
    size_px: tuple[int, int]
    """Height and width."""
    images: Mapping[str, Pixels] = field(default_factory=dict)
    """The pictures that it is made from, by the names of the pipeline's arguments."""
    image_prompt: Pixels | None = None
    """The picture that an IP-Adapter is shown."""

    def described(self) -> dict[str, Any]:
        """All that is ordered, as JSON: pictures by their sha256."""
        return {
            "prompt": self.prompt,
            "seed": self.seed,
            "size_px": self.size_px,
            "images": {name: sha256_of(pixels) for name, pixels in self.images.items()},
            "image_prompt": None if self.image_prompt is None else sha256_of(self.image_prompt),
        }


class Painter(Protocol):
    """An operator that orders pictures."""

    name: ClassVar[str]
    version: ClassVar[int]

    @property
    def at_once(self) -> int:
        """Pictures in a batch."""
        ...

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        """The pictures that a pair needs, none if it can do without. Raises Reject."""
        ...

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        """One picture for each order, H x W x 3, in order."""
        ...

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        """The pair with the pictures of its own orders, and with steps that say how they were made. Raises Reject."""
        ...


def with_pictures(painter: Painter, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
    """Each pair with its pictures: those that all pairs order are painted together, unless they are kept."""
    own = {"operator": painter.name, "version": painter.version, "parameters": parameters(painter)}

    def pictures(orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return kept_or_painted(
            orders,
            lambda order: {**own, **order.described()},
            painter.paint,
            painter.at_once,
            alike=lambda order: order.size_px,  # as `painted` has it
        )

    return each_pair(pairs, seeds, painter.orders, pictures, painter.finished)


@dataclass(frozen=True, kw_only=True)
class PictureOperator(ABC):
    """What the painters that have diffusers' pipelines paint have in common. Their functions are those of `Painter`."""

    name: ClassVar[str]
    version: ClassVar[int]
    batch_size: ClassVar[int] = PAIRS
    at_once: int = 0
    """Pictures in a batch (AT_ONCE), set by `bound`: bytes depend on it."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of each checkpoint."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})
    """The folder of each checkpoint."""

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        return with_pictures(self, pairs, seeds)

    @abstractmethod
    def orders(self, pair: Pair, seed: int) -> Sequence[Order]: ...

    @abstractmethod
    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]: ...

    @abstractmethod
    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair: ...


@dataclass(frozen=True, kw_only=True)
class FamilyPainter(PictureOperator):
    """What those have in common that can use models of either family, and always use some."""

    roles: ClassVar[Mapping[Family, tuple[str, ...]]]
    """The checkpoints of each family."""
    family: Family = option("sd15", "which models make the pictures", name="generator", choices=get_args(Family))

    @property
    def gpus(self) -> float:
        return FAMILY_GPUS[self.family]

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S[self.family]

    @property
    def loads(self) -> tuple[str, ...]:
        return self.roles[self.family]

    @property
    def working_gib(self) -> float:
        return painting_gib(self.family)

    def bound(self, models: str | None) -> Self:
        folders, identities = checkpoints.folders_and_identities(models, self.roles[self.family])
        return replace(self, folders=folders, models=identities, at_once=AT_ONCE[self.family])


def painted(
    pipe: Any,
    orders: Sequence[Order],
    at_once: int,
    denoising: Denoising,
    *,
    negative_prompt: str | None = None,
    **given: Any,
) -> list[Pixels | Reject]:
    """What a pipeline makes of each order, H x W x 3, `at_once` together; `given` are arguments that all share.

    `negative_prompt` is what guidance leads away from: without one SD 1.5's from an empty prompt, FLUX's from nothing.

    Each picture's noise is its own seed's, drawn on the CPU, so that every device begins with the same. Rejects:
    out_of_memory; unsafe, where the checkpoint has a safety checker and that blackens the picture; not_finite.
    """
    import torch
    from PIL import Image as PILImage

    given = {"num_inference_steps": denoising.steps, "guidance_scale": denoising.guidance, **given}
    if _family(pipe) == "flux":
        given = {"max_sequence_length": pipe.tokenizer_2.model_max_length, **given}
    sized = "height" in inspect.signature(pipe.__call__).parameters  # SD 1.5 makes an image from one of its size

    def run(batch: Sequence[Order]) -> list[Pixels | Reject]:
        height_px, width_px = batch[0].size_px
        with torch.no_grad(), _image_prompts(pipe, batch) as prompted:
            output = pipe(
                prompt=[order.prompt for order in batch],
                generator=[torch.Generator().manual_seed(order.seed) for order in batch],
                output_type="np",
                **{name: [PILImage.fromarray(order.images[name]) for order in batch] for name in batch[0].images},
                **({"height": height_px, "width": width_px} if sized else {}),
                **({} if negative_prompt is None else {"negative_prompt": [negative_prompt] * len(batch)}),
                **prompted,
                **given,
            )
        unsafe = getattr(output, "nsfw_content_detected", None) or [False] * len(batch)
        return [
            Reject("unsafe", "the model's safety checker refuses what it made")
            if refused
            else not_finite(type(pipe).__name__, image) or np.asarray((image * 255).round(), np.uint8)
            for image, refused in zip(output.images, unsafe, strict=True)
        ]

    return in_batches(run, orders, at_once, alike=lambda order: order.size_px)


@contextmanager
def _image_prompts(pipe: Any, orders: Sequence[Order]) -> Iterator[dict[str, Any]]:
    """While open, a pipeline gives each picture the image prompt of its order; its own arguments are yielded.

    By themselves diffusers' pipelines (0.42) take one image prompt a call: where there are several, each picture of the
    batch sees all of them. What true guidance of FLUX leads away from is a black picture, as the image prompts' authors
    have it (XFluxPipeline.__call__ in src/flux/xflux_pipeline.py of https://github.com/XLabs-AI/x-flux); that of SD 1.5
    is an embedding of zeros, which diffusers adds.
    """
    import torch
    from PIL import Image as PILImage

    images = [PILImage.fromarray(order.image_prompt) for order in orders if order.image_prompt is not None]
    if not images:
        yield {}
        return
    guided = [True] if _family(pipe) == "sd15" else []  # first of no image, then of the image
    prepare = pipe.prepare_ip_adapter_image_embeds
    embedded = [prepare([image], None, pipe.device, 1, *guided)[0].chunk(1 + len(guided)) for image in images]
    vectors = torch.cat([part for parts in zip(*embedded, strict=True) for part in parts])
    arguments, nothing = {"ip_adapter_image": images[:1]}, [vectors]
    if not guided:
        arguments["negative_ip_adapter_image"] = black = [PILImage.new("RGB", images[0].size)]
        nothing = prepare(black, None, pipe.device, len(images))
    pipe.prepare_ip_adapter_image_embeds = lambda image, *_, **__: (
        [vectors] if image is arguments["ip_adapter_image"] else nothing
    )
    try:
        yield arguments
    finally:
        del pipe.prepare_ip_adapter_image_embeds


def resized(pixels: Pixels, size_px: tuple[int, ...]) -> Pixels:
    """The picture at a size (height, width)."""
    if pixels.shape[:2] == size_px:
        return pixels
    smaller = size_px[0] * size_px[1] < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size_px[::-1], interpolation=interpolation), np.uint8)


def for_encoder(pixels: Pixels) -> Pixels:
    """A picture for an image encoder, which sees 224 px of it: its shorter side is at most 512 px, so that many fit."""
    factor = _PROMPT_SIDE_PX / min(pixels.shape[:2])
    return resized(pixels, tuple(round(factor * side) for side in pixels.shape[:2])) if factor < 1 else pixels


def side_px(pipe: Any) -> int:
    """The side of the square pictures that a pipeline was trained on: 512 for SD 1.5, 1,024 for FLUX.1."""
    if _family(pipe) == "flux":
        return int(pipe.vae.config.sample_size)
    return int(pipe.unet.config.sample_size * pipe.vae_scale_factor)


def size_like(pipe: Any, width_px: int, height_px: int, area_px: int | None = None) -> tuple[int, int]:
    """(height, width) of a picture with about that shape and a pipeline's own area, or another: multiples of `grid_px`.

    The shape is given by a width and a height, px.
    """
    side, shape = math.sqrt(area_px) if area_px else side_px(pipe), math.sqrt(width_px / height_px)
    grid = grid_px(pipe)
    height, width = (max(1, round(length / grid)) * grid for length in (side / shape, side * shape))
    return height, width


def grid_px(pipe: Any) -> int:
    """What the sides of a pipeline's pictures are multiples of, px: 64 for SD 1.5, 16 for FLUX.1."""
    return int(_LATENTS[_family(pipe)] * pipe.vae_scale_factor)


def _family(pipe: Any) -> Family:
    return "sd15" if getattr(pipe, "unet", None) else "flux"
