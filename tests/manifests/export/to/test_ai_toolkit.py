"""Each thing that ai-toolkit's loader reads, by its rules; it is not on the package index.

Lines are those of ostris/ai-toolkit@27a03a91f23eb1b757d5ec2e80ee3e129cfcc350:toolkit/.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as PILImage
from PIL import ImageOps

from manifests.dataset import Dataset
from manifests.export.formats import format_named
from manifests.export.run import export
from tests.manifests.export.make import ODD, PLAIN, key, pixels

IMAGES = [".jpg", ".jpeg", ".png", ".webp"]
"""data_loader.py:39 of targets, dataloader_mixins.py:71 of controls and masks"""

KEYS = {"folder_path", "control_path", "caption_ext", "resolution", "mask_path"}
"""config_modules.py:921, 961, 941, 947, 992; other keys would be ignored without a word"""


@pytest.fixture
def out(mixed: Dataset, tmp_path: Path) -> Path:
    export([mixed], format_named("ai-toolkit"), str(tmp_path / "ö ut: #1"))
    return tmp_path / "ö ut: #1"


def test_targets_controls_and_captions_are_found(out: Path) -> None:
    (entry,) = yaml.safe_load((out / "datasets.yaml").read_text())["datasets"]
    assert set(entry) <= KEYS
    assert entry["control_path"] == [f"{out}/control_1", f"{out}/control_2"]
    folder = Path(entry["folder_path"])
    targets = {path.stem: path for path in folder.iterdir() if path.suffix.lower() in IMAGES}  # data_loader.py:439-441
    assert set(targets) == {f"{key(number)}-generate-forward" for number in range(4)}
    for number in range(4):
        target = targets[f"{key(number)}-generate-forward"]
        caption = target.with_suffix(
            f".{entry['caption_ext']}"
        )  # config_modules.py:943-944, dataloader_mixins.py:345-352
        assert caption.read_text("utf-8") == (ODD if number == 3 else PLAIN)
        controls = [found for place in entry["control_path"] if (found := _beside(place, target))]  # :1101-1106
        roles = ["input", "reference"] if number == 2 else ["input"]
        for path, role in zip([target, *controls], ["target", *roles], strict=True):
            image = ImageOps.exif_transpose(PILImage.open(path)).convert("RGB")  # dataloader_mixins.py:1157-1158
            np.testing.assert_array_equal(np.asarray(image), pixels(number, role))


def test_masks_are_named_and_left_to_the_user(out: Path) -> None:
    text = (out / "datasets.yaml").read_text()
    assert "mask_path" not in yaml.safe_load(text)["datasets"][0]
    (entry,) = yaml.safe_load(text.replace("    # mask_path", "    mask_path"))["datasets"]
    mask = _beside(entry["mask_path"], out / f"target/{key(2)}-generate-forward.png")
    assert mask is not None
    np.testing.assert_array_equal(np.asarray(PILImage.open(mask).convert("RGB")), pixels(2, "mask"))


def _beside(folder: str, target: Path) -> Path | None:
    """The file of a target's name in another folder, by the first ending that there is."""
    return next((path for ending in IMAGES if (path := Path(folder) / f"{target.stem}{ending}").exists()), None)
