from __future__ import annotations

from typing import Any

import pytest
import torch

from xprompt_model.sampling import Sampling

LOGITS = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def drawn(sampling: Sampling, count: int = 400) -> list[float]:
    """How often each index is drawn."""
    generator = sampling.generator()
    found = torch.tensor([sampling.draw(LOGITS, generator) for _ in range(count)])
    return (torch.bincount(found, minlength=4) / count).tolist()


def test_draws_follow_the_probabilities() -> None:
    assert drawn(Sampling()) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=0.08)
    squares = torch.tensor([0.01, 0.16, 0.04, 0.09])
    assert drawn(Sampling(temperature=0.5)) == pytest.approx((squares / squares.sum()).tolist(), abs=0.08)


def test_only_the_likeliest_are_drawn() -> None:
    assert drawn(Sampling(top_k=2)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.08)
    assert drawn(Sampling(top_p=0.75)) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=0.08)
    assert drawn(Sampling(top_p=0.65)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.08)
    assert drawn(Sampling(top_p=0.01)) == [0, 1, 0, 0]
    assert drawn(Sampling(top_k=1, top_p=1.0)) == [0, 1, 0, 0]
    assert drawn(Sampling(temperature=0)) == [0, 1, 0, 0]
    assert Sampling(temperature=0).draw(torch.zeros(3), torch.Generator()) == 0


def test_a_seed_decides() -> None:
    first, same, other = (
        [sampling.draw(LOGITS, generator) for _ in range(30)]
        for sampling in (Sampling(seed=1), Sampling(seed=1), Sampling(seed=2))
        for generator in [sampling.generator()]
    )
    assert first == same != other


@pytest.mark.parametrize("changes", [{"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.1}])
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="temperature and top-k are at least 0"):
        Sampling(**changes)
