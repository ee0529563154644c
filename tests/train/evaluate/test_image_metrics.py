from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim

from manifests.images.pixels import Pixels
from train.evaluate.image_metrics import psnr_db, ssim

PHOTO: Pixels = skimage.data.astronaut()[:120, :90]


def _noisy(sigma: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, sigma, PHOTO.shape)
    return (PHOTO + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [1.0, 10.0, 80.0])
def test_psnr_is_skimages_and_torchmetrics(sigma: float) -> None:
    noisy = _noisy(sigma)
    found = psnr_db(noisy, PHOTO)
    assert found == pytest.approx(peak_signal_noise_ratio(PHOTO, noisy, data_range=255), abs=1e-9)
    assert found == pytest.approx(float(torch_psnr(_tensor(noisy), _tensor(PHOTO), data_range=255.0)), abs=1e-4)


@pytest.mark.parametrize("sigma", [1.0, 10.0, 80.0])
def test_ssim_is_skimages_and_torchmetrics(sigma: float) -> None:
    noisy = _noisy(sigma)
    found = ssim(noisy, PHOTO)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert found == pytest.approx(structural_similarity(PHOTO, noisy, channel_axis=2, **wang), abs=1e-9)
    _, by_window = torch_ssim(_tensor(noisy), _tensor(PHOTO), data_range=255.0, sigma=1.5, return_full_image=True)
    inside = by_window[..., 5:-5, 5:-5]  # its own mean counts windows that reach beyond the image too
    assert found == pytest.approx(float(inside.mean()), abs=1e-6)


def test_equal_images() -> None:
    assert psnr_db(PHOTO, PHOTO) == math.inf
    assert ssim(PHOTO, PHOTO) == pytest.approx(1)


def test_an_image_smaller_than_the_window_is_refused() -> None:
    assert math.isfinite(ssim(PHOTO[:11, :11], PHOTO[5:16, 5:16]))
    with pytest.raises(ValueError, match=r"^SSIM needs 11 x 11 px or more, not 90 x 10$"):
        ssim(PHOTO[:10], PHOTO[:10])


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
