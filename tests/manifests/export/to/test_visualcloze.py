"""VisualCloze's grids: read by diffusers' processor, by the dataset that SAMPLE.md has for its train.py, and as its own
dataset class reads them.

Lines are of lzyhha/VisualCloze@b3dda649cb197969fa2b23a5a6b28fc2b2566014.
"""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers.pipelines.visualcloze.visualcloze_utils import VisualClozeProcessor
from PIL import Image

from manifests.dataset import Dataset
from manifests.export.run import export
from manifests.export.select import Choice
from manifests.export.to.visualcloze import VisualCloze
from manifests.images.pixels import Pixels
from manifests.read.pairs import StoredExample
from manifests.schema import Direction
from tests.manifests.export.to.varied import HOSTILE, Seen, is_same, make_varied, seen
from tests.manifests.make import make_dataset

SIDE_PX = 16


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_varied(tmp_path_factory.mktemp("visualcloze") / "dataset")


@pytest.fixture(scope="module")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("visualcloze") / "export"
    export([dataset], VisualCloze(), str(out), Choice(direction="both"))
    return out


def test_a_grid_is_the_in_context_example_above_the_example(dataset: Dataset, exported: Path) -> None:
    examples = _examples(dataset)
    lines = _lines(exported / "grids.jsonl")
    assert len(lines) == len(examples) == 5
    for line, example in zip(lines, examples, strict=True):
        context = example.context()
        meant = [*([context] if context else []), example]
        for row, one in zip(line["image"], meant, strict=True):
            *inputs, output = (_rgb(exported / name) for name in row)
            assert is_same(Seen(inputs, output, one.instruction), seen(one))
        assert f"<editing instruction> {example.instruction} <\\editing instruction>" in line["task_prompt"]
    assert [len(line["image"]) for line in lines] == [2, 2, 2, 2, 1]
    assert [len(line["image"][0]) for line in lines] == [2, 2, 2, 2, 3]


def test_diffusers_takes_a_grid(exported: Path) -> None:
    processor = VisualClozeProcessor(vae_scale_factor=16, resolution=64)
    for line in _lines(exported / "grids.jsonl"):
        grid: list[list[Image.Image | None]] = [[Image.open(exported / name) for name in row] for row in line["image"]]
        grid[-1][-1] = None
        made = processor.preprocess(line["task_prompt"], line["content_prompt"], grid, vae_scale_factor=8)
        assert made["target_position"] == [[0] * (len(grid[0]) - 1) + [1]]
        assert [len(row) for row in made["init_image"][0]] == [len(row) for row in grid]
        assert made["mask"][0][-1][-1].min() == 1
        assert made["task_prompt"] == [line["task_prompt"]]


def test_the_dataset_of_sample_md_gives_what_train_py_takes(
    dataset: Dataset, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """train.py:548-563: rows as tensors of images side by side, of which the last of the last row is masked half of the
    time (207-220), a prompt, and columns x rows."""
    reader, prompts = types.ModuleType("data.data_reader"), types.ModuleType("data.prefix_instruction")
    vars(reader)["resize_with_aspect_ratio"] = lambda image, resolution, aspect_ratio: image.resize((resolution,) * 2)
    vars(prompts)["get_layout_instruction"] = lambda columns, rows: f"{rows} rows of {columns}."
    for name, module in (("data", types.ModuleType("data")), (reader.__name__, reader), (prompts.__name__, prompts)):
        monkeypatch.setitem(sys.modules, name, module)
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "SAMPLE.md").read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)

    def transform(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)

    grids = scope["Grids"](str(exported / "grids.jsonl"), transform, SIDE_PX)
    examples = _examples(dataset)
    assert len(grids) == len(examples)
    for index, example in enumerate(examples):
        group, rows, prompt, embedding, shape = grids[index]
        assert (group, embedding) == ("image_grid_graph200k", None)
        assert example.output
        assert shape == (len(example.inputs) + 1, 2 if example.context() else 1)
        assert len(rows) == shape[1]
        assert {row.shape for row in rows} == {(3, SIDE_PX, SIDE_PX * shape[0])}
        stride = rows[-1].shape[-1] // shape[0]  # train.py:208-211
        masked = rows[-1][:, :, -stride:]  # train.py:219
        assert torch.equal(masked, transform(example.pair.pil(example.output).resize((SIDE_PX, SIDE_PX))))
        assert prompt.startswith(f"{shape[1]} rows of {shape[0]}. ")
        assert example.instruction in prompt


def test_its_own_dataset_class_reads_the_images_and_the_instruction(dataset: Dataset, exported: Path) -> None:
    """All of one direction: it draws the rows of a grid at random (data/dataset.py:194-202)."""
    examples = [one for one in _examples(dataset) if len(one.inputs) == 1 and one.direction == "forward"]
    items = _collect(exported / "visualcloze.yaml")
    assert len(items) == len(examples) == 2
    for item, example in zip(items, examples, strict=True):
        assert is_same(_process(item, ["DepthEdit", "target"]), seen(example))


@pytest.mark.parametrize(
    ("task", "direction", "image_list"),
    [("depth", "forward", ["target", "depth"]), ("mlsd2img", "reverse", ["target", "mlsd"])],
)
def test_conditions_have_the_names_of_its_tasks(
    tmp_path: Path, task: str, direction: Direction, image_list: list[str]
) -> None:
    """Names among those of data/data_utils.py:11-16, and lists among those of data/prefix_instruction.py:732-971."""
    dataset = make_dataset(str(tmp_path / "dataset"), task=task, units=1, pairs=2)
    export([dataset], VisualCloze(), str(tmp_path / "out"), Choice(direction=direction))
    examples = [example for example in _examples(dataset) if example.direction == direction]
    items = _collect(tmp_path / "out" / "visualcloze.yaml")
    assert len(items) == len(examples) == 2
    for item, example in zip(items, examples, strict=True):
        assert is_same(_process(item, image_list, takes_text=image_list[-1] == "target"), seen(example))


def test_examples_of_several_inputs_alone_are_no_items_of_its_own(tmp_path: Path) -> None:
    export([make_varied(tmp_path / "dataset", pairs_from=2)], VisualCloze(), str(tmp_path / "out"))
    assert len(_lines(tmp_path / "out" / "grids.jsonl")) == 1
    assert not (tmp_path / "out" / "data.jsonl").exists()
    assert not (tmp_path / "out" / "visualcloze.yaml").exists()


def test_what_is_not_carried_is_counted(exported: Path) -> None:
    said = json.loads((exported / "export.json").read_text())
    assert said["without"] == {"examples of several inputs, in data.jsonl": 1, "masks": 1}
    assert sum(said["left_out"].values()) == 3  # two describe examples, one without input


def test_an_in_context_example_of_another_shape_is_left_off_and_counted(tmp_path: Path) -> None:
    dataset = make_varied(tmp_path / "dataset", crossed=True)
    export([dataset], VisualCloze(), str(tmp_path / "out"))
    said = json.loads((tmp_path / "out" / "export.json").read_text())
    assert said["without"]["in-context examples with another number of inputs than their example"] == 2
    assert [len(line["image"]) for line in _lines(tmp_path / "out" / "grids.jsonl")] == [1, 1, 1]


def test_sample_md_shows_the_grid(exported: Path) -> None:
    text = (exported / "SAMPLE.md").read_text()
    for line in _lines(exported / "grids.jsonl")[:1]:
        for row, cells in enumerate(line["image"]):
            for column, name in enumerate(cells):
                assert f"`image[{row}][{column}]`: `{name}`" in text
    assert HOSTILE not in text  # it would end the table


def _examples(dataset: Dataset) -> list[StoredExample]:
    return [example for pair in dataset for example in pair.examples if example.inputs and example.output]


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _collect(path: Path) -> list[dict[str, Any]]:
    """data/dataset.py:39-40 and 75-111."""
    (meta,) = yaml.load(path.read_text(), Loader=yaml.FullLoader)["META"]
    assert meta["type"] == "image_grid_graph200k"  # data/dataset.py:59-61, 76
    assert Path(meta["path"]).suffix == ".jsonl"  # data/dataset.py:81
    assert "ratio" not in meta  # data/dataset.py:98
    return _lines(Path(meta["path"]))


def _process(item: dict[str, Any], image_list: list[str], *, takes_text: bool = True) -> Seen:
    """data/data_utils.py:5-33 and data/data_reader.py:64-160, of an item in a grid's last row."""
    images = []
    for name in image_list:
        assert name in item["condition"]  # data/data_utils.py:17
        images.append(_rgb(item["condition"][name]))  # data/data_reader.py:66, 93, 99
    assert item["quality_assessment"] is None  # data/data_utils.py:23-27: nothing is a "reference"
    described = item["description"]
    text = described["item"] + " " + described["description_0"]  # data/data_reader.py:158
    assert takes_text == (image_list[-1] == "target")  # data/data_reader.py:157
    return Seen(images[:-1], images[-1], text.removeprefix(" "))


def _rgb(path: Path | str) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))
