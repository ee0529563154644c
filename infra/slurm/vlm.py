"""A vision-language model's server beside the engine, on the first node of its job, by infra/vlm/serve.sh.

The engine sends all of its requests from there, so the server listens at 127.0.0.1 alone. It answers those who have the
job's key, since others may be at work on the node.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from infra.slurm.ports import free_port

START_S = 3_600.0
"""How long the server may take until it answers: the first time it installs vLLM and fetches 17 GB of weights."""

_LOOK_EVERY_S = 1.0
_END_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that answers."""

    url: str
    model: str

    @property
    def options(self) -> list[str]:
        """What a command of the engine is told."""
        return ["--vlm", self.url, "--vlm-model", self.model]


def split_gpus(visible: str | None, served: int) -> tuple[str, str]:
    """CUDA_VISIBLE_DEVICES of the server and of the rest of the job, of what Slurm gave the job on its first node.

    Raises ValueError if it gave less than `served` GPUs.
    """
    gpus = [gpu for gpu in (visible or "").split(",") if gpu]
    if len(gpus) < served:
        raise ValueError(
            f"XPROMPT_VLM_GPUS={served}, but Slurm gave the job {len(gpus)} GPUs on its first node "
            f"(CUDA_VISIBLE_DEVICES={visible or ''}): submit with --gpus-per-node={served} or more"
        )
    return ",".join(gpus[:served]), ",".join(gpus[served:])


def refuse_other(command: Sequence[str]) -> None:
    """Raises ValueError if a command names a server already, or takes none."""
    if any(word in ("--vlm", "--vlm-model") or word.startswith(("--vlm=", "--vlm-model=", "VLM=")) for word in command):
        raise ValueError(
            "the command names a vision-language model, and XPROMPT_VLM_GPUS serves another: leave one out"
        )


@contextmanager
def serving(repository: Path, gpus: str, environment: Mapping[str, str], log: IO[bytes]) -> Iterator[Served]:
    """A server on some GPUs (CUDA_VISIBLE_DEVICES) for the length of a block, once it answers.

    `environment` holds XPROMPT_VLM_VENV and the key, OPENAI_API_KEY. Raises ChildProcessError if the server ends, and
    TimeoutError if it does not answer within START_S.
    """
    port = free_port()
    of_its_own = {
        "VENV": environment["XPROMPT_VLM_VENV"],
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GPUS": str(len(gpus.split(","))),
        "CUDA_VISIBLE_DEVICES": gpus,
        "VLLM_API_KEY": environment["OPENAI_API_KEY"],
    }
    process = subprocess.Popen(
        [str(repository / "infra/vlm/serve.sh")], env={**environment, **of_its_own}, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/v1"
        yield Served(url=url, model=_model(url, environment["OPENAI_API_KEY"], process))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _model(url: str, key: str, process: subprocess.Popen[bytes]) -> str:
    """The name of the model that a server serves, as soon as it says so."""
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key}"})
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if (status := process.poll()) is not None:
            raise ChildProcessError(f"the vision-language model's server ended with status {status} before it answered")
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            return str(json.load(answer)["data"][0]["id"])
        time.sleep(_LOOK_EVERY_S)
    raise TimeoutError(f"the vision-language model's server did not answer within {START_S:.0f} s")
