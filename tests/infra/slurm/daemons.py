"""A real Slurm on this machine: munged, slurmctld and a slurmd for each of some nodes, none of them the system's own.

The nodes are names for this one machine, each with CPUs and GPUs that are declared, not there: Slurm counts them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra.slurm.ports import free_port
from tests.commands import ROOT

DEADLINE_S = 900.0
NODES = 3

_PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
_WANTED = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
_OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL"}

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
PropagatePrioProcess=1
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
GresTypes=gpu
{nodes}
PartitionName=low Nodes=ALL Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
"""
# cred_expire: a requeued job waits for so long, 120 s by default, before it begins again.


class Slurm:
    """The commands of a user of that Slurm."""

    def __init__(self, folder: Path) -> None:
        # Whatever of Slurm or of Ray the tests were started with is not for these jobs.
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RAY_", "XPROMPT"))
        }
        self.environment = clean | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": _PATH,
            "XPROMPT_REPO": str(ROOT),
            "XPROMPT_VENV": str(Path(sys.executable).parents[1]),
        }

    def run(self, *command: str, folder: Path | None = None, **environment: str) -> str:
        done = subprocess.run(
            command, env=self.environment | environment, cwd=folder, text=True, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done
        return done.stdout.strip()

    def submit(self, folder: Path, *arguments: str, **environment: str) -> str:
        """Submit a job from a folder, which gets its logs; its number."""
        return self.run("sbatch", "--parsable", *arguments, folder=folder, **environment)

    def preempt(self) -> None:
        """A job of the higher partition takes all nodes, and ends."""
        self.ended(
            self.submit(Path("/"), f"--nodes={NODES}", "--exclusive", "-p", "high", "-o", "/dev/null", "--wrap=:")
        )

    def job(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says of a job, by field."""
        return dict(
            word.split("=", 1) for word in self.run("scontrol", "-o", "show", "job", job).split() if "=" in word
        )

    def until(self, job: str, condition: Callable[[], bool]) -> None:
        """Wait for a condition while a job is not over."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.job(job)["JobState"] not in _OVER, self.job(job)
            assert time.monotonic() < deadline_s, "waited in vain"
            time.sleep(0.02)

    def ended(self, job: str) -> dict[str, str]:
        """What Slurm says of a job that is over, once it is."""
        deadline_s = time.monotonic() + DEADLINE_S
        while (found := self.job(job))["JobState"] not in _OVER:
            assert time.monotonic() < deadline_s, found
            time.sleep(0.2)
        return found


def missing() -> str | None:
    """Why there can be no Slurm here, None if there can."""
    lacking = [program for program in _WANTED if not shutil.which(program, path=_PATH)]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge"
    return None if os.getuid() == 0 else "Slurm's daemons are to be run as root"


@contextmanager
def slurm_running() -> Iterator[Slurm]:
    """A Slurm of three nodes of four CPUs and two GPUs for the length of a block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm")))  # sockets need short paths
        slurm = Slurm(folder)
        _write(folder)

        def start(*command: str) -> None:
            with open(folder / "daemons.log", "ab") as log:
                # Ctrl-C is for us: the daemons are to end after the jobs.
                process = subprocess.Popen(
                    command, env=slurm.environment, stdout=log, stderr=log, start_new_session=True
                )
            stack.callback(process.wait)
            stack.callback(process.terminate)

        socket_ = folder / "munge.socket"
        own = {"socket": socket_, "key-file": folder / "munge.key", "pid-file": folder / "munged.pid"}
        own |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
        start("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in own.items()))
        _wait_for(socket_.exists, folder)
        start("slurmctld", "-D")
        for number in range(1, NODES + 1):
            start("slurmd", "-D", "-N", f"n{number}")
        _wait_for(lambda: _idle(slurm) == NODES, folder)
        stack.callback(_cancel_all, slurm)
        yield slurm


def _write(folder: Path) -> None:
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host = socket.gethostname()
    each = f"NodeAddr=127.0.0.1 NodeHostname={host} CPUs=4 RealMemory=1000 Gres=gpu:2"
    nodes = [f"NodeName=n{number} Port={free_port()} {each}" for number in range(1, NODES + 1)]
    text = _CONFIGURATION.format(host=host, folder=folder, port=free_port(), nodes="\n".join(nodes))
    (folder / "slurm.conf").write_text(text)
    for number in range(2):  # slurmd wants devices: two more names of /dev/null
        os.mknod(folder / f"gpu{number}", 0o600 | stat.S_IFCHR, Path("/dev/null").stat().st_rdev)
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")


def _idle(slurm: Slurm) -> int:
    found = subprocess.run(
        ["sinfo", "--noheader", "--partition=low", "--states=idle", "--format=%D"],
        env=slurm.environment,
        text=True,
        capture_output=True,
    )
    return sum(map(int, found.stdout.split()))


def _wait_for(condition: Callable[[], bool], folder: Path) -> None:
    deadline_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline_s, (folder / "daemons.log").read_text(errors="replace")[-2_000:]
        time.sleep(0.1)


def _cancel_all(slurm: Slurm) -> None:
    """Cancel what a failed test has left, and wait until its processes are gone."""
    slurm.run("scancel", "--user=root")
    deadline_s = time.monotonic() + 120
    while slurm.run("squeue", "--noheader") and time.monotonic() < deadline_s:
        time.sleep(0.2)
