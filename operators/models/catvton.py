"""How a network that puts on garments by concatenation was trained (CatVTON, arXiv 2407.15886).

Person and garment are joined to one picture, self-attention carries the garment over, and text has no part in it. How
exactly, the weights do not tell, and the paper and the code that its authors released differ. So each checkpoint has a
file that says it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

FILE = "tryon.json"
"""The file, beside the UNet's, whose keys are the fields of `Trained`."""

Axis = Literal["width", "height"]
CrossAttention = Literal["removed", "identity"]
Vae = Literal["own", "base"]

_GRID_PX = 64  # a UNet of SD 1.5 halves latents, which are an eighth of the picture, three times


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the sampling of a checkpoint must know of its training."""

    axis: Axis
    """Along which the two are joined: the garment is right of the person, or below."""
    cross_attention: CrossAttention
    """What a transformer block does where its cross-attention was. Removed, it adds nothing. As the identity it gives
    back what it is given, which is normalised, and the block adds that."""
    eta: float
    """Share of DDPM's noise that a step of DDIM adds, in [0, 1]."""
    vae: Vae
    """Whose autoencoder: the checkpoint's own, in its folder `vae`, or that of the inpainting model."""
    height_px: int
    width_px: int
    """Size of the person's picture and of the garment's, multiples of 64. Persons of another shape have its area."""

    @classmethod
    def of(cls, folder: str) -> Self:
        """What the checkpoint in a folder says. Raises ValueError, one line, if it does not say it."""
        path = Path(folder, FILE)
        if not path.is_file():
            raise ValueError(f"{path} is missing: it says how the network was trained, {_EXAMPLE}")
        try:
            said = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON ({error}): it should be like {_EXAMPLE}") from None
        names = [field.name for field in fields(cls)]
        if not isinstance(said, dict) or sorted(said) != sorted(names):
            raise ValueError(f"{path} should have {', '.join(names)} and nothing else, {_EXAMPLE}")
        for name, allowed in _ALLOWED.items():
            if said[name] not in allowed:
                raise ValueError(f"{path}: {name} is {said[name]!r}, it should be {' or '.join(map(repr, allowed))}")
        if type(said["eta"]) not in (int, float) or not 0 <= said["eta"] <= 1:
            raise ValueError(f"{path}: eta is {said['eta']!r}, it should be a number from 0 to 1")
        for name in ("height_px", "width_px"):
            if type(said[name]) is not int or said[name] < _GRID_PX or said[name] % _GRID_PX:
                raise ValueError(f"{path}: {name} is {said[name]!r}, it should be a multiple of {_GRID_PX}")
        if said["vae"] == "own" and not Path(folder, "vae", "config.json").is_file():
            raise ValueError(f"{path}: vae is 'own', but there is no vae/config.json beside it")
        return cls(**{**said, "eta": float(said["eta"])})

    def write(self, folder: Path) -> None:
        """Say it in a folder."""
        (folder / FILE).write_text(json.dumps(asdict(self)), "utf-8")

    @property
    def dimension(self) -> int:
        """The axis, as the dimension of tensors whose last two are height and width."""
        return -1 if self.axis == "width" else -2


_ALLOWED: dict[str, tuple[str, ...]] = {
    "axis": get_args(Axis),
    "cross_attention": get_args(CrossAttention),
    "vae": get_args(Vae),
}

RELEASED = Trained(axis="height", cross_attention="identity", eta=1.0, vae="own", height_px=1024, width_px=768)
"""How the authors run their attention mix-48k-1024: CatVTONPipeline in model/pipeline.py and SkipAttnProcessor in
model/attn_processor.py of https://github.com/Zheng-Chong/CatVTON, with the VAE stabilityai/sd-vae-ft-mse."""

_EXAMPLE = f"as released by its authors {json.dumps(asdict(RELEASED))}"


def without_text(unet: Any, cross_attention: CrossAttention) -> None:
    """Take the text out of a UNet's transformer blocks, in place: what the cross-attention becomes instead."""
    for module in unet.modules():
        if getattr(module, "attn2", None) is not None:
            if cross_attention == "removed":
                module.attn2 = None
            else:
                module.attn2.set_processor(_Identity())


class _Identity:
    """In the place of an attention's processor: gives back what it is given."""

    def __call__(self, attn: Any, hidden_states: Any, **_: Any) -> Any:
        return hidden_states
