"""The model that the demo starts from when it starts from nothing: a small Chameleon around the trained tokenizer.

Its weights are random, with two exceptions, without which a demo's few pictures would teach it nothing. The embeddings
of image tokens, and the rows by which they are predicted, begin where the codebook has its entries: codes that look
alike are alike to the model from the first step. And one head begins by handing on the code at the same place of the
input image, so that the first answers resemble the inputs, and what is learned is how to change them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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
_NEEDLE, _CONTENT = 8.0, 0.1
"""How sharply that head sees one distance alone, and how little it sees of what stands there, at first. Ours, by trying
4, 8 and 12: the next distance is 7.7 nats below, by the cosines of 16 pairs of dimensions."""


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
        _begin_at_the_codebook(model, vqgan)
    model.save_pretrained(folder)
    shutil.copyfile(vqgan_file, folder / CHECKPOINT_FILE)
    write_processors(folder, tokenizer, vqgan)
    return folder


@torch.no_grad()
def _begin_at_the_codebook(model: XPromptChameleon, vqgan: VQGAN) -> None:
    """Image tokens begin where the codebook has their entries, and one head of the first block hands on the code that
    stands at the same place of the input image: 66 tokens before, the image's own, its begin, its end and a separator.
    """
    codebook = vqgan.quantize["embedding"].weight
    assert isinstance(codebook, Tensor)
    width, std = model.config.hidden_size, model.config.initializer_range
    entries = _lifted(codebook - codebook.mean(0))
    rank = entries.shape[1]
    projection = torch.linalg.qr(torch.randn(width, rank)).Q.T  # [rank, width], orthonormal
    ids = torch.from_numpy(model.vocabulary.image_ids)
    for weight, scale in ((model.embed_tokens.weight, std), (model.lm_head.weight, 2 * std)):
        weight[ids] = scale * (width**0.5 * entries @ projection + 0.1 * torch.randn(len(ids), width))
    attention: Any = model.blocks[0].self_attn
    rope: Any = model.config.rope_parameters
    half = width // _HEADS // 2
    angles = (model.vocabulary.image_tokens + 2) * rope["rope_theta"] ** -(torch.arange(half) / half)
    for norm, (along, across) in (
        (attention.k_norm, (torch.ones(half), torch.zeros(half))),
        (attention.q_norm, (angles.cos(), -angles.sin())),  # turned back, so that what lies that far before fits best
    ):
        norm.weight[0] *= _CONTENT
        norm.bias[0] = _NEEDLE * torch.cat([along, across])
    attention.v_proj.weight[: 2 * half] = 0
    attention.v_proj.weight[:rank] = projection
    attention.o_proj.weight[:, : 2 * half] = 0
    attention.o_proj.weight[:, :rank] = projection.T
    model.reset_xp()


def _lifted(entries: Tensor) -> Tensor:
    """Entries, [n, d], as unit vectors, [n, d + 1], each most like itself: a large entry is not like all others."""
    entries = entries / entries.norm(dim=1).max()
    return torch.cat([entries, (1 - entries.pow(2).sum(1, keepdim=True)).clamp_min(0).sqrt()], 1)


def write_halved(trained: Path, folder: Path) -> None:
    """Write a trained model directory again as `folder`, with weights of two bytes: what the package ships.

    Raises ValueError if `folder` is there, or `trained` is no model directory.
    """
    halved = XPromptChameleon.from_pretrained(trained, dtype=torch.float16)
    tokenizer = read_trained_tokenizer(trained)
    halved.save_pretrained(folder, source=trained, arm=read_arm(trained), tokenizer=tokenizer)
