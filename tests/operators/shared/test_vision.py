"""CLIP and DINO by tiny random checkpoints, against what open_clip and transformers make of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import skimage.data
import torch
from PIL import Image as PILImage
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, Dinov2Model, ViTModel

from infra.tiny import clip as tiny_clip
from manifests.images.pixels import Pixels
from operators.shared.vectors import cosine
from operators.shared.vision import CLIP_MEAN, CLIP_STD, Clip, Dino, clip_input, tensor
from tests.train import tiny as tiny_scorers

CAT: Pixels = np.ascontiguousarray(skimage.data.chelsea()[:200, :260])
CUP: Pixels = np.ascontiguousarray(skimage.data.coffee()[:200, :260])


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    tiny_clip.write_clip(folder)
    return folder


def test_clip_embeds_as_open_clip_does(clip_folder: Path) -> None:
    clip = Clip(clip_folder, "cpu")
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    with torch.no_grad():
        batch = torch.stack([transform(PILImage.fromarray(image)) for image in (CAT, CUP)])
        images = normalize(model.eval().encode_image(batch)).numpy()
        texts = normalize(model.encode_text(open_clip.get_tokenizer("ViT-B-32")(["a cat", "a cup"]))).numpy()
    published = np.stack(clip.embed([clip.seen_by_open_clip(CAT), clip.seen_by_open_clip(CUP)]))
    np.testing.assert_allclose(published, images, atol=1e-6)
    np.testing.assert_allclose(np.stack(clip.embed_texts(["a cat", "a cup"])), texts, atol=1e-6)
    assert cosine(*published) < 0.99 and cosine(*texts.astype(float)) < 0.99  # or nothing would be tested


def test_the_two_ways_that_clip_sees_differ_by_what_pillow_rounds(clip_folder: Path) -> None:
    clip = Clip(clip_folder, "cpu")
    steps = (clip.seen(CAT) - clip.seen_by_open_clip(CAT)).abs() * torch.tensor(CLIP_STD)[:, None, None] * 255
    assert 0.4 < steps.max() < 2.5 and steps.mean() < 0.5  # Pillow rounds once a direction
    assert cosine(*clip.embed([clip.seen(CAT), clip.seen_by_open_clip(CAT)])) > 0.999


def test_clips_means_are_those_of_its_checkpoint(tmp_path: Path) -> None:
    """A checkpoint of other means: what open_clip sees follows them."""
    folder = tiny_scorers.write_clip(tmp_path / "clip")
    clip = Clip(folder, "cpu")
    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    torch.testing.assert_close(clip.seen_by_open_clip(CAT), transform(PILImage.fromarray(CAT)))


def test_dino_is_the_class_token_of_a_vit(tmp_path: Path) -> None:
    tiny_clip.write_dino(tmp_path)
    found = _of_dino(tmp_path)
    model = ViTModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    np.testing.assert_allclose(found, _class_tokens(tmp_path, model), atol=1e-6)
    assert cosine(*found) < 0.99


def test_dino_is_the_class_token_of_a_dinov2(tmp_path: Path) -> None:
    folder = tiny_scorers.write_dino(tmp_path / "dino")
    found = _of_dino(folder)
    np.testing.assert_allclose(found, _class_tokens(folder, Dinov2Model.from_pretrained(folder).eval()), atol=1e-6)
    assert cosine(*found) < 0.9999


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a CLIP checkpoint: open_clip_config\.json and weights are needed"):
        Clip(tmp_path, "cpu")
    with pytest.raises(ValueError, match=r"is not a transformers checkpoint: it has no config\.json"):
        Dino(tmp_path, "cpu")


def test_clips_input_is_the_middle_square_normalised() -> None:
    image = torch.rand(1, 3, 10, 20)
    seen = clip_input(image, 10)
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    torch.testing.assert_close(seen[0], (image[0, :, :, 5:15] - mean) / std)


def test_an_image_becomes_a_batch_of_one_in_unit_range() -> None:
    found = tensor(CAT, "cpu")
    assert found.shape == (1, 3, 200, 260)
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), CAT / 255, atol=1e-7)


def test_pytorch_is_not_imported_before_it_is_needed() -> None:
    modules = "operators.shared.vision, operators.shared.metrics, train.evaluate.command"
    heavy = "{'torch', 'torchvision', 'transformers', 'open_clip', 'lpips'}"
    script = f"import sys, {modules}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def _of_dino(folder: Path) -> np.ndarray:
    dino = Dino(folder, "cpu")
    return np.stack(dino.embed([dino.seen(CAT), dino.seen(CUP)]))


def _class_tokens(folder: Path, model: torch.nn.Module) -> np.ndarray:
    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        seen = processor(images=[CAT, CUP], return_tensors="pt", input_data_format="channels_last")["pixel_values"]
        return np.asarray(normalize(model(seen).last_hidden_state[:, 0]).numpy())
