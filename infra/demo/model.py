"""The model that the demo starts from when it starts from nothing: a small Chameleon around the trained tokenizer.

Its weights are random, with two exceptions, without which a demo's few pictures would teach it little. The embeddings
of image tokens, and the rows by which they are predicted, tell from the first step which codes are near each other in
the codebook. And two heads begin by handing on the code at the same place of another image, so that the first answers
are the inputs, and what is learned is how to change them.
"""

from __future__ import annotations

import math
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
"""How sharply such a head sees one distance alone, and how little it sees of what stands there, at first. The next
distance is 7.7 nats below, by the cosines of 16 pairs of dimensions."""
_HANDED_ON, _SHARPNESS = 0.3, 1.5
"""How loud what is handed on is, and the rows by which codes are predicted. Ours, by trying 0.1 and 1 as well: of held
out photos' codes 91% are handed on rightly, 16% with 0.1."""


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
    """Image tokens begin where the codebook has their entries, and two heads of the first block hand on a code.

    One, for what is to be predicted: the code at the same place of the input image, which is as many tokens before as
    an image has, its end and a separator. The other, for the codes of an in-context example's output: the code that
    stands at their place in its input, so that a pair of codes is there to be compressed.
    """
    codebook = vqgan.quantize["embedding"].weight
    assert isinstance(codebook, Tensor)
    width, std = model.config.hidden_size, model.config.initializer_range
    half = width // _HEADS // 2
    features = _features(codebook, half)  # [codes, 2 half]: as many as a head hands on
    # [2 half, width] each, orthonormal
    read, said, paired = torch.linalg.qr(torch.randn(width, 6 * half)).Q.T.split(2 * half)
    ids = torch.from_numpy(model.vocabulary.image_ids)
    noise = 0.1 * std
    model.embed_tokens.weight[ids] = std * width**0.5 * features @ read + noise * torch.randn(len(ids), width)
    model.lm_head.weight[ids] = _SHARPNESS * features @ said + noise * torch.randn(len(ids), width)
    attention: Any = model.blocks[0].self_attn
    rope: Any = model.config.rope_parameters
    before = model.vocabulary.image_tokens + 2
    for head, into in ((0, said), (1, paired)):
        angles = (before + head) * rope["rope_theta"] ** -(torch.arange(half) / half)
        for norm, (along, across) in (
            (attention.k_norm, (torch.ones(half), torch.zeros(half))),
            (attention.q_norm, (angles.cos(), -angles.sin())),  # turned back: what lies that far before fits best
        ):
            norm.weight[head] *= _CONTENT
            norm.bias[head] = _NEEDLE * torch.cat([along, across])
        place = slice(2 * half * head, 2 * half * (head + 1))
        attention.v_proj.weight[place] = read
        attention.o_proj.weight[:, place] = _HANDED_ON * into.T
    model.reset_xp()


def _features(entries: Tensor, frequencies: int) -> Tensor:
    """Entries, [n, d], as unit vectors, [n, 2 frequencies], that are the more alike the nearer the entries are.

    Random Fourier features (Rahimi and Recht 2007) of a Gaussian kernel whose width goes from the distance of
    neighbours to that of any two: fine differences and coarse ones are both there.
    """
    apart = torch.cdist(entries, entries)
    near, far = apart.fill_diagonal_(torch.inf).amin(1).median(), apart[apart.isfinite()].median()
    widths = near * (far / near) ** torch.linspace(0, 1, frequencies)
    phases = entries @ (torch.randn(frequencies, entries.shape[1]) / widths[:, None]).T
    return torch.cat([phases.cos(), phases.sin()], 1) / math.sqrt(frequencies)


def write_halved(trained: Path, folder: Path) -> None:
    """Write a trained model directory again as `folder`, with weights of two bytes: what the package ships.

    Raises ValueError if `folder` is there, or `trained` is no model directory.
    """
    halved = XPromptChameleon.from_pretrained(trained, dtype=torch.float16)
    halved.save_pretrained(
        folder,
        source=trained,
        arm=read_arm(trained),
        tokenizer=read_trained_tokenizer(trained),
    )
