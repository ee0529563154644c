"""Trains tiny models in real processes: what comes out, and that killing all of them changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.make import VOCABULARY, make_tokens, options
from tests.train.ranks import kill, records, run, weights
from train.data.corpus import EXAMPLE_KINDS, Corpus
from train.data.stream import Library
from train.run.config import Config
from xprompt_model.generator import Generator
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import Sampling

_TIMED = {"tokens_per_s", "data_wait", "memory_gb", "seconds"}


def test_two_ranks_train_with_falling_loss_and_report_it(config: Config) -> None:
    found = run(replace(config, steps=20, lr=6e-3, export=False), 2)
    assert [record["step"] for record in found] == list(range(1, 21))
    losses = [record["loss"] for record in found]
    assert sum(losses[-3:]) / 3 < losses[0] - 1  # a nat a token
    assert set().union(*(record["loss_by"] for record in found)) == {
        f"derain/{direction}/{kind}" for direction in ("forward", "reverse") for kind in ("generate", "describe")
    }
    assert 0.6 < found[-1]["fill"] <= 1 and found[-1]["memory_gb"] > 0 and 0 <= found[-1]["data_wait"] <= 1
    assert list(Path(config.out).glob("tensorboard/events*"))


@pytest.fixture(scope="module")
def undisturbed(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of two ranks that nothing disturbed, float32."""
    config = replace(tiny, out=str(tmp_path_factory.mktemp("undisturbed") / "run"))
    run(config, 2)
    return config


_SAVING: dict[str, Any] = {
    "dtype": "bf16",
    "lora_rank": 4,
    "lora_whole": ("lm_head",),
    "frozen_bits": 8,
    "optimizer": "adamw8bit",
    "cpu_offload": True,
    "steps": 6,
}
"""All that saves memory, at once; in fewer steps, as the 8-bit update is slow where it is not compiled."""


@pytest.mark.parametrize("changes", [{}, _SAVING], ids=["float32", "saving"])
def test_a_run_killed_at_random_ends_as_if_undisturbed(
    undisturbed: Config, config: Config, tmp_path: Path, changes: dict[str, Any]
) -> None:
    if changes:
        undisturbed = replace(undisturbed, out=str(tmp_path / "undisturbed"), **changes)
        run(undisturbed, 2)
    config = replace(config, **changes)
    steps = random.randint(1, config.steps - 3)
    kill(config, 2, lambda: len(records(config)) >= steps)
    assert len(records(config)) < config.steps
    assert _untimed(run(config, 2)) == _untimed(records(undisturbed))
    assert weights(config) == weights(undisturbed)


def test_two_ranks_then_one_then_two_train_as_two(undisturbed: Config, config: Config) -> None:
    kill(config, 2, (Path(config.out) / "checkpoints/step-000003").exists)
    kill(config, 1, (Path(config.out) / "checkpoints/step-000006").exists)
    found, whole = run(config, 2), records(undisturbed)
    assert [record["tokens"] for record in found] == [record["tokens"] for record in whole]
    for record, expected in zip(found, whole, strict=True):
        assert record["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert record["loss_by"] == pytest.approx(expected["loss_by"], rel=1e-3)


def test_recomputing_hsdp_and_workers_change_no_result(undisturbed: Config, config: Config) -> None:
    saving = replace(config, recompute=True, shard_ranks=1, workers=2)
    kill(saving, 2, lambda: len(records(saving)) >= 3)
    found, expected = ([record["loss"] for record in records(run)[:3]] for run in (saving, undisturbed))
    assert found == pytest.approx(expected, rel=1e-5)


def test_eight_pairs_are_learned_by_heart_and_generated(config: Config, tmp_path: Path) -> None:
    make_tokens(str(tmp_path / "derain"), units=2, pairs=4)
    config = replace(config, data=(str(tmp_path / "derain"),), sampling=("*/*/*=0", "*/forward/generate=1"))
    config = replace(config, steps=150, checkpoint_every=150, lr=1e-2, z_loss=0.0, streams=1)
    found = run(replace(config, windows=4, global_windows=4), 1)
    assert found[-1]["loss"] < 0.02
    corpus = Corpus.open(config.data)
    library, rows = Library(corpus, VOCABULARY, options()), corpus.examples[0]
    generator = Generator(XPromptChameleon.from_pretrained(f"{config.out}/model"))
    name = ("forward", "generate")
    for example in np.flatnonzero(rows.code == EXAMPLE_KINDS.index(name)):
        asked, shown = (library._sample(0, int(pairs[example]), name) for pairs in (rows.pair, rows.context))
        turn, context = asked.turns[name], shown.shown(name)
        made = generator.image(turn.instruction, turn.inputs, generator.compress(context), Sampling(temperature=0))
        assert made.tolist() == turn.output.tolist()


def _untimed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name not in _TIMED} for record in found]
