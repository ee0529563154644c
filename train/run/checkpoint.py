"""Checkpoints of a run: OUT/checkpoints/step-000500, whole or not there.

    .metadata, __0_0.distcp, ...    model and optimizer, by torch.distributed.checkpoint, written in the background
    rank-00000.json                 of each rank: its random state and its streams' cursors
    run.json                        the step, the identity of the data, and the configuration

A checkpoint is written below a temporary name and renamed when all ranks are done; a kill leaves the one before.
Another number of ranks reads it as well. Unlike shards, checkpoints are trusted: torch pickles their index.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.optim import Optimizer

from manifests.storage import Store
from train.data.stream import Cursor
from train.run.config import Config
from xprompt_model.model import XPromptChameleon

_NAME = re.compile(r"step-(\d{6,})")
_PARTIAL = "partial-"

_DATA_FIELDS = (
    "seed",
    "streams",
    "buffer_windows",
    "window_tokens",
    "windows",
    "global_windows",
    "xp_tokens",
    "interleaved_shards",
    "rope",
    "examples",
    "context_pixels",
)
_STATE_FIELDS = ("compress", "optimizer", "lora_rank", "lora_alpha", "lora_targets", "lora_whole", "frozen_bits")
"""What a data position or the weights depend on, beside the data, what the model learns to see of an example, and what
there is to train: a run goes on only with the same. Runs of before one of them could be chosen had its default."""

_TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run stands: steps done, and the cursor of each virtual stream that has moved."""

    step: int
    cursors: Mapping[int, Cursor]
    skips: Mapping[str, Any] = field(default_factory=dict)
    """The state of `spikes.Skips`, the same on all ranks."""


class Checkpoints:
    """The checkpoints of one run. All ranks call every method, in the same order."""

    def __init__(
        self, config: Config, model: XPromptChameleon, optimizer: Optimizer, corpus: str, frozen: str = ""
    ) -> None:
        """`corpus` is the identity of the data, `frozen` that of frozen weights, which are not written.

        Removes what a killed run left half-written.
        """
        self._corpus, self._frozen = corpus, frozen
        self._config, self._model, self._optimizer = config, model, optimizer
        self._folder = Path(config.out) / "checkpoints"
        self._rank = dist.get_rank()
        # The background thread's own, so that its collectives do not mix with training's.
        self._group = cast(dist.ProcessGroup, dist.new_group(backend="gloo"))
        self._pending: tuple[Future[Any], Path, Path] | None = None
        if self._rank == 0:
            for path in self._folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(path)
        dist.barrier()

    def save(self, position: Position) -> None:
        """Begin a checkpoint; it is written while training goes on. The one before is completed first."""
        self.finish()
        final = self._folder / f"step-{position.step:06d}"
        partial = self._folder / f"{_PARTIAL}{final.name}"
        partial.mkdir(parents=True, exist_ok=True)
        store = Store(str(partial))
        cursors = {str(stream): cursor for stream, cursor in position.cursors.items()}
        mine = {"random": _random_state(), "cursors": cursors}
        store.write_bytes(f"rank-{self._rank:05d}.json", json.dumps(mine).encode())
        if self._rank == 0:
            run: dict[str, Any] = {"step": position.step, "ranks": dist.get_world_size(), "corpus": self._corpus}
            run |= {"frozen": self._frozen, "config": asdict(self._config), "skips": dict(position.skips)}
            store.write_bytes("run.json", json.dumps(run, indent=1).encode())
        # Rank 0 writes .metadata when all ranks have written, so its own success means that all files are there.
        future = async_save(self._state(), checkpoint_id=str(partial), process_group=self._group)
        self._pending = cast("Future[Any]", future), partial, final

    def poll(self) -> None:
        """Complete the checkpoint that is being written, if it is. Costs nothing otherwise: call it every step."""
        if self._rank == 0 and self._pending and self._pending[0].done():
            self._complete()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written. Raises what writing it raised."""
        if self._pending:
            self._complete()

    def load(self) -> Position | None:
        """Restore the newest complete checkpoint into model and optimizer, or return None if there is none.

        Raises ValueError, one line, if it was made with other data, or another order of it, or is damaged.
        """
        found = max(self._complete_ones(), default=None, key=_step)
        if found is None:
            return None
        with _damage_of(found):
            run = json.loads((found / "run.json").read_text())
            identities = run["corpus"], run.get("frozen", "")
            before = json.loads(json.dumps(asdict(Config()))) | run["config"]
            ranks = [json.loads((found / f"rank-{rank:05d}.json").read_text()) for rank in range(run["ranks"])]
            cursors: dict[int, Cursor] = {
                int(stream): cursor for written in ranks for stream, cursor in written["cursors"].items()
            }
            position = Position(step=run["step"], cursors=cursors, skips=run.get("skips", {}))
        if identities[0] != self._corpus:
            raise ValueError(f"{found} was made with other data, or another mixture of it: choose another --out")
        if identities[1] != self._frozen:
            raise ValueError(f"{found} was made beside other frozen weights than {self._config.model}'s")
        now = json.loads(json.dumps(asdict(self._config)))  # tuples as JSON has them
        for name in (*_DATA_FIELDS, *_STATE_FIELDS):
            if before[name] != now[name]:
                raise ValueError(
                    f"{found} was made with {name} {before[name]!r}, not {now[name]!r}: choose another --out"
                )
        if self._config.optimizer == "adamw8bit" and len(ranks) != dist.get_world_size():
            raise ValueError(f"{found} was made by {len(ranks)} ranks: 8-bit moments cannot be divided anew")
        state = self._state()
        with _damage_of(found):
            there = FileSystemReader(found).read_metadata().state_dict_metadata
        for name, tensor in state["model"].items():
            of_name = there.get(f"model.{name}")
            if not isinstance(of_name, TensorStorageMetadata) or of_name.size != tensor.shape:
                raise ValueError(
                    f"{found} is of a model of other sizes than {self._config.model}: choose another --out"
                )
        with _damage_of(found):
            load(state, checkpoint_id=str(found))
            set_state_dict(
                self._model,
                self._optimizer,
                model_state_dict=state["model"],
                optim_state_dict=state["optimizer"],
                options=_TRAINED,
            )
            if self._rank < len(ranks):
                _set_random_state(ranks[self._rank]["random"])
        return position

    def _state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self._model, self._optimizer, options=_TRAINED)
        return {"model": model, "optimizer": optimizer}

    def _complete_ones(self) -> list[Path]:
        return [path for path in self._folder.glob("step-*") if _NAME.fullmatch(path.name)]

    def _complete(self) -> None:
        assert self._pending
        future, partial, final = self._pending
        self._pending = None
        try:
            future.result()
        except CheckpointException as error:
            first = next(iter(error.failures.values()))[0]
            # PyTorch's own words for a full disk are "unexpected pos 704 vs 598".
            free = shutil.disk_usage(self._folder).free / 1e6
            raise OSError(f"{partial} cannot be written: {first} ({free:,.0f} MB are free there)") from error
        if self._rank == 0:
            _fsync(partial)
            os.rename(partial, final)
            _fsync(self._folder)
            for old in sorted(self._complete_ones(), key=_step)[: -self._config.keep_checkpoints]:
                shutil.rmtree(old)


@contextmanager
def _damage_of(found: Path) -> Iterator[None]:
    """Raises ValueError, one line, for a file of a checkpoint that is missing or cannot be read."""
    try:
        yield
    except CheckpointException as error:
        why: BaseException = next(iter(error.failures.values()))[0]
    except RuntimeError:  # of a collective: another rank is gone
        raise
    except Exception as error:  # damaged pickles raise whatever their bytes happen to ask for
        why = error
    else:
        return
    said = " ".join(f"{type(why).__name__}: {why}".split())[:300]
    raise ValueError(f"{found} is damaged ({said}): remove it, and the run goes on from the one before it") from None


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _random_state() -> dict[str, str]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return {name: base64.b64encode(state.numpy().tobytes()).decode() for name, state in states.items()}


def _set_random_state(states: Mapping[str, str]) -> None:
    for name, text in states.items():
        state = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
        if name == "cpu":
            torch.set_rng_state(state)
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(state)
