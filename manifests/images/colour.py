"""What the numbers of an image file mean as colours, and how they become the sRGB that all of our pixels are.

The policy, for every reader and operator:

    ICC profile       heeded. Pixels are converted to sRGB by LittleCMS (Pillow's ImageCms), with the perceptual intent;
                      a profile whose colours are those of sRGB to within SAME_LEVELS changes nothing.
    PNG               the chunk cICP is heeded first, then iCCP, then sRGB, then gAMA and cHRM, as the specification's
                      third edition has it (section 4.3). A gAMA of 1/2.2, which files of sRGB have, is sRGB's curve.
    AVIF              the profile, or else the colour numbers of the container.
    Exif              "R03" without a profile is Adobe RGB (DCF 2.0: what cameras write).
    CMYK              by its profile. Without one it is (1 - C)(1 - K), as most decoders have it.
    none of these     sRGB.
    16 bits           the high byte of each value is kept; 12 bits are seen as the whole of their range. Linear light is
                      refused ("unread_values"): in its high bytes the dark is bands.
    alpha             laid over white, after the conversion; so is what a palette or a colour declares transparent.
    EXIF orientation  followed.
    refused           what cannot be known is not guessed: floating-point, signed and 32-bit values, whose range no file
                      states (reject "unread_values"); the transfer curves of HDR, a profile that cannot be read or that
                      is for other channels than the file has ("unknown_colours"); camera RAW, of which decoders find
                      the thumbnail ("raw").

What is made anew is sRGB and says nothing of it. Which files are stored byte for byte: operators/read/photos.py.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageCms

from manifests.schema import Reject

SAME_LEVELS = 2
"""Levels, of 255, by which a profile's colours may differ from sRGB's and still be sRGB: published sRGB profiles have
curves as tables of few points, and differ by one."""

_Point = tuple[float, float]
_Primaries = tuple[_Point, _Point, _Point]
_SRGB_PRIMARIES: _Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_D65: _Point = (0.3127, 0.3290)
_D50_XYZ = (0.9642, 1.0, 0.8249)  # ICC.1:2022, section 7.2.16: the white of the space that profiles lead to
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1, as ICC's parametric curve of type 3

_PRIMARIES: dict[int, tuple[_Primaries, _Point]] = {
    1: (_SRGB_PRIMARIES, _D65),
    2: (_SRGB_PRIMARIES, _D65),  # unspecified
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), _D65),
    6: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), _D65),
    7: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), _D65),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), _D65),
    12: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), _D65),
}
"""Primaries and white by their number in ITU-T H.273, table 2."""

_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15), _SRGB_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
}
"""Curves by their number in ITU-T H.273, table 3. Video's (1, 6, 14, 15) are shown as sRGB's, as browsers do."""

_HDR_CURVES = (16, 18)
_ICC_HEADER_BYTES = 128
_ADOBE_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))  # Adobe RGB (1998) Color Image Encoding, section 4.3.1
_ADOBE_CURVE = (563 / 256,)
_PNG_CURVE = 1 / 2.2
_PNG_CURVE_SPREAD = 0.05  # libpng's PNG_GAMMA_THRESHOLD: a smaller difference of two curves is not corrected
_SRGB_SPREAD = 0.002  # of a chromaticity: files round them to some digits
_MAX_NAME = 60
_GRID = 17
_DARK_LEVELS, _STEEP_LEVELS = 16, 4
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""The colour space that a profile for pixels of a Pillow mode has."""


@dataclass(frozen=True, kw_only=True)
class Colours:
    """What an image declares of its colours where that is not sRGB."""

    profile: bytes
    """An ICC profile: the file's own, or one made of what it says in other ways. Empty if it cannot be known what the
    colours are."""
    name: str
    """What the colours are called, or why they cannot be known."""
    steep: bool = False
    """Whether neighbours of 8 bits lie far apart in the dark, as those of linear light do: the high bytes of 16-bit
    values would be bands."""


@lru_cache(maxsize=16)
def from_icc(profile: bytes) -> Colours | None:
    """The colours of a file's ICC profile; None if they are sRGB's."""
    if int.from_bytes(profile[:4], "big") > len(profile):  # LittleCMS reads what is left, and takes the rest as absent
        return Colours(profile=b"", name="its colour profile is cut off")
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _is_srgb(opened):
            return None
        name, steep = ImageCms.getProfileDescription(opened), _is_steep(opened)
    except (OSError, ImageCms.PyCMSError, ValueError, TypeError) as error:
        return Colours(profile=b"", name=f"its colour profile cannot be read: {error}")
    name = "".join(filter(str.isprintable, name)).strip()[:_MAX_NAME] or "ICC profile"
    return Colours(profile=profile, name=name, steep=steep)


def from_numbers(primaries: int, curve: int) -> Colours | None:
    """The colours of two numbers of ITU-T H.273; None if they are sRGB's."""
    name = f"H.273 primaries {primaries}, curve {curve}"
    if primaries not in _PRIMARIES or curve not in _CURVES:
        hdr = ", of HDR" if curve in _HDR_CURVES else ""
        return Colours(profile=b"", name=f"its colours are {name}{hdr}, which are not read")
    return _declared(*_PRIMARIES[primaries], _CURVES[curve], name)


def narrow(primaries: int, curve: int) -> Colours:
    """The colours of values that leave out the ends of their range, as those of video do: 16 is black."""
    name = f"H.273 primaries {primaries}, curve {curve}"
    return Colours(profile=b"", name=f"its values are those of video, of a narrow range ({name}), which are not read")


def from_gamma(gamma: float | None, chromaticities: tuple[float, ...] | None) -> Colours | None:
    """The colours of a PNG's gAMA, and of its cHRM: x and y of white, red, green and blue; None if they are sRGB's.

    None stands for a chunk that is not there. What no colours can be (a gamma of 0, primaries on one line) says
    nothing, as in libpng.
    """
    primaries, white = _SRGB_PRIMARIES, _D65
    curve: tuple[float, ...] = _SRGB_CURVE
    if chromaticities and _triangle(chromaticities):
        white, *points = zip(chromaticities[::2], chromaticities[1::2], strict=True)
        primaries = (points[0], points[1], points[2])
    said = np.array([white, *primaries])
    is_srgb = bool(np.abs(said - np.array([_D65, *_SRGB_PRIMARIES])).max() < _SRGB_SPREAD)
    if gamma and not (is_srgb and abs(gamma / _PNG_CURVE - 1) < _PNG_CURVE_SPREAD):
        curve = (1 / gamma,)
    elif is_srgb:
        return None
    return _declared(primaries, white, curve, f"PNG gAMA {gamma}, cHRM {'sRGB' if is_srgb else 'other'}")


def adobe_rgb() -> Colours | None:
    """The colours of what a camera marks as Adobe RGB without a profile."""
    return _declared(_ADOBE_PRIMARIES, _D65, _ADOBE_CURVE, "Adobe RGB (Exif)")


def to_srgb(image: PILImage.Image, colours: Colours | None) -> PILImage.Image:
    """An image of mode L, RGB, CMYK or LAB as RGB with the colours of sRGB.

    Raises Reject (unknown_colours) where they cannot be known.
    """
    if colours is None:
        if image.mode == "LAB":
            return _transform(None, "LAB").apply(image)
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy
    if not colours.profile:
        raise Reject("unknown_colours", colours.name)
    space = _space(ImageCms.ImageCmsProfile(io.BytesIO(colours.profile)))
    if image.mode == "L" and space == "RGB":  # grey made of a colour photo whose profile was kept
        image = image.convert("RGB")
    if image.mode == "RGB" and space == "GRAY" and _is_gray(image):  # of a file that has no form for grey of its kind
        image = image.getchannel("R")
    if _SPACES.get(image.mode) != space:
        raise Reject("unknown_colours", f"its profile, {colours.name}, is for {space}, its pixels are {image.mode}")
    try:
        return _transform(colours.profile, image.mode).apply(image)
    except (ImageCms.PyCMSError, ValueError) as error:
        raise Reject("unknown_colours", f"its profile, {colours.name}, converts to nothing: {error}") from None


def _is_gray(image: PILImage.Image) -> bool:
    """Whether all three channels of an RGB image are the same."""
    red, green, blue = (image.getchannel(name).tobytes() for name in "RGB")
    return red == green == blue


@lru_cache(maxsize=16)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform:
    """The transform from a profile, or from CIELAB itself, to sRGB."""
    source = ImageCms.createProfile("LAB") if profile is None else ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL)


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether a profile leaves the colours of a grid, or greys, as they are, but for SAME_LEVELS."""
    space = _space(profile)
    if space == "GRAY":
        grid = np.arange(256, dtype=np.uint8)[None]
    elif space == "RGB":
        levels = np.linspace(0, 255, _GRID).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    else:
        return False
    image = PILImage.fromarray(grid)
    srgb = ImageCms.createProfile("sRGB")
    seen = ImageCms.buildTransform(profile, srgb, image.mode, "RGB").apply(image)
    difference = np.asarray(seen, np.int16) - np.asarray(image.convert("RGB"), np.int16)
    return bool(np.abs(difference).max() <= SAME_LEVELS)


def _is_steep(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether two dark greys that are neighbours become more than _STEEP_LEVELS apart."""
    mode = {"GRAY": "L", "RGB": "RGB"}.get(_space(profile))
    if mode is None:
        return False
    ramp = PILImage.fromarray(np.arange(_DARK_LEVELS, dtype=np.uint8)[None]).convert(mode)
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    seen = np.asarray(transform.apply(ramp), np.int16)
    return bool(np.abs(np.diff(seen, axis=1)).max() > _STEEP_LEVELS)


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    return str(profile.profile.xcolor_space).strip()


def _triangle(chromaticities: tuple[float, ...]) -> bool:
    """Whether there is a white, and primaries with a triangle between them."""
    white, red, green, blue = np.array(chromaticities, np.float64).reshape(4, 2)
    area = np.linalg.det(np.stack([green - red, blue - red]))
    return bool(min(white[1], red[1], green[1], blue[1]) > 0 and abs(area) > 1e-3)


def _declared(primaries: _Primaries, white: _Point, curve: tuple[float, ...], name: str) -> Colours | None:
    """The colours of primaries, white (x, y) and curve; None if they are sRGB's."""
    found = from_icc(_matrix_profile(primaries, white, curve))
    return replace(found, name=name) if found else None


def _matrix_profile(primaries: _Primaries, white: _Point, curve: tuple[float, ...]) -> bytes:
    """An ICC profile (ICC.1:2022) of three primaries, their white and a parametric curve, by its parameters."""
    white_xyz = _xyz(white)
    columns = np.stack([_xyz(point) for point in primaries], axis=1)
    columns = columns * np.linalg.solve(columns, white_xyz)
    adapted = (_BRADFORD @ np.array(_D50_XYZ)) / (_BRADFORD @ white_xyz)
    columns = np.linalg.inv(_BRADFORD) @ np.diag(adapted) @ _BRADFORD @ columns
    kind = {1: 0, 5: 3}[len(curve)]  # types of the parametric curve: a power; a power with a straight foot
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50_XYZ)}
    for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*column)
        tags[name + b"TRC"] = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*curve)
    table, body, start = struct.pack(">I", len(tags)), b"", _ICC_HEADER_BYTES + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(*_D50_XYZ)
    return head.ljust(_ICC_HEADER_BYTES, b"\0") + table + body


def _xyz(point: _Point) -> npt.NDArray[np.float64]:
    """XYZ of a chromaticity at a luminance of 1."""
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*values: float) -> bytes:
    """Numbers as ICC's s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
