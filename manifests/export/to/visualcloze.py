"""Grids and image lists for VisualCloze (lzyhha/VisualCloze, and diffusers' VisualClozePipeline).

    images/...          the inputs and outputs, of in-context examples too
    grids.jsonl         one line an example, with its in-context examples: image, task_prompt, content_prompt
    data.jsonl          one line an example: what VisualCloze's own dataset class reads
    visualcloze.yaml    lists data.jsonl, for --data_path

A line of grids.jsonl is what the pipeline is called with: `image` are rows of paths, each row an example, inputs first,
its output last; the last row is the example itself, and its last image is what is to be made. The best in-context
example stands right above it, so that a trainer that has room for fewer rows takes the last ones.

VisualCloze's own dataset class knows no such rows: it draws other examples of the file at random as a grid's upper
rows, and takes images by names of its own. data.jsonl has examples of one input under the names that it has for dense
prediction and controllable generation, and for all other tasks under "DepthEdit" and "target", whose prompts say no
more than that they are good photographs. Its `description` is the instruction, which it appends to the prompt. Of an
export of both directions it has the forward ones, so that the rows of a grid all show the same being done.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.image_files import PILLOW_ENCODINGS, located, paths_of, write_images
from manifests.export.sample import Sample

SLOTS: Mapping[str, tuple[str, str]] = {
    "depth": ("target", "depth"),
    "normal": ("target", "normal"),
    "segmentation": ("target", "uniformer"),
    "depth2img": ("depth", "target"),
    "normal2img": ("normal", "target"),
    "seg2img": ("uniformer", "target"),
    "hed2img": ("hed", "target"),
    "mlsd2img": ("mlsd", "target"),
}
"""VisualCloze's names of input and output, by our task, of forward examples. Of reverse ones they change places.

The names are those of check_item_graph200k in its data/data_utils.py."""

_OTHER = ("DepthEdit", "target")

TRAINER = """import json
import os

import torch
from PIL import Image

from data.data_reader import resize_with_aspect_ratio
from data.prefix_instruction import get_layout_instruction


class Grids(torch.utils.data.Dataset):
    def __init__(self, path, image_transform, resolution, most_rows=3):
        self.folder = os.path.dirname(path)
        self.image_transform, self.resolution, self.most_rows = image_transform, resolution, most_rows
        with open(path, encoding="utf-8") as file:
            self.lines = [json.loads(line) for line in file]

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        line = self.lines[index]
        grid = line["image"][-self.most_rows :]
        rows = [torch.cat([self.load(name) for name in row], dim=2) for row in grid]
        shape = len(grid[0]), len(grid)
        prompt = " ".join([get_layout_instruction(*shape), line["task_prompt"], line["content_prompt"]]).rstrip()
        return "image_grid_graph200k", rows, prompt, None, shape

    def load(self, name):
        image = Image.open(os.path.join(self.folder, name)).convert("RGB")
        return self.image_transform(resize_with_aspect_ratio(image, self.resolution, aspect_ratio=1.0))
"""
"""A dataset that gives VisualCloze's train.py what its own gives it, of grids.jsonl: for SAMPLE.md."""


class VisualCloze:
    """VisualCloze's grids: see the module's text."""

    name = "visualcloze"
    summary = "Grids of in-context rows, for VisualCloze and diffusers' VisualClozePipeline."
    reader = "lzyhha/VisualCloze@b3dda649cb197969fa2b23a5a6b28fc2b2566014:data/dataset.py, data/data_reader.py"
    carries = Carries(most_inputs=None, contexts=True, encodings=PILLOW_ENCODINGS)

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        """Write the images of a part, and two lines for each example."""
        for sample in samples:
            rows = [_row(shown, part) for shown in _rows(sample)]
            for _ in range(len(rows) - 1, len(sample.contexts)):
                part.leave_off("in-context examples with another number of inputs than their example")
            part.line("grids", {"id": sample.name, "image": rows, **_prompts(sample)})
            if len(sample.inputs) == 1:
                slots = _slots(sample)
                item = {"condition": dict(zip(slots, rows[-1], strict=True)), "text": sample.instruction}
                part.line(sample.direction, item)
            else:
                part.leave_off("examples of several inputs, in data.jsonl")

    def finish(self, made: Made) -> None:
        """Write both files, the second with absolute paths, which VisualCloze opens as they are."""
        made.write_lines("grids.jsonl", "grids")
        for direction in ("forward", "reverse"):
            lines = made.lines(direction)
            if first := next(lines, None):
                break
        else:  # every example has several inputs
            return
        made.write("data.jsonl", (_item(line, made) for line in itertools.chain([first], lines)))
        path = json.dumps(located("data.jsonl", made), ensure_ascii=False)  # JSON's text is one of YAML's
        made.text("visualcloze.yaml", f"META:\n  -\n    path: {path}\n    type: image_grid_graph200k\n")

    def places(self, sample: Sample) -> Iterable[Place]:
        """The cells of an example's grid, row by row."""
        assert sample.output
        rows = _rows(sample)
        for number, shown in enumerate(rows):
            paths = paths_of(shown)
            context = f"in-context example {len(rows) - 1 - number}, " if shown is not sample else ""
            for column, (picture, path) in enumerate(zip(shown.inputs, paths.inputs, strict=True)):
                yield Place(
                    ours=f"{context}input {column + 1} ({picture.role})",
                    theirs=f"`image[{number}][{column}]`: `{path}`",
                    meaning=f"[IMAGE{column + 1}] of row {number + 1}: shown",
                    shows=picture,
                )
            assert shown.output
            yield Place(
                ours=f"{context}output ({shown.output.role})",
                theirs=f"`image[{number}][{len(shown.inputs)}]`: `{paths.output}`",
                meaning=f"[IMAGE{len(shown.inputs) + 1}] of row {number + 1}: {'shown' if context else 'to be made'}",
                shows=shown.output,
            )
        yield Place(
            ours="instruction",
            theirs="`task_prompt`, and `description.description_0` in `data.jsonl`",
            meaning="the editing instruction in the last row",
            shows=sample.instruction,
        )

    def how_to(self) -> str:
        """How a grid is given to the pipeline, and to VisualCloze's train.py in two ways."""
        pairs = " or ".join(f"`{json.dumps(list(slots))}`" for slots in dict.fromkeys([_OTHER, *SLOTS.values()]))
        return (
            "With diffusers, for a line of `grids.jsonl`: open the images of `image`, put None in the place of the "
            "last one of the last row, and call `VisualClozePipeline` with `image`, `task_prompt` and "
            "`content_prompt`.\n\n"
            "To train VisualCloze on these in-context examples, put this beside its `train.py`:\n\n"
            f"```python\n{TRAINER}```\n\n"
            "and there, in the place of `MyDataset(...)`, "
            '`Grids("FOLDER/grids.jsonl", image_transform, args.grid_resolution)`. Grids of one batch may differ in '
            "size.\n\n"
            "To train with VisualCloze's own dataset, which draws the upper rows at random: "
            "`--data_path FOLDER/visualcloze.yaml`, and in `data/prefix_instruction.py` "
            '`graph200k_task_dicts = [{"task_name": "export", "sample_weight": 1, "image_list": [PAIRS]}]`, with the '
            f"PAIRS of names that `condition` has in `data.jsonl`: {pairs}, or the same turned round. With the list "
            "that is there it waits for ever for examples of kinds that the export does not have.\n"
        )


def _rows(sample: Sample) -> list[Sample]:
    """The in-context examples that have as many inputs as the sample, the best last, and the sample."""
    return [*(shown for shown in reversed(sample.contexts) if _fits(shown, sample)), sample]


def _fits(shown: Sample, sample: Sample) -> bool:
    return len(shown.inputs) == len(sample.inputs) and shown.output is not None


def _row(shown: Sample, part: Part) -> list[str]:
    paths = write_images(shown, part)
    assert paths.output
    return [*paths.inputs, paths.output]


def _slots(sample: Sample) -> tuple[str, str]:
    first, second = SLOTS.get(sample.value("task"), _OTHER)
    if sample.direction == "forward" or (first, second) == _OTHER:
        return first, second
    return second, first


def _item(line: dict[str, Any], made: Made) -> bytes:
    item = {
        "condition": {slot: located(path, made) for slot, path in line["condition"].items()},
        "description": {"item": "", "description_0": line["text"]},
        # Says how alike the subjects of "reference" and "target" are; read of such pairs alone.
        "quality_assessment": None,
    }
    return json.dumps(item).encode() + b"\n"


def _prompts(sample: Sample) -> dict[str, str]:
    """The prompts in VisualCloze's form for edits (its examples/gradio_tasks_editing.py): images are named by column,
    and the instruction stands between its marks."""
    inputs = [f"[IMAGE{number}] an image" for number in range(1, len(sample.inputs) + 1)]
    task = (
        f"In each row, an editing instruction makes [IMAGE{len(inputs) + 1}] an edited image of "
        f"{' and '.join(inputs)}. The editing instruction in the last row is: <editing instruction> "
        f"{sample.instruction} <\\editing instruction>"
    )
    return {"task_prompt": task, "content_prompt": ""}
