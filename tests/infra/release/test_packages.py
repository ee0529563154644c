"""The wheel and the source distribution of a commit, and what a release says of its dependencies."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from infra.release import dependencies
from infra.release.__main__ import sums
from infra.release.packages import build
from tests.commands import ROOT
from tests.repository import copy_repository, run_in


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the next commit would hold, committed; beside it a file that nobody has committed."""
    folder = copy_repository(tmp_path_factory.mktemp("release") / "repository")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "x")):
        run_in(folder, "git", *command)
    (folder / "pipelines/secret.py").write_text("KEY = 1\n")
    return folder


@pytest.fixture(scope="module")
def built(repository: Path) -> dict[str, Path]:
    """Ending -> the package."""
    return {file.suffix: file for file in build(repository, repository.parent / "once")}


def test_a_commit_is_built_to_the_same_bytes(repository: Path, built: dict[str, Path]) -> None:
    """In another year, with other permissions for new files."""
    code = "import sys, infra.release.packages as p, pathlib as l; p.build(l.Path(sys.argv[1]), l.Path(sys.argv[2]))"
    again = repository.parent / "again"
    before = os.umask(0o077)
    try:
        run_in(
            ROOT, sys.executable, "-c", code, str(repository), str(again), SOURCE_DATE_EPOCH="86400", TZ="Asia/Tokyo"
        )
    finally:
        os.umask(before)
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {
        file.name: file.read_bytes() for file in built.values()
    }
    assert set(built) == {".whl", ".gz"}


def test_the_wheel_is_that_of_the_source_distribution_and_of_the_commit(
    repository: Path, built: dict[str, Path], tmp_path: Path
) -> None:
    """The first is how `build` makes it; here the other way, straight from the commit's files."""
    with tarfile.open(fileobj=subprocess.Popen(
        ["git", "archive", "HEAD"], cwd=repository, stdout=subprocess.PIPE).stdout, mode="r|"
    ) as tar:  # fmt: skip
        tar.extractall(tmp_path / "source", filter="data")
    command = (
        sys.executable,
        "-m",
        "uv",
        "build",
        "--wheel",
        "--offline",
        "--quiet",
        "--out-dir",
        str(tmp_path / "out"),
    )
    run_in(tmp_path / "source", *command)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    assert wheel.read_bytes() == built[".whl"].read_bytes()


def test_packages_hold_no_tests_no_documents_and_nothing_uncommitted(built: dict[str, Path]) -> None:
    in_wheel = {one.filename: one.file_size for one in zipfile.ZipFile(built[".whl"]).infolist()}
    with tarfile.open(built[".gz"]) as tar:
        in_source = {one.name.partition("/")[2]: one.size for one in tar.getmembers() if one.isfile()}
    for found in (in_wheel, in_source):
        assert "pipelines/run/engine.py" in found and "pipelines/prices.toml" in found
        folders = {name.partition("/")[0] for name in found}
        assert not folders & {"tests", "data", "models", "dist", "sample", ".github", ".ci"}
        unwanted = [
            name for name in found if re.match(r"infra/docs/|pipelines/secret|.*\.(pyc|log|parquet|tar)$", name)
        ]
        assert unwanted == []
    large = {name for name, size in {**in_source, **in_wheel}.items() if size > 512 * 1024}
    assert large == {"infra/demo/checkpoint/model.safetensors", "infra/demo/checkpoint/vqgan.ckpt"}
    assert not any(name.startswith(("infra/bench/", "infra/release/")) for name in in_wheel)
    assert {"README.md", "LICENSE", "pyproject.toml"} <= in_source.keys()
    assert max(file.stat().st_size for file in built.values()) < 10 * 2**20


def test_sums_are_what_sha256sum_reads(built: dict[str, Path]) -> None:
    folder = built[".whl"].parent
    (folder / "SHA256SUMS").write_text(sums(built.values()))
    said = run_in(folder, "sha256sum", "--check", "SHA256SUMS")
    assert said.count(": OK\n") == 2
    wheel = hashlib.sha256(built[".whl"].read_bytes()).hexdigest()
    assert f"{wheel}  {built['.whl'].name}\n" in (folder / "SHA256SUMS").read_text()


@pytest.mark.infra
def test_the_sbom_and_the_licences_name_what_is_installed_and_no_tool_of_ours(tmp_path: Path) -> None:
    """Of the core alone, which is installed in a minute; a release has the extras beside it."""
    python = dependencies.install(ROOT, tmp_path / "environment", extras=())
    files = dependencies.describe(ROOT, tmp_path / "once", python=python)
    again = dependencies.describe(ROOT, tmp_path / "again", python=python)
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
    sbom = json.loads(files[0].read_text())
    installed = {
        (said["Name"].lower().replace("_", "-"), said["Version"])
        for file in (tmp_path / "environment").glob("lib/python*/site-packages/*.dist-info/METADATA")
        if (said := Parser().parsestr(file.read_text("utf-8", "replace"), headersonly=True))
    }
    assert {(one["name"].lower().replace("_", "-"), one["version"]) for one in sbom["components"]} == installed
    names = {name for name, _ in installed}
    assert {"ray", "pyarrow", "duckdb"} <= names and not names & {"pytest", "cyclonedx-bom", "pip-licenses", "mypy"}
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {name: version for name, version in installed if locked.get(name) != version} == {}
    assert sbom["metadata"]["component"]["name"] == "xprompt-data-engine" and str(tmp_path) not in files[0].read_text()
    rows = [line.split(" | ") for line in files[1].read_text().splitlines() if line.startswith("| ")][1:]
    assert {row[0].strip("| ").lower().replace("_", "-") for row in rows} == names
