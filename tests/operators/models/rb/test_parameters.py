from __future__ import annotations

from dataclasses import asdict

from operators.models.rb.parameters import STAGE_B, StageCSampling, mode_of


def test_defaults_are_the_authors() -> None:
    """Values of the authors' notebook and gdf_rbm.py (https://github.com/google/RB-Modulation)."""
    assert asdict(StageCSampling()) == {
        "guidance": 4.0,
        "rho": 0.7,
        "shift": 2.0,
        "steps": 20,
        "iterations": 3,
        "eta": 0.1,
        "tau": 20,
    }
    assert asdict(STAGE_B) == {"guidance": 1.1, "rho": 0.7, "shift": 1.0, "steps": 10}


def test_a_content_reference_changes_the_weights_and_the_sampler() -> None:
    """lam_txt_alignment is 1.0 with use_ddim_sampler for a style alone; gdf_rbm.py's 0.0 and DDPM with a content."""
    assert asdict(mode_of(False)) == {"weights": {"style": 1.0, "content": 0.0, "text": 1.0}, "stochastic": False}
    assert asdict(mode_of(True)) == {"weights": {"style": 1.0, "content": 1.0, "text": 0.0}, "stochastic": True}
