"""The tasks: one declarative record each. Factors are those of the paper's Tab. 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from manifests.schema import Direction, Kind, Pair
from operators.base import Link, ModelOperator, Reader
from operators.best_edit import BestEdit
from operators.check_pose import CheckPose
from operators.colour_dense import ColourDense
from operators.complete import Complete
from operators.compose import Compose
from operators.darken import Darken
from operators.describe import Degradation, Describe
from operators.detone import Detone
from operators.difference import Difference
from operators.diffusion import Family, Painter
from operators.edges import Edges
from operators.estimate_pose import EstimatePose
from operators.flux import Flux
from operators.gate import Gate
from operators.hold_out import DropExamples
from operators.imitate import Imitate
from operators.instruct import Instruct
from operators.instruct_source import Caption, EditInstruction
from operators.make_person import MakePerson
from operators.motion_blur import MotionBlur
from operators.noise import Noise
from operators.pose_control import PoseControl
from operators.propose_edit import ProposeEdit
from operators.rain import Rain
from operators.rb_modulation import RbModulation
from operators.recaption import Recaption
from operators.relation import Relation
from operators.scores import Bound, Scores
from operators.swap import Swap
from operators.try_on import TryOn
from operators.vlm import Asks, Vlm
from operators.vlm_filter import VlmFilter
from pipelines import phrasings, prompt_sources, sources
from pipelines.sources import Source

Bindable = TypeVar("Bindable")

FOUR: tuple[tuple[Direction, Kind], ...] = (
    ("forward", "generate"),
    ("reverse", "generate"),
    ("forward", "describe"),
    ("reverse", "describe"),
)
"""Tab. 6's x4."""

TWO: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"), ("forward", "describe"))
"""Tab. 6's x2 for text-to-image, whose swap is captioning: the describe example."""

ONE: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"),)
"""Tab. 7: without augmentation."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the engine needs to know of a task: what it reads, and the operators that each pair goes through.

    Chain: `degrade` (only where the source brings no input), `prepare`, `gate`, `judge`, `rewrite`, `instruct`,
    `describe` (only of what `degrade` made), `hold_out`, `complete`. `judge`, `rewrite` and `complete` are left out
    without a vision-language model.
    """

    name: str
    prototype_task: str
    sources: tuple[Source, ...]
    """Layouts that DATA may have, tried in this order."""
    bundled: Source | None = None
    """What is read without DATA."""
    prompted: Source | None = None
    """What is read with COUNT, if that is something else: prompts, from which models make all images."""
    degrade: Link | None = None
    """Makes the input from the target: a degradation, an annotation."""
    prepare: tuple[Link, ...] = ()
    gate: Link | None = None
    judge: VlmFilter | Relation | None = None
    rewrite: Recaption | None = None
    instruct: Link
    describe: Link | None = None
    examples: tuple[tuple[Direction, Kind], ...] = FOUR
    """The examples that Tab. 6's factor counts for each pair. One that is not made waits for a model."""
    hold_out: tuple[Link, ...] = ()
    """What a recipe removes at the end of the chain (operators/hold_out.py)."""
    complete: Difference | None = None
    """What makes the examples of a pair that are still missing."""
    context: Literal["seeded", "raie"] = "seeded"
    """How in-context examples are chosen: at random, or by the nearest instruction (paper section 3.3)."""
    pairs_per_shard: int = 512
    """A shard of some 100 to 200 MB at 512 px, WebDataset's advice for shards on disk or in a bucket."""

    def missing(self, pair: Pair) -> list[tuple[Direction, Kind]]:
        """The examples that the task counts for each pair and this one does not have, unless they are held out."""
        made = {(example.direction, example.kind) for example in pair.examples}
        return [example for example in self._wanted if example not in made]

    @property
    def _wanted(self) -> tuple[tuple[Direction, Kind], ...]:
        """The examples of each pair, less those held out."""
        drops = (operator for operator in self.hold_out if isinstance(operator, DropExamples))
        held_out = {example for operator in drops for example in operator.examples}
        return tuple(example for example in self.examples if example not in held_out)

    @property
    def gpus(self) -> float | None:
        """Share of a GPU that a worker needs, where the cluster has some; None if the task runs no model."""
        models = [link.gpus for link in self._links() if isinstance(link, ModelOperator)]
        if self.vlm and self.vlm.gpus:
            models.append(self.vlm.gpus)
        return min(1.0, sum(models)) if models else None

    @property
    def vlm(self) -> Vlm | None:
        """The vision-language model that its operators ask."""
        return next((link.vlm for link in self._links() if isinstance(link, Asks) and link.vlm), None)

    def painted_by(self, family: Family) -> Task:
        """The task with another family of generators. Raises ValueError if none of its operators has a choice."""
        if not any(isinstance(link, Painter) for link in self._links()):
            raise ValueError(f"GENERATOR={family}: {self.name} has no choice of generators")

        def choose(link: Bindable) -> Bindable:
            return link.of_family(family) if isinstance(link, Painter) else link

        return replace(self, prepare=tuple(map(choose, self.prepare)))

    def bound(self, models: str | None) -> Task:
        """The task with the checkpoints of its models found. Raises ValueError, one line, naming what is missing."""

        def bind(link: Bindable) -> Bindable:
            return link.bound(models) if isinstance(link, ModelOperator) else link

        return self._changed(bind)

    def asking(self, vlm: Vlm | None, prompts: str | None = None) -> Task:
        """The task with a vision-language model, and the user's prompts, in the operators that ask one.

        Raises ValueError, one line, for a task that cannot be made without, or a prompt that cannot be used.
        """
        if vlm is None:
            needing = {type(link) for link in self._links() if isinstance(link, Asks)} - {
                VlmFilter,
                Relation,
                Recaption,
                Difference,
            }
            if needing:
                raise ValueError(f"{self.name} needs a vision-language model: set VLM and VLM_MODEL")
            return self
        return self._changed(lambda link: link.asking(vlm, prompts) if isinstance(link, Asks) else link)

    def with_vlm(self, change: Callable[[Vlm], Vlm]) -> Task:
        """The task with another way to its model: where answers are kept, how fast it may be asked."""

        def changed(link: Bindable) -> Bindable:
            if isinstance(link, Asks) and link.vlm:
                return replace(link, vlm=change(link.vlm))  # type: ignore[type-var]  # operators are dataclasses
            return link

        return self._changed(changed)

    def _changed(self, change: Callable[[Any], Any]) -> Task:
        """The task with each operator replaced by what `change` makes of it."""
        return replace(
            self,
            degrade=change(self.degrade),
            prepare=tuple(map(change, self.prepare)),
            gate=change(self.gate),
            judge=change(self.judge),
            rewrite=change(self.rewrite),
            complete=change(self.complete),
        )

    def _links(self) -> Iterator[Link]:
        links = (self.degrade, *self.prepare, self.gate, self.judge, self.rewrite, self.complete)
        yield from (link for link in links if link is not None)

    def operators(self, reader: Reader) -> tuple[Link, ...]:
        """The chain that each pair of a reader goes through."""
        made = not reader.paired and self.degrade is not None
        described = made and self.describe is not None
        chain = (
            self.degrade if made else None,
            *self.prepare,
            self.gate,
            self.judge if self.vlm else None,
            self.rewrite if self.vlm else None,
            self.instruct,
            self.describe if made else None,
            *self.hold_out,
            replace(self.complete, examples=self._wanted) if self.complete and self.vlm and not described else None,
        )
        return tuple(operator for operator in chain if operator is not None)


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
    prepare=(TryOn(),),
    instruct=Instruct(forward=phrasings.TRY_ON, inputs=("person", "cloth")),
    examples=ONE,
)

COMPOSITION = Task(
    name="composition",
    prototype_task="personalisation",
    sources=(prompt_sources.PHOTO_PAIRS,),
    bundled=prompt_sources.BUNDLED_PAIRS,
    prepare=(Compose(),),
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
        Complete(),
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
