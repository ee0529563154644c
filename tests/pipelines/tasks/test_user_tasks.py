"""Tasks of others: by file, by module, by the entry point of an installed package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pipelines.tasks import catalogue
from pipelines.tasks.catalogue import OUR_TASKS, find_task, modules_of
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.task import Task

PACKAGE = """
from dataclasses import dataclass
from typing import ClassVar
from operators.word.instruct import Instruct
from pipelines.sources.datasets import PHOTOS
from pipelines.tasks.task import Task

@dataclass(frozen=True, kw_only=True)
class Mine:
    name: ClassVar[str] = "mine"
    version: ClassVar[int] = 1
    def __call__(self, pair, seed):
        return pair

TASK = Task(name="mine", sources=(PHOTOS,), chain=(Mine(), Instruct(forward=("Go.",))))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "xprompt_test_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "tasks.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("xprompt_test_package")]:
        del sys.modules[name]


def test_ours_are_found_by_name() -> None:
    assert len(OUR_TASKS) == 24
    assert all(find_task(name) is task and name == task.name for name, task in OUR_TASKS.items())
    assert modules_of(DERAIN) == []


def test_a_module_is_found_and_travels_whole(package: Path) -> None:
    task = find_task("xprompt_test_package.tasks:TASK")
    assert task.name == "mine"
    assert modules_of(task) == [str(package)]


def test_a_file_is_found_and_travels_alone(tmp_path: Path) -> None:
    file = tmp_path / "xprompt_test_file.py"
    file.write_text(PACKAGE)
    try:
        task = find_task(f"{file}:TASK")
        assert task is find_task(f"{file}:TASK")
        assert modules_of(task) == [str(file)]
    finally:
        del sys.modules["xprompt_test_file"]


def test_an_installed_package_offers_tasks(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offered(*, group: str) -> list[EntryPoint]:
        assert group == "xprompt.tasks"
        return [
            EntryPoint("mine", "xprompt_test_package.tasks:TASK", group),
            EntryPoint("gone", "xprompt_test_package.tasks:GONE", group),
        ]

    monkeypatch.setattr(catalogue, "entry_points", offered)
    catalogue.offered_tasks.cache_clear()
    try:
        assert find_task("mine").name == "mine"
        with pytest.raises(ValueError, match="there is no task 'mien': did you mean mine"):
            find_task("mien")
        with pytest.raises(ValueError, match=r"the task gone of the entry point .*:GONE cannot be loaded"):
            find_task("gone")
    finally:
        catalogue.offered_tasks.cache_clear()


@pytest.mark.parametrize("name", ["", "Derain", "a b", "../x", "-x"])
def test_a_name_that_makes_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a task's name is of lower case letters"):
        Task(name=name, chain=DERAIN.chain)
