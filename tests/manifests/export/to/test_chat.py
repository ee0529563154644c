"""Chats about images: read by Hugging Face datasets, and as TRL, ms-swift and LLaMA-Factory go on from there.

Lines are of huggingface/trl@f2cd57710ae345ea6428ae95363267fcf38a3dc8,
modelscope/ms-swift@3602360a562313afbf2ef6065fdf61f271a2c5b9 and
hiyouga/LLaMA-Factory@ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from manifests.dataset import Dataset
from manifests.export.run import export
from manifests.export.select import Choice
from manifests.export.to.chat import Chat
from manifests.images.pixels import Pixels
from manifests.read.pairs import StoredExample
from tests.manifests.export.to.varied import make_varied

Said = tuple[str, list[Pixels], str]
"""Who speaks, the images that are shown before the text, and the text."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_varied(tmp_path_factory.mktemp("chat") / "dataset")


@pytest.fixture(scope="module")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chat") / "export"
    export([dataset], Chat(), str(out), Choice(direction="both"))
    return out


def test_trl_reads_it(dataset: Dataset, exported: Path, tmp_path: Path) -> None:
    rows = datasets.load_dataset(str(exported), split="train", cache_dir=str(tmp_path))
    assert [_is_same(_trl(row), meant) for row, meant in zip(rows, _meant(dataset), strict=True)] == [True, True]


def test_ms_swift_reads_it(dataset: Dataset, exported: Path, tmp_path: Path) -> None:
    rows = _json(exported / "messages.jsonl", tmp_path)
    read = [_with_tags(row, str(exported)) for row in rows]
    assert [_is_same(*both) for both in zip(read, _meant(dataset), strict=True)] == [True, True]
    for row in rows:
        for message in row["messages"]:  # swift/dataset/preprocessor/core.py:80-84
            assert message.keys() == {"role", "content"}
            assert message["role"] in {"user", "assistant"}
        assert all(isinstance(path, str) for path in row["images"])  # swift/dataset/preprocessor/core.py:93-98


def test_llama_factory_reads_it(dataset: Dataset, exported: Path, tmp_path: Path) -> None:
    (info,) = json.loads(
        (exported / "dataset_info.json").read_text()
    ).values()  # src/llamafactory/data/parser.py:106-110
    columns, tags = info["columns"], info["tags"]  # parser.py:80-90
    rows = _json(exported / info["file_name"], tmp_path)  # src/llamafactory/data/loader.py:73-86, 131
    assert info["formatting"] == "sharegpt"
    read = []
    for row in rows:
        messages = row[columns["messages"]]  # src/llamafactory/data/converter.py:147
        roles = [message[tags["role_tag"]] for message in messages]
        assert roles == [tags["user_tag"], tags["assistant_tag"]] * (len(roles) // 2)  # converter.py:160-161, 173
        content = tags["content_tag"]  # converter.py:169
        for tag, count in (("<image>", len(row["images"])), ("<video>", 0), ("<audio>", 0)):
            assert sum(message[content].count(tag) for message in messages) == count  # mm_plugin.py:196-216
        # hparams/data_args.py:156: media_dir is dataset_dir; converter.py:57-59
        read.append(_with_tags({"messages": messages, "images": row[columns["images"]]}, str(exported)))
    assert [_is_same(*both) for both in zip(read, _meant(dataset), strict=True)] == [True, True]


def test_what_is_no_chat_is_counted(exported: Path) -> None:
    said = json.loads((exported / "export.json").read_text())
    assert said["examples"] == 2
    assert said["left_out"] == {"generate examples have no place in this format": 6}


def test_texts_with_tags_are_in_metadata_alone(tmp_path: Path) -> None:
    """An example that has one, and one that has such an in-context example: here both."""
    dataset = make_varied(tmp_path / "dataset", mark="What is <image> here?")
    export([dataset], Chat(), str(tmp_path / "out"))
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert [_is_same(_trl(row), meant) for row, meant in zip(rows, _meant(dataset), strict=True)] == [True, True]
    assert not (tmp_path / "out" / "messages.jsonl").exists()
    said = json.loads((tmp_path / "out" / "export.json").read_text())
    assert said["without"] == {"chats with <image>, <video> or <audio> in a text, in messages.jsonl": 2}


def _meant(dataset: Dataset) -> list[list[Said]]:
    """For each describe example the turns of its in-context example, and its own."""
    found = []
    for pair in dataset:
        for example in pair.examples:
            if example.kind == "describe":
                context = example.context()
                assert context
                found.append([*_turns(context), *_turns(example)])
    return found


def _turns(example: StoredExample) -> list[Said]:
    assert example.text
    images = [example.pair.image(role) for role in example.inputs]
    return [("user", images, example.instruction), ("assistant", [], example.text)]


def _is_same(one: list[Said], other: list[Said]) -> bool:
    return len(one) == len(other) and all(
        (who, text) == (their_who, their_text)
        and len(images) == len(theirs)
        and all(map(np.array_equal, images, theirs))
        for (who, images, text), (their_who, theirs, their_text) in zip(one, other, strict=True)
    )


def _trl(row: dict[str, Any]) -> list[Said]:
    """prepare_multimodal_messages (trl/data_utils.py:75-124), as trl/trainer/sft_trainer.py:640-648 calls it."""
    images = iter(row["images"])
    said = []
    for message in row["messages"]:
        assert message["role"] in {"user", "assistant"}  # trl/data_utils.py:82-94
        shown = [part for part in message["content"] if part["type"] == "image"]
        texts = [part["text"] for part in message["content"] if part["type"] == "text"]
        assert message["content"] == [*shown, *(part for part in message["content"] if part["type"] == "text")]
        assert all("image" not in part for part in shown)  # trl/data_utils.py:100, 117
        said.append((message["role"], [np.asarray(next(images)) for _ in shown], "".join(texts)))
    assert next(images, None) is None  # trl/data_utils.py:104
    return said


def _with_tags(row: dict[str, Any], folder: str) -> list[Said]:
    """Texts in which <image> stands for the next image: swift/template/base.py and src/llamafactory/data/mm_plugin.py,
    636. Paths are joined to the folder: swift/template/vision_utils.py:112-114, converter.py:57."""
    images = iter(row["images"])
    said = []
    for message in row["messages"]:
        count = message["content"].count("<image>")
        text = message["content"].removeprefix("<image>" * count)
        assert "<image>" not in text
        shown = [np.asarray(Image.open(os.path.join(folder, next(images))).convert("RGB")) for _ in range(count)]
        said.append((message["role"], shown, text))
    assert next(images, None) is None
    return said


def _json(path: Path, cache: Path) -> Any:
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))
