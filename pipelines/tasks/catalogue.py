"""The tasks: one declarative record each. Factors are those of the paper's Tab. 6."""

from __future__ import annotations

from operators.arrange.colour_dense import ColourDense
from operators.arrange.holes import Imitate
from operators.arrange.swap import Swap
from operators.degrade.darken import Darken
from operators.degrade.detone import Detone
from operators.degrade.edges import Edges
from operators.degrade.motion_blur import MotionBlur
from operators.degrade.noise import Noise
from operators.degrade.rain import Rain
from operators.judge.check_pose import CheckPose
from operators.judge.gate import Gate
from operators.judge.scores import Bound, Scores
from operators.judge.vlm_filter import VlmFilter
from operators.paint.best_edit import BestEdit
from operators.paint.compose import Compose
from operators.paint.estimate_pose import EstimatePose
from operators.paint.flux import Flux
from operators.paint.inpaint import Inpaint
from operators.paint.make_person import MakePerson
from operators.paint.pose_control import PoseControl
from operators.paint.rb_modulation import RbModulation
from operators.paint.try_on import TryOn
from operators.word.describe import Degradation, Describe
from operators.word.difference import Difference
from operators.word.instruct import Instruct
from operators.word.instruct_source import Caption, EditInstruction
from operators.word.propose_edit import ProposeEdit
from operators.word.recaption import Recaption
from operators.word.relation import Relation
from pipelines.sources import datasets as sources
from pipelines.sources import prompts as prompt_sources
from pipelines.sources.datasets import Source
from pipelines.tasks import phrasings
from pipelines.tasks.task import FOUR as FOUR
from pipelines.tasks.task import ONE as ONE
from pipelines.tasks.task import TWO as TWO
from pipelines.tasks.task import Task as Task


def _restoration(
    name: str,
    degrade: Degradation,
    pools: tuple[tuple[str, ...], tuple[str, ...]],
    read: tuple[Source, ...],
    texts: tuple[tuple[str, ...], tuple[str, ...]] = (phrasings.DESCRIBE_UNDO, phrasings.DESCRIBE_DO),
) -> Task:
    """A low-level task: undo a degradation, or apply it."""
    return Task(
        name=name,
        prototype_task="low-level",
        sources=(*read, sources.PHOTOS),
        bundled=sources.BUNDLED,
        degrade=degrade,
        gate=Gate(),
        instruct=Instruct(forward=pools[0], reverse=pools[1]),
        describe=Describe(degrade=degrade, forward=texts[0], reverse=texts[1]),
        complete=Difference(),
    )


DENOISE = _restoration("denoise", Noise(), (phrasings.DENOISE, phrasings.ADD_NOISE), (sources.DFWB_CROPS, sources.DFWB))
DEBLUR = _restoration(
    "deblur",
    MotionBlur(),
    (phrasings.DEBLUR, phrasings.ADD_BLUR),
    (sources.GOPRO_CROPS, sources.GOPRO, sources.GOPRO_GAMMA, sources.GOPRO_FLAT),
)
DERAIN = _restoration(
    "derain",
    Rain(),
    (phrasings.DERAIN, phrasings.ADD_RAIN),
    (sources.RAIN13K,),
    (phrasings.DESCRIBE_DERAIN, phrasings.DESCRIBE_ADD_RAIN),
)
RETOUCH = _restoration(
    "retouch",
    Detone(),
    (phrasings.RETOUCH, phrasings.UNRETOUCH),
    (sources.FIVEK_480P, sources.FIVEK_EXPERT_C, sources.FIVEK_RETINEXFORMER),
)
LOWLIGHT = _restoration(
    "lowlight",
    Darken(),
    (phrasings.LIGHTEN, phrasings.DARKEN),
    (sources.LOL_V1, sources.LOL_V1_RETINEXFORMER, sources.LOL_V2_REAL, sources.LOL_V2_SYNTHETIC),
)

_NYU = (sources.NYU_SYNC, sources.NYU_FRAMES, sources.NYU_LABELED)

DEPTH = Task(
    name="depth",
    prototype_task="dense prediction",
    sources=_NYU,
    bundled=sources.BUNDLED_STEREO,
    prepare=(ColourDense(),),
    instruct=Instruct(forward=phrasings.TO_DEPTH, reverse=phrasings.FROM_DEPTH),
    complete=Difference(),
)
SEGMENTATION = Task(
    name="segmentation",
    prototype_task="dense prediction",
    sources=(sources.ADE20K,),
    prepare=(ColourDense(),),
    instruct=Instruct(forward=phrasings.TO_LABELS, reverse=phrasings.FROM_LABELS),
    complete=Difference(),
)
NORMAL = Task(
    name="normal",
    prototype_task="dense prediction",
    sources=(sources.SCANNET,),
    prepare=(ColourDense(),),
    instruct=Instruct(forward=phrasings.TO_NORMALS, reverse=phrasings.FROM_NORMALS),
    complete=Difference(),
)
DEPTH2IMG = Task(
    name="depth2img",
    prototype_task="controllable generation",
    sources=_NYU,
    bundled=sources.BUNDLED_STEREO,
    prepare=(ColourDense(), Swap()),
    instruct=Instruct(forward=phrasings.FROM_DEPTH, reverse=phrasings.TO_DEPTH),
    complete=Difference(),
)
SEG2IMG = Task(
    name="seg2img",
    prototype_task="controllable generation",
    sources=(sources.ADE20K,),
    prepare=(ColourDense(), Swap()),
    instruct=Instruct(forward=phrasings.FROM_LABELS, reverse=phrasings.TO_LABELS),
    complete=Difference(),
)
NORMAL2IMG = Task(
    name="normal2img",
    prototype_task="controllable generation",
    sources=(sources.SCANNET,),
    prepare=(ColourDense(), Swap()),
    instruct=Instruct(forward=phrasings.FROM_NORMALS, reverse=phrasings.TO_NORMALS),
    complete=Difference(),
)
HED2IMG = Task(
    name="hed2img",
    prototype_task="controllable generation",
    sources=(sources.LAION_AESTHETICS, sources.PHOTOS),
    bundled=sources.BUNDLED,
    degrade=Edges(detector="hed"),
    instruct=Instruct(forward=phrasings.FROM_EDGES, reverse=phrasings.TO_EDGES, with_caption=True),
    complete=Difference(),
)
MLSD2IMG = Task(
    name="mlsd2img",
    prototype_task="controllable generation",
    sources=(sources.LAION_AESTHETICS, sources.PHOTOS),
    bundled=sources.BUNDLED,
    degrade=Edges(detector="mlsd"),
    instruct=Instruct(forward=phrasings.FROM_LINES, reverse=phrasings.TO_LINES, with_caption=True),
    complete=Difference(),
)
TEXT2IMG = Task(
    name="text2img",
    prototype_task="text-to-image",
    sources=(sources.LAION_AESTHETICS,),
    rewrite=Recaption(),
    instruct=Caption(),
    examples=TWO,
)
ULTRAEDIT = Task(
    name="ultraedit",
    prototype_task="editing",
    sources=(sources.ULTRAEDIT,),
    gate=Gate(),
    instruct=EditInstruction(),
    complete=Difference(),
    context="raie",
)
MAGICBRUSH = Task(
    name="magicbrush",
    prototype_task="editing",
    sources=(sources.MAGICBRUSH,),
    gate=Gate(),
    instruct=EditInstruction(),
    complete=Difference(),
    context="raie",
)

STYLE = Task(
    name="style",
    prototype_task="personalisation",
    sources=(),
    bundled=prompt_sources.STYLE_PROMPTS,
    prepare=(
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
    ),
    gate=Gate(),
    judge=VlmFilter(exemplar="style"),
    instruct=Instruct(forward=phrasings.STYLISE),
    examples=ONE,
    pairs_per_shard=64,
)

POSE = Task(
    name="pose",
    prototype_task="personalisation",
    sources=(prompt_sources.PEOPLE,),
    bundled=prompt_sources.BUNDLED_PERSON,
    prompted=prompt_sources.PERSON_PROMPTS,
    # A photo comes as the target of what is to be made from it; here it is where one starts.
    prepare=(Swap(), MakePerson(), EstimatePose(), PoseControl(instructions=phrasings.POSE)),
    gate=CheckPose(),
    instruct=EditInstruction(),
    examples=ONE,
    pairs_per_shard=64,
)

TRY_ON = Task(
    name="tryon",
    prototype_task="personalisation",
    sources=(sources.VITON_HD,),
    bundled=prompt_sources.BUNDLED_TRY_ON,
    prepare=(
        TryOn(),
        # Ours: something is worn, and what it is worn by is still there.
        Scores(
            before="person",
            measures=("changed_area", "mean_abs_diff", "ssim", "sharpness"),
            bounds=(Bound(score="changed_area", low=0.01, high=0.95),),
        ),
    ),
    instruct=Instruct(forward=phrasings.TRY_ON, inputs=("person", "cloth")),
    examples=ONE,
)

COMPOSITION = Task(
    name="composition",
    prototype_task="personalisation",
    sources=(prompt_sources.PHOTO_PAIRS,),
    bundled=prompt_sources.BUNDLED_PAIRS,
    prepare=(
        Compose(),
        # Ours: DINO sees the layout of image 1, CLIP the semantics of image 2. A copy of either is no composite.
        Scores(before="input1", measures=("dino", "ssim"), bounds=(Bound(score="dino", low=0.2, high=0.98),)),
        Scores(
            before="input2",
            measures=("clip_image", "sharpness"),
            bounds=(Bound(score="clip_image", low=0.5, high=0.98), Bound(score="sharpness", low=5.0, high=1e6)),
        ),
    ),
    judge=Relation(),
    instruct=Instruct(forward=phrasings.COMPOSE, inputs=("input1", "input2"), with_caption=True, caption="relation"),
    examples=ONE,
    pairs_per_shard=64,
)

MIMICBRUSH = Task(
    name="mimicbrush",
    prototype_task="personalisation",
    sources=(prompt_sources.FRAMES, sources.PHOTOS),
    bundled=sources.BUNDLED,
    prepare=(
        Imitate(),
        Inpaint(),
        # Ours: something was filled in, and something was there to go by; what was filled in is no plain surface.
        Scores(
            measures=("changed_area", "mean_abs_diff", "ssim", "sharpness"),
            bounds=(Bound(score="changed_area", low=0.02, high=0.95), Bound(score="sharpness", low=5.0, high=1e6)),
        ),
    ),
    gate=Gate(),
    instruct=Instruct(forward=phrasings.IMITATE, inputs=("input", "reference")),
    examples=ONE,
)

EDITING = Task(
    # Beyond the paper. Lower bounds of CLIP: InstructPix2Pix (arXiv 2211.09800, section 3.1.2). The others are ours.
    name="editing",
    prototype_task="editing",
    sources=(sources.PHOTOS,),
    bundled=sources.BUNDLED,
    prepare=(
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
    ),
    gate=Gate(),
    instruct=EditInstruction(),
    complete=Difference(),
    context="raie",
)

TASKS = {
    task.name: task
    for task in (
        DENOISE,
        DEBLUR,
        DERAIN,
        RETOUCH,
        LOWLIGHT,
        DEPTH,
        SEGMENTATION,
        NORMAL,
        DEPTH2IMG,
        SEG2IMG,
        NORMAL2IMG,
        HED2IMG,
        MLSD2IMG,
        TEXT2IMG,
        ULTRAEDIT,
        MAGICBRUSH,
        STYLE,
        POSE,
        TRY_ON,
        COMPOSITION,
        MIMICBRUSH,
        EDITING,
    )
}
