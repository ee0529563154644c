"""Controllable generation: a photo from its depth, labels, normals or edges (paper Tab. 6).

Datasets that have depth, labels or normals are turned round; in other photos models find them.
"""

from __future__ import annotations

from operators.arrange.colour_dense import ColourDense, ColourDepth
from operators.arrange.swap import Swap
from operators.degrade.depth_map import DepthMap
from operators.degrade.edges import Edges
from operators.degrade.label_map import LabelMap
from operators.degrade.normal_map import NormalMap
from operators.word.difference import Difference
from operators.word.instruct import Instruct
from pipelines.sources import datasets
from pipelines.tasks import phrasings
from pipelines.tasks.task import Task

DEPTH2IMG = Task(
    name="depth2img",
    prototype_task="controllable generation",
    sources=(*datasets.NYU, datasets.LAION_AESTHETICS, datasets.PHOTOS),
    bundled=datasets.BUNDLED_STEREO,
    chain=(
        DepthMap(),
        ColourDepth(),
        Swap(),
        Instruct(forward=phrasings.FROM_DEPTH, reverse=phrasings.TO_DEPTH, with_caption="unpaired"),
        Difference(),
    ),
)

SEG2IMG = Task(
    name="seg2img",
    prototype_task="controllable generation",
    sources=(datasets.ADE20K, datasets.LAION_AESTHETICS, datasets.PHOTOS),
    bundled=datasets.BUNDLED,
    chain=(
        LabelMap(),
        ColourDense(),
        Swap(),
        Instruct(forward=phrasings.FROM_LABELS, reverse=phrasings.TO_LABELS, with_caption="unpaired"),
        Difference(),
    ),
)

NORMAL2IMG = Task(
    name="normal2img",
    prototype_task="controllable generation",
    sources=(datasets.SCANNET, datasets.LAION_AESTHETICS, datasets.PHOTOS),
    bundled=datasets.BUNDLED,
    chain=(
        NormalMap(),
        ColourDense(),
        Swap(),
        Instruct(forward=phrasings.FROM_NORMALS, reverse=phrasings.TO_NORMALS, with_caption="unpaired"),
        Difference(),
    ),
)

HED2IMG = Task(
    name="hed2img",
    prototype_task="controllable generation",
    sources=(datasets.LAION_AESTHETICS, datasets.PHOTOS),
    bundled=datasets.BUNDLED,
    chain=(
        Edges(detector="hed"),
        Instruct(forward=phrasings.FROM_EDGES, reverse=phrasings.TO_EDGES, with_caption=True),
        Difference(),
    ),
)

MLSD2IMG = Task(
    name="mlsd2img",
    prototype_task="controllable generation",
    sources=(datasets.LAION_AESTHETICS, datasets.PHOTOS),
    bundled=datasets.BUNDLED,
    chain=(
        Edges(detector="mlsd"),
        Instruct(forward=phrasings.FROM_LINES, reverse=phrasings.TO_LINES, with_caption=True),
        Difference(),
    ),
)
