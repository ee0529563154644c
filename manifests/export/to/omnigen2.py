"""JSONL and YAML for OmniGen2 (VectorSpaceLab/OmniGen2), with the images as files.

    images/...       the inputs and outputs
    t2i.jsonl        examples without input
    edit.jsonl       examples of one input
    ic.jsonl         examples of several inputs, in order
    omnigen2.yml     what `data.data_path` takes: the files above that there are

One line: task_type, instruction, input_images (in t2i.jsonl none), output_image. The three lie apart because the reader
makes a table of each, whose columns are the same in all rows. It has no place for masks and in-context examples.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.image_files import PILLOW_ENCODINGS, located, paths_of, write_images
from manifests.export.sample import Sample

_TYPES = ("t2i", "edit", "ic")


class OmniGen2:
    """OmniGen2's JSONL: see the module's text."""

    name = "omnigen2"
    summary = "JSONL and YAML for OmniGen2, with any number of inputs."
    reader = (
        "VectorSpaceLab/OmniGen2@0f72fa92564d9f8ba76f53fcc3c05aca2372458f:omnigen2/dataset/omnigen2_train_dataset.py"
    )
    carries = Carries(least_inputs=0, most_inputs=None, encodings=PILLOW_ENCODINGS)

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        """Write the images of a part, and a line for each example."""
        for sample in samples:
            paths = write_images(sample, part)
            line: dict[str, Any] = {"task_type": _type(sample), "instruction": sample.instruction}
            if paths.inputs:
                line["input_images"] = list(paths.inputs)
            part.line(line["task_type"], {**line, "output_image": paths.output})

    def finish(self, made: Made) -> None:
        """Write the lines with absolute paths, which the reader opens as they are, and the YAML that lists them."""
        entries = []
        for kind in _TYPES:
            lines = made.lines(kind)
            if (first := next(lines, None)) is None:
                continue
            made.write(f"{kind}.jsonl", (_line(line, made) for line in itertools.chain([first], lines)))
            path = json.dumps(located(f"{kind}.jsonl", made), ensure_ascii=False)  # JSON's text is one of YAML's
            entries.append(f"  -\n    path: {path}\n    type: {kind}\n    ratio: !!float 1\n")
        made.text("omnigen2.yml", "data:\n" + "".join(entries))

    def places(self, sample: Sample) -> Iterable[Place]:
        """The fields of an example's line."""
        assert sample.output
        paths = paths_of(sample)
        for number, (picture, path) in enumerate(zip(sample.inputs, paths.inputs, strict=True)):
            yield Place(
                ours=f"input {number + 1} ({picture.role})",
                theirs=f"`input_images[{number}]`: `{path}`",
                meaning=f"reference image {number + 1}",
                shows=picture,
            )
        yield Place(
            ours="instruction",
            theirs=f"`instruction` in `{_type(sample)}.jsonl`",
            meaning="the prompt",
            shows=sample.instruction,
        )
        yield Place(
            ours=f"output ({sample.output.role})",
            theirs=f"`output_image`: `{paths.output}`",
            meaning="the image that is learnt",
            shows=sample.output,
        )

    def how_to(self) -> str:
        """The option that takes the YAML."""
        return (
            "In a copy of OmniGen2's `options/ft.yml` (or `ft_lora.yml`): `data.data_path: FOLDER/omnigen2.yml`. "
            "`data.max_input_pixels` there has one number for each number of inputs: with more than four inputs add "
            "to it. Paths are absolute: of a folder that is moved, replace the old path in the YAML and JSONL files.\n"
        )


def _type(sample: Sample) -> str:
    return _TYPES[min(len(sample.inputs), 2)]


def _line(line: dict[str, Any], made: Made) -> bytes:
    there = {**line, "output_image": located(line["output_image"], made)}
    if "input_images" in line:
        there["input_images"] = [located(path, made) for path in line["input_images"]]
    return json.dumps(there).encode() + b"\n"
