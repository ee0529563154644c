from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from transformers import ChameleonVQVAEConfig

from operators.shared.palettes import decode_labels, encode_labels
from operators.shared.square import square
from xprompt_model.vqgan import VQGAN

PHOTO = skimage.data.chelsea()  # 451 x 300 px


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("side_px", [64, 512])
def test_it_is_what_the_tokenizer_sees(turned: bool, side_px: int) -> None:
    photo = np.ascontiguousarray(PHOTO.swapaxes(0, 1)) if turned else PHOTO
    vqgan = VQGAN(ChameleonVQVAEConfig(resolution=side_px, base_channels=32, channel_multiplier=[1], num_res_blocks=1))
    seen = (vqgan.prepare(photo).permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(square(photo, side_px) - seen).max() < 1e-3


def test_a_square_of_that_size_is_left_as_it_is() -> None:
    photo = PHOTO[:64, :64]
    assert np.array_equal(square(photo, 64), photo)


def test_nearest_mixes_no_colours() -> None:
    labels = np.random.default_rng(0).integers(0, 151, (30, 50)).astype(np.uint8)
    found = decode_labels(square(encode_labels(labels), 16, nearest=True))
    assert set(np.unique(found)) <= set(np.unique(labels[:, 10:40]))
    assert np.array_equal(decode_labels(square(encode_labels(labels), 30, nearest=True)), labels[:, 10:40])
