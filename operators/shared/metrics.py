"""Measures of how near an image is to another that papers report: PSNR, SSIM and LPIPS, by published libraries.

Images are H x W x 3 uint8, two of one size. SSIM is Wang et al.'s, "Image Quality Assessment: From Error Visibility to
Structural Similarity", IEEE TIP 2004: K1 = 0.01, K2 = 0.03, and only windows that lie wholly in the image count. It is
defined for one channel, so there are two: `ssim_luma`, the authors' own, by which datasets are scored, and `ssim_rgb`,
the mean over the channels, which restoration papers report.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from manifests.images.pixels import Pixels
from operators.shared.extras import need
from operators.shared.pixels import luma
from operators.shared.vision import tensor

SSIM_WINDOW_PX = 11
"""Side of SSIM's window; images must be as large. Wang et al. 2004, section III-B."""

LPIPS_FILES = ("alexnet-owt-7be5be79.pth", "alex.pth")
"""Weights of torchvision's AlexNet, and lpips/weights/v0.1/alex.pth of
https://github.com/richzhang/PerceptualSimilarity"""

_WINDOW: dict[str, Any] = {  # the Gaussian of standard deviation 1.5 px of Wang et al. 2004, section III-B
    "gaussian_weights": True,
    "sigma": 1.5,
    "win_size": SSIM_WINDOW_PX,
    "use_sample_covariance": False,
}


def psnr_db(prediction: Pixels, target: Pixels) -> float:
    """Peak signal-to-noise ratio over all three channels, in dB; infinite if the images are equal."""
    from skimage.metrics import peak_signal_noise_ratio  # it imports scipy.stats, which takes a second

    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(target, prediction, data_range=255))


def ssim_luma(first: Pixels, second: Pixels) -> float:
    """Structural similarity of the luma, in [-1, 1]. Raises ValueError for a side below SSIM_WINDOW_PX."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(luma(first), luma(second), data_range=1.0, **_WINDOW))


def ssim_rgb(prediction: Pixels, target: Pixels) -> float:
    """Mean structural similarity of the channels, in [-1, 1]. Raises ValueError for a side below SSIM_WINDOW_PX."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(prediction, target, data_range=255, channel_axis=2, **_WINDOW))


class Lpips:
    """Learned perceptual distance (arXiv 1801.03924) by the library `lpips`, with weights from a folder."""

    def __init__(self, folder: Path | str, device: str) -> None:
        """Load LPIPS_FILES of a folder onto a device. Raises ValueError if they are not AlexNet's and its heads."""
        torch, lpips = need("torch"), need("lpips")
        alexnet, heads = (torch.load(Path(folder, name), map_location="cpu", weights_only=True) for name in LPIPS_FILES)
        with torch.device("meta"), warnings.catch_warnings():  # without memory and random weights, which would be lost
            warnings.simplefilter("ignore")  # of a name in torchvision that is deprecated
            model = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
        try:
            # The library's slices of AlexNet number the layers as torchvision does.
            layers = {name: alexnet[f"features.{name.partition('.')[2]}"] for name in model.net.state_dict()}
            model.net.load_state_dict(layers, assign=True)
            model.lins.load_state_dict({name.removeprefix("lin"): value for name, value in heads.items()}, assign=True)
        except (KeyError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{folder} does not hold the weights of LPIPS by AlexNet: {said}") from error
        self._model, self._device = model.float().requires_grad_(False).to(device), device

    def distance(self, first: Pixels, second: Pixels) -> float:
        """The distance of two images of one size: 0 for equal ones."""
        return float(self._model(*(tensor(image, self._device) for image in (first, second)), normalize=True))
