"""The columns of InstructPix2Pix's dataset on the hub, which diffusers' training script reads by default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from manifests.export.features import IMAGE, image, with_features
from manifests.export.format import Carries, Made, Part, Place
from manifests.export.sample import Sample

_SCHEMA = with_features(
    [
        pa.field("input_image", IMAGE),
        pa.field("edit_prompt", pa.string()),
        pa.field("edited_image", IMAGE),
        pa.field("pair", pa.string()),
        pa.field("licence", pa.string()),
    ]
)


class InstructPix2Pix:
    """Parquet files as the hub has them: `data/train-00000-of-00002.parquet`."""

    name = "instruct-pix2pix"
    summary = "Parquet with input_image, edit_prompt, edited_image, for diffusers' InstructPix2Pix script."
    reader = (
        "huggingface/diffusers@000280f56a6a81e355313e77ec831575ad571d8b:"
        "examples/instruct_pix2pix/train_instruct_pix2pix.py"
    )
    carries = Carries()

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        part.table(f"data/train-{part.number:05d}-of-{part.of:05d}.parquet", _SCHEMA, map(_row, samples))

    def finish(self, made: Made) -> None:
        """Nothing: the files are all that the script reads."""

    def places(self, sample: Sample) -> Iterable[Place]:
        assert sample.output is not None
        (picture,) = sample.inputs
        yield Place(
            ours=f"input ({picture.role})", theirs="column `input_image`", meaning="image to edit", shows=picture
        )
        yield Place(ours="instruction", theirs="column `edit_prompt`", meaning="edit prompt", shows=sample.instruction)
        yield Place(
            ours=f"output ({sample.output.role})",
            theirs="column `edited_image`",
            meaning="edited image",
            shows=sample.output,
        )
        yield Place(ours="pair", theirs="column `pair`", meaning="not read", shows=sample.example.pair.key)

    def how_to(self) -> str:
        return """\
```
accelerate launch train_instruct_pix2pix.py --dataset_name FOLDER ...
```

The names of the columns are the script's defaults. `datasets.load_dataset("FOLDER")` gives the same."""


def _row(sample: Sample) -> dict[str, Any]:
    (picture,) = sample.inputs
    return {
        "input_image": image(picture, f"{sample.name}-input"),
        "edit_prompt": sample.instruction,
        "edited_image": image(sample.output, f"{sample.name}-output"),
        "pair": sample.example.pair.key,
        "licence": sample.value("licence"),
    }
