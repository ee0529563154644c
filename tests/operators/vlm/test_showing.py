from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb, read_header, stored
from manifests.schema import Reject
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request
from operators.vlm.showing import MAX_SIDE_PX, shown, tokens_in
from tests.sources import encode, encode_image, jpeg, pair_of, photo, turned_jpeg


def test_a_plain_image_is_shown_byte_for_byte() -> None:
    for data in (jpeg(1), encode(photo(1), "PNG"), encode(photo(1), "WEBP")):
        assert shown(pair_of(stored("target", data)), "target") is data


@pytest.mark.parametrize("kind", ["turned", "tiff", "16 bit", "cmyk"])
def test_what_servers_may_not_take_is_shown_as_upright_png(kind: str) -> None:
    deep = PILImage.fromarray((np.arange(48 * 40).reshape(40, 48) * 16).astype(np.uint16))
    data = {
        "turned": lambda: turned_jpeg(photo(1), 6),
        "tiff": lambda: encode(photo(1), "TIFF"),
        "16 bit": lambda: encode_image(deep),
        "cmyk": lambda: encode_image(PILImage.fromarray(photo(1)).convert("CMYK"), "JPEG"),
    }[kind]()
    seen = shown(pair_of(stored("target", data)), "target")
    assert read_header(seen).format == "png" and read_header(seen).upright
    assert np.array_equal(decode_rgb(seen), decode_rgb(data))


def test_a_large_image_is_scaled_down() -> None:
    large = np.repeat(np.repeat(photo(1), 40, axis=0), 40, axis=1)
    seen = read_header(shown(pair_of(stored("target", encode(large, "JPEG"))), "target"))
    assert (seen.width_px, seen.height_px) == (MAX_SIDE_PX, round(MAX_SIDE_PX * 40 / 48))


def test_a_cut_off_image_is_a_reject_and_not_a_request() -> None:
    with pytest.raises(Reject) as caught:
        shown(pair_of(stored("target", jpeg(1)[:-300])), "target")
    assert caught.value.reason == "truncated"


def test_tokens_are_counted_as_qwen2_vl_does() -> None:
    """56 x 29 px are 2 x 2 patches of 28 px."""
    image = encode(np.zeros((29, 56, 3), np.uint8))
    prompt = Prompt(id="p", text="<image>" + "x" * 33, max_tokens=5)
    assert tokens_in(Request.of(prompt, [image])) == 4 + 10


def test_the_server_that_we_serve_sees_images_as_they_are_shown() -> None:
    """Its bound is 37 x 37 tokens of 28 x 28 px, to which the largest square comes; it makes no image smaller."""
    resize = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl").smart_resize
    script = (Path(__file__).parents[3] / "infra/vlm/serve.sh").read_text()
    bound = int(re.findall(r"^MAX_PIXELS=(\d+)$", script, re.MULTILINE)[0])
    assert bound == 37 * 37 * 28 * 28 and '"{\\"max_pixels\\": $MAX_PIXELS}"' in script
    for size in ((MAX_SIDE_PX, MAX_SIDE_PX), (MAX_SIDE_PX, 700), (30, MAX_SIDE_PX)):
        assert resize(*size, factor=28, max_pixels=bound) == resize(*size, factor=28, max_pixels=10**9)
