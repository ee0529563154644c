"""Names of image files: of pairs of several datasets, and of roles that are no names of files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from manifests.export.format import Carries, Part
from manifests.export.image_files import paths_of, write_images
from manifests.export.sample import Picture, Sample
from manifests.export.select import Choice, sample_of
from manifests.read.pairs import StoredPair
from tests.manifests.export.to.varied import make_varied


class _Part:
    """Keeps files in memory, each once: see `Part.picture`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def picture(self, stem: str, picture: Picture) -> str:
        file = picture.file()
        self.files.setdefault(f"{stem}.{file.ending}", file.data)
        return f"{stem}.{file.ending}"


class _Stems:
    """Reads nothing."""

    def picture(self, stem: str, picture: Picture) -> str:
        return stem


def test_pairs_of_one_key_in_two_datasets_are_not_mixed_up(tmp_path: Path) -> None:
    """A pair's key is of its source: of another seed or another version of an operator the images are others."""
    dark, darker = (next(iter(make_varied(tmp_path / name, dark=by))) for name, by in (("a", 2), ("b", 4)))
    assert dark.key == darker.key
    part = _Part()
    one, other = (write_images(_sample(pair), cast(Part, part)) for pair in (dark, darker))
    for pair, paths in ((dark, one), (darker, other)):
        assert part.files[paths.inputs[0]] == pair.image_bytes("input")
    assert one.inputs != other.inputs
    assert one.output == other.output  # the same file: it is the same photo


def test_paths_are_told_without_writing(tmp_path: Path) -> None:
    """Also of an image that is converted, whose ending is another."""
    samples = [_sample(pair) for pair in [*make_varied(tmp_path / "dataset")][:2]]
    part = _Part()
    written = [write_images(sample, cast(Part, part)) for sample in samples]
    assert written == [paths_of(sample) for sample in samples]
    assert [Path(paths.inputs[0]).suffix for paths in written] == [".jpg", ".png"]
    assert len(part.files) == 4


def test_a_role_is_no_path(tmp_path: Path) -> None:
    sample = _sample(next(iter(make_varied(tmp_path / "dataset"))))
    headers: list[dict[str, Any]] = sample.example.pair.value("images")
    (header,) = (header for header in headers if header["role"] == "input")
    header["role"] = "../ä b/" + "c" * 300
    odd = replace(sample, inputs=(replace(sample.inputs[0], role=header["role"]),))
    (stem,) = write_images(odd, cast(Part, _Stems())).inputs
    assert re.fullmatch(r"images/[0-9a-f]{32}-[A-Za-z0-9_]{32}-[0-9a-f]{8}", stem)


def _sample(pair: StoredPair) -> Sample:
    return sample_of(pair.example("forward", "generate"), Carries(), Choice(), Counter())
