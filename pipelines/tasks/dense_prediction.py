"""Dense prediction: depth, labels and normals of a photo, drawn as colours (paper Tab. 6)."""

from __future__ import annotations

from operators.arrange.colour_dense import ColourDense, ColourDepth
from operators.word.difference import Difference
from operators.word.instruct import Instruct
from pipelines.sources import datasets
from pipelines.tasks import phrasings
from pipelines.tasks.task import Task

DEPTH = Task(
    name="depth",
    prototype_task="dense prediction",
    sources=datasets.NYU,
    bundled=datasets.BUNDLED_STEREO,
    chain=(
        ColourDepth(),
        Instruct(forward=phrasings.TO_DEPTH, reverse=phrasings.FROM_DEPTH),
        Difference(),
    ),
)

SEGMENTATION = Task(
    name="segmentation",
    prototype_task="dense prediction",
    sources=(datasets.ADE20K,),
    chain=(
        ColourDense(),
        Instruct(forward=phrasings.TO_LABELS, reverse=phrasings.FROM_LABELS),
        Difference(),
    ),
)

NORMAL = Task(
    name="normal",
    prototype_task="dense prediction",
    sources=(datasets.SCANNET, datasets.NYU_NORMALS),
    chain=(
        ColourDense(),
        Instruct(forward=phrasings.TO_NORMALS, reverse=phrasings.FROM_NORMALS),
        Difference(),
    ),
)
