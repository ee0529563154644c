"""The sample that may be published: whose photos are in it, whether it is whole, whether its page opens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import skimage.data

from infra.release.sample import CC0, TASKS, Cc0Photos, main, make_sample
from manifests.read.query import connect, run_sql
from manifests.verify.dataset import verify
from tests.datasets import sha256_by_file


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "sample"
    assert make_sample(out, Cc0Photos(crops_per_photo=2, side_px=64)) == []
    return out


def test_every_photo_is_one_that_scikit_image_says_is_under_cc0() -> None:
    for path in CC0:
        said = " ".join((getattr(skimage.data, Path(path).stem).__doc__ or "").split())
        assert re.search(r"\bCC0\b|Creative Commons CC0 License", said), path
        assert not re.search("no known copyright", said), path


def test_every_row_is_of_such_a_photo_and_says_so(sample: Path) -> None:
    for task in TASKS:
        folder = sample / "datasets" / task.name
        kept, rejected = (
            [row for file in (folder / what).iterdir() for row in pq.read_table(file).to_pylist()]
            for what in ("manifest", "rejects")
        )
        assert kept and {row["source_ref"].partition("#")[0] for row in (*kept, *rejected)} == set(CC0)
        assert {row["licence"] for row in kept} == {"CC0-1.0"} and not any(row["parents"] for row in kept)
        assert {row["source"] for row in (*kept, *rejected)} == {"scikit-image photos"}
        card = (folder / "README.md").read_text()
        assert "CC0-1.0" in card and "CC-BY" not in card
    said = (sample / "README.md").read_text()
    assert all(f"| {photo} | {who} | CC0-1.0 |" in said for photo, who in CC0.items())


def test_it_is_whole_and_the_same_again(sample: Path, tmp_path: Path) -> None:
    assert list(verify(str(sample / "datasets"))) == []
    make_sample(tmp_path / "sample", Cc0Photos(crops_per_photo=2, side_px=64))
    assert sha256_by_file(tmp_path / "sample") == sha256_by_file(sample)


def test_its_licence_allows_everything_and_asks_for_nothing(sample: Path) -> None:
    pool = connect(str(sample / "datasets"))
    said = run_sql(pool, "SELECT DISTINCT licences, commercial, train, attribution, share_alike FROM terms")
    assert said.rows == [(["CC0-1.0"], True, True, False, False)]


def test_its_page_refers_to_what_is_there(sample: Path) -> None:
    page = sample / "page"
    index = (page / "index.html").read_text()
    linked = re.findall(r'(?:src|href)="([^"#:]+)"', index)
    assert {"page.js", "sample.js", "style.css"} <= set(linked)
    assert [name for name in linked if not (page / name).is_file()] == []
    listed = json.loads((page / "share.json").read_text())["files"]
    there = {str(file.relative_to(page)) for file in page.rglob("*") if file.is_file()}
    assert there == {*listed, "share.json"}
    shown = json.loads(json.loads((page / "sample.js").read_text().removeprefix("var sharedSample = ").rstrip(";\n")))
    pictures = set(re.findall(r"images/\d+\.webp", json.dumps(shown)))
    assert len(pictures) >= 2 * len(shown["listed"]) > 0 and pictures <= there


def test_another_configuration_in_its_folder_is_one_line(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(sample)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("make sample: ") and error.count("\n") == 1 and "side_px" in error
