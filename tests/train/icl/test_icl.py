"""What each arm may see, that it runs the shipped model, that an example can be learned from, that a run can go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from train.icl.averages import bins
from train.icl.command import main
from train.icl.experiment import copied, planned, score, train
from train.icl.model import IclModel, example_tokens
from train.icl.runs import ARMS, COMPRESSED, Arm, Run, Settings
from train.icl.tasks import Examples, draw
from xprompt_model.batch import collate
from xprompt_model.cache import KeyValues
from xprompt_model.generator import Generator
from xprompt_model.layout import IE, TD, Turn
from xprompt_model.mask import dense_mask
from xprompt_model.sampling import Sampling

SMALL = Settings(side=2, width=32, layers=2, steps=2, batch=4, packed=2, examined=10)


@pytest.mark.parametrize("arm", ARMS)
def test_what_an_answer_depends_on(arm: Arm) -> None:
    """The example's images if there is a context, the query always, and the true answer never."""
    model, examples = _learner(arm), _examples()
    expected = model.answer(examples)
    other = 63 - examples.answer
    assert np.array_equal(model.answer(replace(examples, answer=other)), expected)
    changed = model.answer(replace(examples, context_input=other, context_output=examples.query))
    assert np.array_equal(changed, expected) == (arm == "none")
    assert not np.array_equal(model.answer(replace(examples, query=other)), expected)


@pytest.mark.parametrize("arm", ["none", "causal", "xprompt"])
def test_answers_are_those_of_the_shipped_generator(arm: Arm) -> None:
    learner, examples = _learner(arm), _examples()
    generator = Generator(learner.model)
    instruction = np.array([learner.model.config.vocab_size - 2])
    found = learner.answer(examples)
    for row in range(4):
        context = Turn(
            instruction=instruction, inputs=(examples.context_input[row],), output=examples.context_output[row]
        )
        compressed = generator.compress(None if arm == "none" else context, keep_example=arm == "causal")
        image = generator.image(instruction, (examples.query[row],), compressed, Sampling(temperature=0))
        assert np.array_equal(image, found[row])


@pytest.mark.parametrize("arm", ARMS)
def test_the_loss_of_packed_documents_is_that_of_each(arm: Arm) -> None:
    learner = _learner(arm)
    documents = learner.documents(_examples())
    packed = sum(learner.loss(batch) for batch in learner.micro_batches(documents))
    single = sum(learner.loss(collate([document], len(document) + 3)) for document in documents)
    torch.testing.assert_close(packed, single, rtol=1e-5, atol=1e-5)


def test_averages_stand_where_x_prompt_tokens_do() -> None:
    """Against another way: the example run by itself, its keys and values pooled by PyTorch, the rest run behind."""
    learner = _learner("averages")
    (document,) = learner.documents(_examples())[:1]
    batch = collate([document], len(document))
    mask = dense_mask(batch)
    found = learner.model.advance(batch.ids, batch.segment, batch.position, mask)[batch.segment == TD]
    shipped = super(type(learner.model), learner.model).advance
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


@pytest.mark.parametrize(("averages", "tokens"), [(4, 39), (16, 39), (64, 39), (5, 5)])
def test_bins_are_those_of_adaptive_pooling(averages: int, tokens: int) -> None:
    values = torch.randn(7, tokens)
    expected = functional.adaptive_avg_pool1d(values, averages)
    torch.testing.assert_close(values @ bins(averages, tokens).T, expected, rtol=1e-5, atol=1e-6)


def test_arms_differ_in_what_they_compare() -> None:
    """The same first weights; an example as long as is said; S tokens more where there is an S."""
    lengths = {arm: len(_learner(arm).documents(_examples())[0]) for arm in ARMS}
    assert lengths["xprompt"] == lengths["averages"] == lengths["causal"] + 3
    assert lengths["causal"] - lengths["none"] == example_tokens(SMALL) - 1  # which begins the document in its place
    states = [_learner(arm).model.state_dict() for arm in ARMS]
    assert all(torch.equal(state[name], states[0][name]) for state in states for name in state.keys() - {"xp"})


@pytest.mark.parametrize("arm", ARMS)
def test_an_example_can_be_learned_from(arm: Arm) -> None:
    """Four answers to one query, told apart by their examples alone: whoever sees none cannot have all of them."""
    learner = IclModel(arm, 3 if arm in COMPRESSED else 0, 0, replace(SMALL, packed=4))
    random = np.random.default_rng(0)
    images = {name: random.integers(64, size=(4, 2, 2)) for name in ("context_input", "context_output", "answer")}
    query = np.tile(random.integers(64, size=(1, 2, 2)), (4, 1, 1))
    examples = Examples(**images, query=query, family=("any",) * 4)
    optimizer = torch.optim.AdamW(learner.model.parameters(), lr=3e-3)
    (batch,) = learner.micro_batches(learner.documents(examples))
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(learner.loss(batch) / 4)
        optimizer.step()
    right = score(learner.answer(examples), examples.answer).right
    assert right <= 0.5 if arm == "none" else right == 1


def test_a_run_is_the_same_when_repeated_and_read_back(tmp_path: Path) -> None:
    first, again = (train("averages", 1, 3, SMALL) for _ in range(2))
    assert first.curve == again.curve and len(first.curve) == 2
    assert (first.scores, first.families, first.pictures) == (again.scores, again.families, again.pictures)
    first.write(tmp_path)
    assert Run.finished(tmp_path, "averages", 1, 3, SMALL) == first
    assert Run.finished(tmp_path, "averages", 1, 3, replace(SMALL, steps=3)) is None
    assert Run.finished(tmp_path, "averages", 1, 4, SMALL) is None


def test_a_score_is_that_of_pixels() -> None:
    """One channel of one of four pixels is wrong by one level of three: 85 of 255."""
    wanted = np.array([[[0, 21], [42, 63]]])
    found = score(np.array([[[1, 21], [42, 63]]]), wanted)
    assert found.right == 0.75
    assert found.psnr_db == pytest.approx(10 * np.log10(255**2 / (85**2 / 12)))
    assert score(wanted, wanted).psnr_db == np.inf
    assert 5 < copied("trained", SMALL).psnr_db < 20


def test_what_is_planned() -> None:
    plan = planned(5, (4, 16, 64))
    assert len(plan) == len(set(plan)) == 40
    assert [each for each in plan if each[1] == 0] == plan[:8]
    assert all((xp_tokens == 0) == (arm not in COMPRESSED) for arm, _, xp_tokens in plan)


def test_the_command_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All runs but one are there; of other settings none would be taken."""
    folder = tmp_path / "runs"
    folder.mkdir()
    run = train("none", 0, 0, SMALL)
    for arm in ARMS[1:]:
        replace(run, arm=arm, xp_tokens=3 if arm in COMPRESSED else 0).write(folder)
    replace(run, settings=replace(SMALL, steps=7)).write(folder)
    options = ["--side", "2", "--width", "32", "--layers", "2", "--steps", "2", "--batch", "4", "--packed", "2"]
    options += ["--examined", "10", "--seeds", "1", "--budgets", "3", "--workers", "1", "--out", str(tmp_path)]
    assert main(options) == 0
    *lines, report = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["causal-0", "xprompt3-0", "averages3-0", "none-0"]
    assert lines[-1].split(",")[0] == f"none-0: trained {run.scores['trained'].psnr_db:.2f}"
    assert report == str(tmp_path / "report.md")
    assert main([*options, "--heads", "3"]) == 2
    assert capsys.readouterr().err == "xprompt icl: a model of width 32 cannot have 3 heads of an even width\n"


def _learner(arm: Arm) -> IclModel:
    return IclModel(arm, 3 if arm in COMPRESSED else 0, 0, SMALL)


def _examples() -> Examples:
    return draw("parameters", 8, 2, np.random.default_rng(3))
