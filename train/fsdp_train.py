#!/usr/bin/env python3
"""Trains X-Prompt on token shards.

    make shards TASK=derain && make tokens TASK=derain && make tiny-models
    torchrun --nproc-per-node 2 train/fsdp_train.py                         # preset tiny, on a CPU
    torchrun --nnodes 16 --nproc-per-node 8 ... train/fsdp_train.py --preset 7b-paper --recipe /xprompt/recipe.json

The same command goes on from the newest checkpoint below --out. It trains on GPUs where PyTorch sees any.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, only this file's own folder is there
    sys.path.insert(0, str(ROOT))

from manifests.printing import say
from train.run.config import parse


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Train as the arguments say; `prog` is the command as the user typed it, if not that of sys.argv.

    Returns the exit status: 0, or 2 with one line if it cannot do what was asked.
    """
    try:
        config = parse(arguments, description=__doc__, prog=prog)
        from train.run.trainer import train  # torch takes seconds to import: --help need not wait for it

        train(config)
    except (ValueError, OSError, ImportError) as error:
        rank = f"rank {os.environ['RANK']}: " if os.environ.get("WORLD_SIZE", "1") != "1" else ""
        say(rank + " ".join(str(error).split()), error=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
