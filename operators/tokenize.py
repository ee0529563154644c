"""Turns a dataset's images and texts into Chameleon's tokens, once and ahead of training.

A 512 px image takes 12 seconds of a CPU core, so no trainer should do it. `VQGAN.encode` takes images one after the
other, and here on one thread: the codes of an image are the same beside any other, in any worker. On a GPU they are
those of its kernels, which need not be the CPU's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.images.pixels import decode_rgb
from manifests.read.query import read_image
from manifests.schema import Reject
from manifests.tokens import MAX_CODES, Codes, PairTokens, TokenCommit, TokenizerRecord, write_tokens

FOLDER = "chameleon"
"""The checkpoint's folder below MODELS: config.json, tokenizer.json, and the VQ tokenizer's weights."""

TEXT_FILE = "tokenizer.json"

GPUS = 0.25
"""Share of a GPU that a worker takes, where the cluster has some: decoding images keeps it waiting otherwise."""

_COLUMNS = ["pair", "direction", "kind", "instruction", "inputs", "output", "text", "shard", "images"]


class Tokenizer:
    """Chameleon's two tokenizers, of images and of texts, in a local folder."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Raises ValueError naming what is missing or does not fit."""
        import torch
        from tokenizers import Tokenizer as TextTokenizer

        from xprompt_model.vqgan import VQGAN

        if not (folder / TEXT_FILE).is_file():
            raise ValueError(f"{folder} has no {TEXT_FILE}: it is to be in the format of facebook/chameleon-7b")
        torch.set_num_threads(1)  # sums on several are rounded otherwise
        self._vqgan = VQGAN.load(folder, device=device)
        self._text = TextTokenizer.from_file(str(folder / TEXT_FILE))
        if self._vqgan.codes > MAX_CODES:
            raise ValueError(f"{folder} has {self._vqgan.codes:,} image codes: at most {MAX_CODES:,} fit two bytes")
        self.record = TokenizerRecord(
            vq_sha256=self._vqgan.fingerprint,
            text_sha256=hashlib.sha256((folder / TEXT_FILE).read_bytes()).hexdigest(),
            resolution_px=self._vqgan.resolution_px,
            codes=self._vqgan.codes,
        )

    def image(self, data: bytes) -> Codes:
        """The code grid of an image file: its centred square, scaled to the tokenizer's. Raises Reject."""
        return self._vqgan.tokenize(decode_rgb(data)).astype(np.uint16)

    def text(self, text: str) -> list[int]:
        """Token ids without any that begin or end a text."""
        ids: list[int] = self._text.encode(text, add_special_tokens=False).ids
        return ids


@lru_cache(maxsize=1)
def load_tokenizer(folder: Path) -> Tokenizer:
    """A tokenizer, loaded once a process, on the GPU if there is one. Raises as `Tokenizer`."""
    import torch

    return Tokenizer(folder, "cuda" if torch.cuda.is_available() else "cpu")


def tokenize_unit(dataset: Dataset, plan: Plan, unit: int, tokenizer: Tokenizer) -> TokenCommit:
    """Write and commit the tokens of a unit. Raises DatasetError if an image of its shard is missing or damaged."""
    return write_tokens(dataset, plan, unit, tokenizer.record, _pairs(dataset, plan.name(unit), tokenizer))


def _pairs(dataset: Dataset, name: str, tokenizer: Tokenizer) -> Iterator[PairTokens]:
    """The pairs of a unit in their manifest's order."""
    with dataset.store.open(f"manifest/{name}.parquet") as file:
        rows = pq.ParquetFile(file).read(columns=_COLUMNS).to_pylist()
    pairs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault(row["pair"], []).append(row)
    for pair, of_pair in pairs.items():
        first = of_pair[0]
        images = {image["role"]: _image(dataset, first["shard"], image, tokenizer) for image in first["images"]}
        yield PairTokens(pair=pair, images=images, examples=_examples(of_pair, tokenizer))


def _image(dataset: Dataset, shard: str, image: Mapping[str, Any], tokenizer: Tokenizer) -> Codes:
    try:
        return tokenizer.image(read_image(dataset, shard, image))
    except Reject as reject:  # the writer has decoded every image: it was damaged since
        raise DatasetError(f"{dataset.url}/shards/{shard}: {image['member']}: {reject.message}") from None


def _examples(rows: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    return [
        {
            "direction": row["direction"],
            "kind": row["kind"],
            "inputs": list(row["inputs"]),
            "output": row["output"] or "",
            "instruction": tokenizer.text(row["instruction"]),
            "text": tokenizer.text(row["text"] or ""),
        }
        for row in rows
    ]
