"""Training as a job of a real Slurm, over two nodes of one rank each, stopped in every way that Slurm has: the losses
and weights are, bit for bit, those of two ranks that nothing disturbed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.infra.slurm.daemons import Slurm
from tests.train.make import make_model, make_tokens
from tests.train.ranks import records, run, untimed, weights
from train.run.config import PRESETS, Config

STEPS = 20
SCRIPT = str(ROOT / "infra/slurm/train.sbatch")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Twenty steps of the tiny preset, by two ranks without Slurm. A step takes long enough to be stopped in."""
    folder = tmp_path_factory.mktemp("train")
    make_tokens(str(folder / "derain"), own_groups=True)
    config = replace(
        PRESETS["tiny"],
        data=(str(folder / "derain"),),
        model=str(make_model(folder / "model")),
        out=str(folder / "run"),
        xp_tokens=4,
        window_tokens=128,
        streams=4,
        global_windows=64,
        steps=STEPS,
        warmup_steps=2,
        checkpoint_every=3,
    )
    run(config, 2)
    return config


@pytest.mark.infra
@pytest.mark.timeout(1_800)
def test_however_it_is_stopped_the_same_bits_come_out(slurm: Slurm, undisturbed: Config, tmp_path: Path) -> None:
    config = replace(undisturbed, out=str(tmp_path / "run"))

    def steps() -> int:
        return len(records(config))

    def submitted() -> str:
        return slurm.submit(tmp_path, "--nodes=2", "--cpus-per-task=1", SCRIPT, *_options(config), XPROMPT_RANKS="1")

    # SIGUSR1, as before the end of its time: it saves, and is requeued by the script.
    job = submitted()
    slurm.until(job, lambda: steps() >= 2)
    slurm.run("scancel", "--signal=USR1", job)
    slurm.until(job, lambda: slurm.job(job)["Restarts"] == "1")
    first = steps()
    assert 2 <= first < STEPS
    # A job of a higher partition takes its nodes: Slurm requeues it.
    slurm.until(job, lambda: steps() >= first + 2)
    slurm.preempt()
    slurm.until(job, lambda: slurm.job(job)["Restarts"] == "2")
    second = steps()
    assert first + 2 <= second < STEPS
    # It is cancelled: nobody requeues it, and the same command, submitted again, goes on.
    slurm.until(job, lambda: steps() >= second + 2)
    slurm.run("scancel", job)
    assert slurm.ended(job)["JobState"] == "CANCELLED"
    third = steps()
    assert second + 2 <= third < STEPS
    job = submitted()
    assert slurm.ended(job)["JobState"] == "COMPLETED", _logs(tmp_path)

    assert untimed(records(config)) == untimed(records(undisturbed))
    assert weights(config) == weights(undisturbed)
    assert "stopped by SIGUSR1 after step" in _logs(tmp_path) and "Traceback" not in _logs(tmp_path)


@pytest.mark.infra
def test_a_run_that_fails_is_a_job_that_failed_and_is_not_tried_again(
    slurm: Slurm, undisturbed: Config, tmp_path: Path
) -> None:
    """The folder is that of a run with another seed: an error of one line, status 2."""
    options = _options(replace(undisturbed, seed=1))
    job = slurm.submit(tmp_path, "--nodes=2", SCRIPT, *options, XPROMPT_RANKS="1")
    ended = slurm.ended(job)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "2:0", "0"), _logs(tmp_path)
    assert "was made with seed 0, not 1: choose another --out" in _logs(tmp_path)


def _options(config: Config) -> list[str]:
    names = ("model", "out", "seed", "xp_tokens", "window_tokens", "streams", "global_windows", "steps", "warmup_steps")
    options = [f"--{name.replace('_', '-')}={getattr(config, name)}" for name in (*names, "checkpoint_every")]
    return [*options, "--data", *config.data]


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.log")))
