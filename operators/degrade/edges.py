"""Edge maps as the input from which an image is generated: HED, MLSD (both models of controlnet_aux) and Canny."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, Self

import cv2
import numpy as np

from manifests.images.pixels import Pixels
from manifests.schema import Pair, Reject
from operators.base import OnlyUnpaired
from operators.degrade.synthesis import clean_pixels, with_input
from operators.models import checkpoints
from operators.models.device import loaded_once, prepared_device
from operators.shared.finite import check_finite

WEIGHTS = {"hed": "ControlNetHED.pth", "mlsd": "mlsd_large_512_fp32.pth"}
"""Detector -> its file in its folder below MODELS (operators/models/checkpoints.py)."""

_CANNY = (100, 200)  # controlnet_aux's default thresholds
_MLSD = (0.1, 0.1)  # controlnet_aux's defaults: the least score of a line, and the least length, px of half the image
_MIN_SIDE_PX = 64  # detectors round sides to multiples of it: a shorter one would become 0
_MAX_SIDE_PX = 1_024  # of the shorter side: HED takes gigabytes beyond; a larger photo's edges are found at this size


@dataclass(frozen=True, kw_only=True)
class Edges(OnlyUnpaired):
    """Gives a pair that has only a target the edge map of that target as its input. Rejects: no_edges, not_finite.

    HED and MLSD need weights: `bound` ties the operator to the folder that holds them; what identifies them, not their
    place, goes into the fingerprint. Canny needs none; no task of ours takes it, a user's task may:
    `degrade=Edges(detector="canny")`.
    """

    name: ClassVar[str] = "edges"
    version: ClassVar[int] = 2
    gpus: ClassVar[float] = 0.25
    """Share of a GPU, where the cluster has some: four workers keep one busy, decoding and encoding beside it."""
    gpu_s: ClassVar[float] = 0.03
    working_gib: ClassVar[float] = 2.0
    """Assumed, not measured: HED's first layers hold 64 channels of a photo of 1.5 megapixels in float32, 0.4 GiB."""
    detector: Literal["hed", "mlsd", "canny"]
    model: str = ""
    model_revision: str = ""
    folder: str = field(default="", metadata={"location": True})

    @property
    def loads(self) -> tuple[str, ...]:
        return () if self.detector == "canny" else (self.detector,)

    def bound(self, models: str | None) -> Self:
        """The operator with its weights. Raises ValueError saying which are missing and where to get them."""
        if self.detector == "canny":
            return self
        folder = checkpoints.folder(models, self.detector)
        if find_spec("controlnet_aux") is None:
            raise ValueError(f"{self.detector} needs controlnet-aux: pip install 'xprompt-data-engine[models]'")
        model, revision = checkpoints.identity(folder, self.detector)
        return replace(self, folder=folder, model=model, model_revision=revision)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        pixels = clean_pixels(pair)
        if self.detector == "canny":
            edges = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), *_CANNY)
        else:
            found = _detector(self.detector, self.folder)(pixels)[..., 0]
            # Detectors work at multiples of 64 px.
            edges = cv2.resize(found, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_LINEAR)
        if not edges.any():
            raise Reject("no_edges", f"{self.detector} finds nothing in it")
        params = {"detector": self.detector}
        made = with_input(pair, np.repeat(np.asarray(edges, np.uint8)[..., None], 3, axis=2), self, seed, params)
        step = made.steps[-1]
        if self.detector != "canny":
            step = replace(step, model=self.model, model_revision=self.model_revision)
        return replace(made, steps=(*made.steps[:-1], step))


@loaded_once(2)
def _detector(name: str, folder: str) -> Callable[[Pixels], Pixels]:
    """A detector, on the GPU if there is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional detectors that are not installed
        from controlnet_aux import HEDdetector, MLSDdetector
    kind = {"hed": HEDdetector, "mlsd": MLSDdetector}[name]
    model = kind.from_pretrained(folder).to(prepared_device())
    for layer in _last_layers(name, model):
        layer.register_forward_hook(lambda layer, given, maps: check_finite(name, maps))

    def detect(pixels: Pixels) -> Pixels:
        side_px = min(max(min(pixels.shape[:2]), _MIN_SIDE_PX), _MAX_SIDE_PX)
        if name == "mlsd":
            return _lines(model.model, pixels, side_px)
        found: Pixels = model(pixels, detect_resolution=side_px, image_resolution=side_px, output_type="np")
        return found

    return detect


def _last_layers(name: str, model: Any) -> list[Any]:
    """The layers whose maps a detector makes bytes of, where what is no number would be 0, as if there were no edge."""
    if name == "mlsd":
        return [model.model]
    # HED's is no module that calls hooks, nor are its blocks: each block's last convolution is.
    return [layer for path, layer in model.netNetwork.named_modules() if path.endswith(".projection")]


def _lines(network: Any, pixels: Pixels, side_px: int) -> Pixels:
    """The lines that MLSD sees, white on black, with `side_px` as the shorter side: what MLSDdetector returns.

    That one takes any exception for a picture without lines, so that a lost GPU would become an empty map.
    """
    import torch
    from controlnet_aux.mlsd.utils import pred_lines
    from controlnet_aux.util import resize_image

    seen = resize_image(pixels, side_px)
    drawn = np.zeros_like(seen)
    try:
        with torch.no_grad():
            lines = pred_lines(seen, network, [*seen.shape[:2]], *_MLSD)
    except IndexError as error:
        # It takes columns of an array of lines, which has none where there is no line.
        if traceback.extract_tb(error.__traceback__)[-1].name != pred_lines.__name__:
            raise
        lines = ()
    for line in lines:
        start_x, start_y, end_x, end_y = (int(value) for value in line)
        cv2.line(drawn, (start_x, start_y), (end_x, end_y), (255, 255, 255), 1)
    height_px, width_px = resize_image(seen, side_px).shape[:2]  # sides that are rounded again may be others
    return np.asarray(cv2.resize(drawn, (width_px, height_px), interpolation=cv2.INTER_LINEAR), np.uint8)
