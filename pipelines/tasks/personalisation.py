"""Personalisation: style, pose, try-on, composition, imitation, mostly painted by models (paper Tab. 7)."""

from __future__ import annotations

from operators.arrange.holes import Imitate
from operators.arrange.swap import Swap
from operators.judge.arity import Arity
from operators.judge.check_pose import CheckPose
from operators.judge.gate import Gate
from operators.judge.scores import Bound, Scores
from operators.judge.vlm_filter import VlmFilter
from operators.paint.compose import Compose
from operators.paint.estimate_pose import EstimatePose
from operators.paint.flux import Flux
from operators.paint.inpaint import Inpaint
from operators.paint.make_person import MakePerson
from operators.paint.pose_control import PoseControl
from operators.paint.rb_modulation import RbModulation
from operators.paint.try_on import TryOn
from operators.word.instruct import Instruct
from operators.word.instruct_source import FromWords
from operators.word.relation import Relation
from pipelines.sources import datasets, prompts
from pipelines.tasks import phrasings
from pipelines.tasks.task import ONE, Task

STYLE = Task(
    name="style",
    prototype_task="personalisation",
    sources=(),
    bundled=prompts.STYLE_PROMPTS,
    chain=(
        Flux(prompts=(("style", "style_prompt"), ("input", "base_prompt"))),
        RbModulation(),
        Scores(
            measures=("style", "style_gain", "clip_image", "dino", "ssim", "sharpness"),
            # Ours. The style must have come nearer, and the picture must be neither the base nor unrelated to it:
            # CLIP ViT-B/32's cosine of two unrelated photos is about 0.5.
            bounds=(
                Bound(score="style_gain", low=0.0, high=2.0),
                Bound(score="clip_image", low=0.4, high=0.98),
            ),
        ),
        Gate(),
        VlmFilter(exemplar="style"),
        Instruct(forward=phrasings.STYLISE),
    ),
    examples=ONE,
    pairs_per_shard=64,
)

POSE = Task(
    name="pose",
    prototype_task="personalisation",
    sources=(prompts.PEOPLE,),
    bundled=prompts.BUNDLED_PERSON,
    prompted=prompts.PERSON_PROMPTS,
    # A photo comes as the target of what is to be made from it; here it is where one starts. What is asked for is a
    # person from words, and the in-context example is two others in the same pose (paper section 4.5): the first of the
    # group and another pair's. So a group is of three persons, which are two pairs, or more.
    chain=(
        Swap(),
        MakePerson(),
        EstimatePose(),
        PoseControl(instructions=phrasings.POSE),
        CheckPose(),
        FromWords(),
    ),
    examples=ONE,
    in_context=ONE,
    least_group=2,
    pairs_per_shard=64,
)

TRY_ON = Task(
    name="tryon",
    prototype_task="personalisation",
    sources=(datasets.VITON_HD,),
    bundled=prompts.BUNDLED_TRY_ON,
    chain=(
        TryOn(),
        # Ours: something is worn, and what it is worn by is still there.
        Scores(
            before="person",
            measures=("changed_area", "mean_abs_diff", "ssim", "sharpness"),
            bounds=(Bound(score="changed_area", low=0.01, high=0.95),),
        ),
        Instruct(forward=phrasings.TRY_ON, inputs=("person", "cloth")),
        Arity(),
    ),
    examples=ONE,
)

COMPOSITION = Task(
    name="composition",
    prototype_task="personalisation",
    sources=(prompts.PHOTO_PAIRS, prompts.DFWB_CROP_PAIRS, prompts.DFWB_PAIRS),
    bundled=prompts.BUNDLED_PAIRS,
    chain=(
        Compose(),
        # Ours: DINO sees the layout of image 1, CLIP the semantics of image 2. A copy of either is no composite.
        Scores(before="input1", measures=("dino", "ssim"), bounds=(Bound(score="dino", low=0.2, high=0.98),)),
        Scores(
            before="input2",
            measures=("clip_image", "sharpness"),
            bounds=(Bound(score="clip_image", low=0.5, high=0.98), Bound(score="sharpness", low=5.0, high=1e6)),
        ),
        Instruct(forward=phrasings.COMPOSE, inputs=("input1", "input2")),
        Relation(),
        Arity(),
    ),
    examples=ONE,
    pairs_per_shard=64,
)

MIMICBRUSH = Task(
    name="mimicbrush",
    prototype_task="personalisation",
    sources=(prompts.FRAMES, datasets.LAION_AESTHETICS, datasets.PHOTOS, prompts.CLIPS),
    bundled=datasets.BUNDLED,
    chain=(
        Imitate(),
        Inpaint(),
        # Ours: something was filled in, and something was there to go by; what was filled in is no plain surface.
        Scores(
            measures=("changed_area", "mean_abs_diff", "ssim", "sharpness"),
            bounds=(Bound(score="changed_area", low=0.02, high=0.95), Bound(score="sharpness", low=5.0, high=1e6)),
        ),
        Gate(),
        Instruct(forward=phrasings.IMITATE, inputs=("input", "reference")),
        Arity(),
    ),
    examples=ONE,
)
