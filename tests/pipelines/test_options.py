from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.options import defaults
from pipelines.prepare import prepare
from tests.sources import write_files, write_photos


def test_paths_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = dict.fromkeys(("data", "out", "models", "guard", "vlm", "prompts"), "~/x")
    assert {defaults(given)[name] for name in given} == {"/home/me/x"}
    same = {"data": "s3://b/~/x", "models": "hub", "vlm": "http://host:1/v1", "out": "data", "prompts": "paper"}
    assert same.items() <= defaults(same).items()
    assert defaults({"data": Path("a/b")})["data"] == "a/b"


def test_from_python_a_user_insists_by_a_name_that_is_no_word_of_python(tmp_path: Path) -> None:
    write_photos(tmp_path / "input", 2)
    with pytest.raises(ValueError, match="--as photos"):
        prepare("derain", {"data": tmp_path / "input"})
    for name in ("as", "as_"):
        assert prepare("derain", {"data": tmp_path / "input", name: "photos"}).reader.source == "photos"
    write_files(tmp_path, {"a.jpg": b"1"})
    with pytest.raises(ValueError, match="derain has no option size_: did you mean size"):
        prepare("derain", {"data": tmp_path, "size_": 3})


@pytest.mark.parametrize("name", ["data", "out"])
def test_a_folder_of_no_name_is_not_the_current_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"--{name}: it is empty"):
        defaults({name: ""})
