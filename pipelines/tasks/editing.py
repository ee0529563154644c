"""Editing by instruction: published pairs (paper Tab. 6), and pairs of our own making."""

from __future__ import annotations

from operators.arrange.difference_mask import DifferenceMask
from operators.arrange.swap import Swap
from operators.judge.gate import Gate
from operators.judge.scores import Bound, Scores
from operators.paint.best_edit import BestEdit
from operators.word.difference import Difference
from operators.word.instruct_source import EditInstruction
from operators.word.propose_edit import ProposeEdit
from pipelines.sources import datasets
from pipelines.tasks.task import Task

ULTRAEDIT = Task(
    name="ultraedit",
    prototype_task="editing",
    sources=(datasets.ULTRAEDIT, datasets.ULTRAEDIT_REGION),
    chain=(
        Gate(),
        DifferenceMask(),
        EditInstruction(),
        Difference(),
    ),
    context="raie",
)

MAGICBRUSH = Task(
    name="magicbrush",
    prototype_task="editing",
    sources=(datasets.MAGICBRUSH, datasets.MAGICBRUSH_FOLDER),
    chain=(
        Gate(),
        DifferenceMask(),
        EditInstruction(),
        Difference(),
    ),
    context="raie",
)

INSTRUCTPIX2PIX = Task(
    # Not a line of the tables: section 4.4 tests edits that add or remove an object on it, --split test.
    name="instructpix2pix",
    prototype_task="editing",
    sources=(datasets.INSTRUCTPIX2PIX,),
    chain=(
        Gate(),
        DifferenceMask(),
        EditInstruction(),
        Difference(),
    ),
    context="raie",
)

EDITING = Task(
    # Beyond the paper. Lower bounds of CLIP: InstructPix2Pix (arXiv 2211.09800, section 3.1.2). The others are ours.
    name="editing",
    prototype_task="editing",
    sources=(datasets.PHOTOS,),
    bundled=datasets.BUNDLED,
    chain=(
        Swap(),
        ProposeEdit(),
        BestEdit(
            scores=Scores(
                measures=("clip_direction", "clip_text", "clip_image", "dino", "ssim", "changed_area"),
                bounds=(
                    Bound(score="clip_direction", low=0.2, high=1.0),
                    Bound(score="clip_image", low=0.7, high=0.99),
                    Bound(score="dino", low=0.3, high=0.99),
                    Bound(score="ssim", low=0.1, high=0.97),
                ),
            ),
        ),
        Gate(),
        DifferenceMask(),
        EditInstruction(),
        Difference(),
    ),
    context="raie",
)
