"""Whether a model's tokenizers are those that made the tokens it is trained on: tokens are numbers, and mean nothing to
another codebook or vocabulary of the same size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xprompt_model.checkpoint import XP_FILE, read_trained_tokenizer
from xprompt_model.text import TextTokenizer
from xprompt_model.vqgan import VQGAN

_NAMES = {"text_sha256": "text tokenizer", "vq_sha256": "VQ tokenizer"}
"""The keys of manifests.tokens.TokenizerRecord that are compared, in words."""

_SHOWN_DIGITS = 12


def refuse_other_tokenizers(
    recorded: Mapping[str, Any], what: str, folder: Path | str, text: TextTokenizer, vqgan: VQGAN, way_out: str
) -> None:
    """Raises ValueError, one line, if the hashes recorded with tokens are not those of a folder's tokenizers.

    `what` names where they are recorded, and is followed by "is of"; `way_out` says what the user can do.
    """
    hashes = {"text_sha256": text.fingerprint, "vq_sha256": vqgan.fingerprint}
    for key, name in _NAMES.items():
        there = str(recorded.get(key, "unknown"))
        if there != hashes[key]:
            raise ValueError(
                f"{what} is of the {name} {there[:_SHOWN_DIGITS]}, {folder} has {hashes[key][:_SHOWN_DIGITS]} "
                f"({key}): {way_out}"
            )


def refuse_untrained_tokenizers(folder: Path | str, text: TextTokenizer, vqgan: VQGAN) -> None:
    """Raises ValueError, one line, if a trained model's folder has other tokenizers than it was trained with.

    A folder that records none is taken as it is.
    """
    if recorded := read_trained_tokenizer(folder):
        way_out = "put the tokenizer.json and the vqgan.ckpt that it was trained with back into that folder"
        refuse_other_tokenizers(recorded, f"{folder}/{XP_FILE}", folder, text, vqgan, way_out)
