from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import ChameleonConfig
from transformers.models.chameleon.modeling_chameleon import ChameleonImageVocabularyMapping

from infra.tiny.chameleon import special_tokens
from tests.xprompt_model.small import small_config, vocabulary
from xprompt_model.vocabulary import Vocabulary, code_name


def test_facebook_chameleon_7b_has_its_known_ids() -> None:
    real = Vocabulary.from_config(ChameleonConfig(vocabulary_map=special_tokens(8_192)))
    assert (real.size, len(real.image_ids), real.image_side_tokens, real.image_tokens) == (65_536, 8_192, 32, 1_024)
    assert (real.image_ids[0], real.image_ids[-1]) == (4, 8_195)
    assert (real.end_image, real.begin_image, real.separator) == (8_196, 8_197, 8_710)
    assert (real.begin_text, real.pad, real.end_text) == (0, 1, 2)
    assert real.in_image_block.sum() == 8_194


def test_codes_are_those_that_transformers_reads_from_the_names() -> None:
    names = special_tokens(256)
    shuffled = dict(zip(names, np.random.default_rng(0).permutation(len(names)).tolist(), strict=True))
    ours = Vocabulary.from_config(small_config(vocabulary_map=shuffled))
    theirs = ChameleonImageVocabularyMapping(shuffled).convert_img2bpe(torch.arange(256))
    assert ours.image_ids.tolist() == theirs.tolist()
    assert code_name(8_191) == "IMGIMGIBJBZ"


def test_an_image_block_is_begin_codes_in_reading_order_end() -> None:
    words = vocabulary()
    codes = np.arange(16).reshape(4, 4) * 3
    block = words.image_block(codes)
    assert block.tolist() == [words.begin_image, *(4 + 3 * code for code in range(16)), words.end_image]
    assert words.image_block(codes.ravel()).tolist() == block.tolist()
    assert words.in_image_block[block].all()
    assert not words.in_image_block[[words.separator, words.begin_text, words.end_text, words.pad]].any()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((3, 4), np.int64), "an image of 12 codes: it has 4 x 4"),
        (np.full((4, 4), 256), "image codes 256 to 256: the codebook has 256"),
        (np.full((4, 4), -1), "image codes -1 to -1"),
    ],
)
def test_an_image_that_is_none_is_refused(codes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vocabulary().image_block(codes)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([300, 1_024], "text tokens 300 to 1024"), ([-1], "text tokens -1"), ([300, 4], "image token 4 in a text")],
)
def test_a_text_that_is_none_is_refused(ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vocabulary().text(ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary_map": None}, "no vocabulary_map"),
        ({"vocabulary_map": {"<s>": 0}}, "names 0 image codes"),
        ({"vocabulary_map": special_tokens(128)}, "128 image codes have tokens, the codebook has 256"),
        (
            {"vocabulary_map": {name: i for name, i in special_tokens(256).items() if name != "<eoss>"}},
            "lacks <eoss>",
        ),
        ({"vocab_size": 300}, "ids outside of its vocab_size, 300"),
        ({"vocabulary_map": {**special_tokens(256), "<x>": -1}}, "ids outside of its vocab_size"),
    ],
)
def test_a_config_of_something_else_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_config(small_config(**changes))
