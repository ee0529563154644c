"""What a run writes of a few pairs, found by writing them as a run does, into a folder that is removed again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tarfile import BLOCKSIZE

import numpy as np

from manifests.dataset import Dataset, Plan
from manifests.schema import MASK, Item, Pair
from manifests.tokens import FOLDER as TOKENS
from manifests.tokens import PairTokens, TokenizerRecord, write_tokens
from manifests.write.tar import places
from manifests.write.writer import UnitWriter
from operators.base import Reader
from operators.retrieve.seeded import choose_contexts
from pipelines.run.chain import Rejected
from pipelines.run.unit import store
from pipelines.tasks.task import Task

GRID = 32
"""Codes on a side of an image: 512 px, of which Chameleon's VQ-VAE has 16 a code (paper section 4)."""

CHARACTERS_A_TOKEN = 4
"""Of a text. Assumed, as operators/vlm/showing.py does."""

_CODE = 8_191  # the largest of Chameleon's codebook
_ID = 40_000  # a text token's: five digits in JSON, as most of Chameleon's 65,536 have
_UNTOLD = TokenizerRecord(vq_sha256="0" * 64, text_sha256="0" * 64, resolution_px=16 * GRID, codes=_CODE + 1)

_TABLES_A_UNIT_BYTES, _TABLES_A_PAIR_BYTES, _TEXTS_BYTES = 20_000.0, 500.0, 2_500.0
"""Of the tables of a unit, and of the rows and the texts' tokens of a pair, that are not made. Assumed: derain's, which
are measured whenever it is planned, have 20 KB, 0.4 KB and 2 KB."""

_CODES_BYTES = 512 + 2_560
"""An image's member of a token shard: its header; 128 bytes of .npy's and 32 x 32 codes of two bytes, padded."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What pairs of a task take on a disk, in bytes."""

    shard_a_pair: float = 0.0
    tables_a_unit: float = 0.0
    """Manifest, rejects and small pictures of rejects, whatever is in them."""
    tables_a_pair: float = 0.0
    """What a pair adds to them."""
    tokens_a_pair: float = 0.0
    """What `xprompt tokens` would add: codes of 512 px, and texts of a token every four characters."""


def assumed(picture_bytes: float, pictures: int) -> Written:
    """Of pairs that are not made: so many pictures, each of so many bytes."""
    return Written(
        shard_a_pair=picture_bytes * pictures,
        tables_a_unit=_TABLES_A_UNIT_BYTES,
        tables_a_pair=_TABLES_A_PAIR_BYTES,
        tokens_a_pair=_CODES_BYTES * pictures + _TEXTS_BYTES,
    )


def written(task: Task, reader: Reader, seed: int, items: Sequence[Item], made: Sequence[Pair | Rejected]) -> Written:
    """Of what became of some items. Raises OSError where there is no room for them.

    Tables have a part that does not depend on the number of rows: half of the items are written too, to know it.
    """
    whole = _unit(task, reader, seed, items, made)
    if not whole.pairs:
        return Written()
    half = _unit(task, reader, seed, items[: len(items) // 2], made[: len(items) // 2])
    more = whole.pairs - half.pairs
    a_pair = max(0.0, (whole.tables - half.tables) / more) if half.pairs and more else 0.0
    return Written(
        shard_a_pair=whole.shard / whole.pairs,
        tables_a_unit=max(0.0, whole.tables - a_pair * whole.pairs),
        tables_a_pair=a_pair,
        tokens_a_pair=whole.tokens / whole.pairs,
    )


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """Bytes of a unit, and its pairs."""

    pairs: int
    shard: int
    tables: int
    tokens: int


def _unit(task: Task, reader: Reader, seed: int, items: Sequence[Item], made: Sequence[Pair | Rejected]) -> _Unit:
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(folder)
        plan = Plan(task=task.name, fingerprint="0" * 64, config={}, units=1, items=len(items))
        name, suffixes = plan.name(0), reader.suffixes(items)
        with UnitWriter.open(dataset, plan, 0, prototype_task=task.prototype_task, suffixes=suffixes) as writer:
            for item, one in zip(items, made, strict=True):
                store(writer, reader.source, item, one)
        pairs = [stored.pair for stored in writer.stored]
        commit = writer.commit(*choose_contexts(pairs, seed, task.in_context), {})
        tables = _folder_bytes(folder) - commit.shard_bytes
        write_tokens(dataset, plan, 0, _UNTOLD, map(_tokens, pairs))
        return _Unit(
            pairs=len(pairs),
            shard=_members_bytes(Path(folder) / f"shards/{name}.tar"),
            tables=tables,
            tokens=_members_bytes(Path(folder) / TOKENS / f"{name}.tar"),
        )


def _folder_bytes(folder: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def _members_bytes(tar: Path) -> int:
    """Of a tar without its end, which is padded to 10 KiB: much in one of few pairs, and nothing in a shard."""
    with tar.open("rb") as file:
        return max((offset + size + -size % BLOCKSIZE for _, offset, size in places(file)), default=0)


def _tokens(pair: Pair) -> PairTokens:
    """Tokens as many as a pair's would be: which they are does not matter."""
    unseen = {MASK}.difference(*(example.inputs for example in pair.examples))
    grid = np.full((GRID, GRID), _CODE, np.uint16)
    examples = [
        {
            "direction": example.direction,
            "kind": example.kind,
            "inputs": list(example.inputs),
            "output": example.output or "",
            "instruction": _ids(example.instruction),
            "text": _ids(example.text or ""),
        }
        for example in pair.examples
    ]
    images = {image.role: grid for image in pair.images if image.role not in unseen}
    return PairTokens(pair=pair.key, images=images, examples=examples, rejects=())


def _ids(text: str) -> list[int]:
    return [_ID] * -(-len(text) // CHARACTERS_A_TOKEN)
