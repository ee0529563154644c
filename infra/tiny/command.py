"""`xprompt tiny-models`: writes the small random checkpoints into a folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from operators.models.checkpoints import TINY


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt tiny-models") -> int:
    """Write all checkpoints into a folder, over what is there, and say which. `prog` heads usage and errors."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=prog,
        description="Write small random checkpoints in the on-disk formats of the real ones, one folder a role.",
    )
    parser.add_argument("folder", type=Path, nargs="?", default=TINY, help=f"where to (default: {TINY}, MODELS=tiny)")
    folder: Path = parser.parse_args(arguments).folder
    from infra.tiny.models import FINISHED, write_tiny  # the models' libraries take many seconds to import

    write_tiny(folder)
    (folder / FINISHED).touch()
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir() if path.is_dir()))}")
    return 0
