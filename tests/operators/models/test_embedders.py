from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.batching import in_batches
from operators.models.csd import clip_input
from operators.models.embedders import AESTHETIC_FILE, LPIPS_FILES, Aesthetic, Clip, Dino, Embedder, Lpips, load, tensor
from operators.shared.vectors import Vector, cosine
from tests.sources import photo

FIRST, SECOND = photo(0, 96, 80), photo(1, 96, 80)


def test_clip_embeds_as_open_clip_does(tiny: str) -> None:
    import open_clip

    clip: Clip = load("clip", f"{tiny}/clip", "cpu")
    model = open_clip.create_model(f"local-dir:{tiny}/clip").eval()
    with torch.no_grad():
        image = functional.normalize(model.encode_image(clip_input(tensor(FIRST, "cpu"), 224)))
        text = functional.normalize(model.encode_text(open_clip.get_tokenizer("ViT-B-32")(["a cat"])))
    assert vector_of(clip, FIRST) == pytest.approx(image[0].numpy(), abs=1e-6)
    one, other = clip.embed_texts(["a cat", "mountains at night"])
    assert one == pytest.approx(text[0].numpy(), abs=1e-6)
    assert cosine(vector_of(clip, FIRST), vector_of(clip, SECOND)) < 0.99
    assert cosine(one, other) < 0.99


def test_dino_is_the_class_token_of_the_image_at_the_models_size(tiny: str) -> None:
    dino: Dino = load("dino", f"{tiny}/dino", "cpu")
    found = vector_of(dino, FIRST)
    assert float(np.linalg.norm(found)) == pytest.approx(1)
    assert cosine(found, vector_of(dino, FIRST)) == pytest.approx(1)
    assert cosine(found, vector_of(dino, SECOND)) < 0.99
    seen = dino._processor(images=FIRST, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    assert seen.shape == (1, 3, 224, 224)
    token = dino._model(pixel_values=seen).last_hidden_state[0, 0].detach()
    assert found == pytest.approx((token / token.norm()).numpy(), abs=1e-6)


def test_lpips_is_the_weighted_distance_of_normalised_features(tiny: str) -> None:
    lpips: Lpips = load("lpips", f"{tiny}/lpips", "cpu")
    first, second = tensor(FIRST, "cpu"), tensor(SECOND, "cpu")
    alexnet, heads = (torch.load(Path(tiny, "lpips", name), weights_only=True) for name in LPIPS_FILES)
    expected = 0.0
    values = [2 * image - 1 for image in (first, second)]
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    values = [(value - shift[:, None, None]) / scale[:, None, None] for value in values]
    strides, paddings, pooled = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), (False, True, True, False, False)
    for number, index in enumerate((0, 3, 6, 8, 10)):
        weight, bias = alexnet[f"features.{index}.weight"], alexnet[f"features.{index}.bias"]
        values = [functional.max_pool2d(value, 3, 2) if pooled[number] else value for value in values]
        values = [
            functional.conv2d(value, weight, bias, strides[number], paddings[number]).clamp(min=0) for value in values
        ]
        units = [value / value.square().sum(1, keepdim=True).sqrt().clamp(min=1e-10) for value in values]
        expected += float(((units[0] - units[1]) ** 2 * heads[f"lin{number}.model.1.weight"]).sum(1).mean())
    assert float(lpips(first, second)) == pytest.approx(expected, rel=1e-4)
    assert float(lpips(first, first)) == 0
    assert float(lpips(first, second)) == pytest.approx(float(lpips(second, first)))


def test_the_aesthetic_score_is_the_heads_of_clips_embedding(tiny: str) -> None:
    aesthetic: Aesthetic = load("aesthetic", f"{tiny}/aesthetic", "cpu")
    state: dict[str, Any] = torch.load(Path(tiny, "aesthetic", AESTHETIC_FILE), weights_only=True)
    values = vector_of(Clip(f"{tiny}/aesthetic/ViT-L-14", "cpu"), FIRST)
    for index in (0, 2, 4, 6, 7):
        values = state[f"layers.{index}.weight"].numpy() @ values + state[f"layers.{index}.bias"].numpy()
    assert vector_of(aesthetic, FIRST) == pytest.approx(values, rel=1e-5)
    assert vector_of(aesthetic, FIRST) != vector_of(aesthetic, SECOND)


def test_laions_first_head_is_one_linear_layer(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "ViT-L-14").symlink_to(Path(tiny, "aesthetic", "ViT-L-14"))
    weight = torch.full((1, 32), 0.5)
    torch.save({"layers.0.weight": weight, "layers.0.bias": torch.ones(1)}, tmp_path / AESTHETIC_FILE)
    embedding = vector_of(Clip(f"{tmp_path}/ViT-L-14", "cpu"), FIRST)
    rating = vector_of(Aesthetic(str(tmp_path), "cpu"), FIRST)
    assert float(rating[0]) == pytest.approx(1 + 0.5 * float(embedding.sum()), rel=1e-5)


@pytest.mark.parametrize("role", ["clip", "dino", "aesthetic", "csd"])
def test_a_vector_is_the_same_wherever_it_is_in_a_batch_and_whatever_is_beside_it(tiny: str, role: str) -> None:
    model: Embedder = load(role, f"{tiny}/{role}", "cpu")
    seen = [model.seen(photo(place % 3, 90 + place, 80)) for place in range(5)]

    def made(*places: int) -> list[bytes]:
        vectors = in_batches(model.embed, [seen[place] for place in places], 4)
        return [one.tobytes() for one in vectors if not isinstance(one, Reject)]

    alone = [made(place)[0] for place in range(5)]
    assert len(set(alone)) == 5
    assert made(0, 1, 2, 3, 4) == alone
    assert made(4, 3, 2, 1, 0) == alone[::-1]


def vector_of(model: Embedder, image: Pixels) -> Vector:
    (vector,) = model.embed([model.seen(image)])
    return vector
