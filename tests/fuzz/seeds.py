"""Valid files of every format that is read, small, and files that were made to be hard to read."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as PILImage
from PIL import ImageCms
from PIL.PngImagePlugin import PngInfo

from tests.sources import bomb, encode, encode_image, photo, real_profile

SCORES = (7.0, 6.5)
"""Of the two rows of `image_list`."""


def pngs() -> list[bytes]:
    """Modes and depths, colour chunks, texts, EXIF; and hard ones."""
    image, texts = PILImage.fromarray(photo(0)), PngInfo()
    texts.add_text("comment", "x" * 200, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    exif = PILImage.Exif()
    exif[0x0112] = 6
    gray, deep = image.convert("L"), PILImage.fromarray(photo(1)[..., 0].astype(np.uint16) * 257)
    plain = encode_image(image)
    return [
        plain,
        *(encode_image(gray), encode_image(deep), encode_image(image.quantize(16), transparency=3)),
        *(encode_image(image.convert("LA")), encode_image(image.convert("RGBA")), encode_image(gray.convert("1"))),
        encode_image(image, icc_profile=real_profile("rocket.jpg"), pnginfo=texts),
        encode_image(image, exif=exif),
        _with_chunks(
            plain, (b"gAMA", struct.pack(">I", 100_000)), (b"cHRM", struct.pack(">8I", *range(1, 80_000, 10_000)))
        ),
        _with_chunks(plain, (b"cICP", bytes([9, 16, 0, 1]))),
        _with_chunks(plain, (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(2**22)))),
        _with_chunks(plain, (b"iCCP", b"x\0\0" + zlib.compress(bytes(2**25)))),
        _with_chunks(plain, *[(b"acTL", struct.pack(">II", 2**31 - 1, 0)), (b"fcTL", bytes(26))]),
        *(bomb(), _packed_zeros(1_500, 1_500)),
    ]


def jpegs() -> list[bytes]:
    """Baseline, progressive, gray, CMYK; EXIF and profiles, whole and odd; several pictures in one."""
    image = PILImage.fromarray(photo(0))
    exif = PILImage.Exif()
    exif[0x0112], exif[0x010E] = 8, "described"
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    plain = encode_image(image, "JPEG")
    circular = (
        b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    )
    many = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 500) + struct.pack("<HHII", 0x0112, 3, 2**31 - 1, 8) * 500
    frames = {"save_all": True, "append_images": [image, image]}
    return [
        plain,
        encode_image(image, "JPEG", progressive=True, quality=90, exif=exif),
        *(encode_image(image.convert("L"), "JPEG"), encode_image(image.convert("CMYK"), "JPEG")),
        encode_image(image, "JPEG", icc_profile=real_profile("rocket.jpg")),
        encode_image(image, "MPO", **frames),
        *(_with_segment(plain, circular), _with_segment(plain, many)),
        _with_segment(plain, b"ICC_PROFILE\0\x01\x02" + bytes(200)),
    ]


def tiffs() -> list[bytes]:
    """Compressions, depths, profiles; directories that go round, a million tags, endless strips."""
    image = PILImage.fromarray(photo(0))
    exif = PILImage.Exif()
    exif[0x0112] = 5
    deep = PILImage.fromarray(photo(1)[..., 0].astype(np.uint16) * 257)
    ways = [{"compression": name} for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "raw", "zstd")]
    plain = encode_image(image, "TIFF")
    end = struct.unpack_from("<I", plain, 4)[0]
    next_at = end + 2 + 12 * struct.unpack_from("<H", plain, end)[0]
    return [
        *(encode_image(image, "TIFF", **way) for way in ways),
        *(
            encode_image(deep, "TIFF"),
            encode_image(image.convert("CMYK"), "TIFF"),
            encode_image(image.convert("LAB"), "TIFF"),
        ),
        *(
            encode_image(image.convert("F").convert("L"), "TIFF", exif=exif),
            encode_image(image.convert("RGBA"), "TIFF"),
        ),
        encode_image(PILImage.fromarray(photo(1)[..., 0].astype(np.float32)), "TIFF"),
        encode_image(image, "TIFF", icc_profile=real_profile("rocket.jpg"), big_tiff=True),
        encode_image(image, "TIFF", save_all=True, append_images=[image, image]),
        plain[:next_at] + struct.pack("<I", end) + plain[next_at + 4 :],
        _tiff((330, 4, 1, 8), (256, 3, 1, 40), (257, 3, 1, 40)),
        _tiff(*[(65_000 + n % 500, 4, 2**31 - 1, 8) for n in range(1_000)]),
        _tiff((256, 4, 1, 8_000), (257, 4, 1, 8_000), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)),
    ]


def other_images() -> list[bytes]:
    """WebP, AVIF, GIF, BMP and PPM."""
    image = PILImage.fromarray(photo(0))
    clear, small = image.convert("RGBA"), image.resize((36, 36))
    exif = PILImage.Exif()
    exif[0x0112] = 3
    icc = real_profile("rocket.jpg")
    frames = {"save_all": True, "append_images": [PILImage.fromarray(photo(1)), image]}
    return [
        *(encode_image(image, "WEBP"), encode_image(clear, "WEBP", lossless=True, exif=exif, icc_profile=icc)),
        *(encode_image(image, "WEBP", **frames), encode_image(small, "AVIF", speed=10)),
        encode_image(small.convert("RGBA"), "AVIF", speed=10, exif=exif, icc_profile=icc),
        *(encode_image(image, "GIF"), encode_image(image, "GIF", **frames), encode_image(image, "BMP")),
        *(
            encode_image(image.quantize(200), "BMP"),
            encode_image(image, "PPM"),
            encode_image(image.convert("L"), "PPM"),
        ),
        *(b"P5 40 40 65535\n" + bytes(3_200), b"P2 40 40 9\n" + b"7 " * 1_600, b"P6 8000 8000 255\n", b"P1 40 40\n"),
        *(b"Pf\n40 40\n-1.0\n" + bytes(6_400), b"P7\nWIDTH 40\n", b"PyCMYK\n40 40\n255\n" + bytes(6_400)),
    ]


def profiles() -> list[bytes]:
    """Profiles of ICC: of photos, of Pillow, and of classes that photos have not."""
    made = [ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes() for kind in ("sRGB", "LAB", "XYZ")]
    real = [real_profile("rocket.jpg"), real_profile("astronaut.png")]
    classes = [real[0][:12] + name + real[0][16:] for name in (b"link", b"abst", b"nmcl", b"spac", b"prtr", b"scnr")]
    spaces = [real[0][:16] + name + real[0][20:] for name in (b"CMYK", b"GRAY", b"Lab ", b"6CLR", b"1CLR", b"XYZ ")]
    return [*real, *made, *classes, *spaces]


def tars() -> list[bytes]:
    """What img2dataset writes, in each of tar's forms; and members that are none."""
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        found.append(
            _tar(
                form,
                [
                    ("000000000.jpg", encode(photo(0), "JPEG")),
                    ("000000000.txt", b"a caption"),
                    ("000000001.jpg", encode(photo(1), "JPEG")),
                ],
            )
        )
        long = "folder/" * 30 + "000000001.jpg"
        found.append(
            _tar(
                form,
                [("000000000.jpg", encode(photo(0), "JPEG")), *([(long, encode(photo(1), "JPEG"))] if form else [])],
            )
        )
    sizes = ("-1", "0", "99999999999999999999", "x", "1e9", "1\n1")
    pax = [_tar(tarfile.PAX_FORMAT, [("000000000.jpg", encode(photo(0), "JPEG"))], {"size": size}) for size in sizes]
    sparse = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x.jpg",
        "GNU.sparse.realsize": "9" * 12,
    }
    old = {"GNU.sparse.map": "0,1,x", "GNU.sparse.size": "12", "hdrcharset": "BINARY", "path": "\x00"}
    odd = [_tar(tarfile.PAX_FORMAT, [("000000000.jpg", b"12\n" * 400)], values) for values in (sparse, old)]
    kinds = [bytearray(found[0]) for _ in b"SLKxgV12"]
    for kind, data in zip(b"SLKxgV12", kinds, strict=True):
        data[156] = kind
    negative = bytearray(found[0])
    negative[124:136] = b"\xff" * 12
    return [*found, *pax, *odd, *map(bytes, kinds), bytes(negative)]


def pair_lines() -> list[bytes]:
    """Pairs of images beside the file, in lines of JSON, and what is nearly so."""
    rows = [
        {"input": "a.jpg", "more": ["b.png", {"bytes": None, "path": "b.png"}], "target": "b.png", "say": "do it"},
        {"input": {"path": "a.jpg"}, "target": "sub/../b.png", "say": ["x", "y"], "group": 7, "licence": "CC0-1.0"},
        {"input": "/a.jpg", "target": "https://host/b.png", "say": "\ud800", "mask": "a.jpg", "meta": {"a": {"b": 1}}},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return [lines, b"\xef\xbb\xbf" + lines.replace(b"\n", b"\r\n\r\n"), lines.replace(b'"do it"', b"[" * 20_000)]


def pair_list() -> list[bytes]:
    """The same as one list."""
    return [b"[" + b",".join(lines.strip().splitlines()) + b"]" for lines in pair_lines()[::2]]


def pair_values() -> list[bytes]:
    """The same as separated values, with quotes and line ends in them."""
    rows = b'input,target,say,group\na.jpg,b.png,"do ""it"",\r\nand that",g\nb.png,a.jpg,"x\ny",\n"a.jpg",b.png,z,h\n'
    return [rows, b"\xef\xbb\xbf" + rows.replace(b",", b";"), rows + b'"' + b"x" * 5_000]


def pair_tars() -> list[bytes]:
    """WebDataset's samples of a pair, in each of tar's forms."""
    fields = json.dumps({"say": "do it", "group": "g", "meta": {"x": 1}}).encode()
    members = [("0.input.jpg", encode(photo(0), "JPEG")), ("0.target.png", encode(photo(1))), ("0.json", fields)]
    return [_tar(form, members) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def pair_files() -> list[bytes]:
    """Parquet files of pairs: structs, plain bytes, lists and paths."""
    one, other = encode(photo(0), "JPEG"), encode(photo(1))
    struct = {"input": {"bytes": one, "path": "a.jpg"}, "target": {"bytes": other, "path": None}, "say": "do it"}
    plain = {"input": [one, other], "target": other, "say": ["x"], "group": 1.0}
    paths = {"input": "a.jpg", "target": "b.png", "say": "x", "meta": {"x": 1}}
    return [parquet(pa.Table.from_pylist([row] * 3)) for row in (struct, plain, paths)]


def image_list() -> bytes:
    """The list of the images in `tars`, as img2dataset writes it."""
    rows = {
        "key": ["000000000", "000000001"],
        "status": ["success"] * 2,
        "caption": ["one", "two"],
        "aesthetic": SCORES,
    }
    return parquet(pa.table({**rows, "url": ["https://example.org"] * 2}))


def lists() -> list[bytes]:
    """Lists of images in the types and encodings that programs write."""
    table = pq.read_table(io.BytesIO(image_list()))
    numbers = table.set_column(0, "key", pa.array([0, 1])).set_column(3, "aesthetic", pa.array(["7.0", "6.5"]))
    return [
        parquet(table),
        parquet(numbers, "zstd"),
        parquet(table, "gzip"),
        parquet(table, "none", False),
        lying(parquet(table, "zstd")),
    ]


def hub_rows() -> list[dict[str, Any]]:
    """Two turns of a session, in MagicBrush's columns."""
    return [
        {
            "img_id": "7",
            "turn_index": turn,
            "source_img": {"bytes": encode(photo(turn), "JPEG", quality=20), "path": "7-input.jpg"},
            "mask_img": None,
            "instruction": f"make it darker, step {turn}",
            "target_img": {"bytes": encode(photo(turn) // 2, "JPEG", quality=20), "path": f"7-output{turn}.jpg"},
        }
        for turn in (1, 2)
    ]


def hub_files() -> list[bytes]:
    """Files of the hub: with images as structs and as plain binary values, packed in several ways."""
    table = pa.Table.from_pylist(hub_rows())
    plain = [
        {name: value["bytes"] if isinstance(value, dict) else value for name, value in row.items()}
        for row in hub_rows()
    ]
    views = pa.Table.from_pylist(plain).cast(pa.schema([pa.field(name, kind) for name, kind in _VIEWS.items()]))
    found = [
        parquet(table),
        parquet(table, "zstd"),
        parquet(table, "brotli", False),
        parquet(pa.Table.from_pylist(plain)),
        parquet(views, "lz4"),
    ]
    return [*found, lying(found[1]), lying(found[1], 2**31 - 1)]


_VIEWS: Mapping[str, pa.DataType] = {
    "img_id": pa.string_view(),
    "turn_index": pa.float64(),
    "source_img": pa.binary_view(),
    "mask_img": pa.null(),
    "instruction": pa.large_string(),
    "target_img": pa.large_binary(),
}


def parquet(table: pa.Table, compression: str = "snappy", dictionary: bool = True) -> bytes:
    """A table as a Parquet file of two row groups."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression, use_dictionary=dictionary, row_group_size=1)
    return buffer.getvalue()


def lying(data: bytes, claimed: int = 2**30) -> bytes:
    """A Parquet file in which the header of each column's first page claims to unpack to more than it does.

    The header is Thrift's compact form: field 1 the kind of page, 2 and 3 its sizes unpacked and packed. What the
    larger number takes is taken from the page behind it.
    """
    changed, metadata = bytearray(data), pq.read_metadata(io.BytesIO(data))
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            place = metadata.row_group(group).column(column)
            start = (place.dictionary_page_offset or place.data_page_offset) + 3
            end = start
            while changed[end] & 128:
                end += 1
            number, part = 2 * claimed, bytearray()
            while number > 127:
                part.append(number & 127 | 128)
                number >>= 7
            part.append(number)
            behind = start + place.total_compressed_size - 3
            changed[start:behind] = (part + changed[end + 1 : behind])[: behind - start]
    return bytes(changed)


def recipes() -> list[bytes]:
    """Recipes."""
    whole = b"""[[datasets]]
task = "derain"
source = "Rain13K"
data = ["photos/outdoor", "DFWB"]
pairs = 13_000
skip = 500
factor = 4
weight = 0.02
options = { size = 512, strength = 2.0 }

[[datasets]]
task = "tasks/dehaze.py:DEHAZE"
"""
    return [
        whole,
        whole.replace(b"[[datasets]]", b"[datasets]", 1),
        b"\xef\xbb\xbf" + whole,
        b"datasets = 5\n",
        b"a.b = 1\n" + whole,
    ]


def said() -> list[bytes]:
    """Answers of vision-language models: labelled lines and JSON."""
    parts = {"relation": "the rain is gone", "input caption": "a street", "same": "yes"}
    lines = "\n".join(f"**{name.title()}**: {value}" for name, value in parts.items())
    return [
        json.dumps(parts).encode(),
        f"Sure! Here it is:\n```json\n{json.dumps(parts)}\n```".encode(),
        lines.encode(),
        b"Answer: Yes. Actually, no.",
        b"<think>x</think> Same: no",
    ]


def _tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """A TIFF of one directory: tag, type, count and value of each entry. The next directory is itself."""
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        + struct.pack("<I", 8)
    )


def _tar(form: int, members: Sequence[tuple[str, bytes]], values: Mapping[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(data), dict(values or {})
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with further chunks behind its header."""
    return png[:33] + b"".join(_chunk(name, body) for name, body in chunks) + png[33:]


def _packed_zeros(width: int, height: int) -> bytes:
    """A black PNG, in far fewer bytes than pixels."""
    packer, rows = zlib.compressobj(9), bytearray()
    for _ in range(height):
        rows += packer.compress(bytes(1 + width // 8))
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", bytes(rows) + packer.flush())
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _with_segment(jpeg: bytes, body: bytes, marker: int = 0xE1) -> bytes:
    """A JPEG with a further segment of an application."""
    kept = body[:65_533] if not body.startswith(b"ICC") else body
    marker = 0xE2 if body.startswith(b"ICC") else marker
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(kept) + 2) + kept + jpeg[2:]
