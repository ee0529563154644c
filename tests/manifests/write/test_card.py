"""Cards, by the code of those who read them: huggingface_hub's card, and datasets' builders."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image as PILImage

from manifests.dataset import Dataset
from manifests.images.pixels import encode_lossless
from manifests.schema import Example, Image
from manifests.write.card import licence_lines, size_category, split_name
from manifests.write.finish import finish
from manifests.write.writer import UnitWriter
from tests.manifests.make import LICENCE, SOURCE, VERSIONS, make_dataset, make_pair, make_plan, photo

CATEGORIES = {"image-to-image", "text-to-image", "image-to-text"}


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path


def card_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = DatasetCard.load(root / "README.md").data.to_dict()
    return found


def rows_of(root: Path, *, streaming: bool) -> list[dict[str, Any]]:
    import datasets

    cache = str(root.parent / "cache")
    return list(datasets.load_dataset(str(root), split="train", streaming=streaming, cache_dir=cache))


def test_its_metadata_are_those_that_a_hub_knows(tmp_path: Path) -> None:
    make_dataset(str(tmp_path / "derain"), units=2)
    card = card_of(tmp_path / "derain")
    assert card["pretty_name"] == "X-Prompt derain"
    assert (card["license"], card["license_name"]) == ("other", "cc0")
    assert card["task_categories"] == ["image-to-image", "image-to-text"]
    assert card["size_categories"] == ["n<1K"]
    assert card["tags"] == ["x-prompt", "in-context-learning", "webdataset", "derain"]
    assert card["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "shards/*.tar"}]},
    ]
    assert card["dataset_info"][0]["splits"][0]["num_examples"] == 8


def test_the_features_are_spelled_as_datasets_spells_them(tmp_path: Path) -> None:
    from datasets.features import Features

    make_dataset(str(tmp_path / "derain"), units=1)
    listed = card_of(tmp_path / "derain")["dataset_info"][0]["features"]
    assert Features._from_yaml_list(listed)._to_yaml_list() == listed


@pytest.mark.parametrize("streaming", [True, False])
def test_irregular_samples_open(offline: Path, streaming: bool) -> None:
    """Pairs with and without a mask, images whose ending is no image's, an example that has no input."""
    root = offline / "edit"
    dataset = Dataset(str(root))
    plan = make_plan(dataset, task="edit", units=1, pairs=7)
    avif = io.BytesIO()
    PILImage.fromarray(photo(0)).save(avif, "AVIF")
    with UnitWriter.open(
        dataset, plan, 0, prototype_task="editing", suffixes={"input": "avif", "target": "jpg"}
    ) as writer:
        for item in dataset.unit(plan, 0).items:
            pair = make_pair("edit", item)
            first = Image(role="input", data=avif.getvalue(), format="avif", width_px=64, height_px=48, mode="RGB")
            mask = encode_lossless("mask", np.full((8, 8, 3), 255, np.uint8))
            images = (first, pair.images[1], *([mask] if item.index % 3 == 1 else []))
            text = Example(direction="forward", kind="generate", inputs=(), output="target", instruction="A photo.")
            examples = (text,) if item.index < 6 else pair.examples
            writer.add(replace(pair, images=images, examples=examples))
    writer.commit({}, 0, {})
    finish(dataset, plan, versions=VERSIONS, licences={SOURCE: LICENCE})
    assert set(card_of(root)["task_categories"]) == CATEGORIES
    rows = rows_of(root, streaming=streaming)
    assert [row["mask.png"] is not None for row in rows] == [index % 3 == 1 for index in range(8)]
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(np.asarray(row["target.jpg"]), photo(index))  # a PNG by another name
        assert row["input.avif"].size == (64, 48)
        assert [*row["json"]["examples"][0]["inputs"]] == ([] if index < 6 else ["input"])


def test_without_the_card_the_same_shards_do_not_open(offline: Path) -> None:
    """What the features in the card are for: the first five samples must be alike without them."""
    import datasets

    root = offline / "edit"
    dataset = Dataset(str(root))
    plan = make_plan(dataset, units=1)
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes={}) as writer:
        for item in dataset.unit(plan, 0).items:
            pair = make_pair("derain", item)
            mask = encode_lossless("mask", photo(0))
            writer.add(replace(pair, images=(*pair.images, mask)) if item.index % 2 else pair)
    writer.commit({}, 0, {})
    files = {"train": [str(root / "shards" / "derain-000000.tar")]}
    with pytest.raises(ValueError, match="don't share the same prefix or the same types"):
        datasets.load_dataset("webdataset", data_files=files, cache_dir=str(offline / "cache"))
    finish(dataset, plan, versions=VERSIONS, licences={SOURCE: LICENCE})
    assert len(rows_of(root, streaming=True)) == 5


@pytest.mark.parametrize(
    ("licences", "wanted"),
    [
        ({"a": "CC-BY-4.0"}, ["license: cc-by-4.0"]),
        ({"a": "CC-BY-4.0", "b": "Apache-2.0"}, ["license:", "- cc-by-4.0", "- apache-2.0"]),
        ({"a": "research use, under its authors' terms"},
         ["license: other", "license_name: research-use-under-its-authors-terms", "license_link: LICENSE.md"]),
        ({"a": "CC-BY-4.0", "b": "research use"},
         ["license: other", "license_name: as-its-sources-state", "license_link: LICENSE.md"]),
        ({}, ["license: other", "license_name: as-its-sources-state", "license_link: LICENSE.md"]),
        ({"a": "條款: \n---\nx: 1"}, ["license: other", "license_name: x-1", "license_link: LICENSE.md"]),
    ],
)  # fmt: skip
def test_licences(licences: dict[str, str], wanted: list[str]) -> None:
    assert [*licence_lines(licences, by_models=False, has_licence_file=True)] == wanted
    of_models = ["license: other", "license_name: as-its-sources-and-models-state", "license_link: LICENSE.md"]
    assert [*licence_lines(licences, by_models=True, has_licence_file=True)] == of_models


def test_sizes_and_splits() -> None:
    """The categories that huggingface_hub lists (DatasetCardData), and names of splits that datasets takes."""
    sizes = {0: "n<1K", 999: "n<1K", 1_000: "1K<n<10K", 999_999: "100K<n<1M", 10**6: "1M<n<10M", 10**9: "n>1B"}
    assert {pairs: size_category(pairs) for pairs in sizes} == sizes
    named = {"": "train", "val": "val", "Rain100H test": "Rain100H_test", "../x": "x", "测试": "train"}
    assert {split: split_name(split) for split in named} == named


def test_hostile_names_stay_what_they_are(tmp_path: Path) -> None:
    """A role that YAML would take for a truth or a number."""
    dataset = Dataset(str(tmp_path / "odd"))
    plan = make_plan(dataset, task="odd", units=1, pairs=1)
    with UnitWriter.open(dataset, plan, 0, prototype_task="x", suffixes={}) as writer:
        for item in dataset.unit(plan, 0).items:
            pair = make_pair("odd", item)
            images = [replace(one, role=role) for one, role in zip(pair.images, ("1", "no"), strict=True)]
            writer.add(replace(pair, images=tuple(images)))
    writer.commit({}, 0, {})
    finish(dataset, plan, versions=VERSIONS, licences={"": "x"})
    features = card_of(tmp_path / "odd")["dataset_info"][0]["features"]
    assert [feature["name"] for feature in features] == ["1.png", "no.png", "json", "__key__", "__url__"]
    assert json.dumps(features).count("dtype") > 10
