from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from manifests.dataset import Dataset
from manifests.images.pixels import decode_rgb
from tests import datasets
from tests.sources import write_photos
from xprompt_model.retrieve import ClipText, ContextDatabase, MiniLM, read_image

WORDS = ("rain", "add", "remove", "photo")


def by_words(texts: Sequence[str]) -> NDArray[np.float64]:
    """Features: how often each of a few words occurs."""
    return np.array([[1e-3 + text.lower().count(word) for word in WORDS] for text in texts])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six derain pairs with their instructions in both directions and kinds."""
    folder = tmp_path_factory.mktemp("retrieve")
    return datasets.make_dataset(folder / "out", write_photos(folder / "photos", 6, 300, 280))


def test_the_nearest_instruction_of_all_is_found_with_its_images(dataset: Dataset) -> None:
    rows = [row for row in datasets.examples(dataset) if row["kind"] == "generate"]
    folder = dataset.store.root
    database = ContextDatabase(folder, by_words)
    for asked in ("Add rain", "Remove the rain", "photo"):
        features = by_words([row["instruction"] for row in rows])
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        unit = by_words([asked])[0] / np.linalg.norm(by_words([asked]))
        scores = np.round(features @ unit, 6)
        best = min(range(len(rows)), key=lambda i: (-scores[i], rows[i]["pair"], rows[i]["direction"]))
        found = database.nearest(asked, inputs=1)
        assert (found.pair, found.instruction) == (rows[best]["pair"], rows[best]["instruction"])
        assert found.score == pytest.approx(scores[best])
        assert isinstance(found.output, np.ndarray)
        for image, role in zip(
            (*found.inputs, found.output), (*rows[best]["inputs"], rows[best]["output"]), strict=True
        ):
            assert np.array_equal(image, decode_rgb(datasets.stored_bytes(dataset, rows[best], role)))


def test_descriptions_are_asked_for_with_two_images(dataset: Dataset) -> None:
    database = ContextDatabase(dataset.store.root, by_words)
    found = database.nearest("What has changed?", inputs=2, describe=True)
    rows = {(row["pair"], row["text"]) for row in datasets.examples(dataset) if row["kind"] == "describe"}
    assert (found.pair, found.output) in rows
    assert len(found.inputs) == 2
    with pytest.raises(ValueError, match="has no generate example with 3 input images"):
        database.nearest("Add rain", inputs=3)


def test_what_is_no_dataset_or_damaged_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a dataset directory"):
        ContextDatabase(tmp_path, by_words)
    copied = shutil.copytree(str(dataset.store.root), tmp_path / "copy")
    for shard in (copied / "shards").glob("*.tar"):
        shard.write_bytes(b"gone")
    with pytest.raises(ValueError, match=r"\.tar: the image at byte \d+ cannot be read"):
        ContextDatabase(copied, by_words).nearest("Add rain", inputs=1)
    for manifest in (copied / "manifest").glob("*.parquet"):
        manifest.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"\.parquet cannot be read"):
        ContextDatabase(copied, by_words)


def test_minilm_knows_what_belongs_together() -> None:
    embed = MiniLM()
    features = embed(["remove the rain", "take away the raindrops, please, from all of this picture", "add a dog"])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert features.shape == (3, 384)
    assert features[0] @ features[1] > features[0] @ features[2] + 0.2
    alone = embed(["remove the rain"])[0]
    assert np.allclose(alone / np.linalg.norm(alone), features[0], atol=1e-5), "padding does not count"


def test_clip_text_is_open_clips(tmp_path: Path) -> None:
    import open_clip
    import safetensors.torch
    import torch

    tiny = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    model = open_clip.CLIP(**tiny)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny, "preprocess_cfg": {}}))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    found = ClipText(tmp_path)(["add rain", "remove rain"])
    with torch.no_grad():
        expected = model.eval().encode_text(open_clip.tokenize(["add rain", "remove rain"])).numpy()
    assert np.allclose(found, expected, atol=1e-5)


def test_images_are_upright_rgb_over_white() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    assert np.array_equal(read_image(_png(Image.fromarray(pixels), exif=exif)), np.rot90(pixels, -1))
    transparent = np.dstack((pixels, np.zeros((4, 6), np.uint8)))
    assert (read_image(_png(Image.fromarray(transparent))) == 255).all()
    assert read_image(_png(Image.fromarray(pixels[..., 0]))).shape == (4, 6, 3)
    with pytest.raises(ValueError, match="cannot identify"):
        read_image(b"nothing")


def _png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()
