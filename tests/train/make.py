"""Small datasets with token shards, written here as the contract says, and a tiny model to train on them."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import torch

from infra.tiny.chameleon import CODES, tiny_config, write_chameleon
from manifests.dataset import Dataset, write_table
from manifests.schema import Item, Pair, canonical_json
from manifests.tokens import FOLDER, TOKENS, token_folder
from manifests.write.tar import TarWriter
from tests.datasets import examples
from tests.manifests.make import make_dataset, make_pair
from train.data.stream import StreamOptions
from xprompt_model.model import XPromptChameleon
from xprompt_model.text import TextTokenizer
from xprompt_model.vocabulary import Vocabulary
from xprompt_model.vqgan import VQGAN

CONFIG = tiny_config()
VOCABULARY = Vocabulary.from_config(CONFIG)
SIDE = VOCABULARY.image_side_tokens
WORDS = range(CODES + 100, VOCABULARY.size)
"""Ids of text tokens."""

Members = list[tuple[str, bytes]]


@cache
def tokenizers() -> Path:
    """A folder with the tiny checkpoint's two tokenizers, which every dataset and model of this module says it has."""
    with tempfile.TemporaryDirectory() as written:
        source, folder = write_chameleon(Path(written)), Path(tempfile.mkdtemp())
        for name in ("tokenizer.json", "vqgan.ckpt", "config.json"):
            shutil.copy(source / name, folder / name)
    return folder


@cache
def record() -> dict[str, Any]:
    """What token shards record of those tokenizers."""
    vqgan = VQGAN.load(tokenizers())
    return {
        "codes": CODES,
        "resolution_px": vqgan.resolution_px,
        "text_sha256": TextTokenizer(tokenizers()).fingerprint,
        "vq_sha256": vqgan.fingerprint,
    }


def make_tokens(url: str, *, task: str = "derain", units: int = 3, pairs: int = 4, own_groups: bool = False) -> Dataset:
    """A finished dataset with token shards: random images and texts, the same for the same pair.

    Its pairs are of two groups, or each of its own.
    """
    with mock.patch("tests.manifests.make.make_pair", _of_its_own_group if own_groups else make_pair):
        dataset = make_dataset(url, task=task, units=units, pairs=pairs)
    rows = examples(dataset)
    for unit, (name, _) in enumerate(dataset.commits()):
        of_unit = [row for row in rows if row["shard"] == f"{name}.tar"]
        keys = list(dict.fromkeys(row["pair"] for row in of_unit))
        samples = [(key, sample(key, [row for row in of_unit if row["pair"] == key])) for key in keys]
        write_token_shard(dataset, name, unit, samples)
    return dataset


def _of_its_own_group(task: str, item: Item) -> Pair:
    return replace(make_pair(task, item), group=f"photo {item.index}")


def add_small_tokens(dataset: Dataset, pixels: int, **tokenizer: Any) -> None:
    """Beside the tokens of a dataset those of its images at `pixels`, of a tokenizer that may differ."""
    side = SIDE * pixels // record()["resolution_px"]
    rows = examples(dataset)

    def edit(values: dict[str, Any]) -> None:
        values["tokenizer"] = {**record(), "resolution_px": pixels, **tokenizer}

    for unit, (name, _) in enumerate(dataset.commits()):
        of_unit = [row for row in rows if row["shard"] == f"{name}.tar"]
        keys = list(dict.fromkeys(row["pair"] for row in of_unit))
        samples = [(key, sample(key, [row for row in of_unit if row["pair"] == key], side)) for key in keys]
        write_token_shard(dataset, name, unit, samples, edit, token_folder(pixels))


def sample(key: str, rows: list[dict[str, Any]], side: int = SIDE) -> Members:
    """A pair's members."""
    random = np.random.default_rng(int(key[:12], 16))
    members = [(f"{key}.{role}.npy", npy(random.integers(0, CODES, (side, side)))) for role in ("input", "target")]
    listed = []
    for row in rows:
        listed.append(
            {
                "direction": row["direction"],
                "kind": row["kind"],
                "inputs": row["inputs"],
                "output": row["output"] or "",
                "instruction": random.choice(WORDS, 3).tolist(),
                "text": random.choice(WORDS, 5).tolist() if row["text"] else [],
            }
        )
    return [*members, (f"{key}.json", canonical_json({"examples": listed}).encode())]


def npy(codes: np.ndarray, dtype: str = "<u2") -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, codes.astype(dtype), allow_pickle=False)
    return buffer.getvalue()


def write_token_shard(
    dataset: Dataset,
    name: str,
    unit: int,
    samples: list[tuple[str, Members]],
    edit: Callable[[dict[str, Any]], None] = lambda values: None,
    folder: str = FOLDER,
) -> None:
    """A token shard and its commit, whose metadata `edit` may change."""
    file, rows = io.BytesIO(), []
    tar = TarWriter(file)
    for key, members in samples:
        start = tar.bytes
        for member, content in members:
            tar.append(member, content)
        rows.append({"pair": key, "offset": start, "bytes": tar.bytes - start})
    tar.finish()
    values: dict[str, Any] = {
        "unit": unit,
        "fingerprint": "t" * 64,
        "tokenizer": record(),
        "shard_bytes": tar.bytes,
        "shard_sha256": tar.sha256,
        "members": tar.members,
        "pairs": len(rows),
        "rejects": {},
        "rejects_sha256": "",
    }
    edit(values)
    dataset.store.write_bytes(f"{folder}/{name}.tar", file.getvalue())
    write_table(dataset.store, f"{folder}/{name}.parquet", pa.Table.from_pylist(rows, schema=TOKENS), values)


def make_model(folder: Path, seed: int = 0) -> Path:
    """A checkpoint directory of a random model with the tiny vocabulary, and the tokenizers of `tokenizers`."""
    torch.manual_seed(seed)
    XPromptChameleon(CONFIG, xp_tokens=4).save_pretrained(folder)
    for name in ("tokenizer.json", "vqgan.ckpt"):
        shutil.copy(tokenizers() / name, folder / name)
    (folder / "xprompt.safetensors").unlink()
    return folder


def options(**changes: Any) -> StreamOptions:
    """Four streams of micro-batches that hold two or three documents."""
    defaults: Mapping[str, Any] = {
        "seed": 0,
        "streams": 4,
        "window_tokens": 128,
        "windows": 2,
        "buffer_windows": 4,
        "xp_tokens": 4,
        "max_bad_shards": 0,
        "cached_shards": 2,
        "interleaved_shards": 2,
    }
    return StreamOptions(**{**defaults, **changes})
