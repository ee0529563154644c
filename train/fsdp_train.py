#!/usr/bin/env python3
"""Trains X-Prompt on token shards.

    make shards TASK=derain && make tokens TASK=derain && make tiny-models
    torchrun --nproc-per-node 2 train/fsdp_train.py                         # preset tiny, on a CPU
    torchrun --nnodes 16 --nproc-per-node 8 ... train/fsdp_train.py --preset 7b-paper --recipe /xprompt/recipe.json

The same command goes on from the newest checkpoint below --out. It trains on GPUs where PyTorch sees any.
`python -m train.launch` takes torchrun's options, and ends in one line and a status of its own where torchrun prints a
traceback.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, only this file's own folder is there
    sys.path.insert(0, str(ROOT))

from manifests.log import chosen
from manifests.printing import say
from train.run.config import parse


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Train as the arguments say; `prog` is the command as the user typed it, if not that of sys.argv.

    Returns the exit status: 0, STOPPED (75) if it was asked to stop and saved, 2 with one line if it cannot do what was
    asked, 1 if another rank is gone.
    """
    with chosen(sys.argv[1:] if arguments is None else arguments) as rest:
        status, by_all = _run(rest, prog)
    folder = os.environ.get("XPROMPT_LAUNCHED")
    if folder and by_all:
        # Our launcher reads the status here: one that is not 0 would make torchrun's agent start all ranks again.
        Path(folder, f"status-{os.environ['RANK']}").write_text(str(status))
        return 0
    # Plain torchrun makes a traceback of any status but 0, and with --max-restarts goes on at once.
    return 0 if status == 75 and "TORCHELASTIC_RUN_ID" in os.environ else status


def _run(arguments: Sequence[str], prog: str | None) -> tuple[int, bool]:
    """The exit status, and whether all ranks have it."""
    said = io.StringIO()
    is_one = os.environ.get("WORLD_SIZE", "1") == "1"
    try:
        with nullcontext() if is_one else redirect_stderr(said):  # one of many ranks is to print it
            config = parse(arguments, description=__doc__, prog=prog)
    except SystemExit as end:
        if is_one or not end.code:
            raise
        return 2, _told(said.getvalue().splitlines()[-1])  # behind the usage
    except ValueError as error:
        return 2, _told(" ".join(str(error).split()))
    try:
        from train.run.trainer import train  # torch takes seconds to import: --help need not wait for it

        return train(config), True
    except (ValueError, OSError, ImportError) as error:
        return 2, _told(" ".join(str(error).split()))
    except KeyboardInterrupt:
        return 130, False
    except Exception as error:
        if is_one:
            raise
        from train.run.failing import announce, is_consequence

        if isinstance(error, RuntimeError) and is_consequence(error):
            return 1, False
        announce(int(os.environ["RANK"]))
        raise


def _told(line: str) -> bool:
    """Print an error once for all ranks that have it. Returns whether all have."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        say(line, error=True)
        return True
    from train.run.failing import tell

    return tell(line)


if __name__ == "__main__":
    sys.exit(main())
