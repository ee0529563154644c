"""The numbers that RB-Modulation is run with (arXiv 2405.17401), and where they come from.

The authors' code is https://github.com/google/RB-Modulation: gdf_rbm.py has defaults, the notebook, of which we read
public copies, sets what is passed. It has two modes, a style alone and a style with a content, whose numbers differ.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a stage of Stable Cascade makes latents out of noise."""

    guidance: float
    """Weight of the prompt in classifier-free guidance."""
    rho: float = 0.7
    """Share of the rescaled guidance: gdf/__init__.py of https://github.com/Stability-AI/StableCascade."""
    shift: float
    """How much noisier the schedule is than the plain cosine one, which has 1."""
    steps: int


@dataclass(frozen=True, kw_only=True)
class StageCSampling(Sampling):
    """How stage C is sampled, and controlled on the way.

    Defaults: the authors' notebook and gdf_rbm.py; guidance, shift and steps are also Stable Cascade's own, in its
    inference/text_to_image.ipynb.
    """

    guidance: float = 4.0
    shift: float = 2.0
    steps: int = 20
    iterations: int = 3
    """Steps of Adam at each step of sampling; 0 for no control."""
    eta: float = 0.1
    """Adam's learning rate at the first step; it falls linearly to 0."""
    tau: int = 20
    """Steps of sampling that are controlled, from the first."""


STAGE_B = Sampling(guidance=1.1, shift=1.0, steps=10)
"""How stage B is sampled: the authors' notebook, and Stable Cascade's."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of the terminal cost's terms: gdf_rbm.py's lam_style, lam_content and lam_txt_alignment."""

    style: float
    content: float
    text: float


@dataclass(frozen=True, kw_only=True)
class Mode:
    """What depends on whether a content reference is given."""

    weights: Weights
    stochastic: bool
    """Whether stage C adds fresh noise at each step (DDPM), or none (DDIM): gdf_rbm.py's use_ddim_sampler."""


STYLE_ONLY = Mode(weights=Weights(style=1.0, content=0.0, text=1.0), stochastic=False)
"""The notebook's numbers for a style reference alone."""

WITH_CONTENT = Mode(weights=Weights(style=1.0, content=1.0, text=0.0), stochastic=True)
"""The notebook's numbers, and the defaults of gdf_rbm.py, for a style reference and a content reference."""


def mode_of(with_content: bool) -> Mode:
    """The mode for a picture with a content reference, or without."""
    return WITH_CONTENT if with_content else STYLE_ONLY
