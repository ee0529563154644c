"""Runs training in processes of its own, as torchrun would, without importing torch anew in each."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

from infra.slurm.ports import free_port
from tests.commands import ROOT
from train.run.config import Config
from train.run.stopping import STOPPED

_DEADLINE_S = 500.0
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["train.run.trainer", "peft", "torchao.optim"])

Record = dict[str, Any]


def run(config: Config, ranks: int) -> list[Record]:
    """Train to the end; the records of all steps."""
    processes = _start(config, ranks)
    for process in processes:
        process.join(_DEADLINE_S)
    assert [process.exitcode for process in processes] == [0] * ranks
    return records(config)


def kill(config: Config, ranks: int, when: Callable[[], bool]) -> None:
    """Train until a condition holds, then kill -9 all ranks at once."""
    processes = _start(config, ranks)
    deadline_s = time.monotonic() + _DEADLINE_S
    while not when():
        assert time.monotonic() < deadline_s and all(process.is_alive() for process in processes)
        time.sleep(0.005)
    for process in processes:
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
    for process in processes:
        process.join()
        assert process.exitcode == -signal.SIGKILL


def stop(config: Config, ranks: int, when: Callable[[], bool], number: signal.Signals, only: int | None = None) -> None:
    """Train until a condition holds, then send a signal to all ranks or to one: all save and say that they stopped."""
    processes = _start(config, ranks)
    deadline_s = time.monotonic() + _DEADLINE_S
    while not when():
        assert time.monotonic() < deadline_s and all(process.is_alive() for process in processes)
        time.sleep(0.005)
    for process in processes if only is None else [processes[only]]:
        assert process.pid
        os.kill(process.pid, number)
    for process in processes:
        process.join(_DEADLINE_S)
    assert [process.exitcode for process in processes] == [STOPPED] * ranks


def records(config: Config) -> list[Record]:
    path = Path(config.out) / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def untimed(found: list[Record]) -> list[Record]:
    """Records without what differs from run to run."""
    timed = {"tokens_per_s", "data_wait", "memory_gb", "seconds"}
    return [{name: value for name, value in record.items() if name not in timed} for record in found]


def weights(config: Config) -> list[bytes]:
    """The exported model's weights, byte for byte."""
    return [(Path(config.out) / "model" / name).read_bytes() for name in ("model.safetensors", "xprompt.safetensors")]


def _start(config: Config, ranks: int) -> list[BaseProcess]:
    port = free_port()
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with mock.patch.dict(os.environ, {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}):
        processes: list[BaseProcess] = [
            _CONTEXT.Process(target=_train, args=(config, rank, ranks, port)) for rank in range(ranks)
        ]
        for process in processes:
            process.start()
    return processes


def _train(config: Config, rank: int, ranks: int, port: int) -> None:
    from train.run.trainer import train

    # As under torchrun, so that data workers end with their rank: those of the server outlive one that is killed.
    multiprocessing.set_start_method("fork", force=True)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")
    os.environ |= dict(zip(names, map(str, (rank, rank, ranks, port)), strict=True)) | {"MASTER_ADDR": "127.0.0.1"}
    sys.exit(train(config))
