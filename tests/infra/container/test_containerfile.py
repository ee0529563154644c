"""The Containerfile: its lint, its context, its order, and what a target ends as."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.infra.container.steps import CONTAINERFILE, Step, context_files, read_steps, steps_of
from tests.repository import tracked_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = ("cpu", "cuda")


def ignored() -> list[str]:
    return [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(Path(sys.executable).parent / "hadolint"), str(path)], capture_output=True, text=True)


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    done = lint(CONTAINERFILE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wrong = tmp_path / "Containerfile"
    wrong.write_text(CONTAINERFILE.read_text().replace("debian:bookworm-slim", "debian:latest"))
    assert "DL3007" in lint(wrong).stdout


def test_the_context_holds_what_the_wheel_is_built_from_and_nothing_else() -> None:
    build = PROJECT["tool"]["uv"]["build-backend"]
    left_out = [pattern.strip("/").removesuffix("/**") for pattern in build["wheel-exclude"]]
    there = [name for name in left_out if (ROOT / name).is_dir()]
    wanted = {
        name
        for name in tracked_files()
        if name.partition("/")[0] in build["module-name"] and not any(name.startswith(f"{one}/") for one in there)
    }
    context = set(context_files(ignored(), tracked_files()))
    assert context == wanted | {"LICENSE", "README.md", "pyproject.toml", "requirements.lock"}


@pytest.mark.parametrize(
    "name",
    [".git/config", ".env", "infra/.env.local", ".venv/bin/python", "data/x.tar", "models/tiny/x", "tests/tiny.py"],
)
def test_data_keys_and_history_are_not_in_the_context(name: str) -> None:
    assert context_files(ignored(), [name]) == []


@pytest.mark.parametrize(
    ("lines", "name", "kept"),
    [
        (["*"], "a/b", False),
        (["*", "!a"], "a/b", True),
        (["*", "!a", "a/b"], "a/b/c", False),
        (["a/b", "!a"], "a/b/c", True),
        (["**/x"], "a/b/x", False),
        (["**/x"], "x", False),
        (["x"], "a/x", True),
        (["*.pyc"], "a/b.pyc", True),
        (["**/*.pyc"], "a/b.pyc", False),
    ],
)
def test_lines_of_dockerignore_mean_what_they_mean_to_a_builder(lines: list[str], name: str, kept: bool) -> None:
    assert context_files(lines, [name]) == ([name] if kept else [])


@pytest.mark.parametrize("target", TARGETS)
def test_what_changes_seldom_comes_first(target: str) -> None:
    _, steps = steps_of(target)
    is_next: list[Callable[[Step], bool]] = [
        lambda step: "apt-get install" in step.text,
        lambda step: step.word == "COPY" and "requirements.lock" in step.words,
        lambda step: "pip install" in step.text and "/opt/uv/" in step.text,
        lambda step: "uv pip install" in step.text and "pyproject.toml" in step.text,
        lambda step: step.word == "COPY" and step.words == [".", "."],
        lambda step: "uv pip install --offline --no-deps ." in step.text,
        lambda step: step.word == "ARG" and "REVISION" in step.pairs,
    ]
    places = [next(place for place, step in enumerate(steps) if is_it(step)) for is_it in is_next]
    assert places == sorted(places) and len(set(places)) == len(places)


@pytest.mark.parametrize("target", TARGETS)
def test_packages_are_the_locked_ones_of_extras_that_there_are(target: str) -> None:
    _, steps = steps_of(target)
    (install,) = (step.text for step in steps if "uv pip install" in step.text and "pyproject.toml" in step.text)
    extras = set(re.findall(r"--extra (\S+)", install))
    assert extras <= set(PROJECT["project"]["optional-dependencies"])
    assert {"models", "train", "s3", "gcs", "hub"} <= extras and "dev" not in extras
    assert "--constraint requirements.lock" in install
    assert ("--require-hashes" in install) == (target == "cuda")  # those of PyTorch's builds for CPUs are not locked


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_ends_as_xprompt_run_by_no_root(target: str) -> None:
    image, steps = steps_of(target)
    last = {step.word: step for step in steps}
    assert image == "debian:bookworm-slim"
    assert last["USER"].text == "10001:10001" and steps.index(last["USER"]) > steps.index(last["RUN"])
    assert last["ENTRYPOINT"].words[-1] == "xprompt" and last["CMD"].words == ["--help"]
    assert last["LABEL"].pairs["org.opencontainers.image.licenses"] == PROJECT["project"]["license"]
    environment = {name: value for step in steps if step.word == "ENV" for name, value in step.pairs.items()}
    for_gpus = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    assert {name: value for name, value in environment.items() if name.startswith("NVIDIA")} == (
        for_gpus if target == "cuda" else {}
    )


def test_steps_are_read_as_they_are_written() -> None:
    text = '# hadolint ignore=X\nFROM a AS b\nRUN one \\\n    # why\n    && two\nENV A=1 \\\n  B="x y"\n'
    text += "FROM b AS c\nUSER 1\n"
    assert steps_of("c", text) == (
        "a",
        [Step(word="RUN", text="one && two"), Step(word="ENV", text='A=1 B="x y"'), Step(word="USER", text="1")],
    )
    assert steps_of("c", text)[1][1].pairs == {"A": "1", "B": "x y"}


@pytest.mark.parametrize(
    "line", ["ADD x /", "COPY --from=b /x /x", "RUN --mount=type=cache,target=/x true", "HEALTHCHECK x"]
)
def test_a_step_that_the_clean_root_cannot_take_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="this reader knows no"):
        read_steps(f"FROM a AS b\n{line}\n")
