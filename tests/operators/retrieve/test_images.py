from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image as PILImage

from infra.tiny.clip import write_clip
from operators.retrieve.images import ClipImage, Layout


def files() -> list[bytes]:
    """Eighteen pictures, a flat one and what is none."""
    random = np.random.default_rng(0)
    found = []
    for number in range(18):
        small = random.integers(0, 256, (6, 6, 3), np.uint8)
        found.append(encoded(PILImage.fromarray(small).resize((64 + 8 * number, 80)), "JPEG" if number % 2 else "PNG"))
    return [*found, encoded(PILImage.new("RGB", (64, 64), (99, 99, 99)), "PNG"), b"no image"]


def encoded(image: PILImage.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=95)
    return buffer.getvalue()


def test_a_layout_is_the_correlation_of_small_pictures() -> None:
    data = files()
    vectors = Layout()(data)
    small = [
        np.asarray(PILImage.open(io.BytesIO(one)).resize((8, 8), PILImage.Resampling.BICUBIC), np.float64).ravel()
        for one in data[:18]
    ]
    np.testing.assert_allclose(vectors[:18] @ vectors[:18].T, np.corrcoef(small), atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(vectors[:18], axis=1), 1, atol=1e-5)
    assert not vectors[18:].any()
    np.testing.assert_array_equal(Layout()(data[3:5]), vectors[3:5])


def test_clip_embeds_images_as_open_clip_does_whatever_is_beside_them(tmp_path: Path) -> None:
    write_clip(tmp_path)
    embedder = ClipImage(checkpoint=str(tmp_path))
    data = files()
    vectors = embedder(data)
    assert vectors.shape == (20, embedder.dimension)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    with torch.no_grad():
        seen = torch.stack([preprocess(PILImage.open(io.BytesIO(one)).convert("RGB")) for one in data[:18]])
        expected = torch.nn.functional.normalize(model.eval().encode_image(seen)).numpy()
    assert ((vectors[:18] * expected).sum(1) > 0.99).all()
    np.testing.assert_array_equal(embedder(data[2:7]), vectors[2:7])
    assert not vectors[19].any()


def test_a_folder_that_is_no_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a CLIP checkpoint"):
        _ = ClipImage(checkpoint=str(tmp_path)).fingerprint
