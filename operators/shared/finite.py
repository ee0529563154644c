"""What a network gives that is no number: a fault of its weights, its precision or its device, not of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifests.schema import Reject

NOT_FINITE = "not_finite"
"""The reason of these rejects: nothing that the network says of the picture is believed, be it good or bad."""


def not_finite(network: str, given: Any) -> Reject | None:
    """A Reject if what a network gives has a number that is infinite or none, else None.

    `given` is a tensor, an array, a number, or a list or tuple of them. As bytes such numbers would be black pictures
    and empty maps.
    """
    if _is_finite(given):
        return None
    return Reject(NOT_FINITE, f"{network} gives what is no finite number: its weights or the device are at fault")


def check_finite(network: str, given: Any) -> None:
    """Raises the Reject that `not_finite` returns."""
    if fault := not_finite(network, given):
        raise fault


def _is_finite(given: Any) -> bool:
    if isinstance(given, list | tuple):
        return all(map(_is_finite, given))
    if hasattr(given, "isfinite"):  # a tensor, which may be on a GPU
        return bool(given.isfinite().all())
    return bool(np.isfinite(given).all())
