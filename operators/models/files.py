"""The files of a checkpoint: which there are, whether they are whole, and what they say of themselves.

Nothing is loaded: of a safetensors file the header is read, which says how large the file must be.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from manifests.schema import in_short

_SIZES = frozenset(["hidden_size", "num_attention_heads", "num_key_value_heads", "patch_size"])
"""Entries of a config by which a network is divided, and which no network has as 0."""

_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS leaves in the place of the real one (https://git-lfs.com, its specification)."""

_INDICES = ("model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json")
"""What transformers and diffusers read where there are several files of weights. Indices of variants are not read."""

_MOST_HEADER_BYTES = 100_000_000
"""The longest header of a safetensors file: MAX_HEADER_SIZE of https://github.com/huggingface/safetensors."""


_MOST_JSON_BYTES = 64 * 2**20
"""The largest file of JSON in a checkpoint: the largest tokenizers of today have half of that."""

_WEIGHTS = frozenset((".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".onnx", ".h5", ".msgpack"))
"""How files of weights end that the libraries write beside a network's config.json."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Damaged(ValueError):
    """A file of a checkpoint is not whole. The message says what is wrong with it, without its name."""


def files_of(folder: Path) -> Iterator[Path]:
    """The files of a checkpoint: not hidden ones, which are downloaders' notes, nor its card."""
    for path in _below(folder, frozenset()):
        if path.is_file() and path.suffix != ".md":
            yield path


def sha256_of(file: Path) -> str:
    """The sha256 of a file. The cache of the hub has large files as links to files that are named by it."""
    target = file.resolve()
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return target.name
    stat = target.stat()
    return _hashed(target, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _hashed(path: Path, size: int, mtime_ns: int) -> str:
    """The sha256 of a file as it is at a size and a time of change: a large one takes a while."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """What is below a folder, links followed: a component may be one that other checkpoints have too. No circle is."""
    above |= {folder.resolve()}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif path.resolve() not in above:
            yield from _below(path, above)


def damage(folder: Path) -> str:
    """What is wrong with the files in a checkpoint's folder, in a few words; "" if they are whole.

    A file that cannot be read, is cut short or longer than it says, a pointer of Git LFS, an index whose files are not
    all there, a component of a pipeline that is not there, a network's config without weights or with a size of 0.
    What tensors hold is not looked at.
    """
    for path in sorted(files_of(folder)):
        name = path.relative_to(folder).as_posix()
        try:
            if path.name.endswith(".safetensors"):
                header(path)
            elif path.name in _INDICES:
                _refuse_missing(path.parent, _indexed(path))
            elif path.name == "model_index.json":
                parts = {part for part, kind in _read(path).items() if isinstance(kind, list) and any(kind[:1])}
                _refuse_missing(path.parent, parts)
            elif path.name == "config.json":
                _refuse_without_weights(path)
            elif path.suffix == ".json":
                _refuse_too_large(path)
            else:
                _refuse_pointer(path)
        except Damaged as why:
            return f"{name} {why}"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return ""


def header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: name -> {dtype, shape, data_offsets}. Raises Damaged."""
    _refuse_pointer(path)
    size = path.stat().st_size
    with path.open("rb") as opened:
        first = opened.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if not 2 <= length <= _MOST_HEADER_BYTES:
            raise Damaged("is no safetensors file")
        text = opened.read(length)
    if len(text) < length:
        raise Damaged(f"is cut short, after {size:,} bytes")
    try:
        tensors: dict[str, Any] = json.loads(text)
        tensors.pop("__metadata__", None)
        end = 8 + length + max((one["data_offsets"][1] for one in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise Damaged("is no safetensors file") from None
    if size != end:
        raise Damaged(f"is {'cut short' if size < end else 'too long'}: it has {size:,} bytes, and should have {end:,}")
    return tensors


def _read(path: Path) -> dict[str, Any]:
    _refuse_too_large(path)
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if isinstance(record, dict):
            return record
    except (ValueError, RecursionError):
        pass
    raise Damaged("is not JSON")


def _indexed(path: Path) -> set[str]:
    """The files that an index names."""
    files = _read(path).get("weight_map")
    if isinstance(files, dict) and files and all(isinstance(name, str) for name in files.values()):
        return set(files.values())
    raise Damaged("is no index: it names no files")


def _refuse_without_weights(config: Path) -> None:
    record = _read(config)
    network = "architectures" in record or str(record.get("_class_name", "Scheduler"))[-9:] != "Scheduler"
    if network and not any(path.suffix in _WEIGHTS for path in config.parent.iterdir()):
        raise Damaged("is there, its weights are not: the download may not have come to its end")
    _refuse_sizes(record)


def _refuse_sizes(record: Mapping[str, Any]) -> None:
    """Raises Damaged for a size that no network has; the parts of a model have records of their own in it."""
    for key, value in record.items():
        if isinstance(value, dict):
            _refuse_sizes(value)
        elif key in _SIZES and isinstance(value, int) and value < 1:
            raise Damaged(f"says that {key} is {value}")


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise Damaged("is a pointer of Git LFS and not the file: git lfs pull")


def _refuse_too_large(path: Path) -> None:
    _refuse_pointer(path)
    if (size := path.stat().st_size) > _MOST_JSON_BYTES:
        raise Damaged(f"has {size:,} bytes: none that is read has over {_MOST_JSON_BYTES:,}")


def _refuse_missing(folder: Path, names: set[str]) -> None:
    for name in sorted(names):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise Damaged(f"names {in_short(name, 100)}, which is not in its folder")
    missing = sorted(name for name in names if not (folder / name).exists())
    if missing:
        raise Damaged(f"names {in_short(missing[0], 100)}, which is not there")
