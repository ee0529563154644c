"""The derain job as the Ray Data manual suggests: read files, map over rows, `write_webdataset`.

It does less than the other arms: no manifest, no in-context examples, no hash of what was written. `encoder=None` is
kinder than the default, which would re-encode every image as JPEG at quality 75.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ray.data

from infra.bench.plain import PlainPair, cv2_png, pass_through, sample_json, synthesise

Row = dict[str, Any]


def synthesise_folder(folder: Path, out: Path) -> None:
    """Clean photos -> samples with rain: the plain script's code a pair, as rows of encoded images."""
    files = ray.data.read_binary_files(str(folder), include_paths=True)
    files.map(_synthesise).write_webdataset(str(out), encoder=None)


def copy_pairs(folder: Path, out: Path) -> None:
    """Pairs as published -> samples."""
    paths = ray.data.from_items([{"path": str(path)} for path in sorted((folder / "input").iterdir())])
    paths.map(_pass_through).write_webdataset(str(out), encoder=None)


def _synthesise(row: Row) -> Row:
    return _sample(synthesise(row["bytes"], Path(row["path"]).name, cv2_png))


def _pass_through(row: Row) -> Row:
    pair = pass_through(Path(row["path"]))
    assert pair, "the fixture has no damaged pairs"
    return _sample(pair)


def _sample(pair: PlainPair) -> Row:
    images = {f"{role}.{ending}": data for (role, ending), data in pair.files.items()}
    return {"__key__": pair.key, **images, "json": json.dumps(sample_json(pair)).encode()}
