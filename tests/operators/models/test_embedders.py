from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.base import StopRun
from operators.batching import in_batches
from operators.models.csd import load_csd
from operators.models.embedders import AESTHETIC_FILE, Aesthetic, Style, load
from operators.shared.metrics import Lpips
from operators.shared.vectors import Vector
from operators.shared.vision import Clip, Dino, ImageEmbedder, tensor
from tests.sources import photo

FIRST, SECOND = photo(0, 96, 80), photo(1, 96, 80)


def test_each_role_has_its_network_once_a_process(tiny: str) -> None:
    networks = {"clip": Clip, "dino": Dino, "lpips": Lpips, "aesthetic": Aesthetic, "csd": Style}
    for role, network in networks.items():
        loaded = load(role, f"{tiny}/{role}", "cpu")
        assert type(loaded) is network
        assert load(role, f"{tiny}/{role}", "cpu") is loaded


def test_a_folder_without_the_network_stops_the_run(tmp_path: Path) -> None:
    for role in ("clip", "dino"):
        with pytest.raises(StopRun, match=f"the model of {role}, {tmp_path}, cpu cannot be loaded: ValueError"):
            load(role, str(tmp_path), "cpu")


def test_the_style_is_csds_first_descriptor(tiny: str) -> None:
    style, _ = load_csd(f"{tiny}/csd", "cpu")(tensor(FIRST, "cpu"))
    assert vector_of(load("csd", f"{tiny}/csd", "cpu"), FIRST) == pytest.approx(style[0].numpy(), abs=1e-4)


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
    model: ImageEmbedder = load(role, f"{tiny}/{role}", "cpu")
    seen = [model.seen(photo(place % 3, 90 + place, 80)) for place in range(5)]

    def made(*places: int) -> list[bytes]:
        vectors = in_batches(model.embed, [seen[place] for place in places], 4)
        return [one.tobytes() for one in vectors if not isinstance(one, Reject)]

    alone = [made(place)[0] for place in range(5)]
    assert len(set(alone)) == 5
    assert made(0, 1, 2, 3, 4) == alone
    assert made(4, 3, 2, 1, 0) == alone[::-1]


def vector_of(model: ImageEmbedder, image: Pixels) -> Vector:
    (vector,) = model.embed([model.seen(image)])
    return vector
