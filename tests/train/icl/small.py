"""An experiment small enough for tests."""

from __future__ import annotations

from train.icl.runs import Settings

SMALL = Settings(side=2, width=32, layers=2, steps=2, batch=4, packed=2, examined=10)
