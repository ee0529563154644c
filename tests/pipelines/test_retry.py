"""Photos that were damaged, and are mended between the runs: what is made again, and what it is equal to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image as PILImage

from infra.command import main
from manifests.dataset import Dataset
from manifests.read.query import datasets_by_task
from manifests.verify.dataset import verify
from pipelines import retry as module
from pipelines.prepare import Prepared, prepare
from pipelines.retry import _options, retry
from pipelines.run.plan import Job, make_job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.catalogue import find_task
from tests.datasets import examples, finish_job, stored_bytes

TRUNCATED = ("03.png", "07.png", "11.png")
NO_IMAGE = ("05.png",)
OPTIONS: dict[str, Any] = {"seed": 3, "size": 40}


def make_units(job: Job, *_: object) -> Dataset:
    """What the engine does with a planned dataset, in this process."""
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    finish_job(job)
    return job.dataset


def make(data: Path, out: Path, **options: Any) -> Dataset:
    prepared: Prepared = prepare("derain", {"data": str(data), **options})
    return make_units(make_job(prepared.task, prepared.reader, str(out), prepared.values["seed"]))


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "made", make_units)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos, all of them sound."""
    folder = tmp_path_factory.mktemp("sound")
    whole = PILImage.fromarray(skimage.data.coffee())
    for number in range(12):
        whole.crop((number * 20, number * 10, number * 20 + 64, number * 10 + 48)).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def planted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of these photos, of which some were damaged, in the folder `data`, which holds them damaged."""
    root = tmp_path_factory.mktemp("planted")
    shutil.copytree(photos, root / "photos")
    for name in TRUNCATED:
        file = root / "photos" / name
        file.write_bytes(file.read_bytes()[:-200])
    for name in NO_IMAGE:
        (root / "photos" / name).write_bytes(b"no image")
    make(root / "photos", root / "data" / "derain", **OPTIONS)
    return root


@pytest.fixture
def root(planted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted, tmp_path / "root"))


def mend(root: Path, photos: Path, *names: str) -> None:
    for name in names:
        shutil.copy(photos / name, root / "photos" / name)


def images(*datasets: Dataset) -> dict[str, dict[str, bytes]]:
    """The bytes of all images by pair and role."""
    return {
        row["pair"]: {image["role"]: stored_bytes(dataset, row, image["role"]) for image in row["images"]}
        for dataset in datasets
        for row in examples(dataset)
    }


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_parent_and_child_are_what_a_fresh_run_makes(root: Path, photos: Path, tmp_path: Path) -> None:
    parent = Dataset(str(root / "data" / "derain"))
    assert parent.description()["totals"]["rejects_by_reason"] == {"not_image": 1, "truncated": 3}
    mend(root, photos, *TRUNCATED)
    before = files(root / "data" / "derain")
    child = retry(parent.url, ["truncated"], data=str(root / "photos"))
    assert child.url == str(root / "data" / "derain-retry-1")
    assert {row["source_ref"] for row in examples(child)} == set(TRUNCATED)
    mend(root, photos, *NO_IMAGE)
    last = retry(parent.url, ["not_image"], data=str(root / "photos"))
    assert last.url == str(root / "data" / "derain-retry-2")
    assert images(parent, child, last) == images(make(photos, tmp_path / "fresh", **OPTIONS))
    assert files(root / "data" / "derain") == before
    assert list(verify(str(root / "data"))) == []


def test_it_names_its_parent_and_is_named_after_it(root: Path, photos: Path) -> None:
    parent = Dataset(str(root / "data" / "derain")).plan()
    child = retry(str(root / "data" / "derain"), ["truncated", "not_image"], data=str(root / "photos"))
    plan = child.plan()
    assert plan.task == "derain-retry-1"
    assert plan.config["task"] == "derain"
    assert plan.config["retry_of"] == {
        "dataset": "derain",
        "fingerprint": parent.fingerprint,
        "reasons": ["not_image", "truncated"],
    }
    assert child.store.names("shards") == ["derain-retry-1-000000.tar"]
    card = child.store.read("README.md").decode()
    assert f"Made again of what `derain` ({parent.fingerprint}) rejected: not_image, truncated." in card
    same = ("operators", "source", "suffixes", "seed", "pairs_per_shard")
    assert {key: plan.config[key] for key in same} == {key: parent.config[key] for key in same}
    # Nothing was mended: what was rejected is rejected again, and a retry of the retry is the next.
    assert child.description()["totals"]["rejects_by_reason"] == {"not_image": 1, "truncated": 3}
    mend(root, photos, *TRUNCATED)
    again = retry(child.url, ["truncated"], data=str(root / "photos"))
    assert again.plan().task == "derain-retry-2"
    assert again.plan().config["retry_of"]["dataset"] == "derain-retry-1"
    assert {row["source_ref"] for row in examples(again)} == set(TRUNCATED)


def test_the_same_command_goes_on(root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped before all its units were made."""
    mend(root, photos, *TRUNCATED)
    url, data = str(root / "data" / "derain"), str(root / "photos")

    def stopped(job: Job, *_: object) -> Dataset:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "made", stopped)
        with pytest.raises(KeyboardInterrupt):
            retry(url, ["truncated"], data=data)
    first = retry(url, ["truncated"], data=data)
    written = files(root / "data" / "derain-retry-1")
    assert retry(url, ["truncated"], data=data).url == first.url
    assert files(root / "data" / "derain-retry-1") == written
    other = retry(url, ["truncated"], data=data, out=str(root / "elsewhere"))
    assert other.url == str(root / "elsewhere" / "derain-retry-1")
    assert other.plan().config["retry_of"]["dataset"] == "../data/derain"


def test_options_override_those_of_the_parent(root: Path, photos: Path) -> None:
    mend(root, photos, *TRUNCATED)
    child = retry(str(root / "data" / "derain"), ["truncated"], data=str(root / "photos"), size=32, seed=5)
    resized = {op["name"]: op for op in child.plan().config["operators"]}["resize"]
    assert (resized["size_px"], child.plan().config["seed"]) == (32, 5)


def test_the_licences_that_the_parent_allowed_are_found_again() -> None:
    judge = {"name": "allowed_licences", "version": 1, "allowed": ["CC0-1.0", "MIT"]}
    config = {"seed": 0, "source": {}, "operators": [judge]}
    assert next(_options(config, find_task("derain"), has_data=False)) == {"seed": 0, "allow_licence": judge["allowed"]}


def test_both_are_looked_at_together(root: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Views and pictures tell datasets by their tasks."""
    mend(root, photos, *TRUNCATED)
    child = retry(str(root / "data" / "derain"), ["truncated"], data=str(root / "photos"))
    assert datasets_by_task(str(root / "data")).keys() == {"derain", "derain-retry-1"}
    assert {row["task"] for row in examples(child)} == {"derain-retry-1"}
    assert main(["ls", str(root / "data")]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["derain", "8"],
        ["derain-retry-1", "3"],
    ]


@pytest.mark.parametrize(
    ("change", "reasons", "said"),
    [
        (lambda root: None, [], "say what is to be made again, --reason R: there is truncated (3), not_image (1)"),
        (lambda root: None, ["blurred"], "nothing was rejected for the reason blurred: there is truncated (3), not_im"),
        (lambda root: shutil.copy(root / "photos/00.png", root / "photos/01.png"), ["truncated"],
         "1 of the 8 items that became pairs are gone or changed, such as 01.png"),
        (lambda root: (root / "photos/01.png").unlink(), ["truncated"], "1 of the 8 items that became pairs are gone"),
        (lambda root: [(root / "photos" / name).unlink() for name in TRUNCATED], ["truncated"],
         "none of the 3 items that were rejected is in the source any more"),
        (lambda root: (root / "data/derain/dataset.json").unlink(), ["truncated"], "is unfinished"),
        (lambda root: (root / "data/derain/rejects/derain-000000.parquet").write_bytes(b"x"), ["truncated"],
         "rejects/derain-000000.parquet cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_retried_is_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], object], reasons: list[str], said: str
) -> None:
    change(root)
    asked = [word for reason in reasons for word in ("--reason", reason)]
    assert main(["retry", str(root / "data" / "derain"), *asked, "--data", str(root / "photos")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xprompt retry: ") and said in line
    assert not (root / "data" / "derain-retry-1").exists()


def test_what_the_parent_does_not_record_is_asked_for(
    root: Path, photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The guard file of its evaluation images: without it they would become training data."""
    assert main(["hashes", str(photos), "--name", "test", "--out", str(tmp_path / "guard.parquet")]) == 0
    guard = str(tmp_path / "guard.parquet")
    make(root / "photos", root / "guarded" / "derain", guard=guard, **OPTIONS)
    url, data = str(root / "guarded" / "derain"), str(root / "photos")
    capsys.readouterr()
    assert main(["retry", url, "--reason", "truncated", "--data", data]) == 2
    assert "was made with other steps (guard): give the options that it was made with" in capsys.readouterr().err
    mend(root, photos, *TRUNCATED)
    child = retry(url, ["truncated"], data=data, guard=guard)
    assert child.description()["totals"]["rejects_by_reason"] == {"evaluation_image": 3}
    assert main(["retry", url, "--reason", "truncated"]) == 2
    assert "was made of photos, and does not record where that lies: give --data" in capsys.readouterr().err


def test_a_task_of_a_file_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = "infra/examples/dehaze.py:DEHAZE"
    prepared = prepare(task, {"data": str(root / "photos"), "strength": 2.5})
    make_units(make_job(prepared.task, prepared.reader, str(root / "hazy" / "dehaze"), 0))
    asked = ["retry", str(root / "hazy" / "dehaze"), "--reason", "truncated", "--data", str(root / "photos")]
    assert main(asked) == 2
    assert "--task file.py:NAME says where it is" in capsys.readouterr().err
    assert main([*asked, "--task", task, "--strength", "1"]) == 0
    assert main([*asked, "--task", task, "--out", str(root / "other")]) == 0
    for place, strength in (("hazy", 1.0), ("other", 2.5)):
        plan = json.loads((root / place / "dehaze-retry-1" / "dataset.json").read_text())
        assert [op["strength"] for op in plan["config"]["operators"] if op["name"] == "haze"] == [strength]
    assert main(["retry", str(root / "data" / "derain"), "--task", task]) == 2
    assert "is of the task derain, not of dehaze" in capsys.readouterr().err
