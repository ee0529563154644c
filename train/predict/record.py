"""What makes a folder's predictions, recorded in it, so that none of two models or of other options are ever mixed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manifests.dataset import difference
from manifests.text_files import read_text
from train.evaluate.predictions import RECORD_FILE

_MODEL_FILES = ("*.safetensors", "config.json", "tokenizer.json", "vqgan.ckpt")


def model_sha256(folder: Path) -> str:
    """The hash of all files of a model directory that its answers depend on: every byte of the weights is read."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def claim(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record, or accept the one that is there if it is the same. Processes may do so at the same time.

    Raises ValueError if another is there, or predictions without one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD_FILE
    if not path.exists():
        if any(folder.glob("*.png")) or any(folder.glob("*/samples/*.png")):
            raise ValueError(f"{folder} holds predictions that nothing says the origin of: choose another --out")
        partial = folder / f".{RECORD_FILE}.{os.uname().nodename}.{os.getpid()}.partial"
        partial.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", "utf-8")
        try:
            os.link(partial, path)  # not in the place of one that another process has just written
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    try:
        there = json.loads(read_text(path))
        assert isinstance(there, dict)
    except (ValueError, AssertionError, RecursionError):
        raise ValueError(f"{path} is not what xprompt predict writes: choose another --out") from None
    ours = json.loads(json.dumps(record))
    if there != ours:
        raise ValueError(f"{folder} holds predictions made otherwise ({difference(there, ours)}): choose another --out")
