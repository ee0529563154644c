"""Compressed in-context examples on disk, so that none is run twice: not by one process after another, nor by several
at once.

A file is named by the hash of all that its content depends on: the model's weights and the example's tokens. It is
written beside its place and then renamed, so that it is whole or not there, and begins with a hash of the rest: one
that is damaged is not used, but made again. The file of an example that was compressed to 64 X-Prompt tokens has 34 MB
with a model of 7B in bfloat16.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from xprompt_model.cache import Compressed, KeyValues
from xprompt_model.generator import Generator
from xprompt_model.layout import Turn
from xprompt_model.model import XPromptChameleon

_VERSION = 1
"""Raised whenever the same example would be compressed to something else, or be written otherwise."""
_SUFFIX = ".compressed"
_HASH_BYTES = 32


def model_identity(model: XPromptChameleon) -> str:
    """A hash of a model's config, weights and their type, and of the kind of device, on whose arithmetic bits depend.

    It reads every byte of the weights: some ten seconds with a model of 7B in bfloat16 on one core, fewer on several.
    """
    digest = hashlib.sha256(f"{model.config.to_json_string()}{model.xp.device.type}".encode())
    state = model.state_dict()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, found in zip(state, pool.map(_tensor_hash, state.values()), strict=True):
            digest.update(f"{name} {state[name].dtype} {found}\n".encode())
    return digest.hexdigest()


class Library:
    """A folder of compressed examples. Models share it, and processes."""

    def __init__(self, folder: Path | str, identity: str) -> None:
        """`identity` is of the model: see `model_identity`. Raises OSError if the folder cannot be made."""
        self._folder, self._identity = Path(folder), identity
        self._folder.mkdir(parents=True, exist_ok=True)
        self._in_use: WeakValueDictionary[str, Compressed] = WeakValueDictionary()
        self.damaged = 0
        """How many files were found damaged, and made again."""

    def compressed(self, generator: Generator, context: Turn, *, keep_example: bool = False) -> Compressed:
        """The example from its file, or as `Generator.compress` makes it, and then there is a file.

        While one is in use it is the same object each time, which is what a batch shares a beginning by. Raises as
        `Generator.compress`, and OSError if a file cannot be read or written.
        """
        key = self._key(context, keep_example)
        found = self._in_use.get(key) or self._read(key, generator.device)
        if found is None:
            found = generator.compress(context, keep_example=keep_example)
            self._write(key, found)
        self._in_use[key] = found
        return found

    def _key(self, context: Turn, keep_example: bool) -> str:
        digest = hashlib.sha256(f"{_VERSION} {self._identity} {keep_example} {len(context.inputs)}".encode())
        for tokens in (context.instruction, *context.inputs, context.output):
            digest.update(f" {tokens.shape} ".encode() + np.asarray(tokens, np.int64).tobytes())
        return digest.hexdigest()

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}{_SUFFIX}"

    def _read(self, key: str, device: torch.device) -> Compressed | None:
        try:
            content = memoryview(self._path(key).read_bytes())
        except FileNotFoundError:
            return None
        try:
            if content[:_HASH_BYTES] != _content_hash(key, content[_HASH_BYTES:]):
                raise ValueError("its hash is another")
            tensors = {name: tensor.to(device) for name, tensor in load(bytes(content[_HASH_BYTES:])).items()}
        except (ValueError, SafetensorError):
            self.damaged += 1
            return None
        cache = KeyValues.of([*zip(tensors["keys"].unbind(), tensors["values"].unbind(), strict=True)])
        tokens, bytes_before = tensors["numbers"].tolist()
        return Compressed(cache=cache, tokens=tokens, bytes_before=bytes_before, bytes_after=cache.nbytes, seconds=0.0)

    def _write(self, key: str, made: Compressed) -> None:
        keys, values = (torch.stack([*of_layers]).cpu() for of_layers in zip(*made.cache.layers, strict=True))
        numbers = torch.tensor([made.tokens, made.bytes_before])
        content = save({"keys": keys, "values": values, "numbers": numbers})
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_content_hash(key, content) + content)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise


def _content_hash(key: str, content: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return digest.digest()


def _tensor_hash(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()
