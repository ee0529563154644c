from __future__ import annotations

from pathlib import Path

import pytest

from manifests.read.places import folder_of, place_from, url_at
from manifests.schema import DatasetError


@pytest.mark.parametrize(
    ("url", "other", "place"),
    [
        ("/data/ultraedit", "/data/magicbrush", "magicbrush"),
        ("/dev/magicbrush", "/data/magicbrush", "../data/magicbrush"),
        ("/data/a/../ultraedit", "/data/magicbrush/", "magicbrush"),
        ("memory://dev/magicbrush", "memory://data/magicbrush", "../data/magicbrush"),
    ],
)
def test_a_dataset_is_found_again_where_it_was_seen(url: str, other: str, place: str) -> None:
    assert place_from(url, other) == place
    assert folder_of(url_at(url, place)) == folder_of(other)


def test_relative_urls_are_seen_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    assert place_from("ultraedit", "../y/magicbrush") == "../y/magicbrush"
    assert folder_of(url_at("ultraedit", "../y/magicbrush")) == str(tmp_path / "y/magicbrush")
    assert folder_of(url_at("data/ultraedit", "magicbrush")) == str(tmp_path / "x/data/magicbrush")


def test_a_link_is_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert folder_of(str(tmp_path / "link")) == folder_of(f"{tmp_path}/real/")


@pytest.mark.parametrize("place", ["/etc", "s3://bucket/x", ""])
def test_a_manifest_names_no_place_of_its_own_choice(place: str) -> None:
    with pytest.raises(DatasetError, match="no path from its own folder"):
        url_at("/data/ultraedit", place)


def test_two_file_systems_are_refused() -> None:
    with pytest.raises(DatasetError, match="two file systems"):
        place_from("/data/ultraedit", "memory://magicbrush")
