"""The composition task from end to end, without a vision-language model."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from operators.models.diffusion import Family
from operators.read.bundled import BundledPhotos
from operators.read.photo_pairs import PhotoPairs
from operators.word.instruct import Instruct
from operators.word.relation import Relation
from pipelines.tasks.personalisation import COMPOSITION
from tests.datasets import nearest
from tests.generated import generate
from tests.operators.paint.test_compose import ROLES
from tests.tiny import few_steps, tiny_models

_SCORES = ("clip", "dino")


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_two_inputs_one_output(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch, 2)
    reader = PhotoPairs(
        photos=BundledPhotos(photos=("skimage/data/coffee.png", "skimage/data/chelsea.png"), crops_per_photo=1)
    )
    task = COMPOSITION.with_options({"generator": family}).keeping_all()
    out = generate(task, reader, tiny_models(*ROLES[family], *_SCORES), tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 2
    for row in rows:
        assert (row["direction"], row["kind"]) == ("forward", "generate")
        assert (row["inputs"], row["output"]) == (["input1", "input2"], "target")
        assert nearest(row)["pair"]
        assert {step["model"] for step in row["steps"] if step["model"]} == {*ROLES[family], *_SCORES}
        assert dict(row["scores"]).keys() >= {"dino", "clip_image", "sharpness"}


def test_the_relation_words_the_instruction() -> None:
    instruct, relation, _ = COMPOSITION.chain[-3:]
    assert isinstance(relation, Relation) and isinstance(instruct, Instruct)
    assert instruct.inputs == (relation.first, relation.second)  # so <image 1> is the first image that is laid out
    assert "relation" in COMPOSITION.options
