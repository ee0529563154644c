"""Finds a role's checkpoint (operators/models/table.py) in MODELS, and says what it is.

MODELS picks where a role's folder is: "hub" (the table's own checkpoints, downloaded at the pinned revision), a
directory that holds one folder per role, or "tiny" (`make tiny-models`: small random ones of the same classes). The
operators' code is the same for all three.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from manifests.schema import canonical_json
from operators.models.files import damage, files_of, sha256_of
from operators.models.table import CHECKPOINTS, Checkpoint


def tiny_folder(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder that MODELS=tiny stands for, given the folder that holds our packages.

    In a clone of the repository it is models/tiny there. An installed wheel must not write beside its packages: its
    folder is in the user's cache, $XDG_CACHE_HOME or ~/.cache (XDG Base Directory Specification).
    """
    if (root / "pyproject.toml").is_file():
        return root / "models" / "tiny"
    cache = Path(environment.get("XDG_CACHE_HOME", ""))
    # The specification says to ignore a relative path.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "xprompt" / "tiny"


TINY = tiny_folder(Path(__file__).parents[2], os.environ)
"""What MODELS=tiny stands for."""


def folder(models: str | None, role: str) -> str:
    """The folder of a role's checkpoint, a full path. With MODELS=hub it is downloaded first, if it is not there yet.

    On a cluster HF_HOME must then be on a disk that all nodes see. Raises ValueError, one line: what is missing, its
    licence, how to get it, which tasks wait for it; or which of its files is damaged (operators/models/files.py).
    """
    checkpoint = CHECKPOINTS[role]
    if models == "hub":
        return _downloaded(checkpoint)
    if not has(models, role):
        raise ValueError(_missing(checkpoint, f"not in MODELS={models or ''}"))
    path = _place(models, role)
    if broken := damage(path):
        raise ValueError(_missing(checkpoint, f"not usable in MODELS={models}: {broken}"))
    return str(path.resolve())


def has(models: str | None, role: str) -> bool:
    """Whether MODELS is a directory with a checkpoint for that role, or the hub."""
    if models == "hub":
        return bool(CHECKPOINTS[role].hub_id)
    return bool(models) and any(files_of(_place(models, role)))


@lru_cache(maxsize=64)
def identity(folder: str, role: str) -> tuple[str, str]:
    """Name and revision of the checkpoint in a folder, for `Step.model` and `Step.model_revision`.

    Of a snapshot from the hub: its hub id and its commit. Of any other folder: the role, and 12 hex digits of a sha256
    over the names and contents of its files. To hash a large one takes a while: do it once, where the operator is
    bound, and keep it in the operator.
    """
    path, hub_id = Path(folder), CHECKPOINTS[role].hub_id
    if hub_id and path.parts[-3:-1] == (f"models--{hub_id.replace('/', '--')}", "snapshots"):
        return hub_id, path.name
    hashes = [[file.relative_to(path).as_posix(), sha256_of(file)] for file in sorted(files_of(path))]
    return role, hashlib.sha256(canonical_json(hashes).encode()).hexdigest()[:12]


def folders_and_identities(
    models: str | None, roles: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The folders of the checkpoints of several roles, and name and revision of each. Raises ValueError as `folder`."""
    folders = tuple(folder(models, role) for role in roles)
    return folders, tuple(map(identity, folders, roles))


def place(models: str, role: str) -> Path | None:
    """Where a role's checkpoint is or would be, None if it cannot be there: MODELS=hub has none that is not on the hub.

    Of MODELS=hub it is the folder of the table's revision in the hub's cache, BlazePose's that of `make blazepose`.
    Raises ValueError if MODELS=hub is asked for without the extra `models`.
    """
    if models != "hub":
        return _place(models, role)
    checkpoint = CHECKPOINTS[role]
    if role == "blazepose":
        return TINY.parent / role
    if not checkpoint.hub_id:
        return None
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        raise ValueError("MODELS=hub needs the extra: pip install 'xprompt-data-engine[models]'") from None
    repository = Path(HF_HUB_CACHE, f"models--{checkpoint.hub_id.replace('/', '--')}")
    branch = repository / "refs" / checkpoint.revision
    commit = branch.read_text("utf-8").strip() if branch.is_file() else checkpoint.revision
    return repository / "snapshots" / commit


def _place(models: str | None, role: str) -> Path:
    return (TINY if models == "tiny" else Path(models or "")) / role


def _downloaded(checkpoint: Checkpoint) -> str:
    if not checkpoint.hub_id:
        raise ValueError(_missing(checkpoint, "not on the hub"))
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise ValueError("MODELS=hub needs the extra: pip install 'xprompt-data-engine[models]'") from None
    try:
        patterns = list(checkpoint.files) or None
        return snapshot_download(checkpoint.hub_id, revision=checkpoint.revision, allow_patterns=patterns)
    except GatedRepoError:
        raise ValueError(_missing(checkpoint, "gated, and HF_TOKEN has no access to it")) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(_missing(checkpoint, f"not to be had from the hub ({type(error).__name__})")) from None


def _missing(checkpoint: Checkpoint, why: str) -> str:
    tasks = f"; it is needed by {', '.join(checkpoint.tasks)}" if checkpoint.tasks else ""
    what = f"{checkpoint.role} ({checkpoint.hub_id}, licence: {checkpoint.licence})".replace("(, ", "(")
    return f"{what} is {why}: {checkpoint.obtain}, or try random weights: make tiny-models, MODELS=tiny{tasks}"
