"""The model that the demo starts from when it starts from nothing: a small Chameleon around the trained tokenizer.

Its weights are random, with one exception. The embeddings of image tokens, and the rows by which they are predicted,
begin where the codebook has its entries: codes that look alike are alike to the model from the first step, which it
would otherwise have to find out from many more pictures than a demo has.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor
from transformers import ChameleonConfig

from infra.demo.tokenizer import load
from infra.tiny.chameleon import special_tokens, text_tokenizer, write_processors
from xprompt_model.checkpoint import read_arm, read_trained_tokenizer
from xprompt_model.model import XPromptChameleon
from xprompt_model.vqgan import CHECKPOINT_FILE, VQGAN

XP_TOKENS = 16
"""S: an in-context example of the demo has some 150 tokens."""

_TEXT_TOKENS = 480
"""Of bytes and pieces of words."""
_WIDTH, _LAYERS, _HEADS = 128, 4, 4
_SEED = 0


def config(vqgan: VQGAN, vocabulary: dict[str, int]) -> ChameleonConfig:
    """A Chameleon of a million parameters."""
    return ChameleonConfig(
        vocab_size=len(vocabulary),
        hidden_size=_WIDTH,
        intermediate_size=3 * _WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        initializer_range=_WIDTH**-0.5 / 2,  # transformers' 0.02 is meant for wide models: nothing moves for long here
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        vocabulary_map=vocabulary,
        vq_config=vqgan.config.to_dict(),
    )


def write_start(folder: Path, vqgan_file: Path) -> Path:
    """Write a model directory with the tokenizer of `vqgan_file` and a model that knows nothing, and return it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    vqgan = load(vqgan_file)
    tokenizer = text_tokenizer(vqgan.codes, _TEXT_TOKENS + len(special_tokens(vqgan.codes)))
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = XPromptChameleon(config(vqgan, vocabulary), xp_tokens=XP_TOKENS)
        _begin_at_the_codebook(model, vqgan.quantize["embedding"].weight)  # type: ignore[arg-type]
    model.save_pretrained(folder)
    shutil.copyfile(vqgan_file, folder / CHECKPOINT_FILE)
    write_processors(folder, tokenizer, vqgan)
    return folder


@torch.no_grad()
def _begin_at_the_codebook(model: XPromptChameleon, codebook: Tensor) -> None:
    """Embeddings and rows of the head, of image tokens: the entries, by one random projection, and a little noise."""
    entries = (codebook - codebook.mean(0)) / codebook.std()
    ids = torch.from_numpy(model.vocabulary.image_ids)
    projected = entries @ torch.randn(entries.shape[1], model.config.hidden_size) / entries.shape[1] ** 0.5
    std = model.config.initializer_range
    for weight in (model.embed_tokens.weight, model.lm_head.weight):
        weight[ids] = std * (projected + 0.2 * torch.randn(projected.shape))
    model.reset_xp()


def write_halved(trained: Path, folder: Path) -> None:
    """Write a trained model directory again as `folder`, with weights of two bytes: what the package ships.

    Raises ValueError if `folder` is there, or `trained` is no model directory.
    """
    halved = XPromptChameleon.from_pretrained(trained, dtype=torch.float16)
    tokenizer = read_trained_tokenizer(trained)
    halved.save_pretrained(folder, source=trained, arm=read_arm(trained), tokenizer=tokenizer)
