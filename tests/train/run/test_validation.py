"""Losses of held-out examples, against one document after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.train.make import CONFIG, VOCABULARY, make_tokens, options
from train.data.corpus import Corpus
from train.data.held_out import split
from train.data.stream import Library
from train.run.parallel import start
from train.run.validation import Validation, choose
from xprompt_model.batch import collate
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    start()
    yield
    dist.destroy_process_group()


@pytest.fixture
def held_out(tmp_path: Path) -> Corpus:
    corpus = Corpus.open([make_tokens(str(tmp_path / "derain"), units=3, pairs=6, own_groups=True).url])
    return split(corpus, 0.3).validation


def test_losses_are_those_of_the_documents_one_by_one(held_out: Corpus) -> None:
    torch.manual_seed(0)
    model = XPromptChameleon(CONFIG, xp_tokens=4)
    found = Validation(held_out, VOCABULARY, options(seed=3), 2, compress=True)
    before = torch.get_rng_state()
    losses = found.losses(model, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    library, sums = Library(held_out, VOCABULARY, options(seed=0)), dict[str, list[float]]()
    chosen = choose(held_out, 2)
    assert len(chosen) == found.examples == 8
    for one in chosen:
        document = library.document(one.dataset, one.example, 0)
        assert document is not None
        batch = collate([document], len(document))
        with torch.no_grad():
            logits = model.logits(model(batch, dense_mask(batch)))[:-1].log_softmax(1)
        nll = -logits.gather(1, batch.ids[1:, None])[:, 0] * batch.weight[1:]
        for name in ("loss", held_out.labels[one.label]):
            both = sums.setdefault(name, [0.0, 0.0])
            both[0] += float(nll.sum())
            both[1] += float(batch.weight.sum())
    expected = {name: total / weight for name, (total, weight) in sums.items()}
    assert {name: losses[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert set(losses) == {*expected, "loss_text", "loss_image"}


def test_examples_are_a_fixed_choice_round_the_labels(held_out: Corpus) -> None:
    few, many = choose(held_out, 1), choose(held_out, 100)
    assert few == many[:4] and [one.label for one in few] == [0, 1, 2, 3]
    assert len(many) == len(held_out.examples[0].pair)
    rates = (held_out.rates[0].copy(),)
    rates[0][1] = 0
    assert {one.label for one in choose(replace(held_out, rates=rates), 100)} == {0, 2, 3}


def test_nothing_that_fits_is_said(held_out: Corpus) -> None:
    with pytest.raises(ValueError, match="no held-out example fits into a window: raise"):
        Validation(held_out, VOCABULARY, options(window_tokens=32), 2, compress=True)
