"""Whether a role's checkpoint is there and is the published one, without loading it.

Files that others published the sha256 of are hashed; of the others the size is compared where it is published, and the
library is asked whether their tensors are those that their config describes, on the device that stores nothing.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from operators.models.checkpoints import place
from operators.models.files import damage, files_of, sha256_of
from operators.models.published import PUBLISHED, Published
from operators.models.table import CHECKPOINTS

State = Literal["present", "missing", "wrong"]

_OPTIONS: Mapping[str, Mapping[str, Any]] = {"ViTModel": {"add_pooling_layer": False}}
"""Class -> with what it is loaded (operators/shared/vision.py)."""


@dataclass(frozen=True, kw_only=True)
class Presence:
    """What there is of a role's checkpoint."""

    role: str
    state: State
    folder: str
    """Where it is, or where it was looked for; "" if MODELS can have none."""
    why: str = ""
    """What is missing, or wrong."""


def presence(models: str, role: str) -> Presence:
    """What MODELS has of a role's checkpoint: nothing is downloaded.

    Of MODELS=tiny, whose weights are random, only damage counts. Of MODELS=hub all published files must be there.
    Raises ValueError if MODELS=hub is asked for without the extra `models`.
    """
    folder = place(models, role)
    if folder is None:
        return Presence(role=role, state="missing", folder="", why="not on the hub")
    names = {path.relative_to(folder).as_posix() for path in files_of(folder)}
    if all(name.endswith((".json", ".txt")) for name in names):
        why = "there are no weights in its folder" if names else ""
        return Presence(role=role, state="missing", folder=str(folder), why=why)
    published: Mapping[str, Published] = {} if models == "tiny" else PUBLISHED.get(role, {})
    if models == "hub":
        absent = sorted(name for name in published if not (folder / name).is_file())
        if absent:
            return Presence(role=role, state="missing", folder=str(folder), why=f"{absent[0]} is not there yet")
    wrong = damage(folder) or _half(role, names)
    try:
        wrong = wrong or _unlike(folder, published) or ("" if models == "tiny" else _unfit(folder, published))
    except OSError as error:
        wrong = f"{error.filename or 'a file'} cannot be read ({error.strerror})"
    return Presence(role=role, state="wrong" if wrong else "present", folder=str(folder), why=wrong)


def _half(role: str, names: set[str]) -> str:
    """Which file is not there of those that the table names, if another one is; "" if none lacks."""
    needed = {name for name in CHECKPOINTS[role].files if "*" not in name and not name.endswith(".json")}
    absent = sorted(needed - names)
    return f"{absent[0]} is not there" if absent and needed & names else ""


def _unlike(folder: Path, published: Mapping[str, Published]) -> str:
    """How a file differs from what is published of it; "" if none does. The smallest files are hashed first."""
    there = [(name, folder / name, known) for name, known in published.items() if (folder / name).is_file()]
    for name, path, known in sorted(there, key=lambda one: one[1].stat().st_size):
        size = path.stat().st_size
        if known.size_bytes not in (None, size):
            return f"{name} has {size:,} bytes, the published one {known.size_bytes:,}"
        if known.sha256 and (found := sha256_of(path)) != known.sha256:
            return f"{name} has the sha256 {found[:12]}..., the published one {known.sha256[:12]}..."
    return ""


def _unfit(folder: Path, published: Mapping[str, Published]) -> str:
    """Which network's tensors are not those that its config describes; "" if none's, or if nobody here can say."""
    for config in sorted(path for path in files_of(folder) if path.name == "config.json"):
        weights = [path.relative_to(folder).as_posix() for path in config.parent.glob("*.safetensors")]
        known = all(name in published and published[name].sha256 for name in weights)
        if weights and not known and (wrong := _misfit(config)):
            return f"{config.parent.relative_to(folder).as_posix()}: {wrong}".removeprefix(".: ")
    return ""


def _misfit(config: Path) -> str:
    """What the tensors beside a config lack, or have of another shape; "" if nothing."""
    record = json.loads(config.read_text("utf-8"))
    library, name = ("diffusers", record.get("_class_name")) if "_class_name" in record else ("transformers", None)
    name = name or next(iter(record.get("architectures") or ()), None)
    kind: Any = getattr(import_module(library), str(name), None) if find_spec(library) else None
    if not hasattr(kind, "from_pretrained"):
        return ""
    options: dict[str, Any] = {"local_files_only": True, "output_loading_info": True, "device_map": {"": "meta"}}
    try:
        with _silent(library):
            said = kind.from_pretrained(config.parent, **options, **_OPTIONS.get(str(name), {}))[1]
    except Exception as error:  # a config with nonsense in it raises anything
        return f"{name} cannot take it: {' '.join(str(error).split())[:200]}"
    if missing := sorted(said["missing_keys"]):
        return f"{len(missing)} tensors of {name} are not there, such as {missing[0]}"
    if other := sorted(map(str, said["mismatched_keys"])):
        return f"{len(other)} tensors of {name} have another shape, such as {other[0]}"
    return ""


@contextmanager
def _silent(library: str) -> Iterator[None]:
    """While open, a library prints nothing of what it loads."""
    logging = import_module(library).utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
