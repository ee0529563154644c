"""Everything of an example in one row of Parquet, images and in-context examples within, for loaders of your own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from manifests.export.features import IMAGE, image, with_features
from manifests.export.format import Carries, Made, Part, Place
from manifests.export.sample import Sample

_CONTEXT = pa.struct(
    [
        pa.field("pair", pa.string()),
        pa.field("instruction", pa.string()),
        pa.field("inputs", pa.list_(IMAGE)),
        pa.field("output", IMAGE),
        pa.field("text", pa.string()),
        pa.field("mask", IMAGE),
        pa.field("licence", pa.string()),
    ]
)

_SCHEMA = with_features(
    [
        pa.field("pair", pa.string()),
        pa.field("task", pa.string()),
        pa.field("prototype_task", pa.string()),
        pa.field("direction", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("instruction", pa.string()),
        pa.field("inputs", pa.list_(IMAGE)),
        pa.field("input_roles", pa.list_(pa.string())),
        pa.field("output", IMAGE),
        pa.field("output_role", pa.string()),
        pa.field("text", pa.string()),
        pa.field("mask", IMAGE),
        pa.field("contexts", pa.list_(_CONTEXT)),
        pa.field("licence", pa.string()),
        pa.field("source", pa.string()),
        pa.field("source_ref", pa.string()),
        pa.field("source_group", pa.string()),
        pa.field("scores", pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("value", pa.float64())]))),
    ]
)
"""Lists and not maps, which datasets does not read."""


class FlatParquet:
    """Parquet files as the hub has them: `data/train-00000-of-00002.parquet`."""

    name = "parquet"
    summary = "One row an example, with images, masks, in-context examples, scores, licence, for your own loader."
    reader = "huggingface/datasets 5.2 (Image features by the schema's metadata); any reader of Parquet"
    carries = Carries(
        kinds=frozenset(["generate", "describe"]),
        least_inputs=0,
        most_inputs=None,
        masks=True,
        contexts=True,
        as_stored=True,
    )

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        part.table(f"data/train-{part.number:05d}-of-{part.of:05d}.parquet", _SCHEMA, map(_row, samples))

    def finish(self, made: Made) -> None:
        """Nothing: the files are all."""

    def places(self, sample: Sample) -> Iterable[Place]:
        for number, picture in enumerate(sample.inputs):
            yield Place(
                ours=f"input {number + 1} ({picture.role})",
                theirs=f"column `inputs`, number {number}",
                meaning="input",
                shows=picture,
            )
        yield Place(ours="instruction", theirs="column `instruction`", meaning="instruction", shows=sample.instruction)
        if sample.output is not None:
            yield Place(
                ours=f"output ({sample.output.role})", theirs="column `output`", meaning="output", shows=sample.output
            )
        if sample.text is not None:
            yield Place(ours="text", theirs="column `text`", meaning="answer", shows=sample.text)
        if sample.mask is not None:
            yield Place(ours="mask", theirs="column `mask`", meaning="mask", shows=sample.mask)
        for number, context in enumerate(sample.contexts):
            for picture in (*context.inputs, *([context.output] if context.output else [])):
                yield Place(
                    ours=f"in-context example {number + 1} ({picture.role})",
                    theirs=f"column `contexts`, number {number}",
                    meaning="in context",
                    shows=picture,
                )

    def how_to(self) -> str:
        return """\
```
datasets.load_dataset("FOLDER")["train"][0]["output"]  # a PIL image
```

Image files are in the rows as they are stored. `output` is null for a describe example, whose answer is `text`."""


def _row(sample: Sample) -> dict[str, Any]:
    record = sample.value
    return {
        "pair": sample.example.pair.key,
        "task": record("task"),
        "prototype_task": record("prototype_task"),
        "direction": sample.direction,
        "kind": sample.kind,
        "instruction": sample.instruction,
        **_images(sample),
        "input_roles": [picture.role for picture in sample.inputs],
        "output_role": sample.output.role if sample.output else None,
        "text": sample.text,
        "contexts": [
            {
                "pair": context.example.pair.key,
                "instruction": context.instruction,
                **_images(context),
                "text": context.text,
                "licence": context.value("licence"),
            }
            for context in sample.contexts
        ],
        "licence": record("licence"),
        "source": record("source"),
        "source_ref": record("source_ref"),
        "source_group": record("source_group"),
        "scores": [{"name": name, "value": value} for name, value in sorted(record("scores").items())],
    }


def _images(sample: Sample) -> dict[str, Any]:
    return {
        "inputs": [image(picture, f"{sample.name}-{picture.role}") for picture in sample.inputs],
        "output": image(sample.output, f"{sample.name}-output"),
        "mask": image(sample.mask, f"{sample.name}-mask"),
    }
