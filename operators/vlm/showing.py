"""What a vision-language model is shown of a pair. How what it answers is read: operators/vlm/answers.py."""

from __future__ import annotations

from manifests.images.as_asked import MAX_SIDE_PX, as_asked
from manifests.images.pixels import read_header
from manifests.schema import Pair
from operators.vlm.request import Request

__all__ = ["MAX_SIDE_PX", "shown", "tokens_in"]


def shown(pair: Pair, role: str) -> bytes:
    """A pair's image as `manifests.images.as_asked` has it. Raises Reject if it cannot be decoded."""
    image = pair.image(role)
    assert image, f"{pair.key} has no {role}"
    return as_asked(image.data)


def tokens_in(request: Request) -> float:
    """About how many tokens a request has, as Qwen2-VL counts (a token is 28 x 28 px, or some 4 characters)."""
    headers = [read_header(image) for image in request.images]
    images = sum(-(-header.width_px // 28) * -(-header.height_px // 28) for header in headers)
    return images + len(request.text) / 4
