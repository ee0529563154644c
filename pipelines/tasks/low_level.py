"""Low-level vision: undo a degradation, or apply it (paper Tab. 6)."""

from __future__ import annotations

from operators.degrade.darken import Darken
from operators.degrade.detone import Detone
from operators.degrade.motion_blur import MotionBlur
from operators.degrade.noise import Noise
from operators.degrade.rain import Rain
from operators.judge.degraded import Degradation as Suffered
from operators.judge.degraded import Degraded
from operators.judge.gate import Gate
from operators.word.describe import Degradation, Describe
from operators.word.difference import Difference
from operators.word.instruct import Instruct
from pipelines.sources import datasets
from pipelines.sources.source import Source
from pipelines.tasks import phrasings
from pipelines.tasks.task import Task


def _restoration(
    name: str,
    degrade: Degradation,
    by: Suffered,
    pools: tuple[tuple[str, ...], tuple[str, ...]],
    read: tuple[Source, ...],
    texts: tuple[tuple[str, ...], tuple[str, ...]] = (phrasings.DESCRIBE_UNDO, phrasings.DESCRIBE_DO),
) -> Task:
    """A low-level task: undo a degradation, or apply it."""
    return Task(
        name=name,
        prototype_task="low-level",
        sources=(*read, datasets.PHOTOS),
        bundled=datasets.BUNDLED,
        chain=(
            degrade,
            Gate(),
            Degraded(by=by),
            Instruct(forward=pools[0], reverse=pools[1]),
            Describe(degrade=degrade, forward=texts[0], reverse=texts[1]),
            Difference(),
        ),
    )


DENOISE = _restoration(
    "denoise",
    Noise(),
    "noise",
    (phrasings.DENOISE, phrasings.ADD_NOISE),
    (datasets.DFWB_CROPS, datasets.DFWB, datasets.SIDD),
)

DEBLUR = _restoration(
    "deblur",
    MotionBlur(),
    "blur",
    (phrasings.DEBLUR, phrasings.ADD_BLUR),
    (datasets.GOPRO_CROPS, datasets.GOPRO, datasets.GOPRO_GAMMA, datasets.GOPRO_FLAT),
)

DERAIN = _restoration(
    "derain",
    Rain(),
    "rain",
    (phrasings.DERAIN, phrasings.ADD_RAIN),
    (datasets.RAIN13K, *datasets.RAIN100, datasets.RAIN1400),
    (phrasings.DESCRIBE_DERAIN, phrasings.DESCRIBE_ADD_RAIN),
)

RETOUCH = _restoration(
    "retouch",
    Detone(),
    "flatness",
    (phrasings.RETOUCH, phrasings.UNRETOUCH),
    (datasets.FIVEK_480P, datasets.FIVEK_EXPERT_C, datasets.FIVEK_RETINEXFORMER),
)

LOWLIGHT = _restoration(
    "lowlight",
    Darken(),
    "darkness",
    (phrasings.LIGHTEN, phrasings.DARKEN),
    (datasets.LOL_V1, datasets.LOL_V1_RETINEXFORMER, datasets.LOL_V2_REAL, datasets.LOL_V2_SYNTHETIC),
)
