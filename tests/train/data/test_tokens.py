"""Token shards are read whole or refused with one line, whatever their author put into them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.dataset import Dataset
from tests.datasets import examples
from tests.train.make import SIDE, VOCABULARY, Members, make_tokens, npy, sample, write_token_shard
from train.data.tokens import BadShard, read_commit, read_shard

NAME = "derain-000000"
CODES = np.zeros((SIDE, SIDE))
BOMB = "pickled"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_tokens(str(tmp_path / "derain"), units=1, pairs=2)


def test_a_shard_as_it_was_written(dataset: Dataset) -> None:
    samples = read_shard(dataset, NAME, VOCABULARY)
    rows = examples(dataset)
    assert [found.pair for found in samples] == list(dict.fromkeys(row["pair"] for row in rows))
    for found in samples:
        members = dict(sample(found.pair, [row for row in rows if row["pair"] == found.pair]))
        images = {role: np.load(io.BytesIO(members[f"{found.pair}.{role}.npy"])) for role in ("input", "target")}
        listed = json.loads(members[f"{found.pair}.json"])["examples"]
        assert set(found.turns) == {(example["direction"], example["kind"]) for example in listed}
        for example in listed:
            turn = found.turns[example["direction"], example["kind"]]
            assert turn.instruction.tolist() == example["instruction"]
            assert [codes.tolist() for codes in turn.inputs] == [images[role].tolist() for role in example["inputs"]]
            expected = images[example["output"]].tolist() if example["output"] else example["text"]
            assert turn.output.tolist() == expected


class _Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (BOMB, "w")


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[_Bomb()]], object), allow_pickle=True)
    return buffer.getvalue()


def _image(content: bytes) -> Callable[[str, Members], Members]:
    return lambda key, members: [(f"{key}.input.npy", content), *members[1:]]


def _example(**changes: Any) -> Callable[[str, Members], Members]:
    def edit(key: str, members: Members) -> Members:
        listed = json.loads(members[-1][1])["examples"]
        listed[0] |= changes
        return [*members[:-1], (f"{key}.json", json.dumps({"examples": listed}).encode())]

    return edit


def _json(content: bytes) -> Callable[[str, Members], Members]:
    return lambda key, members: [*members[:-1], (f"{key}.json", content)]


MALICE: dict[str, Callable[[str, Members], Members]] = {
    "pickled": _image(_pickled()),
    "signed": _image(npy(CODES, "<i8")),
    "big-endian": _image(npy(CODES, ">u2")),
    "larger": _image(npy(np.zeros((SIDE + 1, SIDE)))),
    "flat": _image(npy(np.zeros(SIDE * SIDE))),
    "huge on paper": _image(npy(CODES).replace(b"(4, 4)", b"(9999, 9999)")),
    "cut short": _image(npy(CODES)[:-2]),
    "longer": _image(npy(CODES) + b"\0\0"),
    "empty": _image(b""),
    "code out of range": _image(npy(CODES + len(VOCABULARY.image_ids))),
    "path": lambda key, members: [("../../etc/passwd", b""), *members],
    "another pair's": lambda key, members: [(f"{'0' * 32}.input.npy", npy(CODES)), *members[1:]],
    "pickle by its name": lambda key, members: [(f"{key}.input.pyd", npy(CODES)), *members[1:]],
    "role twice": lambda key, members: [members[0], *members],
    "no json": lambda key, members: members[:-1],
    "not json": _json(b"\x80\x04K\x01."),
    "json without examples": _json(b"[]"),
    "deep json": _json(b"[" * 100_000),
    "large json": _json(b" " * 2**21),
    "id out of range": _example(instruction=[VOCABULARY.size]),
    "negative id": _example(instruction=[-1]),
    "no integer": _example(instruction=[1.5]),
    "image token in a text": _example(instruction=[VOCABULARY.end_image]),
    "no such image": _example(inputs=["elsewhere"]),
    "image that is no name": _example(inputs=[{}]),
    "neither image nor text": _example(output=""),
    "both image and text": _example(text=[5]),
    "an image many times": _example(inputs=["input"] * 100_000),
    "an image twice": _example(inputs=["input", "input"]),
    "inputs that are a text": _example(inputs="input"),
    "inputs that are an object": _example(inputs={"input": 1}),
    "another kind": _example(kind="exec"),
    "further key": _example(code="import os"),
    "twice": _example(direction="reverse"),
}


@pytest.mark.parametrize("malice", MALICE)
def test_malicious_shards_are_refused_with_one_line(
    dataset: Dataset, malice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = examples(dataset)
    keys = list(dict.fromkeys(row["pair"] for row in rows))
    samples = [(key, sample(key, [row for row in rows if row["pair"] == key])) for key in keys]
    samples[1] = keys[1], MALICE[malice](*samples[1])
    write_token_shard(dataset, NAME, 0, samples)
    with pytest.raises(BadShard) as refused:
        read_shard(dataset, NAME, VOCABULARY)
    assert "\n" not in str(refused.value) and f"{NAME}.tar is refused: " in str(refused.value)
    assert not (tmp_path / BOMB).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"shard_sha256": "0" * 64},
        {"members": 5},
        {"pairs": 3},
        {"shard_bytes": 2**40},
        {"shard_bytes": True},
        {"tokenizer": None},
        {"tokenizer": {}},
        {"tokenizer": []},
        {"tokenizer": {"vq_sha256": 1, "text_sha256": "0", "resolution_px": 512, "codes": 8192}},
        {"rejects": {"x": "1"}},
        {"fingerprint": None},
    ],
)
def test_commits_that_do_not_agree_with_their_shard(dataset: Dataset, changes: dict[str, Any]) -> None:
    rows = examples(dataset)
    samples = [(rows[0]["pair"], sample(rows[0]["pair"], rows[:4]))]
    write_token_shard(dataset, NAME, 0, samples, lambda values: values.update(changes))
    with pytest.raises(BadShard) as refused:
        read_shard(dataset, NAME, VOCABULARY)
    assert "\n" not in str(refused.value) and NAME in str(refused.value)


def test_a_commit_without_a_tokenizer_is_refused(dataset: Dataset) -> None:
    rows = examples(dataset)
    samples = [(rows[0]["pair"], sample(rows[0]["pair"], rows[:4]))]
    write_token_shard(dataset, NAME, 0, samples, lambda values: values.pop("tokenizer"))
    with pytest.raises(BadShard, match="tokenizer"):
        read_commit(dataset, NAME)


@pytest.mark.parametrize("ending", ["tar", "parquet"])
def test_a_pipe_is_not_waited_for(dataset: Dataset, ending: str) -> None:
    file = Path(dataset.store.path(f"tokens/{NAME}.{ending}"))
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(BadShard, match="is not a regular file"):
        read_shard(dataset, NAME, VOCABULARY)


def test_damage_anywhere_is_noticed(dataset: Dataset) -> None:
    tar = Path(dataset.store.path(f"tokens/{NAME}.tar"))
    whole = tar.read_bytes()
    for place in range(0, len(whole), 977):
        tar.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BadShard):
            read_shard(dataset, NAME, VOCABULARY)
    for damaged in (whole[:-512], whole + bytes(512), b""):
        tar.write_bytes(damaged)
        with pytest.raises(BadShard):
            read_shard(dataset, NAME, VOCABULARY)
    Path(dataset.store.path(f"tokens/{NAME}.parquet")).write_bytes(b"PAR1")
    with pytest.raises(BadShard, match=r"parquet is damaged"):
        read_commit(dataset, NAME)
