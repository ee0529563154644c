"""Parquet for BAGEL (ByteDance-Seed/Bagel): edits with their info file, and pictures from text.

    edit/000000.parquet      image_list: the input, then the output, as files; instruction_list: one list of texts for
                             each image but the first
    t2i/000000.parquet       image: the file; captions: texts by name, as JSON
    parquet_info/edit.json   by the absolute path of each file in edit/, its numbers of row groups and rows
    dataset_info.json        what belongs into DATASET_INFO of BAGEL's data/dataset_info.py
    bagel.yaml               what --dataset_config_file takes

A row of BAGEL's is a picture edited again and again: image n+1 is image n after instruction n, and training starts at
any of them. A second input would be trained as an edit of the first, so examples with several inputs are not carried,
nor are in-context examples.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.image_files import PILLOW_ENCODINGS, located
from manifests.export.sample import Sample

EDIT = pa.schema(
    [
        pa.field("image_list", pa.list_(pa.binary()), False),
        pa.field("instruction_list", pa.list_(pa.list_(pa.string())), False),
        pa.field("id", pa.string(), False),  # not read by BAGEL: which example a row is
    ]
)
T2I = pa.schema(
    [
        pa.field("image", pa.binary(), False),
        pa.field("captions", pa.string(), False),
        pa.field("id", pa.string(), False),
    ]
)

_DATASET = "xprompt"
_GROUPS = {"edit": "unified_edit", "t2i": "t2i_pretrain"}
"""Our folders, and the groups of BAGEL's datasets that read them."""


class Bagel:
    """BAGEL's Parquet: see the module's text."""

    name = "bagel"
    summary = "Parquet with its info file, for BAGEL: edits of one input, and text to image."
    reader = "ByteDance-Seed/Bagel@056b5fd51a88c1eb4547318609e25d40080fcf87:data/interleave_datasets/edit_dataset.py"
    carries = Carries(least_inputs=0, encodings=PILLOW_ENCODINGS)

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        """Write the edits of a part into one file, and what has no input into another."""
        listed = list(samples)  # without their images, which are read one by one
        for folder, schema, chosen, row in (
            ("edit", EDIT, [sample for sample in listed if sample.inputs], _edit),
            ("t2i", T2I, [sample for sample in listed if not sample.inputs], _t2i),
        ):
            if chosen:
                name = f"{part.number:06d}.parquet"
                groups = part.table(f"{folder}/{name}", schema, (row(sample) for sample in chosen))
                part.line(folder, {"name": name, "num_row_groups": groups, "num_rows": len(chosen)})

    def finish(self, made: Made) -> None:
        """Write the info file, and what BAGEL is to be told of the folders."""
        entries: dict[str, Any] = {}
        config = ""
        for folder, group in _GROUPS.items():
            files = list(made.lines(folder))
            if not files:
                continue
            entry = {
                "data_dir": located(folder, made),
                "num_files": len(files),
                "num_total_samples": sum(file["num_rows"] for file in files),
            }
            if folder == "edit":
                entry["parquet_info_path"] = located("parquet_info/edit.json", made)
                info = {
                    located(f"edit/{file['name']}", made): {key: file[key] for key in ("num_row_groups", "num_rows")}
                    for file in files
                }
                made.text("parquet_info/edit.json", json.dumps(info, indent=2) + "\n")
            entries[group] = {_DATASET: entry}
            config += _config(folder, group, len(files))
        made.text("dataset_info.json", json.dumps(entries, indent=2) + "\n")
        made.text("bagel.yaml", config)

    def places(self, sample: Sample) -> Iterable[Place]:
        """The columns that hold an example."""
        assert sample.output
        column = "`image_list[1]` in `edit/`" if sample.inputs else "`image` in `t2i/`"
        for picture in sample.inputs:
            yield Place(
                ours=f"input ({picture.role})",
                theirs="`image_list[0]` in `edit/`",
                meaning="the image before the edit: seen, without loss",
                shows=picture,
            )
        yield Place(
            ours="instruction",
            theirs="`instruction_list[0][0]`" if sample.inputs else "`captions`, as JSON, under `caption`",
            meaning="the text between the images" if sample.inputs else "the caption",
            shows=sample.instruction,
        )
        yield Place(
            ours=f"output ({sample.output.role})",
            theirs=column,
            meaning="the image that is learnt",
            shows=sample.output,
        )

    def how_to(self) -> str:
        """What to add to BAGEL's data/dataset_info.py, and the option that takes the configuration."""
        return (
            "Add to the end of `data/dataset_info.py` in BAGEL's repository:\n\n"
            "```python\n"
            "import json\n\n"
            'for group, entries in json.load(open("FOLDER/dataset_info.json")).items():\n'
            "    DATASET_INFO[group].update(entries)\n"
            "```\n\n"
            "and train with `--dataset_config_file FOLDER/bagel.yaml`. Paths in the JSON files are absolute: of a "
            "folder that is moved, replace the old path in them. Of a file that is listed under another path BAGEL "
            "reads nothing. It gives each of its GPUs and workers whole row groups (of `t2i/` whole files): with fewer "
            "of them than of those, raise `num_used_data` there, which repeats files.\n"
        )


def _edit(sample: Sample) -> dict[str, Any]:
    assert sample.output
    return {
        "image_list": [sample.inputs[0].file().data, sample.output.file().data],
        "instruction_list": [[sample.instruction]],
        "id": sample.name,
    }


def _t2i(sample: Sample) -> dict[str, Any]:
    assert sample.output
    captions = json.dumps({"caption": sample.instruction}, ensure_ascii=False)
    return {"image": sample.output.file().data, "captions": captions, "id": sample.name}


def _config(folder: str, group: str, files: int) -> str:
    """The group's part of the configuration, with the sizes of BAGEL's data/configs/example.yaml."""
    lines = [
        f"{group}:",
        "  dataset_names:",
        f"  - {_DATASET}",
        "  image_transform_args:",
        "    image_stride: 16",
        "    max_image_size: 1024",
        "    min_image_size: 512",
    ]
    if folder == "edit":
        lines += [
            "  vit_image_transform_args:",
            "    image_stride: 14",
            "    max_image_size: 518",
            "    min_image_size: 224",
        ]
    lines += ["  is_mandatory: true", "  num_used_data:  # files", f"  - {files}", "  weight: 1", ""]
    return "\n".join(lines)
