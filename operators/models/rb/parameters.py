"""The numbers that RB-Modulation is run with (arXiv 2405.17401), and where they come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageCSampling:
    """How stage C is sampled. Defaults: the authors' notebook and gdf_rbm.py; guidance, shift and steps also Stable
    Cascade's own, inference/text_to_image.ipynb of https://github.com/Stability-AI/StableCascade."""

    guidance: float = 4.0
    rho: float = 0.7
    """Share of the rescaled guidance."""
    shift: float = 2.0
    steps: int = 20
    iterations: int = 3
    """Steps of Adam at each step of sampling; 0 for no control."""
    eta: float = 0.1
    """Adam's learning rate at the first step; it falls linearly to 0."""
    tau: int = 20
    """Steps of sampling that are controlled, from the first."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of the terminal cost's terms. Defaults: lam_style and lam_txt_alignment as the authors' notebook sets
    them (read in public copies of it), lam_content as gdf_rbm.py does."""

    style: float = 1.0
    content: float = 1.0
    text: float = 1.0
