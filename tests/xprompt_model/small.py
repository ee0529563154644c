"""A model, turns and documents that are small enough for exact comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import ChameleonConfig, ChameleonForConditionalGeneration

from infra.tiny.chameleon import tiny_config
from xprompt_model.batch import MicroBatch, collate
from xprompt_model.layout import Document, Turn, Weights, build_document
from xprompt_model.model import XPromptChameleon
from xprompt_model.vocabulary import Ids, Vocabulary

XP_TOKENS = 5
WINDOW = 512
TEXT_FROM = 300
"""The tiny vocabulary's text tokens begin before this id."""


def small_config(**changes: Any) -> ChameleonConfig:
    """The tiny checkpoint's config, changed."""
    return ChameleonConfig.from_dict({**tiny_config().to_dict(), **changes})


def small_model(seed: int = 0, **changes: Any) -> XPromptChameleon:
    """Random weights, larger than a fresh model's, so that attention is far from uniform and differences show."""
    torch.manual_seed(seed)
    model = XPromptChameleon(small_config(initializer_range=0.2, **changes), xp_tokens=XP_TOKENS).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def vocabulary() -> Vocabulary:
    return Vocabulary.from_config(tiny_config())


def transformers_model(folder: Path) -> Any:
    """transformers' model of a directory, in which it must find all weights and no others."""
    load: Any = ChameleonForConditionalGeneration.from_pretrained
    model, info = load(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    return model.eval()


def text(seed: int, length: int = 6) -> Ids:
    return np.random.default_rng(seed).integers(TEXT_FROM, tiny_config().vocab_size, length)


def picture(seed: int) -> Ids:
    return np.random.default_rng([seed, 1]).integers(0, len(vocabulary().image_ids), (4, 4))


def turn(seed: int, *, describe: bool = False, words: int = 6) -> Turn:
    """An instruction of so many tokens, one input image, an image or text as the answer."""
    return Turn(
        instruction=text(seed, words),
        inputs=(picture(seed),),
        output=text(seed + 100, 9) if describe else picture(seed + 100),
    )


def document(seed: int = 0, *, context: bool = True, describe: bool = False, **weights: float) -> Document:
    """A turn in the context of another."""
    others = [turn(seed + 1, describe=describe)] if context else []
    return build(turn(seed, describe=describe), others, weights=Weights(**weights))


def build(task: Turn, contexts: Sequence[Turn], **options: Any) -> Document:
    """A document of the tiny vocabulary, with XP_TOKENS and a window that holds it."""
    return build_document(task, contexts, vocabulary(), **{"window_tokens": WINDOW, "xp_tokens": XP_TOKENS, **options})


def batch_of(*documents: Document, padding: int = 0) -> MicroBatch:
    return collate(documents, sum(map(len, documents)) + padding)


def changed(batch: MicroBatch, **tensors: Tensor) -> MicroBatch:
    """The batch with other tensors in place of some of its own."""
    return MicroBatch(**{**vars(batch), **tensors})
