from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from xprompt_model.sampling import IMAGE, TEXT, Sampling

LOGITS = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def drawn(sampling: Sampling, count: int = 400) -> list[float]:
    """How often each index is drawn, by numbers that are spread evenly."""
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = sampling.draw(LOGITS.expand(count, -1), uniform)
    return (torch.bincount(found, minlength=4) / count).tolist()


def test_draws_follow_the_probabilities() -> None:
    assert drawn(Sampling()) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=0.0051)
    squares = torch.tensor([0.01, 0.16, 0.04, 0.09])
    assert drawn(Sampling(temperature=0.5)) == pytest.approx((squares / squares.sum()).tolist(), abs=0.0051)


def test_only_the_likeliest_are_drawn() -> None:
    assert drawn(Sampling(top_k=2)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.0051)
    assert drawn(Sampling(top_p=0.75)) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=0.0051)
    assert drawn(Sampling(top_p=0.65)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.0051)
    assert drawn(Sampling(top_p=0.01)) == [0, 1, 0, 0]
    assert drawn(Sampling(top_k=1, top_p=1.0)) == [0, 1, 0, 0]
    assert drawn(Sampling(temperature=0)) == [0, 1, 0, 0]
    assert Sampling(temperature=0).draw(torch.zeros(1, 3), torch.zeros(1)).tolist() == [0]


def test_a_seed_decides_whatever_is_beside_it() -> None:
    alone, together = Sampling().uniforms([1], 30), Sampling().uniforms([2, 1], 30)
    assert torch.equal(alone[:, 0], together[:, 1]) and not torch.equal(together[:, 0], together[:, 1])
    assert torch.equal(alone, Sampling().uniforms([1], 40)[:30]) and alone.min() >= 0 and alone.max() < 1


@pytest.mark.parametrize(("temperature", "top_p"), [(0.7, 0.9), (1.0, 0.5), (2.0, 0.99), (0.3, 1.0)])
def test_temperature_and_top_p_are_those_of_transformers(temperature: float, top_p: float) -> None:
    """Meta's inference uses these two, in this order."""
    random = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(6, 500, generator=random)
    no_ids = torch.zeros(6, 1, dtype=torch.long)
    warped = TemperatureLogitsWarper(temperature)(no_ids, logits)
    expected = TopPLogitsWarper(top_p)(no_ids, warped).double().softmax(1) if top_p < 1 else warped.double().softmax(1)
    uniform = torch.arange(4_000, dtype=torch.float64) / 4_000
    sampling = Sampling(temperature=temperature, top_p=top_p)
    for row in range(6):
        found = sampling.draw(logits[row].expand(4_000, -1), uniform)
        shares = torch.bincount(found, minlength=500).double() / 4_000
        assert (shares - expected[row]).abs().max() <= 1 / 4_000 + 1e-6, "each is drawn by its share of the line"


@pytest.mark.parametrize("images", [True, False])
def test_guidance_is_metas_formula(images: bool) -> None:
    """By hand on small logits: facebookresearch/chameleon, chameleon/inference/logits_processor.py."""
    everything, alone, nothing = torch.tensor([[2.0, -1.0, 0.5], [1.0, 0.0, 4.0], [0.5, 3.0, -2.0]])
    alone = alone if images else nothing
    by_hand: Tensor = nothing + 1.2 * (alone - nothing) + 3.0 * (everything - alone)
    assert by_hand.tolist() == pytest.approx([4.1, -3.6, -5.3] if images else [5.0, -9.0, 5.5])
    shares = IMAGE.shares(images=images)
    found = shares[0] * everything + shares[1] * alone + shares[2] * nothing
    assert found.tolist() == pytest.approx(by_hand.tolist(), abs=1e-5)
    assert TEXT.shares(images=images) == Sampling().shares(images=images) == (1, 0, 0), "nothing else is run"


def test_the_defaults_are_metas() -> None:
    """chameleon/inference/chameleon.py, Options."""
    assert vars(IMAGE) == {"temperature": 0.7, "top_k": 0, "top_p": 0.9, "guidance": 3.0, "image_guidance": 1.2}
    assert vars(TEXT) == {"temperature": 0.7, "top_k": 0, "top_p": 0.9, "guidance": 1.0, "image_guidance": 1.0}


@pytest.mark.parametrize("changes", [{"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.1}])
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="temperature and top-k are at least 0"):
        Sampling(**changes)


@pytest.mark.parametrize("option", ["temperature", "guidance", "image_guidance"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e-320])
def test_what_would_make_logits_that_are_no_numbers_is_refused(option: str, value: float) -> None:
    if value != 1e-320:
        with pytest.raises(ValueError, match="finite numbers"):
            Sampling(**cast(dict[str, Any], {option: value}))
    elif option == "temperature":
        with pytest.raises(ValueError, match="at least 1e-05, or 0"):
            Sampling(temperature=value)
