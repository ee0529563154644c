"""torchrun for training: its options, but runs that are stopped or that fail end in one line and a status of their own.

    python -m train.launch --nproc-per-node 2 train/fsdp_train.py --out runs/a
    python -m train.launch --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint host:29500 \\
        --max-restarts 3 train/fsdp_train.py --preset 7b-paper

A signal (SIGTERM, SIGINT, SIGUSR1) here is passed on to the ranks, which save and leave together, however long that
takes; a second one ends them. Exit status: 0 when the last step is done, 75 when the run was stopped and the same
command goes on, 2 for an error of one line that all ranks have, which is not tried again, 1 when ranks died more often
than --max-restarts: all ranks go on from the newest checkpoint before that.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from manifests.log import ENVIRONMENT, chosen, is_json
from manifests.printing import say
from train.run.stopping import LAUNCHED, SIGNALS, STOP_FILE


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run torchrun's agent in this process; `prog` is the command as the user typed it. Returns the exit status."""
    parser = run.get_args_parser()
    parser.prog, parser.description = prog or "python -m train.launch", __doc__
    with chosen(sys.argv[1:] if arguments is None else arguments) as rest:
        if is_json():
            os.environ[ENVIRONMENT] = "json"  # for the ranks: torchrun's parser takes --log for one of its own options
        return _launch(parser.parse_args(rest))


def _launch(options: argparse.Namespace) -> int:
    # The agent's own handlers kill the ranks after 30 seconds; it leaves these signals to us.
    options.signals_to_handle = "SIGHUP,SIGQUIT"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does, without its note
    # With PyTorch 2.14, ranks that start again find the addresses of those before them in a store that agents keep.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it reports what is said below
    with tempfile.TemporaryDirectory() as folder:
        stop = Path(folder, STOP_FILE)

        def passed_on(number: int, frame: FrameType | None) -> None:
            if stop.exists() and time.time() - stop.stat().st_mtime > 1:
                raise SignalException("a second signal", signal.Signals(number))
            if not stop.exists():
                stop.with_suffix(".new").write_text(str(number))
                stop.with_suffix(".new").rename(stop)

        os.environ[LAUNCHED] = folder
        for number in SIGNALS:
            signal.signal(number, passed_on)
        try:
            run.run(options)
        except ChildFailedError as error:
            return _failed(error)
        except SignalException as error:
            say(
                f"ended at once by {error.sigval.name}: the same command goes on from the newest checkpoint", error=True
            )
            return 128 + error.sigval
        return max((int(path.read_text()) for path in Path(folder).glob("status-*")), default=0)


def _failed(error: ChildFailedError) -> int:
    """Says which ranks were killed; what has failed otherwise has said so itself."""
    killed = {
        rank: failure.signal_name()
        for rank, failure in error.failures.items()
        if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM  # SIGTERM: the agent's, to those left
    }
    if killed:
        which = ", ".join(f"rank {rank} by {name}" for rank, name in sorted(killed.items()))
        say(f"killed: {which}; the same command goes on from the newest checkpoint", error=True)
        return 1
    _, first = error.get_first_failure()
    return first.exitcode if first.exitcode > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
