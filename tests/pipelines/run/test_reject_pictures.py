"""The small pictures that a run keeps of what gates reject: of which pairs and images, and always the same bytes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

from manifests.dataset import Dataset
from manifests.images.evaluation import hash_folder
from manifests.images.pixels import Pixels
from manifests.verify.dataset import verify
from operators.judge.guard import Guard
from pipelines.prepare import prepare
from pipelines.run.chain import Rejected, go_on, read_items
from pipelines.run.painted import Painted
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.low_level import DERAIN
from tests.datasets import finish_job, make_dataset, plan_job, reasons, rejects, sha256_by_file
from tests.sources import encode

_SIZE = 300
REASONS = {
    "input/identical.png": "identical_pair",
    "input/other.png": "other_scene",
    "input/sizes.png": "size_mismatch",
    "input/cut.png": "truncated",
}


def _crop(photo: Pixels, left: int = 0) -> Pixels:
    return np.ascontiguousarray(photo[:_SIZE, left : left + _SIZE])


SIDES = {
    "identical": (_crop(skimage.data.coffee()), _crop(skimage.data.coffee())),
    "other": (_crop(skimage.data.astronaut()), _crop(skimage.data.coffee(), 250)),
    "sizes": (_crop(skimage.data.chelsea()), _crop(skimage.data.chelsea())[:200]),
    "cut": (_crop(skimage.data.astronaut(), 100), _crop(skimage.data.astronaut(), 100)),
    "good": (_crop(skimage.data.chelsea(), 100) // 2 + 96, _crop(skimage.data.chelsea(), 100)),
}
"""Input and target of each pair of the source."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, (before, after) in SIDES.items():
        for role, pixels in (("input", before), ("target", after)):
            file = root / role / f"{name}.png"
            file.parent.mkdir(exist_ok=True)
            whole = encode(pixels)
            file.write_bytes(whole[: len(whole) // 2] if (name, role) == ("cut", "target") else whole)
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("made"), data)


def _shown(dataset: Dataset, row: dict[str, Any]) -> dict[str, PILImage.Image]:
    """The pictures of a reject by side, by the places that its row names."""
    read = {
        one["side"]: dataset.store.read(f"reject_pictures/{row['shard']}", one["offset"], one["bytes"])
        for one in row["pictures"]
    }
    return {side: PILImage.open(io.BytesIO(picture)) for side, picture in read.items()}


def test_what_gates_reject_is_shown_and_what_is_damaged_is_not(made: Dataset) -> None:
    assert reasons(made) == REASONS
    for row in rejects(made):
        shown = _shown(made, row)
        name = row["source_ref"].removeprefix("input/").removesuffix(".png")
        assert [*shown] == ([] if name == "cut" else ["input", "output"])
        for picture, pixels in zip(shown.values(), SIDES[name], strict=bool(shown)):
            assert picture.format == "WEBP" and max(picture.size) == 256
            wanted = PILImage.fromarray(pixels).resize(picture.size, PILImage.Resampling.BOX)
            assert np.abs(np.asarray(picture.convert("RGB"), float) - np.asarray(wanted, float)).mean() < 6
    assert all(0 < one["bytes"] <= 16_000 for row in rejects(made) for one in row["pictures"])
    assert list(verify(made.url)) == []


def test_a_unit_made_again_has_the_same_bytes(data: Path, made: Dataset, tmp_path: Path) -> None:
    """As after a run that was killed before the unit's commit, and as when painters took its pairs on."""
    job = plan_job(tmp_path, data)
    make_unit(job, 0, Spent())
    job.dataset.store.remove(f"manifest/{job.plan.name(0)}.parquet")
    make_unit(job, 0, Spent())
    finish_job(job)
    assert sha256_by_file(tmp_path / "derain") == sha256_by_file(Path(made.url))
    painted = plan_job(tmp_path / "painted", data)
    make_unit(painted, 0, Spent(), painted=_paint(painted))
    finish_job(painted)
    assert sha256_by_file(tmp_path / "painted/derain") == sha256_by_file(Path(made.url))


def _paint(job: Job) -> int:
    """Take each pair through all links by itself, and keep it on its way; the number of links."""
    operators, items = job.task.operators(job.reader), job.dataset.unit(job.plan, 0).items
    for place, item in enumerate(items):
        states = read_items(job.reader, job.task.name, [item], Spent())
        (state,) = go_on(states, operators, job.seed, Spent(), pictures=job.task.reject_pictures)
        Painted(job.dataset, job.plan.name(0)).put(place, state.made, len(operators))
    return len(operators)


def test_a_user_may_keep_none(data: Path, made: Dataset, tmp_path: Path) -> None:
    prepared = prepare(DERAIN, {"data": str(data), "reject_pictures": False})
    bare = make_dataset(tmp_path, data, task=prepared.task)
    assert bare.plan().fingerprint != made.plan().fingerprint
    assert not bare.store.names("reject_pictures")
    assert [{**row, "pictures": []} for row in rejects(made)] == rejects(bare)
    manifests = [sha256_by_file(Path(one.url) / "shards") for one in (made, bare)]
    assert manifests[0] == manifests[1]
    assert list(verify(bare.url)) == []


def test_no_picture_is_kept_of_evaluation_images(data: Path, tmp_path: Path) -> None:
    guard = tmp_path / "guard.parquet"
    hash_folder(str(data / "target"), "test set", str(guard))
    task = replace(DERAIN, chain=(Guard.of(str(guard)), *DERAIN.chain))
    job = plan_job(tmp_path, data, task=task)
    items = job.dataset.unit(job.plan, 0).items
    states = go_on(
        read_items(job.reader, "derain", items, Spent()), task.operators(job.reader), 0, Spent(), pictures=True
    )
    rejected = [state.made for state in states if isinstance(state.made, Rejected)]
    assert {"evaluation_image"} <= {one.reject.reason for one in rejected}
    assert all(one.reject.scores and not one.pictures for one in rejected if one.reject.reason == "evaluation_image")
