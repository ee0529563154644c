"""Each thing that musubi-tuner's loader reads, by its rules; it is not on the package index.

Lines are those of kohya-ss/musubi-tuner@30c658c4f4b0bf05038b3346eff9670259b10fc7:src/musubi_tuner/dataset/.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.dataset import Dataset
from manifests.export.formats import format_named
from manifests.export.run import export
from manifests.export.to import musubi_tuner
from tests.manifests.export.make import BACK, ODD, PLAIN, encoded, key, pixels

IMAGE_EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif"}
"""media_utils.py:19"""

GENERAL = {
    "caption_extension": str,
    "batch_size": int,
    "num_repeats": int,
    "resolution": list,
    "enable_bucket": bool,
    "bucket_no_upscale": bool,
}
"""config_utils.py:112-119, what may stand under [general]; voluptuous refuses any other key, :173-178"""

OF_A_DATASET = {"image_directory": str, "control_directory": str, "image_jsonl_file": str, "cache_directory": str}
"""config_utils.py:120-124, further keys of [[datasets]]"""


@pytest.fixture
def out(mixed: Dataset, tmp_path: Path) -> Path:
    from manifests.export.select import Choice

    export([mixed], format_named("musubi-tuner"), str(tmp_path / "ö ut"), Choice(direction="both"))
    return tmp_path / "ö ut"


def test_the_toml_has_what_the_schema_lets_it(out: Path) -> None:
    config = tomllib.loads((out / "dataset.toml").read_text())
    assert set(config) == {"general", "datasets"}
    (entry,) = config["datasets"]
    for section, kinds in ((config["general"], GENERAL), (entry, GENERAL | OF_A_DATASET)):
        assert {name: type(value) for name, value in section.items()} == {name: kinds[name] for name in section}
    assert (entry["image_directory"], entry["control_directory"]) == (f"{out}/target", f"{out}/control")


def test_targets_controls_and_captions_are_found(out: Path) -> None:
    found = _by_folders(out / "target", out / "control")
    assert len(found) == 8
    for number in range(4):
        roles = ["input", "reference"] if number == 2 else ["input"]
        forward, reverse = (f"{key(number)}-generate-{direction}" for direction in ("forward", "reverse"))
        assert found[forward][0] == (ODD if number == 3 else PLAIN)
        assert found[reverse][0] == BACK
        for (target, *controls), (made_of, *shown) in (
            (found[forward][1], ("target", *roles)),
            (found[reverse][1], ("input", "target")),
        ):
            for path, role in zip((target, *controls), (made_of, *shown), strict=True):
                # datasources.py:223-225: opened and, if need be, converted to RGB; EXIF does not turn it
                np.testing.assert_array_equal(
                    np.asarray(PILImage.open(path).convert("RGB")), pixels(number, role), err_msg=f"{path}"
                )
    assert (out / f"target/{key(1)}-generate-forward.webp").read_bytes() == encoded(1, "target")


def test_many_examples_are_named_in_jsonl(mixed: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(musubi_tuner, "_MOST_IN_FOLDERS", 3)
    out = tmp_path / "out"
    export([mixed], format_named("musubi-tuner"), str(out))
    (entry,) = tomllib.loads((out / "dataset.toml").read_text())["datasets"]
    assert "image_directory" not in entry and set(entry) <= set(OF_A_DATASET)
    folders = _by_folders(out / "target", out / "control")
    with open(entry["image_jsonl_file"], encoding="utf-8") as file:  # datasources.py:287-294
        items = [json.loads(line) for line in file]
    assert len(items) == 4
    for item in items:  # datasources.py:334, 356, 361-364
        controls = [item[f"control_path_{number}"] for number in range(len(item) - 2)]
        caption, paths = folders[Path(item["image_path"]).stem]
        assert (item["caption"], [item["image_path"], *controls]) == (caption, [str(path) for path in paths])


def _by_folders(images: Path, controls: Path) -> dict[str, tuple[str, list[Path]]]:
    """Caption, target and controls of each target, by its name without ending."""
    captions = {path.stem for path in images.iterdir() if path.suffix == ".txt"}  # media_utils.py:63-68
    targets = [path for path in images.iterdir() if path.suffix in IMAGE_EXTENSIONS and path.stem in captions]  # :69-74
    assert len(targets) == len(captions) == len(list(images.iterdir())) / 2
    left = {path for path in controls.iterdir() if path.suffix in IMAGE_EXTENSIONS}
    assert len(left) == len(list(controls.iterdir()))
    found: dict[str, tuple[str, list[Path]]] = {}
    for target in sorted(targets, key=lambda path: len(path.name), reverse=True):  # datasources.py:143
        mine = [path for path in left if path.name.startswith((f"{target.stem}.", f"{target.stem}_"))]  # :153-158
        left.difference_update(mine)  # :161
        assert mine, target  # :202-206, missing ones are an error

        def number(path: Path, stem: str = target.stem) -> int:  # :165-173
            return 0 if path.stem == stem else int(path.stem.rsplit("_", 1)[-1]) + 1

        caption_path = os.path.splitext(target)[0] + ".txt"  # :243-245
        with open(caption_path, encoding="utf-8") as file:
            found[target.stem] = (file.read().strip(), [target, *sorted(mine, key=number)])
    assert not left
    return found


def test_how_it_is_explained(out: Path) -> None:
    text = (out / "SAMPLE.md").read_text()
    name = f"{key(2)}-generate-forward"
    lines: list[Any] = [line for line in text.splitlines() if f"/{name}" in line]
    assert [line.split(" | ")[0:3] for line in lines] == [
        ["| input 1 \\(input\\)", f"`control/{name}_0.png`", "control 0"],
        ["| input 2 \\(reference\\)", f"`control/{name}_1.png`", "control 1"],
        ["| output \\(target\\)", f"`target/{name}.png`", "target"],
        ["| instruction", f"`target/{name}.txt`", "caption"],
    ]
    assert "2 masks" in text and "8 in-context examples" in text
    strips = sorted((out / "sample").iterdir())
    assert len(strips) == text.count("](sample/") > 1
    assert all(PILImage.open(strip).size[0] > 224 for strip in strips)
