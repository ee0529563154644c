"""What is refused to be released: each of the four places that a version is written in, and what is not committed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.release.__main__ import ROOT, main
from infra.release.versions import problems, problems_of_draft, version_of

_FILES = {
    "pyproject.toml": '[project]\nname = "x"\nversion = "1.2.3"\n',
    "CITATION.cff": "cff-version: 1.2.0\nversion: 1.2.3\ndate-released: 2026-12-01\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3 (2026-12-01)\n\nAll.\n\n## 1.2.2 (2026-11-01)\n",
}


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=root, check=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository that can be released, its commit not yet tagged."""
    for name, text in _FILES.items():
        (tmp_path / name).write_text(text)
    _git(tmp_path, "init", "-q")
    _commit(tmp_path)
    return tmp_path


def _commit(root: Path) -> None:
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "x")


def test_a_tagged_commit_whose_versions_agree_is_released(root: Path) -> None:
    _git(root, "tag", "v1.2.3")
    assert list(problems(root)) == [] and list(problems_of_draft(root)) == []
    assert version_of(root) == "1.2.3"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("CITATION.cff", "version: 1.2.3", "version: 1.2.2", "CITATION.cff: version is 1.2.2, and pyproject.toml says"),
        ("CITATION.cff", "2026-12-01", "2026-12-02", "date-released is 2026-12-02, and CHANGELOG.md says 2026-12-01"),
        ("CITATION.cff", "date-released: 2026-12-01", "", "CITATION.cff: date-released is None, and"),
        (
            "CHANGELOG.md",
            "## 1.2.3 (2026-12-01)",
            "## Unreleased (1.2.3)",
            'a release of 1.2.3 needs "## 1.2.3 (DATE)"',
        ),
        ("CHANGELOG.md", "## 1.2.3 (2026-12-01)", "", 'its first heading is "## 1.2.2 (2026-11-01)"'),
        ("CHANGELOG.md", "2026-12-01", "2026-13-01", "CHANGELOG.md: 2026-13-01 is no day"),
    ],
)
def test_what_does_not_agree_is_refused_with_the_file(root: Path, file: str, old: str, new: str, said: str) -> None:
    (root / file).write_text(_FILES[file].replace(old, new))
    _commit(root)
    _git(root, "tag", "v1.2.3")
    (line,) = problems(root)
    assert said in line and line.startswith(file)


def test_another_tag_no_tag_and_a_change_are_refused(root: Path) -> None:
    (line,) = problems(root)
    assert line.startswith("git: this commit has no tag, and pyproject.toml says 1.2.3: git tag v1.2.3")
    _git(root, "tag", "v1.2.4")
    (line,) = problems(root)
    assert "has the tag v1.2.4" in line
    _git(root, "tag", "v1.2.3")
    (root / "new.py").write_text("")
    (line,) = problems(root)
    assert line.startswith("git: new.py is not committed")


def test_a_draft_needs_no_tag_and_no_date_but_one_version(root: Path) -> None:
    (root / "CHANGELOG.md").write_text("## Unreleased (1.2.3)\n")
    assert list(problems_of_draft(root)) == []
    (root / "CHANGELOG.md").write_text("## Unreleased (1.2.4)\n")
    (line,) = problems_of_draft(root)
    assert "does not name 1.2.3" in line


def test_what_is_no_version_is_one_line(root: Path) -> None:
    (root / "pyproject.toml").write_text('[project]\nversion = "1.2.dev0"\n')
    with pytest.raises(ValueError, match=r"pyproject.toml: 1\.2\.dev0 is no version like 1\.2\.3"):
        version_of(root)


def test_the_versions_of_this_repository_agree() -> None:
    assert list(problems_of_draft(ROOT)) == []


def test_a_folder_with_other_files_is_not_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.pdf").write_text("mine")
    assert main(["--draft", "--packages-only", "--out", str(tmp_path)]) == 2
    assert f"make release: {tmp_path}/thesis.pdf is no file of a release" in capsys.readouterr().err
    assert (tmp_path / "thesis.pdf").read_text() == "mine"
