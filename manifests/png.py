"""A fast, lossless PNG writer for new 8-bit RGB images.

Each row is stored as its difference from the row above (PNG's filter "up", one numpy subtraction) and the whole is
deflated by libdeflate at its fastest level. On 512 px rainy photos that is 2.5 times as fast as cv2's or zlib's writers
and 2.9 times as fast as WebP's fastest lossless setting, whose files are a fifth smaller (`make bench`, README).
libdeflate's output does not depend on the processor: its vector code finds the same matches as its portable code.
https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct

import deflate
import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 1  # libdeflate's fastest; level 2 costs half as much again for 7% fewer bytes
_FILTER_NONE, _FILTER_UP = 0, 2
_EIGHT_BIT_RGB = struct.pack(">BBBBB", 8, 2, 0, 0, 0)  # depth, colour type, deflate, adaptive filtering, not interlaced


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The PNG file of H x W x 3 uint8 RGB pixels."""
    height, width, channels = pixels.shape
    assert channels == 3 and pixels.dtype == np.uint8, (pixels.shape, pixels.dtype)
    flat = pixels.reshape(height, width * channels)
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[0, 0], rows[1:, 0] = _FILTER_NONE, _FILTER_UP
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # modulo 256, as the standard asks
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">II", width, height) + _EIGHT_BIT_RGB),
            _chunk(b"IDAT", bytes(deflate.zlib_compress(rows.data, _LEVEL))),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    checksum = deflate.crc32(data, deflate.crc32(name))
    return b"".join((struct.pack(">I", len(data)), name, data, struct.pack(">I", checksum)))
