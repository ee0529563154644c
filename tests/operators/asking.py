"""What the tests of operators that ask a vision-language model share."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.schema import Pair
from operators.vlm.client import Vlm
from tests.sources import lossless, pair_of, photo
from tests.vlm import Server


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A server, and a model that is asked there."""

    server: Server
    vlm: Vlm


def pair_with(*roles: str, number: int = 0) -> Pair:
    """A pair with a photo for each role: other photos for another number."""
    images = [lossless(role, photo(7 * number + place)) for place, role in enumerate(roles)]
    return pair_of(*images, key=f"{number:032x}")
