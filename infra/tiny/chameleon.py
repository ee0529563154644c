"""A small, randomly initialised Chameleon checkpoint in the on-disk format of facebook/chameleon-7b.

The transformer knows nothing. The VQ tokenizer is random too but for its codebook, whose entries are what the encoder
makes of the bundled photos: so photos spread over all codes. What it decodes resembles nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import ChameleonConfig, ChameleonForConditionalGeneration, ChameleonVQVAEConfig

from manifests.images.pixels import decode_rgb
from operators.read.bundled import PHOTOS, packages_root
from pipelines.tasks import phrasings
from xprompt_model.vocabulary import BEGIN_IMAGE, BEGIN_TEXT, END_IMAGE, END_TEXT, PAD, SEPARATOR, code_name
from xprompt_model.vqgan import CHECKPOINT_FILE, VQGAN

FOLDER = "chameleon"
VOCAB_SIZE = 1_024
CODES = 256

_REAL_CODES = 8_192
_REAL_RESERVED = 512
"""Reserved tokens between the begin of an image and the separator in the real vocabulary."""
_IMAGE_TOKEN = "<image>"

_CROPS_PER_PHOTO = 6
_CROP_PX = 192


def special_tokens(codes: int) -> dict[str, int]:
    """Name -> id of all tokens that are not text, at the places of facebook/chameleon-7b for its 8,192 codes.

    With fewer codes the reserved tokens are fewer in proportion; the last two keep the names by which they are found.
    """
    reserved = codes * _REAL_RESERVED // _REAL_CODES
    names = [
        *(BEGIN_TEXT, PAD, END_TEXT, "<unk>"),
        *(code_name(code) for code in range(codes)),
        *(END_IMAGE, BEGIN_IMAGE),
        *(f"<reserved{codes + 2 + index:05d}>" for index in range(reserved)),
        *(SEPARATOR, _IMAGE_TOKEN),
    ]
    return {name: index for index, name in enumerate(names)}


def tiny_config(vocabulary: dict[str, int] | None = None) -> ChameleonConfig:
    """The config of a model with two layers of width 64, for images of 64 px, which are 4 x 4 codes."""
    return ChameleonConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        vocabulary_map=vocabulary or _with_words(special_tokens(CODES)),
        vq_config={
            "num_embeddings": CODES,
            "embed_dim": 16,
            "latent_channels": 16,
            "resolution": 64,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1, 2],
            "num_res_blocks": 1,
        },
    )


def _with_words(special: dict[str, int]) -> dict[str, int]:
    """A vocabulary whose other tokens have names too, which say nothing."""
    return special | {f"word{index}": index for index in range(len(special), VOCAB_SIZE)}


def write_chameleon(folder: Path) -> Path:
    """Write `folder/chameleon`, the same bytes each time, and return it."""
    folder = folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of summation depends on it
    try:
        tokenizer = text_tokenizer(CODES, VOCAB_SIZE)
        config = tiny_config(dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            vqgan = _vqgan(config)
            model = ChameleonForConditionalGeneration(config)
        encoder = {name: value for name, value in vqgan.state_dict().items() if not name.startswith("decoder.")}
        model.model.vqmodel.load_state_dict(encoder)
        model.save_pretrained(folder)
        torch.save({"state_dict": vqgan.state_dict()}, folder / CHECKPOINT_FILE)
    finally:
        torch.set_num_threads(threads)
    write_processors(folder, tokenizer, vqgan)
    return folder


def write_processors(folder: Path, tokenizer: Tokenizer, vqgan: VQGAN) -> None:
    """The text tokenizer, and the small files of facebook/chameleon-7b that say how texts and images are prepared."""
    tokenizer.save(str(folder / "tokenizer.json"))
    side, tokens = vqgan.resolution_px, (vqgan.resolution_px // vqgan.pixels_per_code) ** 2
    for name, content in _settings(side, tokens).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def _settings(side_px: int, image_tokens: int) -> dict[str, dict[str, object]]:
    """The small files of facebook/chameleon-7b, by name."""
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN_TEXT,
            "eos_token": END_TEXT,
            "pad_token": PAD,
            "sep_token": SEPARATOR,
            "unk_token": "<unk>",
            "clean_up_tokenization_spaces": False,
        },
        "preprocessor_config.json": {
            "image_processor_type": "ChameleonImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": side_px},
            "resample": 1,
            "do_center_crop": True,
            "crop_size": {"height": side_px, "width": side_px},
            "do_rescale": True,
            "rescale_factor": 0.0078,
            "do_normalize": True,
            "image_mean": [1.0, 1.0, 1.0],
            "image_std": [1.0, 1.0, 1.0],
        },
        "processor_config.json": {
            "processor_class": "ChameleonProcessor",
            "image_seq_length": image_tokens,
            "image_token": _IMAGE_TOKEN,
        },
    }


def text_tokenizer(codes: int, vocab_size: int) -> Tokenizer:
    """A byte-level BPE, trained on the project's own instructions, with the tokens of so many image codes."""
    texts = [text for pool in vars(phrasings).values() if isinstance(pool, tuple) for text in pool]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(name, special=True) for name in special_tokens(codes)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(map(str, texts)), trainer)
    assert tokenizer.get_vocab_size() == vocab_size, "too few instructions for so many tokens"
    return tokenizer


@torch.no_grad()
def _vqgan(config: ChameleonConfig) -> VQGAN:
    vq_config = config.vq_config
    assert isinstance(vq_config, ChameleonVQVAEConfig)
    vqgan = VQGAN(vq_config)
    for module in vqgan.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    images = torch.stack([vqgan.prepare(crop) for crop in _crops()])
    latents = vqgan.quant_conv(vqgan.encoder(images)).permute(0, 2, 3, 1).flatten(0, 2)
    embedding = vqgan.quantize["embedding"]
    assert isinstance(embedding, nn.Embedding)
    embedding.weight.copy_(latents[torch.randperm(len(latents))[: vqgan.codes]])
    return vqgan


def _crops() -> Iterator[np.ndarray]:
    """Square pieces of the bundled photos."""
    draw = np.random.default_rng(0)
    for name in PHOTOS:
        photo = decode_rgb((Path(packages_root()) / name).read_bytes())
        for _ in range(_CROPS_PER_PHOTO):
            top, left = (int(draw.integers(0, length - _CROP_PX)) for length in photo.shape[:2])
            yield np.ascontiguousarray(photo[top : top + _CROP_PX, left : left + _CROP_PX])
