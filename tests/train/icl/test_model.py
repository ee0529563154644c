"""What each arm may see, that it runs the shipped model and decodes as it does, that an example can be learned from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.train.icl.small import SMALL
from train.icl.averages import bins
from train.icl.experiment import score
from train.icl.model import IclModel, example_tokens
from train.icl.runs import ARMS, BASE, COMPRESSED, Arm
from train.icl.tasks import Examples, draw
from xprompt_model.batch import collate
from xprompt_model.cache import KeyValues
from xprompt_model.generator import Generator, Request
from xprompt_model.layout import IE, TD, Turn
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import Sampling


@pytest.mark.parametrize("arm", ARMS)
def test_what_an_answer_depends_on(arm: Arm) -> None:
    """The example's images if there is a context, the query always, and the true answer never."""
    model, examples = _learner(arm), _examples()
    expected = model.answer(examples)
    other = 26 - examples.answer
    assert np.array_equal(model.answer(replace(examples, answer=other)), expected)
    changed = model.answer(replace(examples, context_input=other, context_output=examples.query))
    assert np.array_equal(changed, expected) == (arm == "none")
    assert not np.array_equal(model.answer(replace(examples, query=other)), expected)


@pytest.mark.parametrize("arm", ARMS)
def test_answers_are_those_of_the_shipped_generator(arm: Arm) -> None:
    learner, examples = _learner(arm), _examples()
    generator = Generator(learner.model)
    instruction = np.array([learner.model.config.vocab_size - 2])
    requests = []
    for before, after, query in zip(examples.context_input, examples.context_output, examples.query, strict=True):
        context = Turn(instruction=instruction, inputs=(before,), output=after)
        contexts = [] if arm == "none" else [generator.compress(context, keep_example=arm == "causal")]
        requests.append(Request(instruction=instruction, inputs=(query,), contexts=contexts))
    assert np.array_equal(generator.images(requests, Sampling(temperature=0)), learner.answer(examples))


@pytest.mark.parametrize("arm", ARMS)
def test_the_loss_is_that_of_the_shipped_model(arm: Arm) -> None:
    """Of each document by itself, and, where the model is the shipped one, of all packed into a micro-batch."""
    learner, examples = _learner(arm), _examples()
    documents = learner.documents(examples)
    targets = sum(float(document.weight.sum()) for document in documents)
    for packs in ([[each] for each in documents], [documents])[: 1 if arm == "averages" else 2]:
        batches = [collate(pack, sum(map(len, pack)) + 3) for pack in packs]
        losses = [learner.model.loss(batch, dense_mask(batch, causal=arm not in COMPRESSED)) for batch in batches]
        expected = sum(loss.text_nll + loss.image_nll for loss in losses) / targets
        torch.testing.assert_close(learner.loss(examples), expected, rtol=1e-5, atol=1e-5)


def test_arms_start_from_the_base() -> None:
    """All of its weights; X-Prompt tokens drawn around its embeddings, the same each time."""
    base = IclModel(BASE, 0, 5, SMALL).model.state_dict()
    starts = []
    for _ in range(2):
        learner = _learner("xprompt")
        learner.start_from(base)
        starts.append(learner.model.state_dict())
    assert all(torch.equal(starts[0][name], base[name]) for name in base.keys() - {"xp"})
    assert torch.equal(starts[0]["xp"], starts[1]["xp"]) and len(starts[0]["xp"]) == 3
    offset = starts[0]["xp"] - base["model.embed_tokens.weight"].mean(0)
    assert 0 < offset.abs().mean() < 2 * base["model.embed_tokens.weight"].std()


def test_averages_stand_where_x_prompt_tokens_do() -> None:
    """Against another way: the example run by itself, its keys and values pooled by PyTorch, the rest run behind."""
    learner = _learner("averages")
    (document,) = learner.documents(_examples())[:1]
    batch = collate([document], len(document))
    mask = dense_mask(batch)
    found = learner.model.advance(batch.ids, batch.segment, batch.position, mask)[batch.segment == TD]
    shipped = partial(XPromptChameleon.advance, learner.model)
    example, rest = batch.segment == IE, batch.segment == TD
    cache, pooled = KeyValues(), KeyValues()
    shipped(
        batch.ids[example], batch.segment[example], batch.position[example], mask[..., example, :][..., example], cache
    )
    for layer, (keys, values) in enumerate(cache.layers):
        size = (3, keys.shape[-1])
        pooled.update(functional.adaptive_avg_pool2d(keys, size), functional.adaptive_avg_pool2d(values, size), layer)
    count = int(rest.sum())
    seen = torch.ones(count, 3 + count, dtype=torch.bool).tril(3)[None, None]
    expected = shipped(batch.ids[rest], batch.segment[rest], batch.position[rest], seen, pooled)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("averages", "tokens"), [(4, 25), (16, 25), (64, 25), (5, 5)])
def test_bins_are_those_of_adaptive_pooling(averages: int, tokens: int) -> None:
    values = torch.randn(7, tokens)
    expected = functional.adaptive_avg_pool1d(values, averages)
    torch.testing.assert_close(values @ bins(averages, tokens).T, expected, rtol=1e-5, atol=1e-6)


def test_arms_differ_in_what_they_compare() -> None:
    """The same first weights; an example as long as is said; S tokens more where there is an S."""
    lengths = {arm: len(_learner(arm).documents(_examples())[0]) for arm in ARMS}
    assert lengths["xprompt"] == lengths["averages"] == lengths["causal"] + 2
    assert lengths["causal"] - lengths["none"] == example_tokens(SMALL)  # and a token of X-Prompt, less the begin
    states = [_learner(arm).model.state_dict() for arm in ARMS]
    assert all(torch.equal(state[name], states[0][name]) for state in states for name in state.keys() - {"xp"})


@pytest.mark.parametrize("arm", ARMS)
def test_an_example_can_be_learned_from(arm: Arm) -> None:
    """Four answers to one query, told apart by their examples alone: whoever sees none cannot have all of them."""
    learner = IclModel(arm, 3 if arm in COMPRESSED else 0, 0, SMALL)
    random = np.random.default_rng(0)
    images = {name: random.integers(27, size=(4, 3, 3)) for name in ("context_input", "context_output", "answer")}
    query = np.tile(random.integers(27, size=(1, 3, 3)), (4, 1, 1))
    examples = Examples(**images, query=query, family=("any",) * 4)
    optimizer = torch.optim.AdamW(learner.model.parameters(), lr=6e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(learner.loss(examples))
        optimizer.step()
    right = score(learner.answer(examples), examples.answer).right
    assert right <= 0.5 if arm == "none" else right == 1


def _learner(arm: Arm) -> IclModel:
    return IclModel(arm, 3 if arm in COMPRESSED else 0, 0, SMALL)


def _examples() -> Examples:
    return draw("parameters", 8, 3, np.random.default_rng(3))
