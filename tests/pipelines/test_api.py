"""The engine from Python: silent, off the main thread, in a notebook, with typed errors."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from infra.examples.dehaze import DEHAZE
from manifests.dataset import DatasetError
from pipelines import Task, make, plan
from pipelines.tasks.low_level import DERAIN
from tests.commands import ROOT
from tests.datasets import examples, make_dataset, sha256_by_file, totals
from tests.sources import write_photos, write_rain13k


@pytest.mark.usefixtures("local_ray")
def test_it_makes_what_the_command_makes_and_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_photos(tmp_path / "photos", 5)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    dataset = make("derain", data=data, out=tmp_path / "made")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    make_dataset(tmp_path / "here", data, task=DERAIN)
    assert sha256_by_file(tmp_path / "made") == sha256_by_file(tmp_path / "here")
    assert totals(dataset)["pairs"] == 5


@pytest.mark.usefixtures("local_ray")
def test_it_works_off_the_main_thread(tmp_path: Path) -> None:
    data, made = write_photos(tmp_path / "photos", 3), []
    thread = threading.Thread(
        target=lambda: made.append(make(DEHAZE, data=data, out=tmp_path / "out", strength=2.0, seed=3))
    )
    thread.start()
    thread.join()
    assert totals(made[0])["pairs"] == 3
    assert made[0].plan().config["operators"][0]["strength"] == 2.0


@pytest.mark.usefixtures("local_ray")
def test_photos_get_a_size(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 3, 100, 120)
    dataset = make(DERAIN, data=data, out=tmp_path / "out", size=64, resize="crop")
    sizes = {(image["width_px"], image["height_px"]) for row in examples(dataset) for image in row["images"]}
    assert sizes == {(64, 64)}


def test_errors_are_typed_and_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^derain has no option sede: did you mean seed\?$"):
        make("derain", sede=1)
    with pytest.raises(ValueError, match="--keep: some is none of judged, all"):
        make("derain", keep="some")
    with pytest.raises(ValueError, match="DATA: there is no folder"):
        make("derain", data=tmp_path / "absent")
    pairs = write_rain13k(tmp_path / "pairs", 2)
    with pytest.raises(ValueError, match="--size is for photos: the pairs of Rain13K are stored as they are"):
        make("derain", data=pairs, size=64, out=tmp_path / "out")
    make_dataset(tmp_path / "out", write_photos(tmp_path / "photos", 2))
    with pytest.raises(DatasetError, match="holds data of another configuration"):
        make("derain", data=tmp_path / "photos", out=tmp_path / "out", seed=1)


@pytest.mark.parametrize("option", ["data", "out", "models", "vlm"])
def test_a_password_in_a_url_is_refused_and_not_repeated(option: str, tmp_path: Path) -> None:
    options = {"data": "photos", "out": str(tmp_path), "vlm_model": "m", option: "ftp://somebody:hunter2@host/folder"}
    with pytest.raises(ValueError, match="password in") as caught:
        plan("derain", **options)
    assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("option", ["data", "out", "models", "guard"])
def test_a_place_that_is_empty_is_refused(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As --out "$OUT" is where OUT is not set: it would stand for the current folder, or for no guard at all."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"^--{option} is empty, as an unset variable of a shell is"):
        plan("derain", **{option: " "})
    assert not list(tmp_path.iterdir())


def test_a_plan_is_made_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.api.ray_session", None)
    prepared, estimated = plan(DEHAZE, data=write_photos(tmp_path / "photos", 4), strength=2)
    assert estimated.pairs == 4 and isinstance(prepared.task, Task)


def test_a_notebook_makes_a_dataset_and_shows_it(tmp_path: Path) -> None:
    """In a Jupyter kernel of its own: a task of a file, and one with an operator that the notebook itself defines."""
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    data = write_photos(tmp_path / "photos", 3)
    (tmp_path / "haze_of_mine.py").write_text((ROOT / "infra/examples/dehaze.py").read_text())
    notebook = new_notebook()
    notebook.cells = [
        new_code_cell(
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pipelines import make\n"
            f"dataset = make('haze_of_mine.py:DEHAZE', data={str(data)!r}, out='out', cpus=1)\ndataset"
        ),
        new_code_cell(
            "from dataclasses import dataclass, replace\nfrom typing import ClassVar\nfrom haze_of_mine import DEHAZE\n"
            "@dataclass(frozen=True, kw_only=True)\nclass Keep:\n    name: ClassVar[str] = 'keep'\n"
            "    version: ClassVar[int] = 1\n    def __call__(self, pair, seed):\n        return pair\n"
            "mine = replace(DEHAZE, name='mine', chain=(*DEHAZE.chain, Keep()))\n"
            f"len(make(mine, data={str(data)!r}, out='out', cpus=1))"
        ),
    ]
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    first, second = (cell.outputs[-1]["data"] for cell in notebook.cells)
    assert "<img" in first["text/html"]
    assert second["text/plain"] == "3"
    said = [output["text"] for cell in notebook.cells for output in cell.outputs if output.output_type == "stream"]
    assert [text for text in said if "IProgress" not in text and "ipywidgets" not in text] == []  # of Ray's import
