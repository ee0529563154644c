"""Sources that are recipes of prompts: models make their pictures. One record each."""

from __future__ import annotations

from operators.read_style_prompts import StylePrompts
from pipelines.sources import Source

STYLE_PROMPTS = Source(
    # Tab. 7: 10K pairs are kept
    reader=StylePrompts(),
    layout="none: prompts",
    size="192 candidate pairs, or COUNT",
    obtain="made by FLUX.1 and Stable Cascade: MODELS",
)
