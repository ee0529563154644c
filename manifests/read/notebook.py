"""What a notebook shows of a dataset: a heading, and a few pairs as small pictures inside the HTML."""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections.abc import Iterable, Iterator

from PIL import Image as PILImage

from manifests.read.pairs import StoredExample, StoredPair
from manifests.schema import DatasetError

_PAIRS = 4
_SIDE_PX = 160  # of the square that a picture fits into
_QUALITY = 80  # of JPEG: some 5 KB a picture


def card(name: str, counts: str, pairs: Iterable[StoredPair]) -> str:
    """HTML of a dataset's name and counts, both plain text, above its first pairs."""
    cells = "".join(map(_cell, itertools.islice(pairs, _PAIRS)))
    return (
        f"<div><b>{html.escape(name)}</b><br>{html.escape(counts)}</div>"
        f'<div style="display:flex;flex-wrap:wrap;gap:16px;margin-top:8px">{cells}</div>'
    )


def _cell(pair: StoredPair) -> str:
    """One pair: the images of its first example from input to output, above the instruction."""
    example = pair.examples[0]
    try:
        pictures = "".join(
            f'<img src="{_data_uri(pair.pil(role))}" alt="{html.escape(role)}" title="{html.escape(role)}">'
            for role in _roles(example)
        )
    except (DatasetError, KeyError) as error:
        pictures = f"<i>{html.escape(str(error))}</i>"
    width_px = 2 * _SIDE_PX + 4
    return (
        f'<figure style="margin:0;max-width:{width_px}px" title="{html.escape(pair.key)}">'
        f'<div style="display:flex;flex-wrap:wrap;gap:4px">{pictures}</div>'
        f"<figcaption>{html.escape(example.instruction)}</figcaption></figure>"
    )


def _roles(example: StoredExample) -> Iterator[str]:
    yield from example.inputs
    if example.output is not None:
        yield example.output


def _data_uri(image: PILImage.Image) -> str:
    image.thumbnail((_SIDE_PX, _SIDE_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
