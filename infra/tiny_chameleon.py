"""A small, randomly initialised Chameleon checkpoint in the on-disk format of facebook/chameleon-7b."""

from __future__ import annotations

from transformers import ChameleonConfig

from xprompt_model.vocabulary import BEGIN_IMAGE, BEGIN_TEXT, END_IMAGE, END_TEXT, PAD, SEPARATOR, code_name

_REAL_CODES = 8_192
_REAL_RESERVED = 512
"""Reserved tokens between the begin of an image and the separator in the real vocabulary."""


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
        *(SEPARATOR, "<image>"),
    ]
    return {name: index for index, name in enumerate(names)}


def tiny_config(*, vocab_size: int = 1_024, codes: int = 256) -> ChameleonConfig:
    """Two layers of width 64; images of 64 px, which are 4 x 4 codes."""
    return ChameleonConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        vocabulary_map=special_tokens(codes),
        vq_config={
            "num_embeddings": codes,
            "embed_dim": 16,
            "latent_channels": 16,
            "resolution": 64,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1, 2],
            "num_res_blocks": 1,
            "attn_type": "",
        },
    )
