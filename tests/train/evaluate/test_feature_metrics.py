"""CLIP and DINO by tiny random checkpoints: against features computed here, and that changes show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import skimage.data
import torch
from PIL import Image as PILImage
from torch.nn.functional import cosine_similarity
from transformers import Dinov2Model

from manifests.images.pixels import Pixels
from tests.train import tiny
from train.evaluate.feature_metrics import Clip, Dino, clip_direction

CAT: Pixels = np.ascontiguousarray(skimage.data.chelsea()[:200, :260])
CUP: Pixels = np.ascontiguousarray(skimage.data.coffee()[:200, :260])


def test_clip_features_are_open_clips(tmp_path: Path) -> None:
    folder = tiny.write_clip(tmp_path / "clip")
    clip = Clip(folder)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        images = model.eval().encode_image(torch.stack([transform(PILImage.fromarray(x)) for x in (CAT, CUP)]))
        texts = model.encode_text(tokenizer(["a cat", "a cup"]))
    before, after = clip.image(CAT), clip.image(CUP)
    assert float(before @ after) == pytest.approx(float(cosine_similarity(images[0], images[1], 0)), abs=1e-5)
    text_before, text_after = clip.texts(["a cat", "a cup"])
    assert float(after @ text_after) == pytest.approx(float(cosine_similarity(images[1], texts[1], 0)), abs=1e-5)
    unit_images, unit_texts = (torch.nn.functional.normalize(x, dim=1) for x in (images, texts))
    expected = cosine_similarity(unit_images[1] - unit_images[0], unit_texts[1] - unit_texts[0], 0)
    found = clip_direction(before, after, text_before, text_after)
    assert found == pytest.approx(float(expected), abs=1e-4)


def test_no_change_has_no_direction(tmp_path: Path) -> None:
    clip = Clip(tiny.write_clip(tmp_path / "clip"))
    image, (one, two) = clip.image(CAT), clip.texts(["a cat", "a cup"])
    assert clip_direction(image, image, one, two) == 0
    assert float(image @ clip.image(CAT)) == pytest.approx(1, abs=1e-6)


def test_dino_takes_the_class_token(tmp_path: Path) -> None:
    folder = tiny.write_dino(tmp_path / "dino")
    dino = Dino(folder)
    model = Dinov2Model.from_pretrained(folder).eval()
    with torch.inference_mode():
        tokens = [model(**dino._loaded[1](images=x, return_tensors="pt")).last_hidden_state[0, 0] for x in (CAT, CUP)]
    found = float(dino.image(CAT) @ dino.image(CUP))
    assert found == pytest.approx(float(cosine_similarity(tokens[0], tokens[1], 0)), abs=1e-5)
    assert found < 0.9999


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a CLIP checkpoint: it has no open_clip_config\.json"):
        Clip(tmp_path).image(CAT)
    with pytest.raises(ValueError, match=r"is not a transformers checkpoint: it has no config\.json"):
        Dino(tmp_path).image(CAT)
