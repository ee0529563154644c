"""The derain job as one would write it by hand: two processes, cv2, tarfile, pyarrow, no engine.

It writes the same kind of shards and a manifest with the columns that matter, chooses in-context examples, and hashes
every image. It has no quality gate, no rejects, no hash of the shard, no resume, no commit.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.images.png import encode_png

Pixels = npt.NDArray[np.uint8]
Encode = Callable[[Pixels], bytes]

_FORWARD = ("Remove the rain from this image.", "Derain the image.", "Clear away the rain streaks.")
_REVERSE = ("Add rain to this image.", "Make it rain in this picture.", "Synthesise rain on this photo.")


@dataclass(frozen=True, kw_only=True)
class PlainPair:
    """What goes into the shard for one pair: (role, ending) -> file, and what the manifest says of it."""

    key: str
    source_ref: str
    files: Mapping[tuple[str, str], bytes]
    width_px: int
    height_px: int
    examples: Sequence[Mapping[str, Any]]
    params: Mapping[str, float] = field(default_factory=dict)


def add_rain(clean: Pixels, seed: int) -> tuple[Pixels, dict[str, float]]:
    """The classical recipe, per image: noise, threshold, motion blur by angle and length, screen blend."""
    rng = np.random.default_rng(seed)
    density, angle_deg = float(rng.uniform(0.002, 0.012)), float(rng.uniform(-30, 30))
    length_px, opacity = int(rng.integers(12, 49)), float(rng.uniform(0.55, 0.95))
    noise = rng.random(clean.shape[:2], np.float32)
    drops = (noise < density).astype(np.uint8) * 255
    kernel = np.zeros((length_px, length_px), np.float32)
    kernel[:, length_px // 2] = 1
    turn = cv2.getRotationMatrix2D(((length_px - 1) / 2, (length_px - 1) / 2), angle_deg, 1)
    streaks = cv2.filter2D(drops, -1, cv2.warpAffine(kernel, turn, (length_px, length_px)))
    layer = cv2.cvtColor(cv2.convertScaleAbs(streaks, alpha=opacity), cv2.COLOR_GRAY2BGR)
    rainy = 255 - cv2.multiply(255 - clean, 255 - layer, scale=1 / 255)
    params = {"density": density, "angle_deg": angle_deg, "length_px": length_px, "opacity": opacity}
    return np.asarray(rainy, np.uint8), params


def decode(data: bytes) -> Pixels | None:
    """BGR pixels, None for what is not an image."""
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return pixels


def cv2_png(pixels: Pixels) -> bytes:
    """PNG as cv2 writes it unless told otherwise."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def our_png(pixels: Pixels) -> bytes:
    """PNG as the engine writes it."""
    return encode_png(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))


def synthesise(data: bytes, source_ref: str, encode: Encode) -> PlainPair:
    """A clean photo as target, its rainy version as input, all four examples."""
    clean = decode(data)
    assert clean is not None, source_ref
    key = hashlib.sha256(data).hexdigest()[:32]
    rainy, params = add_rain(clean, int(key[:8], 16))
    rain = f"rain of {params['length_px']} px streaks, leaning {params['angle_deg']:.0f} degrees"
    choice = random.Random(key)
    return PlainPair(
        key=key,
        source_ref=source_ref,
        files={("input", "png"): encode(rainy), ("target", "jpg"): data},
        width_px=clean.shape[1],
        height_px=clean.shape[0],
        examples=(
            *_generate(choice),
            _example("forward", "describe", ["input", "target"], text=f"Removed: {rain}."),
            _example("reverse", "describe", ["target", "input"], text=f"Added: {rain}."),
        ),
        params=params,
    )


def pass_through(path: Path) -> PlainPair | None:
    """A pair as published, after decoding both to see that they are images of one size; the two generate examples."""
    before = path.read_bytes()
    after = (path.parents[1] / "target" / path.name).read_bytes()
    rainy, clean = decode(before), decode(after)
    if rainy is None or clean is None or rainy.shape != clean.shape:
        return None
    key = hashlib.sha256(before).hexdigest()[:32]
    return PlainPair(
        key=key,
        source_ref=path.name,
        files={("input", "jpg"): before, ("target", "jpg"): after},
        width_px=clean.shape[1],
        height_px=clean.shape[0],
        examples=_generate(random.Random(key)),
    )


def write_shard(pairs: Iterator[PlainPair], out: Path, name: str) -> int:
    """Append the pairs to a tar, choose contexts, write the manifest. Returns the number of pairs."""
    (out / "shards").mkdir(parents=True, exist_ok=True)
    (out / "manifest").mkdir(parents=True, exist_ok=True)
    records = []
    with tarfile.open(out / "shards" / f"{name}.tar", "w") as tar:
        for pair in pairs:
            images = []
            for (role, ending), data in pair.files.items():
                images.append(_append(tar, f"{pair.key}.{role}.{ending}", data) | {"role": role})
            _append(tar, f"{pair.key}.json", json.dumps(sample_json(pair)).encode())
            records.append((pair, images))
    choice = random.Random(name)
    rows = []
    for number, (pair, images) in enumerate(records):
        for example in pair.examples:
            other = (number + choice.randrange(1, len(records))) % len(records)
            rows.append(
                {
                    **sample_json(pair),
                    **example,
                    "shard": f"{name}.tar",
                    "context_pair": records[other][0].key,
                    "images": images,
                    "width_px": pair.width_px,
                    "height_px": pair.height_px,
                    "params": json.dumps(pair.params),
                    "examples": None,
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), out / "manifest" / f"{name}.parquet", compression="zstd")
    return len(records)


def sample_json(pair: PlainPair) -> dict[str, Any]:
    """What the shard says of a pair."""
    return {
        "pair": pair.key,
        "task": "derain",
        "source": "photos",
        "source_ref": pair.source_ref,
        "licence": "as the owner of the photos states",
        "examples": pair.examples,
    }


def _append(tar: tarfile.TarFile, name: str, data: bytes) -> dict[str, Any]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    offset = tar.fileobj.tell() + tarfile.BLOCKSIZE if tar.fileobj else 0
    tar.addfile(info, io.BytesIO(data))
    return {"member": name, "offset": offset, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _generate(choice: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        _example("forward", "generate", ["input"], output="target", instruction=choice.choice(_FORWARD)),
        _example("reverse", "generate", ["target"], output="input", instruction=choice.choice(_REVERSE)),
    )


def _example(
    direction: str,
    kind: str,
    inputs: list[str],
    *,
    output: str | None = None,
    text: str | None = None,
    instruction: str = "What changed?",
) -> dict[str, Any]:
    return {
        "direction": direction,
        "kind": kind,
        "inputs": inputs,
        "output": output,
        "text": text,
        "instruction": instruction,
    }
