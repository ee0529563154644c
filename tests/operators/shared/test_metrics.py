"""Each metric against another library or its formula; LPIPS by AlexNet's layers computed here, one by one."""

from __future__ import annotations

import math
from pathlib import Path

import lpips
import numpy as np
import pytest
import skimage.data
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim

from infra.tiny.clip import write_lpips
from manifests.images.pixels import Pixels
from operators.shared.metrics import LPIPS_FILES, Lpips, psnr_db, ssim_luma, ssim_rgb
from tests.sources import photo

PHOTO: Pixels = skimage.data.astronaut()[:120, :90]
FIRST, SECOND = photo(0, 96, 80), photo(1, 96, 80)


@pytest.mark.parametrize("sigma", [1.0, 10.0, 80.0])
def test_psnr_is_its_formula_and_torchmetrics(sigma: float) -> None:
    noisy = _noisy(sigma)
    found = psnr_db(noisy, PHOTO)
    error = np.square(noisy.astype(float) - PHOTO).mean()
    assert found == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)
    assert found == pytest.approx(float(torch_psnr(_tensor(noisy), _tensor(PHOTO), data_range=255.0)), abs=1e-4)


@pytest.mark.parametrize("sigma", [1.0, 10.0, 80.0])
def test_ssim_of_colours_is_wangs_formula_and_torchmetrics(sigma: float) -> None:
    noisy = _noisy(sigma)
    found = ssim_rgb(noisy, PHOTO)
    assert found == pytest.approx(np.mean([_wang(noisy[..., c], PHOTO[..., c]) for c in range(3)]), abs=1e-9)
    _, by_window = torch_ssim(_tensor(noisy), _tensor(PHOTO), data_range=255.0, sigma=1.5, return_full_image=True)
    inside = by_window[..., 5:-5, 5:-5]  # its own mean counts windows that reach beyond the image too
    assert found == pytest.approx(float(inside.mean()), abs=1e-6)


def test_ssim_of_luma_is_wangs_formula() -> None:
    first, second = (image.astype(float) @ (0.299, 0.587, 0.114) for image in (FIRST, SECOND))
    assert ssim_luma(FIRST, SECOND) == pytest.approx(_wang(first, second), abs=1e-9)
    assert ssim_luma(FIRST, SECOND) != pytest.approx(ssim_rgb(FIRST, SECOND), abs=1e-3)


@pytest.mark.filterwarnings("error")
def test_equal_images() -> None:
    assert psnr_db(PHOTO, PHOTO) == math.inf
    assert ssim_rgb(PHOTO, PHOTO) == pytest.approx(1)
    assert ssim_luma(PHOTO, PHOTO) == pytest.approx(1)


def test_an_image_smaller_than_the_window_is_refused() -> None:
    for measure in (ssim_luma, ssim_rgb):
        assert math.isfinite(measure(PHOTO[:11, :11], PHOTO[5:16, 5:16]))
        with pytest.raises(ValueError, match="win_size"):
            measure(PHOTO[:10], PHOTO[:10])


def test_lpips_is_the_weighted_distance_of_normalised_features(weights: Path) -> None:
    found = Lpips(weights, "cpu")
    assert found.distance(FIRST, SECOND) == pytest.approx(_lpips_by_hand(weights, FIRST, SECOND), abs=1e-5)
    assert found.distance(FIRST, FIRST) == 0
    assert found.distance(FIRST, SECOND) == pytest.approx(found.distance(SECOND, FIRST))
    nearly = np.clip(FIRST.astype(int) + 3, 0, 255).astype(np.uint8)
    assert 0 < found.distance(FIRST, nearly) < found.distance(FIRST, SECOND)


def test_lpips_with_its_published_heads(weights: Path, tmp_path: Path) -> None:
    """Those that come with the library, in the published file's name."""
    published = Path(lpips.__file__).parent / "weights/v0.1/alex.pth"
    (tmp_path / LPIPS_FILES[1]).write_bytes(published.read_bytes())
    (tmp_path / LPIPS_FILES[0]).write_bytes((weights / LPIPS_FILES[0]).read_bytes())
    assert Lpips(tmp_path, "cpu").distance(FIRST, SECOND) == pytest.approx(
        _lpips_by_hand(tmp_path, FIRST, SECOND), abs=1e-5
    )
    assert Lpips(tmp_path, "cpu").distance(FIRST, SECOND) != Lpips(weights, "cpu").distance(FIRST, SECOND)


def test_to_load_lpips_draws_no_random_numbers(weights: Path) -> None:
    torch.manual_seed(0)
    Lpips(weights, "cpu")
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert drawn == torch.rand(1)


def test_weights_that_are_not_lpips_are_refused(weights: Path, tmp_path: Path) -> None:
    alexnet, heads = (torch.load(weights / name, weights_only=True) for name in LPIPS_FILES)
    less = {name: value for name, value in heads.items() if "lin4" not in name}
    for number, state in enumerate(
        [(alexnet, less), ({}, heads), (alexnet, {**heads, "lin0.model.1.weight": _ones()})]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, values in zip(LPIPS_FILES, state, strict=True):
            torch.save(values, folder / name)
        with pytest.raises(ValueError, match=f"^{folder} does not hold the weights of LPIPS by AlexNet: .+$"):
            Lpips(folder, "cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lpips")
    write_lpips(folder)
    return folder


def _lpips_by_hand(folder: Path, *images: Pixels) -> float:
    """Eq. 1 of arXiv 1801.03924 for two images of one size."""
    alexnet, heads = (torch.load(folder / name, map_location="cpu", weights_only=True) for name in LPIPS_FILES)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    values = [2 * torch.tensor(image / 255).float().permute(2, 0, 1)[None] - 1 for image in images]
    values = [(value - shift[:, None, None]) / scale[:, None, None] for value in values]
    strides, paddings, pooled = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), (False, True, True, False, False)
    distance = 0.0
    for number, index in enumerate((0, 3, 6, 8, 10)):
        weight, bias = (alexnet[f"features.{index}.{name}"].float() for name in ("weight", "bias"))
        values = [functional.max_pool2d(value, 3, 2) if pooled[number] else value for value in values]
        values = [
            functional.conv2d(value, weight, bias, strides[number], paddings[number]).clamp(min=0) for value in values
        ]
        units = [value / value.square().sum(1, keepdim=True).sqrt().clamp(min=1e-10) for value in values]
        head = heads[f"lin{number}.model.1.weight"].float()
        distance += float(((units[0] - units[1]) ** 2 * head).sum(1).mean())
    return distance


def _wang(first: np.ndarray, second: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, of one channel in 0 to 255, with windows that lie wholly in the image."""

    def window(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(values, 1.5, radius=5))

    x, y = first.astype(float), second.astype(float)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variances = window(x * x) - window(x) ** 2 + window(y * y) - window(y) ** 2
    likeness = (2 * window(x) * window(y) + c1) * (2 * (window(x * y) - window(x) * window(y)) + c2)
    likeness /= (window(x) ** 2 + window(y) ** 2 + c1) * (variances + c2)
    return float(likeness[5:-5, 5:-5].mean())


def _noisy(sigma: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, sigma, PHOTO.shape)
    return (PHOTO + noise).clip(0, 255).astype(np.uint8)


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]


def _ones() -> torch.Tensor:
    return torch.ones(1, 3, 1, 1)
