"""Trains tiny models in real processes: what comes out, and that killing all of them changes nothing."""

from __future__ import annotations

import gc
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

from tests.commands import ROOT
from tests.train.make import VOCABULARY, make_tokens, options
from tests.train.ranks import kill, records, run, stop, untimed, weights
from train.data.corpus import EXAMPLE_KINDS, Corpus
from train.data.held_out import split
from train.data.stream import Library
from train.run.config import Config
from train.run.parallel import start
from train.run.samples import Samples
from train.run.trainer import train
from train.run.validation import Validation, choose
from xprompt_model.generator import Generator, Request
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import Sampling
from xprompt_model.vqgan import VQGAN


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread, as ranks have: several add up in another order, and another token or pixel may come of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_two_ranks_train_with_falling_loss_and_report_it(config: Config) -> None:
    """Losses of held-out examples and the pictures of two of them are those of the exported model on one rank."""
    config = replace(config, steps=20, lr=6e-3, validation_share=0.3, validate_every=10)
    found = run(config, 2)
    assert [record["step"] for record in found] == list(range(1, 21))
    losses = [record["loss"] for record in found]
    assert sum(losses[-3:]) / 3 < losses[0] - 1  # a nat a token
    labels = {f"derain/{direction}/{kind}" for direction in ("forward", "reverse") for kind in ("generate", "describe")}
    assert set().union(*(record["loss_by"] for record in found)) == labels
    assert 0.6 < found[-1]["fill"] <= 1 and found[-1]["memory_gb"] > 0 and 0 <= found[-1]["data_wait"] <= 1
    assert list(Path(config.out).glob("tensorboard/events*"))
    assert [record["step"] for record in found if "validation" in record] == [10, 20]
    start()
    try:
        model = XPromptChameleon.from_pretrained(f"{config.out}/model")
        corpus = split(Corpus.open(config.data), 0.3).validation
        alone = Validation(corpus, VOCABULARY, options(), config.validation_examples, compress=True)
        expected = alone.losses(model, torch.device("cpu"))
        assert set(expected) == labels | {"loss", "loss_text", "loss_image"}
        assert found[-1]["validation"] == pytest.approx(expected, rel=1e-5)
        drawn = Samples(corpus, VOCABULARY, options(), VQGAN.load(config.model), 2, "xprompt").draw(model)
    finally:
        dist.destroy_process_group()
    there = {path.stem: np.asarray(Image.open(path)) for path in Path(config.out, "samples/step-000020").iterdir()}
    assert set(there) == set(drawn) == {"0-derain-forward-generate", "1-derain-reverse-generate"}
    for name, picture in drawn.items():
        assert np.array_equal(there[name], picture)
    # The truth, at the right, and the query before the answer are what the token shards have of a held-out pair.
    library = Library(corpus, VOCABULARY, options())
    forward = choose(corpus, 1)[0]
    turns = library.turns(forward.dataset, forward.example, 0)
    assert turns[1]
    truth, query = (VQGAN.load(config.model).picture(grid) for grid in (turns[0].output, turns[0].inputs[0]))
    strip, side = drawn["0-derain-forward-generate"], truth.shape[0]
    assert strip.shape == (side, 5 * side + 4 * 4, 3)
    assert np.array_equal(strip[:, -side:], truth) and np.array_equal(strip[:, 2 * (side + 4) :][:, :side], query)


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
def test_a_run_stopped_or_killed_at_random_ends_as_if_undisturbed(
    undisturbed: Config, config: Config, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """SIGTERM to one of two ranks, on which both save and leave, or kill -9 to both; then the same command again."""
    if changes:
        undisturbed = replace(undisturbed, out=str(tmp_path / "undisturbed"), **changes)
        run(undisturbed, 2)
    config = replace(config, **changes)
    steps = random.randint(1, config.steps - 3)
    if changes:
        kill(config, 2, lambda: len(records(config)) >= steps)
    else:
        stop(config, 2, lambda: len(records(config)) >= steps, signal.SIGTERM, only=steps % 2)
        left = sorted((Path(config.out) / "checkpoints").iterdir())
        assert int(left[-1].name.removeprefix("step-")) == len(records(config))  # nothing is trained twice
    assert len(records(config)) < config.steps
    assert untimed(run(config, 2)) == untimed(records(undisturbed))
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


def test_a_training_leaves_no_process_group_to_the_garbage_collector(config: Config) -> None:
    """Its threads would be waited for by the first process forked later that collects it."""
    gc.disable()
    try:
        assert train(replace(config, steps=1)) == 0
        left = _gloo_threads()
        gc.collect()
        assert _gloo_threads() == left
    finally:
        gc.enable()


def _gloo_threads() -> int:
    return sum(name.read_text().startswith("pt_gloo") for name in Path("/proc/self/task").glob("*/comm"))


def test_a_longer_run_that_was_killed_before_it_exported_does_so_later(config: Config, tmp_path: Path) -> None:
    config = replace(config, checkpoint_every=9)
    assert train(replace(config, steps=1)) == 0
    model = Path(config.out) / "model"
    model.rename(tmp_path / "of one step")
    longer = replace(config, steps=2)
    assert train(longer) == 0
    expected, earlier = weights(config), (tmp_path / "of one step/model.safetensors").read_bytes()
    assert earlier not in expected
    shutil.rmtree(model)
    shutil.copytree(tmp_path / "of one step", model)
    assert train(longer) == 0
    assert weights(config) == expected
    with pytest.raises(ValueError, match="is at step 2 already, beyond --steps 1"):
        train(replace(config, steps=1))


def test_a_step_without_a_loss_is_said_in_one_line(config: Config) -> None:
    described_only = replace(config, text_weight=0.0, sampling=("*/*/generate=0",))
    with pytest.raises(ValueError, match="step 1: no token of it has a loss weight: leave out by --sampling"):
        train(described_only)


_FAILING = """
import sys
from unittest import mock
from train.fsdp_train import main
with mock.patch("train.run.spikes.Skips.wrong", side_effect=AssertionError("of this test")):
    main(sys.argv[1:])
"""


def test_a_rank_with_workers_ends_after_an_error_of_any_kind(config: Config) -> None:
    """Workers do not end by SIGTERM; while a traceback holds them, Python's own end would wait for them for ever."""
    options = ["--model", config.model, "--out", config.out, "--data", *config.data, "--xp-tokens", "4"]
    command = [sys.executable, "-c", _FAILING, *options, "--workers", "1", "--steps", "1", "--window-tokens", "128"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()  # its workers see that it is gone
    assert process.returncode == 1 and said.rstrip().endswith("AssertionError: of this test")


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
        contexts = [generator.compress(context)]
        asked_for = Request(instruction=turn.instruction, inputs=turn.inputs, contexts=contexts)
        assert generator.images([asked_for], Sampling(temperature=0))[0].tolist() == turn.output.tolist()
