"""What pictures and vectors cost made one by one and in batches: `python -m infra.bench.batching [--models hub]`.

Without --models the tiny checkpoints of models/tiny, which on a CPU says what a call costs beside the arithmetic; with
real ones, on a GPU, it says how many to make at once (AT_ONCE of operators/models/diffusion.py). Sizes take turns,
round by round; ratios are to one at a time, of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import skimage.data

from operators.batching import in_batches
from operators.models.checkpoints import folder
from operators.models.device import prepared_device
from operators.models.diffusion import DENOISING, Family, Order, painted, pipeline, side_px
from operators.models.embedders import load

SIZES = (1, 2, 4, 8, 16)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="tiny", help="a folder, hub or tiny (default)")
    parser.add_argument("--count", type=int, default=16, help="pictures, or images to embed, a round (default: 16)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--roles", nargs="+", default=["sd15", "flux", "clip", "dino"])
    options = parser.parse_args()
    for role in options.roles:
        make = _painting(role, options) if role in DENOISING else _embedding(role, options)
        make(1)  # loads the model
        seconds = [[_timed(make, size) for size in SIZES] for _ in range(options.rounds)]
        print(f"{role}, {options.count} on {prepared_device()}")
        for place, size in enumerate(SIZES):
            ratios = sorted(one_round[place] / one_round[0] for one_round in seconds)
            each_ms = 1_000 * statistics.median(one_round[place] for one_round in seconds) / options.count
            spread = f"({ratios[0]:.2f} - {ratios[-1]:.2f})"
            print(
                f"  {size:2} at once {each_ms:9.1f} ms each, {statistics.median(ratios):.2f} {spread} of one at a time"
            )
    return 0


def _painting(role: str, options: argparse.Namespace) -> Callable[[int], object]:
    family: Family = "flux" if role == "flux" else "sd15"
    pipe = pipeline({"sd15": "StableDiffusionPipeline", "flux": "FluxPipeline"}[family], folder(options.models, role))
    side, sampling = side_px(pipe), DENOISING[family]
    orders = [Order(prompt=f"photo {seed} of a cat", seed=seed, size_px=(side, side)) for seed in range(options.count)]
    return lambda size: painted(pipe, orders, size, sampling)


def _embedding(role: str, options: argparse.Namespace) -> Callable[[int], object]:
    model = load(role, folder(options.models, role), prepared_device())
    seen = [model.seen(skimage.data.astronaut()[shift:]) for shift in range(options.count)]
    return lambda size: in_batches(model.embed, seen, size)


def _timed(make: Callable[[int], object], size: int) -> float:
    started_s = time.perf_counter()
    make(size)
    return time.perf_counter() - started_s


if __name__ == "__main__":
    sys.exit(main())
