"""Signals and deaths at random seconds of runs of two ranks: what comes out is, bit for bit, that of a run that nothing
disturbed. `make chaos` runs them."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.train.ranks import records, run, stop, untimed, weights
from train.run.config import Config

ROUNDS = 10
STEPS = 40


@pytest.fixture(scope="module")
def undisturbed(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    out = str(tmp_path_factory.mktemp("undisturbed") / "run")
    config = replace(tiny, out=out, steps=STEPS, checkpoint_every=7)
    run(config, 2)
    return config


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
def test_sigterm_at_a_random_second_changes_no_bit(undisturbed: Config, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"random.seed: {seed}")
    chance = random.Random(seed)
    expected = untimed(records(undisturbed))
    seconds = sum(record["seconds"] for record in records(undisturbed))
    for number in range(ROUNDS):
        config = replace(undisturbed, out=str(tmp_path / str(number)))
        only, second = chance.choice((0, 1, None)), chance.uniform(0, 0.8 * seconds)
        begun = Path(config.out, "metrics.jsonl")
        stop(config, 2, partial(_is_old, begun, second), signal.SIGTERM, only=only)
        done = len(records(config))
        assert done < STEPS
        assert untimed(run(config, 2)) == expected
        assert weights(config) == weights(undisturbed)
        to = "both ranks" if only is None else f"rank {only}"
        print(f"round {number}: SIGTERM to {to} after {second:.2f} s, {done} of {STEPS} steps done: the same bits")


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
def test_a_launcher_that_is_stopped_and_a_rank_that_is_killed(undisturbed: Config, tmp_path: Path) -> None:
    """SIGTERM to the launcher alone: status 75. Then a rank is killed: all start again, and go on to the end."""
    config = replace(undisturbed, out=str(tmp_path / "run"))
    first = _launch(config)
    _until(first, lambda: len(records(config)) >= 3)
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=300)
    assert first.returncode == 75, err
    assert out.splitlines()[-1].startswith("stopped by SIGTERM after step ")
    assert "Traceback" not in err
    done = len(records(config))
    assert done < STEPS - 5
    second = _launch(config, "--max-restarts", "1")
    _until(second, lambda: len(records(config)) >= done + 3)
    subprocess.run(["kill", "-9", _child(second.pid)], check=True)
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert out.count("going on after step") == 2 and "Traceback" not in err
    assert untimed(records(config)) == untimed(records(undisturbed))
    assert weights(config) == weights(undisturbed)
    third = _launch(replace(config, seed=1), "--max-restarts", "3")
    out, err = third.communicate(timeout=300)
    assert third.returncode == 2
    (line,) = [line for line in err.splitlines() if config.out in line]
    assert line.endswith("was made with seed 0, not 1: choose another --out") and "Traceback" not in err


def _is_old(path: Path, seconds: float) -> bool:
    """Whether a file is there and was so many seconds ago; the first look at it counts."""
    if not path.exists():
        return False
    first = path.with_name("first-seen")
    if not first.exists():
        first.touch()
    return time.time() - first.stat().st_mtime >= seconds


def _launch(config: Config, *agent: str) -> subprocess.Popen[str]:
    names = ("model", "out", "seed", "xp_tokens", "window_tokens", "streams", "global_windows", "steps", "warmup_steps")
    options = [f"--{name.replace('_', '-')}={getattr(config, name)}" for name in (*names, "checkpoint_every")]
    command = [sys.executable, "-m", "train.launch", "--nproc-per-node", "2", *agent, str(ROOT / "train/fsdp_train.py")]
    return subprocess.Popen(
        [*command, *options, "--data", *config.data],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline_s
        time.sleep(0.02)


def _child(pid: int) -> str:
    """A rank of a launcher."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[-1]
