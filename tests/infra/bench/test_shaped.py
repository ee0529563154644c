"""The shapes that the GPU's run is made with are those of the published models, and what is written loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from infra.bench.shaped import PUBLISHED, ROLES, Depth, fill, networks, parameters, write_shaped
from operators.models.cascade import load_cascade
from operators.models.csd import load_csd
from operators.models.diffusion import Denoising, Order, painted, pipeline
from operators.models.sharing import shared_networks
from operators.models.table import CHECKPOINTS, Part


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Part, ...]]:
    folder = tmp_path_factory.mktemp("shaped")
    return folder, write_shaped(folder, None)


@pytest.fixture
def _let_go() -> Iterator[None]:
    yield
    for load in (pipeline, load_cascade, load_csd):
        load.cache_clear()


def test_with_all_blocks_networks_have_as_many_parameters_as_the_published_ones(
    written: tuple[Path, tuple[Part, ...]],
) -> None:
    for role in ROLES:
        counted: Counter[str] = Counter()
        for network in networks(written[0], role, PUBLISHED):
            counted[network.part] += parameters(network)
        for part in CHECKPOINTS[role].parts:
            # A tenth of a million is what the table rounds; DINO has a pooling layer that no score reads.
            assert counted[part.name] / 1e6 == pytest.approx(part.parameters_m, abs=0.051, rel=0.008), part.name


def test_fewer_blocks_are_all_that_is_less(written: tuple[Path, tuple[Part, ...]]) -> None:
    few, all_of_them = (networks(written[0], "flux", depth)[0].state for depth in (Depth(), PUBLISHED))
    assert few.keys() < all_of_them.keys()
    assert all(value.shape == all_of_them[name].shape for name, value in few.items())


@pytest.mark.usefixtures("_let_go")
def test_what_is_written_loads_and_paints_and_is_shared(written: tuple[Path, tuple[Part, ...]]) -> None:
    folder, parts = written
    (picture,) = painted(
        pipeline("FluxPipeline", str(folder / "flux")),
        [Order(prompt="a house", seed=0, size_px=(64, 64))],
        1,
        Denoising(steps=1, guidance=3.5),
    )
    assert getattr(picture, "shape", None) == (64, 64, 3)
    assert shared_networks(str(folder / "flux-kontext")).keys() == {"text_encoder", "text_encoder_2", "vae"}
    cascade = load_cascade(str(folder / "stable-cascade-prior"), str(folder / "stable-cascade"), "cpu")
    assert cascade.prior.config and load_csd(str(folder / "csd"), "cpu").side_px == 224
    count = sum(value.numel() for value in cascade.prior.prior.parameters()) / 1e6
    assert next(part for part in parts if part.name == "stage C").parameters_m == pytest.approx(count)


def test_weights_keep_the_scale_of_what_passes_through() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = fill("linear.weight", torch.empty(512, 1024, device="meta"), generator)
    assert float((weight @ torch.randn(1024, generator=generator)).std()) == pytest.approx(1, rel=0.15)
    assert fill("norm.weight", torch.empty(4, device="meta"), generator).tolist() == [1.0] * 4
    assert fill("norm.bias", torch.empty(4, device="meta"), generator).tolist() == [0.0] * 4
    ids = torch.empty((1, 3), dtype=torch.int64, device="meta")
    assert fill("position_ids", ids, generator).tolist() == [[0, 1, 2]]
