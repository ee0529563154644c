"""Networks that several pipelines of one process share, since they are loaded from equal files.

FLUX.1 [dev], Fill and Kontext are three repositories with the same text encoders and VAE: 9.3 of the 31.4 GiB of each.
Only networks that no operator changes are shared. UNets and transformers are changed, by an IP-Adapter or by taking
cross-attention out, and stay each pipeline's own.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from operators.models.files import sha256_of

UNCHANGED = ("text_encoder", "text_encoder_2", "vae")
"""The components of diffusers' pipelines that no operator changes."""

_BOOKKEEPING = ("_name_or_path", "_diffusers_version", "transformers_version")
"""What a config says of who wrote it, and not of the network."""


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """Where a network was loaded from, and as what."""

    kind: tuple[str, str]
    """Library and class, as a pipeline's model_index.json has them."""
    folder: Path

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Name and bytes of each file but the config, whose bookkeeping differs."""
        return [(name, file.stat().st_size) for name, file in _files(self.folder) if name != "config.json"]

    @property
    def contents(self) -> list[tuple[str, Any]]:
        """Name and sha256 of each file, and what the config says of the network."""
        return [
            (name, _described(file) if name == "config.json" else sha256_of(file)) for name, file in _files(self.folder)
        ]

    def equals(self, other: _Origin) -> bool:
        """Whether both are the same network. Files of one name are hashed only where they are of one size too."""
        if self.kind != other.kind:
            return False
        return self.folder == other.folder or (self.sizes == other.sizes and self.contents == other.contents)


_loaded: WeakKeyDictionary[Any, _Origin] = WeakKeyDictionary()
"""The networks of this process that may be shared. One that no pipeline holds any more is gone from here by itself."""


def shared_networks(folder: str) -> dict[str, Any]:
    """The networks of the pipeline in a folder that this process has loaded already, by the names of components."""
    return {
        name: network
        for name, origin in _origins(folder).items()
        if (network := next((known for known, where in _loaded.items() if where.equals(origin)), None)) is not None
    }


def remember(pipe: Any, folder: str, elsewhere: Collection[str]) -> None:
    """Let later pipelines share the networks of one that was loaded from a folder, but those components `elsewhere`."""
    for name, origin in _origins(folder).items():
        if name not in elsewhere:
            _loaded.setdefault(getattr(pipe, name), origin)


def _origins(folder: str) -> dict[str, _Origin]:
    """Component -> origin, of those components of the pipeline in a folder that may be shared."""
    index = json.loads(Path(folder, "model_index.json").read_text("utf-8"))
    return {
        name: _Origin(kind=(index[name][0], index[name][1]), folder=Path(folder, name).resolve())
        for name in UNCHANGED
        if index.get(name, [None])[0]
    }


def _files(folder: Path) -> list[tuple[str, Path]]:
    """The name of each file below a folder, and the file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted((path.relative_to(folder).as_posix(), path) for path in files)


def _described(config: Path) -> dict[str, Any]:
    return {key: value for key, value in json.loads(config.read_text("utf-8")).items() if key not in _BOOKKEEPING}
