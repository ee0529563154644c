"""The tasks: one declarative record each. Numbers are those of the paper's Tab. 6."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.schema import Direction, Kind
from operators.base import Operator, Reader
from operators.describe_rain import DescribeRain
from operators.gate import Gate
from operators.instruct import Instruct
from operators.rain import Rain
from pipelines.sources import BUNDLED, PHOTOS, RAIN13K, Source


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the engine needs to know of a task.

    `degrade` synthesises the input of sources that bring only a target, and `describe` tells of it from its recorded
    parameters; pairs that come complete are described by a vision-language model instead.
    """

    name: str
    prototype_task: str
    sources: tuple[Source, ...]
    """Layouts that DATA may have, tried in this order."""
    bundled: Source | None
    """What is read without DATA."""
    degrade: Operator
    gate: Operator
    instruct: Operator
    describe: Operator
    examples: tuple[tuple[Direction, Kind], ...] = (
        ("forward", "generate"),
        ("reverse", "generate"),
        ("forward", "describe"),
        ("reverse", "describe"),
    )
    """The examples that Tab. 6's factor counts for each pair."""
    pairs_per_shard: int = 512
    """A shard of some 100 to 200 MB at 512 px, WebDataset's advice for shards on disk or in a bucket."""

    def operators(self, reader: Reader) -> tuple[Operator, ...]:
        """The chain that each pair of a reader goes through."""
        if reader.paired:
            return (self.gate, self.instruct)
        return (self.degrade, self.gate, self.instruct, self.describe)

    def waiting(self, reader: Reader) -> dict[tuple[Direction, Kind], str]:
        """The examples that this reader's pairs do not get, and what they wait for."""
        if not reader.paired:
            return {}
        return {example: "waits for a vision-language model" for example in self.examples if example[1] == "describe"}


DERAIN = Task(
    name="derain",
    prototype_task="low-level",
    sources=(RAIN13K, PHOTOS),
    bundled=BUNDLED,
    degrade=Rain(),
    gate=Gate(),
    instruct=Instruct(
        forward=(
            "Remove the rain from this image.",
            "Derain the image.",
            "Make this picture look as if it had not been raining.",
            "Clear away the rain streaks.",
            "Restore the clean scene behind the rain.",
            "Take the rain out of the photo and keep everything else.",
            "Get rid of the falling rain.",
            "Show this scene in dry weather, without any rain streaks.",
            "Please erase the rain.",
            "Clean up the rainy photo.",
        ),
        reverse=(
            "Add rain to this image.",
            "Make it rain in this picture.",
            "Overlay the scene with rain streaks.",
            "Show this scene in the rain.",
            "Turn this into a photo taken on a rainy day.",
            "Put falling rain in front of the scene and keep everything else.",
            "Let rain fall across the image.",
            "Synthesise rain on this photo.",
            "Please add rain streaks.",
            "Make the weather in this photo rainy.",
        ),
    ),
    describe=DescribeRain(),
)

TASKS = {task.name: task for task in (DERAIN,)}
