"""What the bytes of a stored image mean: header, upright sRGB pixels, and the lossless encoding of new images.

What their numbers mean as colours: manifests/images/colour.py.

A header is read before anything is decoded, so that a decompression bomb costs nothing.

While `remembering` is open, `decode_rgb`, `encode_lossless` and `reduced` put each image at 1/8 scale into its memory,
and `reduced` takes it from there. Outside of it nothing is kept from one call to the next.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

from manifests.images.colour import Colours, to_srgb
from manifests.images.declared import declared_colours
from manifests.images.png import encode_png
from manifests.images.png_chunks import bit_depth, damaged, has_end, without_extras
from manifests.images.raw import raw_kind, tiff_values
from manifests.schema import Image, Reject, in_a_line

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Largest image that is decoded, pixels: 8,000 x 8,000, above any of the paper's sources (GoPro is 1,280 x 720)."""

MAX_BYTES = 256 * 2**20
"""Largest file that is read, bytes."""

READ_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM")
"""What is read, as Pillow names it. Others are not tried: of them EPS starts Ghostscript, whatever a file is called."""

MIN_SIDE_PX = 32
"""Shortest side of an image that is worth keeping: two by two of the tokenizer's codes, which are 16 px wide."""

NEW_IMAGE_FORMAT = "png"
"""Format, and ending, of what `encode_lossless` writes."""

_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}
_SWAP_SIDES = [_TURNS[orientation] for orientation in (5, 6, 7, 8)]
_DEEP_GRAY = ("I", "I;16", "I;16B", "I;16L")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_CHANNELS = ("L", "RGB", "CMYK", "LAB")
"""The modes of whose channels a colour profile can be."""

_THUMBNAIL_SCALE = 8  # the largest reduction libjpeg does while decoding
_DECODED_OVER = 2.0
"""From twice the pixels a side on, what was reduced by averages first cannot be told from what was resampled at once:
Pillow's own default of `reducing_gap` for thumbnails."""

_memory: ContextVar[Memory | None] = ContextVar("memory", default=None)
"""The memory of `remembering`; None where that is not open."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an image file says of itself. Width and height are those of the upright image, in pixels."""

    format: str
    width_px: int
    height_px: int
    mode: str
    upright: bool
    """False if the pixels must be turned or mirrored by the EXIF orientation to be seen as meant."""
    transparent: bool
    """True if there is an alpha channel, or a colour that is declared transparent, which not every decoder heeds."""
    colours: Colours | None
    """What the colours are, None if they are those of sRGB."""

    @property
    def plain(self) -> bool:
        """Whether every decoder sees the same: upright, opaque sRGB in the channels of a screen, or grey, of 8 bits."""
        return self.upright and self.mode in ("RGB", "L") and not self.transparent and self.colours is None


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """An upright image at 1/8 scale."""

    image: PILImage.Image
    box: tuple[float, float, float, float] | None
    """Left, top, right and bottom of the original in it: where a side is no multiple of 8, the last pixel stands for
    less than 8 px. None if EXIF has turned the image, by which that pixel may be the first."""
    points: Pixels | None
    """What `sampled` takes of the original; None of a JPEG that was only decoded at 1/8 scale."""


class Memory:
    """Images at 1/8 scale, each by the bytes object that it was made from: to hash the bytes would take too long."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[bytes, Reduced]] = {}  # an id stays valid while the object beside it lives

    def get(self, data: bytes) -> Reduced | None:
        entry = self._entries.get(id(data))
        return entry[1] if entry else None

    def put(self, data: bytes, small: Reduced) -> None:
        self._entries[id(data)] = (data, small)


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """The header of an encoded image. Raises Reject: empty, not_image, oversized."""
    with _open(data, max_pixels) as image:
        turn = _turn(image)
        width, height = image.size
        if turn in _SWAP_SIDES:
            width, height = height, width
        return Header(
            format=(image.format or "").lower(),
            width_px=width,
            height_px=height,
            mode=image.mode,
            upright=_orientation(image) not in _TURNS,
            transparent=image.has_transparency_data,
            colours=declared_colours(image, data),
        )


def orientation(data: bytes) -> int:
    """The EXIF orientation of an encoded image, 1 (upright) to 8. Raises Reject as `read_header` does."""
    with _open(data, MAX_PIXELS) as image:
        found = _orientation(image)
    return found if found in _TURNS else 1


def stored(role: str, data: bytes, header: Header | None = None) -> Image:
    """An image to be stored byte for byte; its header, if it was read before. Raises Reject as `read_header` does."""
    header = header or read_header(data)
    return Image(
        role=role,
        data=data,
        format=header.format,
        width_px=header.width_px,
        height_px=header.height_px,
        mode=header.mode,
    )


def decode_rgb(data: bytes) -> Pixels:
    """Upright 8-bit sRGB pixels, H x W x 3, of any image that we keep, by the policy of manifests/images/colour.py.

    Raises Reject: not_image, raw, truncated, damaged, oversized, unread_values, unknown_colours.
    """
    with _open(data, MAX_PIXELS) as image:
        size, turned = image.size, _turn(image) is not None
        rgb = _upright_rgb(image, data)
    _remember(data, rgb, None if turned else size)
    return np.asarray(rgb)


def decode_alpha(data: bytes) -> Pixels:
    """How opaque the upright image is, H x W: 255 where nothing shines through, everywhere if nothing is transparent.

    Raises Reject as `decode_rgb` does.
    """
    with _open(data, MAX_PIXELS) as image:
        turn = _turn(image)
        if image.mode in _DEEP_GRAY and image.has_transparency_data:
            raise Reject("unread_values", "a grey image of more than 8 bits in which one value is transparent")
        _load(image, data)
        if turn is not None:
            image = image.transpose(turn)
        if image.mode in _PREMULTIPLIED:
            image = image.convert(_PREMULTIPLIED[image.mode])
        if not image.has_transparency_data:
            return np.full(image.size[::-1], 255, np.uint8)
        return np.asarray(image.convert("RGBA").getchannel("A"))


def decode_values(data: bytes) -> npt.NDArray[Any]:
    """The numbers of an image that is no picture (depth, class ids), as they are stored: H x W, or H x W x channels.

    Raises Reject as `decode_rgb` does.
    """
    with _open(data, MAX_PIXELS) as image:
        _load(image, data)
        return np.asarray(image)


def thumbnail(data: bytes) -> npt.NDArray[np.float32]:
    """The upright image at 1/8 scale, H/8 x W/8 x 3 in [0, 1], by a full pass over its bytes. Raises as `decode_rgb`.

    A cut-off file is found, at half the cost of decoding for a JPEG: its entropy code is read to the end, only the
    inverse transform is skipped. For an image that was decoded or encoded while `remembering` was open, its pixels were
    reduced instead, which is within JPEG's rounding of the same and costs next to nothing.
    """
    return np.asarray(reduced(data).image, np.float32) / np.float32(255)


def reduced(data: bytes) -> Reduced:
    """`thumbnail` as an RGB image, which is not to be changed: the memory that is open has the same one."""
    memory = _memory.get()
    if memory and (remembered := memory.get(data)):
        return remembered
    with _open(data, MAX_PIXELS) as image:
        width, height = image.size
        if min(width, height) >= _THUMBNAIL_SCALE:
            image.draft("RGB", (width // _THUMBNAIL_SCALE, height // _THUMBNAIL_SCALE))
        drafted = image.size != (width, height)
        rgb = _upright_rgb(image, data)
        small = rgb if drafted else rgb.reduce(_THUMBNAIL_SCALE)
        upright_size = None if _turn(image) else (width, height)
    result = Reduced(image=small, box=_box(upright_size), points=None if drafted else sampled(rgb))
    if memory:
        memory.put(data, result)
    return result


def fitted(data: bytes, side_px: int) -> PILImage.Image:
    """The upright image in sRGB as `decode_rgb` has it, its longer side at most `side_px`; never enlarged.

    A JPEG is decoded at the smallest scale that leaves `_DECODED_OVER` times the pixels a side that are wanted: a large
    photo takes a fraction of the time and memory. Raises Reject as `decode_rgb` does.
    """
    with _open(data, MAX_PIXELS) as image:
        width, height = image.size
        scale = min(1.0, side_px / max(width, height))
        if scale < 1:
            image.draft("RGB", (_side(width, scale * _DECODED_OVER), _side(height, scale * _DECODED_OVER)))
        turned = _turn(image) in _SWAP_SIDES
        rgb = _upright_rgb(image, data)
    if scale == 1:
        return rgb
    size = (_side(width, scale), _side(height, scale))
    size = size[::-1] if turned else size
    return rgb.resize(size, PILImage.Resampling.LANCZOS, reducing_gap=_DECODED_OVER)


def _side(side_px: int, scale: float) -> int:
    return max(1, round(side_px * scale))


def sampled(image: PILImage.Image) -> Pixels:
    """Three pixels of each whole 8 x 8 of an RGB image: one in its middle, and those 2 px right of it and below it.

    The result is 3 x (H // 8) x (W // 8) x 3. Noise and fine detail, which an average of 8 x 8 takes away, are in it.
    It is 2 px because photos are about that were once enlarged by doubling each pixel.
    """
    columns, rows = (side // _THUMBNAIL_SCALE for side in image.size)
    if not (columns and rows):
        return np.empty((3, rows, columns, 3), np.uint8)
    scale, middle = _THUMBNAIL_SCALE, -1  # Pillow looks up the middle of a square of `scale` pixels, at scale / 2
    places = ((middle, middle), (middle + 2, middle), (middle, middle + 2))
    affine = PILImage.Transform.AFFINE
    return np.stack(
        [np.asarray(image.transform((columns, rows), affine, (scale, 0, x, 0, scale, y))) for x, y in places]
    )


@contextmanager
def remembering() -> Iterator[None]:
    """Keep what is reduced until the block ends: a gate and a perceptual hash want it after an image was made or read.

    An image that was decoded and one that was not are reduced in two ways, which differ by JPEG's rounding. So all are
    kept that long, however many pairs come between, and a new thread, which sees no memory, changes none.
    """
    token = _memory.set(Memory())
    try:
        yield
    finally:
        _memory.reset(token)


def _remember(data: bytes, image: PILImage.Image, size: tuple[int, int] | None) -> None:
    """Reduce an upright RGB image into the open memory. `size` is that of the original, if it was not turned."""
    memory = _memory.get()
    if memory:
        small = image.reduce(_THUMBNAIL_SCALE)
        memory.put(data, Reduced(image=small, box=_box(size), points=sampled(image)))


def _box(size: tuple[int, int] | None) -> tuple[float, float, float, float] | None:
    """`Reduced.box` for the size of an image that was not turned."""
    return (0.0, 0.0, size[0] / _THUMBNAIL_SCALE, size[1] / _THUMBNAIL_SCALE) if size else None


def encode_lossless(role: str, pixels: Pixels) -> Image:
    """A new image, H x W x 3 uint8, encoded without loss."""
    height, width, _ = pixels.shape
    data = encode_png(pixels)
    _remember(data, PILImage.fromarray(pixels), (width, height))  # `reduced` would have to decode it
    return Image(role=role, data=data, format=NEW_IMAGE_FORMAT, width_px=width, height_px=height, mode="RGB")


def _open(data: bytes, max_pixels: int) -> PILImage.Image:
    if not data:
        raise Reject("empty", "the file has no bytes")
    if len(data) > MAX_BYTES:
        raise Reject("oversized", f"{len(data):,} bytes, more than {MAX_BYTES:,}")
    if kind := raw_kind(data):
        raise Reject("raw", f"camera RAW ({kind}), which decoders read as its thumbnail: develop it to JPEG or TIFF")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)  # our own limit is stricter
            image = PILImage.open(io.BytesIO(without_extras(data)), formats=READ_FORMATS)
    except PILImage.DecompressionBombError as error:
        raise Reject("oversized", str(error)) from None
    except UnidentifiedImageError:
        _refuse_wrong_checksums(data)
        if values := tiff_values(data):
            raise Reject("unread_values", f"a TIFF of {values} values, which is not read") from None
        cannot = f"cannot identify it as {', '.join(READ_FORMATS)}; it begins with {data[:8]!r}"
        raise Reject("not_image", f"no known image format: {cannot}") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise what they come upon, and not only what says that a file is damaged
        raise Reject("truncated", f"its header cannot be read: {in_a_line(error)}") from None
    width, height = image.size
    if width * height > max_pixels:
        raise Reject("oversized", f"{width} x {height} px, more than {max_pixels:,} pixels")
    return image


def _orientation(image: PILImage.Image) -> int:
    """The EXIF orientation, 1 if upright. Broken EXIF data says nothing."""
    # The base class's getexif: a PNG's own decodes the whole image, in search of metadata behind the pixels.
    try:
        orientation: int = PILImage.Image.getexif(image).get(_ORIENTATION, 1)
        return orientation
    except MemoryError:
        raise
    except Exception:
        return 1


def _turn(image: PILImage.Image) -> PILImage.Transpose | None:
    """What makes Pillow's pixels upright. It turns a TIFF's itself when it loads them, and gives the upright size."""
    return None if image.format == "TIFF" else _TURNS.get(_orientation(image))


def _load(image: PILImage.Image, data: bytes) -> None:
    """Decode an image that is open. Raises Reject: truncated, damaged."""
    _refuse_wrong_checksums(data)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise Reject("truncated", f"it cannot be decoded to its end: {in_a_line(error)}") from None
    if image.format == "PNG" and not has_end(data):
        raise Reject("truncated", "it has no IEND chunk, which is the last of a PNG")


def _refuse_wrong_checksums(data: bytes) -> None:
    if chunk := damaged(data):
        raise Reject("damaged", f"the checksum of its {chunk} chunk is wrong")


def _upright_rgb(image: PILImage.Image, data: bytes) -> PILImage.Image:
    turn, colours, gray = _turn(image), declared_colours(image, data), _deep_gray(image, data)  # before it is loaded
    if colours and colours.steep and _has_deep_values(image, data):
        raise Reject("unread_values", f"16-bit values of {colours.name}, in whose high bytes the dark would be bands")
    _load(image, data)
    if turn is not None:
        image = image.transpose(turn)
    if gray:
        image = _eight_bits(image, gray)
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if not image.has_transparency_data:
        return to_srgb(image if image.mode in _CHANNELS else image.convert("RGB"), colours)
    rgba = image.convert("RGBA")
    opaque = to_srgb(image.getchannel("L") if image.mode == "LA" else rgba.convert("RGB"), colours)
    opaque.putalpha(rgba.getchannel("A"))
    return PILImage.alpha_composite(PILImage.new("RGBA", opaque.size, "white"), opaque).convert("RGB")


@dataclass(frozen=True, kw_only=True)
class _DeepGray:
    """How the values of a grayscale image with more than 8 bits are meant."""

    bits: int
    inverted: bool
    transparent: int | None


def _deep_gray(image: PILImage.Image, data: bytes) -> _DeepGray | None:
    """None for an image of 8 bits, or of several channels, whose high bytes Pillow gives.

    Raises Reject (unread_values) where the range is not known.
    """
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    unsigned = set(tags.get(SAMPLEFORMAT, (1,))) <= {1, 4}  # 4: undefined
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")) or not unsigned:
        values = tiff_values(data) or "floating-point"
        raise Reject("unread_values", f"{values} values, of which nothing says what black and white are")
    # What Pillow takes for other pixels than they are.
    if tags.get(PLANAR_CONFIGURATION) == 2 and max(tags.get(BITSPERSAMPLE, (1,))) > 8:
        raise Reject("unread_values", f"a TIFF of {tiff_values(data)} values in planes, one for each channel")
    if image.format == "PNG" and image.mode == "RGB" and bit_depth(data) == 16 and "transparency" in image.info:
        raise Reject("unread_values", "a PNG of 16 bits in which one colour is transparent")
    if image.mode not in _DEEP_GRAY:
        return None
    return _DeepGray(
        bits=12 if tags.get(BITSPERSAMPLE) == (12,) else 16,
        inverted=tags.get(PHOTOMETRIC_INTERPRETATION) == 0,
        transparent=image.info.get("transparency"),
    )


def _has_deep_values(image: PILImage.Image, data: bytes) -> bool:
    """Whether an image that is open has more than 8 bits a value, of which Pillow may give the high ones alone."""
    if isinstance(image, TiffImageFile):
        return bool(max(image.tag_v2.get(BITSPERSAMPLE, (1,))) > 8)
    return image.mode in _DEEP_GRAY or (image.format == "PNG" and bit_depth(data) > 8)


def _eight_bits(image: PILImage.Image, gray: _DeepGray) -> PILImage.Image:
    """The high byte of each value, with an alpha channel if one value is transparent."""
    values = np.asarray(image).astype(np.int64)
    high = (values >> (gray.bits - 8)).clip(0, 255).astype(np.uint8)
    seen = PILImage.fromarray(255 - high if gray.inverted else high)
    if gray.transparent is not None:
        seen.putalpha(PILImage.fromarray(np.where(values == gray.transparent, 0, 255).astype(np.uint8)))
    return seen
