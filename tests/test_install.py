"""What is installed: the lock file, what `make` takes as a reason to install, the wheel outside of the repository."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.commands import ROOT, Running
from tests.repository import copy_repository, lend_packages, run_in, tracked_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()

LOCKED_LINE = re.compile(r"#.*|[a-z0-9][a-z0-9._-]*==[^ ]+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
"""A comment, a package of one version, or a hash: no address and no path of the machine that wrote the file."""

PACKAGES = ("infra", "manifests", "operators", "pipelines", "train", "xprompt_model")
INSTALLING = "-m venv"
"""Part of the commands by which the Makefile installs."""


def test_each_line_of_the_lock_file_is_a_package_of_one_version_or_its_hash() -> None:
    assert [line for line in LOCK.splitlines() if not LOCKED_LINE.fullmatch(line)] == []
    for package in re.split(r"\n(?=[a-z])", LOCK)[1:]:
        assert "--hash=sha256:" in package, package


def test_the_lock_file_is_within_the_ranges_of_pyproject() -> None:
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", LOCK, re.MULTILINE))
    wanted = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    wrong = [
        text
        for text in wanted
        if (one := Requirement(text)) and not one.specifier.contains(locked[canonicalize_name(one.name)])
    ]
    assert wrong == [], "make lock"


def test_ranges_have_two_ends() -> None:
    wanted = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    for text in wanted:
        assert {specifier.operator for specifier in Requirement(text).specifier} == {">=", "<"}, text


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the repository whose `make` calls everything installed."""
    repository = copy_repository(tmp_path / "repository")
    lend_packages(repository)
    return repository


def test_make_installs_in_a_fresh_clone(tmp_path: Path) -> None:
    repository = copy_repository(tmp_path / "repository")
    assert f'{INSTALLING} ".venv"' in run_in(repository, "make", "--dry-run", "verify")


def test_make_installs_once(installed: Path) -> None:
    assert INSTALLING not in run_in(installed, "make", "--dry-run", "verify")


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_make_does_not_install_for_a_file_that_is_newer_but_the_same(installed: Path, name: str) -> None:
    os.utime(installed / name, (4e9, 4e9))  # the year 2096
    assert INSTALLING not in run_in(installed, "make", "--dry-run", "check")


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_make_installs_what_has_changed_even_in_a_file_that_is_older(installed: Path, name: str) -> None:
    (installed / name).write_text((installed / name).read_text() + "# another\n")
    os.utime(installed / name, (0, 0))
    assert INSTALLING in run_in(installed, "make", "--dry-run", "verify")


def test_make_installs_if_the_folder_was_moved(installed: Path, tmp_path: Path) -> None:
    """The scripts of a virtual environment name their folder."""
    moved = installed.rename(tmp_path / "moved")
    assert INSTALLING in run_in(moved, "make", "--dry-run", "verify")


def test_make_installs_elsewhere(installed: Path) -> None:
    assert f'{INSTALLING} "/elsewhere"' in run_in(installed, "make", "--dry-run", "VENV=/elsewhere", "verify")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as uv builds it of the tracked files, without the network."""
    repository = copy_repository(tmp_path_factory.mktemp("wheel") / "repository")
    run_in(repository, sys.executable, "-m", "uv", "build", "--wheel", "--offline", "--out-dir", "dist")
    (wheel,) = (repository / "dist").glob("*.whl")
    return wheel


def test_the_wheel_holds_the_packages_and_what_they_read_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/") and ".dist-info/" not in name}
    modules = {name for name in tracked_files() if name.endswith(".py") and name.partition("/")[0] in PACKAGES}
    left_out = ("bench", "container", "docs", "examples", "kuberay", "monitoring", "release", "slurm")
    ours_alone = {name for name in modules if name.startswith(tuple(f"infra/{folder}/" for folder in left_out))}
    assert {name for name in names if name.endswith(".py")} == modules - ours_alone
    assert "infra/command.py" in names
    assert "infra/tiny/models.py" in names
    prompts = {name for name in tracked_files() if name.startswith("operators/vlm/prompts/")}
    assert len(prompts) >= 6
    demo = {name for name in tracked_files() if name.startswith(("infra/demo/checkpoint/", "infra/demo/photos/"))}
    assert {"infra/demo/checkpoint/vqgan.ckpt", "infra/demo/checkpoint/model.safetensors"} < demo
    page = {name for name in tracked_files() if name.startswith("manifests/browse/page/")}
    assert "manifests/browse/page/index.html" in page
    read = {*page, "pipelines/full_8m.toml", "pipelines/prices.toml", *prompts, *demo}
    assert {name for name in names if not name.endswith(".py")} == read


def test_the_wheel_makes_and_verifies_a_dataset_outside_of_the_repository(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    run_in(tmp_path, sys.executable, "-m", "uv", "venv", "--offline", "--python", sys.executable, "venv")
    run_in(
        tmp_path,
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--offline",
        "--no-deps",
        "--python",
        str(python),
        str(wheel),
    )
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    # What the wheel depends on is borrowed. A .pth file within a borrowed folder is not read: ours is not there twice.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    xprompt = ["env", "--unset=PYTHONPATH", str(python.with_name("xprompt"))]
    where = ["env", "--unset=PYTHONPATH", str(python), "-c", "import infra, pipelines; print(pipelines.__file__)"]
    assert run_in(tmp_path, *where).startswith(str(site))

    making = [*xprompt, "shards", "derain", "--out", "out", "--cpus", "2", "--scale", "0.1"]
    with Running(making, folder=tmp_path) as running:
        made = running.wait()
    assert made.returncode == 0, made.stderr
    (manifest,) = (tmp_path / "out/derain/manifest").glob("*.parquet")
    assert pq.read_metadata(manifest).num_rows == 32 * 4  # a tenth of 320 photos' crops, in four examples each
    assert "nothing wrong" in run_in(tmp_path, *xprompt, "verify", "out")
