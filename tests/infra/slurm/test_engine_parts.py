"""The parts of the engine's job that need neither Slurm nor Ray."""

from __future__ import annotations

import random
import socket
import sys
from pathlib import Path

import pytest

from infra.slurm.engine import joining, nodes
from infra.slurm.node import Node
from infra.slurm.ports import PORTS, free_port
from infra.slurm.vlm import serving, split_gpus

HETEROGENEOUS = {
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_HET_SIZE": "2",
    "SLURM_JOB_NUM_NODES_HET_GROUP_0": "1",
    "SLURM_JOB_NUM_NODES_HET_GROUP_1": "4",
}


def test_the_first_node_is_the_head_and_joins_nothing() -> None:
    assert joining("a:1", {"SLURM_JOB_NUM_NODES": "1"}) == []
    (command,) = joining("a:1", {"SLURM_JOB_NUM_NODES": "3"})
    assert command[:5] == ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--relative=1"]
    assert command[-4:] == [sys.executable, "-m", "infra.slurm.node", "a:1"]


def test_all_components_of_a_heterogeneous_job_join() -> None:
    assert nodes(HETEROGENEOUS) == [1, 4]
    (command,) = joining("a:1", HETEROGENEOUS)  # the first component has the head alone
    assert command[:5] == ["srun", "--nodes=4", "--ntasks=4", "--ntasks-per-node=1", "--het-group=1"]
    first, second = joining("a:1", HETEROGENEOUS | {"SLURM_JOB_NUM_NODES_HET_GROUP_0": "3"})
    assert first[:6] == ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--relative=1", "--het-group=0"]
    assert second == command


def test_two_nodes_on_a_machine_share_no_port() -> None:
    environment = {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "6"}
    commands = []
    random.seed(0)  # eight draws of 12,000 are two of the same once in 400 times
    for _ in range(2):
        node = Node("10.0.0.1:6379", environment)
        node._folder = "/tmp/x"
        commands.append(node.command())
    ports = [option for command in commands for option in command if "-port=" in option and "worker" not in option]
    assert len(ports) == 8 == len(set(ports))
    assert all("--num-cpus=6" in command and "--address=10.0.0.1:6379" in command for command in commands)


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", free_port()))
        taken.listen()
        drawn = iter([taken.getsockname()[1], PORTS[5]])
        monkeypatch.setattr("random.choice", lambda ports: next(drawn))
        assert free_port() == PORTS[5]


def test_gpus_are_split_between_the_server_and_the_engine() -> None:
    assert split_gpus("3,5,6", 1) == ("3", "5,6")
    assert split_gpus("0,1", 2) == ("0,1", "")
    with pytest.raises(ValueError, match="XPROMPT_VLM_GPUS=1, but Slurm gave the job 0 GPUs"):
        split_gpus(None, 1)


def test_a_server_that_ends_before_it_answers_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "infra/vlm/serve.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\nexit 5\n")
    script.chmod(0o755)
    environment = {"XPROMPT_VLM_VENV": "/vllm", "OPENAI_API_KEY": "k"}
    with (
        open(tmp_path / "log", "wb") as log,
        pytest.raises(ChildProcessError, match="ended with status 5"),
        serving(tmp_path, "0", environment, log),
    ):
        pass
