"""Tokenizers for tiny checkpoints, in the classes and files of the real ones, built without training or download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer, T5Tokenizer

_MERGES = 3_000
"""How many of CLIP's 48,894 merges are kept: common English words are one token, others a few."""

_BYTES = 256


def clip_tokenizer(max_tokens: int = 77) -> Any:
    """CLIP's own byte-pair encoding, cut short. It comes with open_clip."""
    merges = [tuple(line.split()) for line in _clip_merges()]
    # Ids in the order of https://github.com/openai/CLIP, clip/simple_tokenizer.py.
    characters = list(_byte_characters())
    words = [*characters, *(f"{character}</w>" for character in characters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_tokens)  # type: ignore[arg-type]


def t5_tokenizer(max_tokens: int) -> Any:
    """SentencePiece's scheme over CLIP's common words, and single characters for the rest."""
    words = sorted({"".join(line.split()).removesuffix("</w>") for line in _clip_merges() if line.endswith("</w>")})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    pieces += [(f"▁{word}", -4.0) for word in words if word.isascii() and word.isalpha()]
    pieces += [(chr(code), -10.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=max_tokens)


def _clip_merges() -> list[str]:
    spec = find_spec("open_clip")
    assert spec and spec.origin
    with gzip.open(Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as lines:
        next(lines)  # its version
        return [next(lines).strip() for _ in range(_MERGES)]


def _byte_characters() -> list[str]:
    """The visible character that stands for each byte in byte-level BPE, visible bytes first."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(_BYTES) if byte not in visible]
    return [*map(chr, visible), *(chr(_BYTES + index) for index in range(len(others)))]
