"""Checkpoints are complete or not there, few, and go on only with their own data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers import ChameleonConfig

from train.run.checkpoint import Checkpoints, Position
from train.run.config import Config
from train.run.optimizer import make_optimizer
from train.run.parallel import load_pretrained, model_config, shard, start
from xprompt_model.model import XPromptChameleon

CURSORS = {0: {"draws": 3, "at": [[0, 12]], "open": []}}


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process alone."""
    start()
    yield
    dist.destroy_process_group()


def _checkpoints(config: Config, corpus: str = "data") -> tuple[XPromptChameleon, Checkpoints]:
    model = shard(config, torch.device("cpu"))
    load_pretrained(model, config)
    return model, Checkpoints(config, model, make_optimizer(model, 1e-3, 0.1), corpus)


@pytest.mark.usefixtures("alone")
def test_the_newest_complete_one_is_loaded_and_few_are_kept(config: Config) -> None:
    config = replace(config, keep_checkpoints=2)
    model, checkpoints = _checkpoints(config)
    assert checkpoints.load() is None
    folder = Path(config.out) / "checkpoints"
    for step in (1, 2, 10):
        with torch.no_grad():
            model.xp.fill_(step)
        checkpoints.save(Position(step=step, cursors=CURSORS))
        with torch.no_grad():
            model.xp.fill_(99)  # what is written is what was there when it began
    checkpoints.finish()
    assert sorted(path.name for path in folder.iterdir()) == ["step-000002", "step-000010"]
    (folder / "partial-step-000011").mkdir()
    again, checkpoints = _checkpoints(config)
    assert checkpoints.load() == Position(step=10, cursors=CURSORS)
    assert isinstance(again.xp, DTensor)
    assert set(again.xp.full_tensor().flatten().tolist()) == {10.0}
    assert not list(folder.glob("partial-*"))


@pytest.mark.usefixtures("alone")
def test_another_position_in_the_data_is_refused_with_one_line(config: Config) -> None:
    _, checkpoints = _checkpoints(config)
    checkpoints.save(Position(step=1, cursors=CURSORS))
    checkpoints.finish()
    run = json.loads((Path(config.out) / "checkpoints/step-000001/run.json").read_text())
    assert run["config"]["model"] == config.model and run["ranks"] == 1
    compress = not config.compress
    for changed, corpus in (
        (replace(config, seed=5), "data"),
        (replace(config, compress=compress), "data"),
        (config, "other data"),
    ):
        _, checkpoints = _checkpoints(changed, corpus)
        with pytest.raises(ValueError, match=r"step-000001 was made with .*: choose another --out"):
            checkpoints.load()


@pytest.mark.usefixtures("alone")
def test_random_state_comes_back(config: Config) -> None:
    _, checkpoints = _checkpoints(config)
    torch.manual_seed(7)
    checkpoints.save(Position(step=1, cursors={}))
    checkpoints.finish()
    expected = torch.rand(3)
    checkpoints.load()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("alone")
def test_a_damaged_one_is_named_with_the_way_out(config: Config) -> None:
    _, checkpoints = _checkpoints(config)
    checkpoints.save(Position(step=1, cursors=CURSORS))
    checkpoints.finish()
    for name in ("run.json", "rank-00000.json", ".metadata", "__0_0.distcp"):
        file = Path(config.out) / "checkpoints/step-000001" / name
        content = file.read_bytes()
        for damaged in (content[: len(content) // 3], b"", b"\x06 is no file of a checkpoint", None):
            file.unlink()
            if damaged is not None:
                file.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"step-000001 is damaged \(.*\): remove it, and the run goes on from"):
                checkpoints.load()
            file.write_bytes(content)
    assert checkpoints.load() == Position(step=1, cursors=CURSORS)


@pytest.mark.usefixtures("alone")
def test_one_of_another_model_is_refused(config: Config, tmp_path: Path) -> None:
    _, checkpoints = _checkpoints(config)
    checkpoints.save(Position(step=1, cursors=CURSORS))
    checkpoints.finish()
    larger = XPromptChameleon(_larger(model_config(config)), xp_tokens=config.xp_tokens)
    larger.save_pretrained(tmp_path / "larger")
    _, checkpoints = _checkpoints(replace(config, model=str(tmp_path / "larger")))
    with pytest.raises(
        ValueError, match=r"step-000001 is of a model of other sizes than .*larger: choose another --out"
    ):
        checkpoints.load()


def _larger(described: ChameleonConfig) -> ChameleonConfig:
    """The config of a model with twice the hidden units."""
    return ChameleonConfig.from_dict({**described.to_dict(), "intermediate_size": 2 * described.intermediate_size})
