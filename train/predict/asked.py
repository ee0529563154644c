"""What is to be predicted, each with the file that it goes into: the examples of datasets, the prompts of GenEval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.dataset import Dataset
from manifests.images.pixels import Pixels
from manifests.schema import Direction, canonical_json
from train.evaluate.geneval_run import read_prompts
from train.evaluate.predictions import Example, examples


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prediction that is asked for."""

    file: str
    """Where it goes, below the folder of predictions. It names the prediction, so seeds are made of it."""
    instruction: str
    example: Example | None = None
    """The dataset's example; None for a prompt."""
    in_context: bool = False
    """Whether it is of those that have an in-context example."""

    def images(self) -> list[Pixels]:
        """The input images. Raises DatasetError for a damaged shard."""
        return [self.example.image(role) for role in self.example.inputs] if self.example else []


def asked_of(datasets: Sequence[Dataset], direction: Direction) -> list[Asked]:
    """The generate examples of datasets, in order.

    Raises ValueError for a dataset that is unfinished or has none, and for two examples of one name.
    """
    found: dict[str, Asked] = {}
    for dataset in datasets:
        plan, before = dataset.plan(), len(found)
        if missing := plan.units - len(dataset.committed()):
            raise ValueError(f"{dataset.url} is unfinished, {missing} units are missing: run what makes it again")
        for example in examples(dataset, direction):
            if example.file in found:
                raise ValueError(f"{dataset.url} has pair {example.pair} of another dataset: predict them one by one")
            found[example.file] = Asked(
                file=example.file,
                instruction=example.instruction,
                example=example,
                in_context=plan.needs_context(direction, "generate", example.inputs),
            )
        if len(found) == before:
            raise ValueError(f"{dataset.url} has no {direction} generate examples")
    return [*found.values()]


def asked_by_geneval(metadata: Path, samples: int) -> tuple[list[Asked], dict[str, str]]:
    """So many samples of each prompt, in GenEval's layout, and the files beside them that its own evaluation reads.

    Raises ValueError for metadata that is not GenEval's.
    """
    prompts = read_prompts(metadata)
    asked = [
        Asked(file=f"{number:05d}/samples/{sample:05d}.png", instruction=str(prompt["prompt"]))
        for number, prompt in enumerate(prompts)
        for sample in range(samples)
    ]
    beside = {f"{number:05d}/metadata.jsonl": canonical_json(prompt) for number, prompt in enumerate(prompts)}
    return asked, beside
