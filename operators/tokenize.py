"""Turns a dataset's images and texts into Chameleon's tokens, once and ahead of training.

A 512 px image takes 12 seconds of a CPU core, so no trainer should do it. `VQGAN.encode` takes images one after the
other, and here on one thread: the codes of an image are the same beside any other, in any worker. On a GPU they are
those of its kernels, which need not be the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.images.pixels import decode_rgb
from manifests.parquet import ParquetFile
from manifests.read.query import read_image
from manifests.schema import MASK, Reject
from manifests.tokens import MAX_CODES, Codes, PairTokens, TokenCommit, TokenizerRecord, write_tokens
from operators.models.device import prepared_device

FOLDER = "chameleon"
"""The checkpoint's folder below MODELS: config.json, tokenizer.json, and the VQ tokenizer's weights."""

MAX_TEXT_TOKENS = 4_096
"""Chameleon's own window. In the 5,120 tokens of the paper's, a longer text would have no room beside an image."""

OPERATOR = "tokenize"
"""What rejected a text, in the table of rejects."""

GPUS = 0.25
"""Share of a GPU that a worker takes, where the cluster has some: decoding images keeps it waiting otherwise."""

_COLUMNS = [
    *("pair", "task", "source", "source_ref", "direction", "kind", "instruction", "inputs", "output", "text"),
    *("shard", "images"),
]


class Tokenizer:
    """Chameleon's two tokenizers, of images and of texts, in a local folder."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Raises ValueError naming what is missing or does not fit."""
        import torch

        from xprompt_model.text import TextTokenizer
        from xprompt_model.vqgan import VQGAN

        self._text = TextTokenizer(folder)
        torch.set_num_threads(1)  # sums on several are rounded otherwise
        self._vqgan = VQGAN.load(folder, device=device)
        if self._vqgan.codes > MAX_CODES:
            raise ValueError(f"{folder} has {self._vqgan.codes:,} image codes: at most {MAX_CODES:,} fit two bytes")
        self.record = TokenizerRecord(
            vq_sha256=self._vqgan.fingerprint,
            text_sha256=self._text.fingerprint,
            resolution_px=self._vqgan.resolution_px,
            codes=self._vqgan.codes,
        )

    def at(self, pixels: int) -> TokenizerRecord:
        """What the tokens of images of `pixels` x `pixels` depend on; 0: of the tokenizer's own resolution.

        Raises ValueError for a side that is not below it, or is no whole number of codes.
        """
        own, each = self.record.resolution_px, self._vqgan.pixels_per_code
        if not pixels:
            return self.record
        if not 0 < pixels < own or pixels % each:
            raise ValueError(f"--context-pixels {pixels}: it is a multiple of {each} below the tokenizer's {own}")
        return replace(self.record, resolution_px=pixels)

    def image(self, data: bytes, pixels: int = 0) -> Codes:
        """The code grid of an image file: its centred square, scaled to `pixels`, or the tokenizer's. Raises Reject."""
        return self._vqgan.tokenize(decode_rgb(data), pixels or None).astype(np.uint16)

    def text(self, text: str) -> list[int]:
        """Token ids without any that begin or end a text. Raises Reject for a text that cannot be trained on."""
        from xprompt_model.text import NoTokens

        try:
            ids: list[int] = self._text.ids(text).tolist()
        except NoTokens as error:
            raise Reject(error.reason, str(error)) from None
        if len(ids) > MAX_TEXT_TOKENS:
            raise Reject("too_long", f"it has {len(ids):,} tokens: at most {MAX_TEXT_TOKENS:,} can be trained on")
        return ids


@lru_cache(maxsize=1)
def load_tokenizer(folder: Path) -> Tokenizer:
    """A tokenizer, loaded once a process, on a GPU if there is one, by kernels that repeat. Raises as `Tokenizer`."""
    return Tokenizer(folder, prepared_device())


def tokenize_unit(dataset: Dataset, plan: Plan, unit: int, tokenizer: Tokenizer, pixels: int = 0) -> TokenCommit:
    """Write and commit the tokens of a unit, and what has none because of its texts; `pixels` as `token_folder` has it.

    Raises DatasetError if an image of its shard is missing or damaged.
    """
    pairs = _pairs(dataset, plan.name(unit), tokenizer, pixels)
    return write_tokens(dataset, plan, unit, tokenizer.at(pixels), pairs, pixels)


def _pairs(dataset: Dataset, name: str, tokenizer: Tokenizer, pixels: int) -> Iterator[PairTokens]:
    """The pairs of a unit in their manifest's order; without masks that no example has as an input."""
    with dataset.store.open(f"manifest/{name}.parquet") as file:
        rows = ParquetFile(file).read(columns=_COLUMNS).to_pylist()
    pairs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault(row["pair"], []).append(row)
    for pair, of_pair in pairs.items():
        first = of_pair[0]
        unseen = {MASK}.difference(
            *(row["inputs"] for row in of_pair)
        )  # nothing is learnt from it, and it costs as much
        images = {
            image["role"]: _image(dataset, first["shard"], image, tokenizer, pixels)
            for image in first["images"]
            if image["role"] not in unseen
        }
        examples, rejects = _examples(of_pair, tokenizer)
        yield PairTokens(pair=pair, images=images, examples=examples, rejects=rejects)


def _image(dataset: Dataset, shard: str, image: Mapping[str, Any], tokenizer: Tokenizer, pixels: int) -> Codes:
    try:
        return tokenizer.image(read_image(dataset, shard, image), pixels)
    except Reject as reject:  # the writer has decoded every image: it was damaged since
        raise DatasetError(f"{dataset.url}/shards/{shard}: {image['member']}: {reject.message}") from None


def _examples(
    rows: Sequence[Mapping[str, Any]], tokenizer: Tokenizer
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The examples of a pair that have tokens, and a reject for each of its texts that has none."""
    examples, refused = [], dict[str, tuple[Reject, list[str]]]()
    for row in rows:
        texts: dict[str, list[int]] = {}
        for field in ("instruction", "text") if row["kind"] == "describe" else ("instruction",):
            said = row[field] or ""
            try:
                texts[field] = tokenizer.text(said)
            except Reject as reject:
                refused.setdefault(said, (reject, []))[1].append(f"{row['direction']} {row['kind']}, {field}")
        if len(texts) == (2 if row["kind"] == "describe" else 1):
            examples.append(
                {
                    "direction": row["direction"],
                    "kind": row["kind"],
                    "inputs": list(row["inputs"]),
                    "output": row["output"] or "",
                    "instruction": texts["instruction"],
                    "text": texts.get("text", []),
                }
            )
    return examples, [_reject(rows[0], reject, places) for reject, places in refused.values()]


def _reject(row: Mapping[str, Any], reject: Reject, places: Sequence[str]) -> dict[str, Any]:
    """A row of the rejects table, for a text of a pair and the examples that it costs."""
    return {
        "task": row["task"],
        "source": row["source"],
        "source_ref": row["source_ref"],
        "files": [],
        "operator": OPERATOR,
        "reason": reject.reason,
        "message": f"pair {row['pair']} ({'; '.join(places)}): {reject.message}",
        "scores": [],
    }
