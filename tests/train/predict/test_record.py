from __future__ import annotations

import json
from multiprocessing import get_context
from pathlib import Path

import pytest

from train.evaluate.predictions import RECORD_FILE
from train.predict.record import claim, model_sha256


def test_of_many_processes_one_writes_and_all_agree(tmp_path: Path) -> None:
    """Eight claim a folder at once, each other one with another record: those of the first alone get it."""
    out = tmp_path / "out"
    with get_context("fork").Pool(8) as pool:
        got = pool.starmap(_claims, [(out, {"seed": number % 2}) for number in range(8)], chunksize=1)
    there = json.loads((out / RECORD_FILE).read_text())
    assert got == [there == {"seed": number % 2} for number in range(8)]
    assert [path.name for path in out.iterdir()] == [RECORD_FILE]


def _claims(folder: Path, record: dict[str, int]) -> bool:
    try:
        claim(folder, record)
    except ValueError as error:
        return "holds predictions made otherwise (seed: " not in str(error)
    return True


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text("[]")
    with pytest.raises(ValueError, match="is not what xprompt predict writes"):
        claim(tmp_path, {"seed": 0})


def test_the_hash_of_a_model_is_of_each_of_its_files(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json", "notes.txt"):
        (tmp_path / name).write_text("a")
    before = model_sha256(tmp_path)
    (tmp_path / "notes.txt").write_text("b")
    assert model_sha256(tmp_path) == before
    (tmp_path / "tokenizer.json").write_text("b")
    assert model_sha256(tmp_path) != before
