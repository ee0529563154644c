from __future__ import annotations

from operators.models.rb.parameters import StageCSampling, Weights


def test_defaults_are_the_authors() -> None:
    """Values of the authors' notebook and gdf_rbm.py (https://github.com/google/RB-Modulation)."""
    assert StageCSampling() == StageCSampling(guidance=4.0, rho=0.7, shift=2.0, steps=20, iterations=3, eta=0.1, tau=20)
    assert Weights() == Weights(style=1.0, content=1.0, text=1.0)
