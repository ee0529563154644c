"""An experiment small enough for tests."""

from __future__ import annotations

from train.icl.runs import Settings

SMALL = Settings(side=3, width=32, layers=2, heads=2, base_steps=2, steps=2, batch=4, examined=10)
