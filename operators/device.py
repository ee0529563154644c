"""Where models run."""

from __future__ import annotations


def prepared_device() -> str:
    """ "cuda" if there is a GPU, else "cpu", on which one thread is used: a worker is given one core, and sums that are
    split over threads have other last bits."""
    import torch

    torch.set_num_threads(1)
    return "cuda" if torch.cuda.is_available() else "cpu"
