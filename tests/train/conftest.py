"""One dataset and one model for all tests of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.make import make_model, make_tokens
from train.run.config import PRESETS, Config


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The tiny preset on 12 pairs, 48 examples, and a model of two layers. `out` is to be set."""
    folder = tmp_path_factory.mktemp("tiny")
    make_tokens(str(folder / "derain"), own_groups=True)
    model = make_model(folder / "model")
    return replace(
        PRESETS["tiny"],
        data=(str(folder / "derain"),),
        model=str(model),
        out=str(folder / "nowhere"),
        xp_tokens=4,
        window_tokens=128,
        streams=4,
        global_windows=4,
        steps=9,
        warmup_steps=2,
        checkpoint_every=3,
    )


@pytest.fixture
def config(tiny: Config, tmp_path: Path) -> Config:
    """The same with a folder of its own."""
    return replace(tiny, out=str(tmp_path / "run"))
