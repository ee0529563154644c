"""Which token means what: read off a Chameleon checkpoint's `config.json`, whose `vocabulary_map` names every token.

An image's code k is the token named `IMGIMG<k, its digits written A to J>Z`: transformers reads the names the same way
(ChameleonImageVocabularyMapping). The separator between a prompt and its answer is `<reserved08706>`, as in Chameleon's
own conversations. `config.bos_token_id` is not used: transformers' default, 1, is Chameleon's `<pad>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from transformers import ChameleonConfig, ChameleonVQVAEConfig

Ids = NDArray[np.int64]
"""Token ids, or an image's codes."""

BEGIN_TEXT, PAD, END_TEXT = "<s>", "<pad>", "</s>"
BEGIN_IMAGE, END_IMAGE = "<racm3:break>", "<eoss>"
SEPARATOR = "<reserved08706>"
UNKNOWN, IMAGE = "<unk>", "<image>"
"""What stands for characters without a token, and, in transformers' prompts, for an image. We use neither."""

_CODE_NAME = re.compile("IMGIMG([A-J]+)Z")
_RESERVED_NAME = re.compile(r"<reserved\d+>")
_ROLES = frozenset((BEGIN_TEXT, PAD, END_TEXT, UNKNOWN, BEGIN_IMAGE, END_IMAGE, SEPARATOR, IMAGE))
_DIGITS = str.maketrans("ABCDEFGHIJ", "0123456789")


def code_name(code: int) -> str:
    """The name of an image code's token: 8,191 is IMGIMGIBJBZ."""
    return f"IMGIMG{str(code).translate(str.maketrans('0123456789', 'ABCDEFGHIJ'))}Z"


def is_reserved(name: str) -> bool:
    """Whether a token of this name is never a piece of a text that is read: an image's, or one that has a role."""
    return name in _ROLES or bool(_CODE_NAME.fullmatch(name) or _RESERVED_NAME.fullmatch(name))


def _is_text(name: str) -> bool:
    """Whether a generated text may hold a token of this name: neither an image's, nor one that begins with "<".

    The rule of facebookresearch/chameleon, chameleon/inference/vocab.py. It costs words like "</", which a text that is
    read may hold: among the names with a "<", vocabularies of other sizes do not tell which are reserved.
    """
    return not _CODE_NAME.fullmatch(name) and (name == "<" or not name.startswith("<"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """The tokens that have a role, and those that are text. Everything else is reserved."""

    size: int
    text_ids: Ids
    """The tokens of which a text that is generated may be made, in order: see `_is_text`."""
    image_ids: Ids
    """Image code -> token id, [K]."""
    begin_image: int
    end_image: int
    separator: int
    begin_text: int
    end_text: int
    pad: int
    image_side_tokens: int
    """The number of codes along each side of an image: 32 at 512 px."""

    @classmethod
    def from_config(cls, config: ChameleonConfig) -> Vocabulary:
        """Raises ValueError if the config has no vocabulary map, or lacks one of the tokens."""
        names, vq = config.vocabulary_map, config.vq_config
        if not names:
            raise ValueError("the config has no vocabulary_map: it is not that of a converted Chameleon checkpoint")
        assert isinstance(vq, ChameleonVQVAEConfig)
        codes = {
            int(found[1].translate(_DIGITS)): i for name, i in names.items() if (found := _CODE_NAME.fullmatch(name))
        }
        if not codes or sorted(codes) != list(range(len(codes))):
            raise ValueError(f"the config's vocabulary_map names {len(codes)} image codes, not 0, 1, 2 ...")
        if len(codes) != vq.num_embeddings:
            raise ValueError(f"{len(codes)} image codes have tokens, the codebook has {vq.num_embeddings}")
        roles = (BEGIN_IMAGE, END_IMAGE, SEPARATOR, BEGIN_TEXT, END_TEXT, PAD)
        if missing := [name for name in roles if name not in names]:
            raise ValueError(f"the config's vocabulary_map lacks {', '.join(missing)}")
        if not all(isinstance(index, int) and 0 <= index < config.vocab_size for index in names.values()):
            raise ValueError(f"the config's vocabulary_map has ids outside of its vocab_size, {config.vocab_size}")
        begin_image, end_image, separator, begin_text, end_text, pad = (names[name] for name in roles)
        return cls(
            size=config.vocab_size,
            text_ids=np.array(sorted(index for name, index in names.items() if _is_text(name)), np.int64),
            image_ids=np.array([codes[code] for code in range(len(codes))], np.int64),
            begin_image=begin_image,
            end_image=end_image,
            separator=separator,
            begin_text=begin_text,
            end_text=end_text,
            pad=pad,
            image_side_tokens=vq.resolution // 2 ** (len(vq.channel_multiplier) - 1),
        )

    @property
    def image_tokens(self) -> int:
        """The number of codes of one image: 1,024 at 512 px."""
        return self.image_side_tokens**2

    @cached_property
    def in_image_block(self) -> NDArray[np.bool_]:
        """Token id -> whether it belongs to an image block (a code, its begin or its end), [size]."""
        mask = np.zeros(self.size, np.bool_)
        mask[[*self.image_ids, self.begin_image, self.end_image]] = True
        return mask

    def image_block(self, codes: NDArray[np.integer], side_tokens: int | None = None) -> Ids:
        """An image's codes, [h, w] or flat in reading order, as tokens: begin, codes, end.

        Raises ValueError if there are not `side_tokens` x `side_tokens` codes, by default as many as the vocabulary's
        images have, or one is not in the codebook.
        """
        side = side_tokens or self.image_side_tokens
        if codes.size != side * side:
            raise ValueError(f"an image of {codes.size} codes: it has {side} x {side}")
        if codes.min() < 0 or codes.max() >= len(self.image_ids):
            raise ValueError(f"image codes {codes.min()} to {codes.max()}: the codebook has {len(self.image_ids)}")
        return np.array([self.begin_image, *self.image_ids[codes.ravel()], self.end_image], np.int64)

    def text(self, ids: Sequence[int] | NDArray[np.integer]) -> Ids:
        """Text tokens, checked. Raises ValueError if one is outside the vocabulary or belongs to an image block."""
        tokens = np.asarray(ids, np.int64).reshape(-1)
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.size):
            raise ValueError(f"text tokens {tokens.min()} to {tokens.max()}: the vocabulary has {self.size}")
        if self.in_image_block[tokens].any():
            raise ValueError(f"image token {tokens[self.in_image_block[tokens]][0]} in a text")
        return tokens
