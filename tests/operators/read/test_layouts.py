"""What every reader must do, on every layout."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import fsspec
import pytest

from manifests.images.pixels import read_header
from manifests.schema import canonical_json
from operators.read.files import list_files
from pipelines.sources.datasets import DATASETS, DFWB, GOPRO, MAGICBRUSH, PHOTOS, RAIN13K, VITON_HD
from pipelines.sources.locate import check, locate
from pipelines.sources.source import Source
from tests.fixtures import FIXTURES, write_gopro_flat, write_magicbrush
from tests.readers import located, read_all
from tests.sources import jpeg, write_files, write_rain13k

DATASETS_BY_SOURCE = {
    name: [source for source in DATASETS if source.reader.source == name]
    for name in {source.reader.source for source in DATASETS}
}


@pytest.mark.parametrize("name", FIXTURES)
def test_pairs_rejects_and_what_every_pair_has(name: str, tmp_path: Path) -> None:
    reader, written = located(name, tmp_path / "data")
    pairs, rejects = read_all(reader)
    assert len(pairs) == written.pairs
    assert Counter(reject.reason for _, reject in rejects) == written.rejects
    items = list(reader.items(reader.listing()))
    assert len({item.ref for item in items}) == len(items)
    assert len({pair.key for pair in pairs}) == len(pairs)
    roles = reader.suffixes(items).keys()
    for pair in pairs:
        assert (pair.source, pair.licence) == (reader.source, reader.licence)
        assert pair.group
        assert {image.role for image in pair.images} <= roles
        for image in pair.images:
            header = read_header(image.data)
            assert (image.format, image.width_px, image.height_px) == (header.format, header.width_px, header.height_px)
    canonical_json(asdict(reader))  # type: ignore[call-overload]  # readers are dataclasses; this is the fingerprint's


@pytest.mark.parametrize("name", FIXTURES)
def test_keys_do_not_depend_on_where_the_data_lies(name: str, tmp_path: Path) -> None:
    pairs = [read_all(located(name, tmp_path / place)[0])[0] for place in ("here", "there/deeper")]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize("name", FIXTURES)
def test_only_its_own_dataset_is_taken_for_it(name: str, tmp_path: Path) -> None:
    """Where another layout is the same on disk, its datasets cannot be told apart; all others can."""
    same = {
        frozenset(["fivek_retinexformer", "gopro_flat", "rain13k", "lol_v1_retinexformer"]),
        frozenset(["fivek_480p", "fivek_expert_c"]),
        frozenset(["gopro", "gopro_gamma"]),
        frozenset(["lol_v2_real", "lol_v2_real_repacked"]),
    }
    located(name, tmp_path)
    listing = list_files(str(tmp_path))
    for other, (source, _) in FIXTURES.items():
        if other == name or any({name, other} <= group for group in same):
            continue
        with suppress(ValueError):  # for a part of it, such as input/ without its target/
            assert source.reader.located(str(tmp_path), listing) is None, other


def test_a_data_root_is_checked_in_one_line_a_source(tmp_path: Path) -> None:
    lines = check(str(tmp_path))
    assert lines.keys() == {source.reader.source for source in DATASETS}
    assert all(line.startswith("missing: ") and "\n" not in line for line in lines.values())
    assert GOPRO.obtain in lines["GoPro"]

    write_files(tmp_path / "DFWB", {"DIV2K/1.png": jpeg(1), "BSD400/1.jpg": jpeg(1)})
    write_rain13k(tmp_path / "Rain13K", 3)
    write_gopro_flat(tmp_path / "GoPro")
    write_magicbrush(tmp_path / "MagicBrush")
    write_files(tmp_path / "VITON-HD", {"train_pairs.txt": b"", "train/image/1.jpg": b"", "train/cloth/1.jpg": b""})
    lines = check(str(tmp_path))
    assert "Flickr2K, WaterlooED is missing" in lines["DFWB"] and lines["DFWB"].startswith("partial: ")
    assert lines["Rain13K"] == "partial: 3 of 13,711 pairs"
    assert lines["GoPro"] == "partial: 4 of 2,103 pairs"
    assert lines["MagicBrush"] == f"ready: {MAGICBRUSH.size}"
    assert lines["VITON-HD"].endswith("train/agnostic-v3.2 is missing")
    (tmp_path / "MagicBrush/data/train-00000-of-00002-0123456789abcdef.parquet").unlink()
    assert check(str(tmp_path))["MagicBrush"] == (
        "partial: 1 of its files are missing, the first is train-00000-of-00002"
    )


@pytest.mark.parametrize(
    ("source", "files", "missing"),
    [
        (DFWB, ["DIV2K/1.png"], "Flickr2K, WaterlooED, BSD400"),
        (RAIN13K, ["Rain13K/input/1.jpg"], "target/"),
        (GOPRO, ["train/a/sharp/1.png"], "none in */blur/*"),
        (VITON_HD, ["train/image/1.jpg", "train/cloth/1.jpg", "train/agnostic-v3.2/1.jpg"], "train_pairs.txt"),
    ],
)
def test_a_layout_in_part_is_an_error_that_names_what_is_missing(
    source: Source, files: Sequence[str], missing: str, tmp_path: Path
) -> None:
    write_files(tmp_path, {name: jpeg(0) for name in files})
    with pytest.raises(ValueError, match=re.escape(missing)) as caught:
        source.reader.located(str(tmp_path), list_files(str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FIXTURES)
def test_whichever_layout_of_a_source_is_there_is_located(name: str, tmp_path: Path) -> None:
    reader, _ = located(name, tmp_path)
    layouts = DATASETS_BY_SOURCE.get(reader.source, [FIXTURES[name][0]])
    found = locate(layouts, str(tmp_path), list_files(str(tmp_path)))
    assert found
    assert (found.reader.source, found.reader.root) == (reader.source, reader.root)


def test_half_a_dataset_is_not_taken_for_a_folder_of_photos(tmp_path: Path) -> None:
    write_files(tmp_path, {"input/1.jpg": jpeg(0)})
    with pytest.raises(ValueError, match="none in target/"):
        locate([RAIN13K, PHOTOS], str(tmp_path), list_files(str(tmp_path)))


@pytest.mark.parametrize("name", FIXTURES)
def test_from_a_bucket_as_from_a_disk(name: str, tmp_path: Path) -> None:
    here, _ = located(name, tmp_path / "data")
    url = f"memory://{tmp_path.name}"
    files = fsspec.filesystem("memory")
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            files.pipe_file(f"{url}/{path.relative_to(tmp_path / 'data')}", path.read_bytes())
    there = FIXTURES[name][0].reader.located(url, list_files(url))
    assert there
    assert there.root.startswith("memory://")
    assert read_all(there)[0] == read_all(here)[0]
    files.rm(url, recursive=True)
