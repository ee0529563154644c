"""A dataset from a bucket into a bucket, by the commands as a user types them; what it is read with; training on it."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.command import main
from manifests.dataset import Dataset
from manifests.read.query import connect, run_sql
from manifests.verify.dataset import verify
from manifests.write.contexts import finish_rewriting, needing, read_columns, write_contexts
from operators.tokenize import Tokenizer, tokenize_unit
from tests.buckets.conftest import S3
from tests.commands import Running, run
from tests.datasets import contexts_of, make_dataset, sha256_by_file
from tests.manifests.make import make_dataset as make_by_hand
from tests.manifests.web import ask, get, serving
from tests.sources import write_photos
from tests.train.make import VOCABULARY, make_model, options, tokenizers
from train.data.corpus import Corpus
from train.data.loader import Fed, feed

PHOTOS = 40
OUT = "s3://datasets/out"


@dataclass(frozen=True, kw_only=True)
class Made:
    """What the two runs left and asked for."""

    killed: dict[str, bytes]
    """The objects of OUT when the first run was killed."""
    requests: list[tuple[str, str, int]]
    """Of the run that went on."""
    disk: Path
    """The dataset that is made of the same photos on a disk."""


@pytest.fixture(scope="module")
def made(running_s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run is killed that has one unit and cannot write another; the next goes on, while the store fails at times."""
    folder = tmp_path_factory.mktemp("buckets")
    photos = write_photos(folder / "photos", PHOTOS, 120, 100)
    running_s3.bucket("photos", {f"set/{path.name}": path.read_bytes() for path in photos.iterdir()})
    running_s3.client.put_object(Bucket="photos", Key="set/", Body=b"")
    running_s3.bucket("datasets")
    make_dataset(folder / "disk", photos)
    command = [sys.executable, "-m", "infra.command", "shards", "derain", "--data", "s3://photos/set", "--out", OUT]
    running_s3.disturb({"method": "PUT", "path": "manifest/derain-000001", "status": 503, "times": 9_999})
    with Running([*command, "--cpus", "2"]) as first:
        first.until(lambda: any(name.endswith("000000.parquet") for name in _committed(running_s3)))
        first.until(
            lambda: ("PUT", "/datasets/out/derain/manifest/derain-000001.parquet", 503) in running_s3.requests()
        )
    killed = running_s3.objects("datasets")
    _grow_old(running_s3)
    running_s3.disturb(*({"method": "*", "path": "shards|set/", "status": at, "times": 2} for at in (500, 503)))
    running_s3.requests()
    again = run([*command, "--cpus", "2"])
    assert again.returncode == 0, again.stderr
    return Made(killed=killed, requests=running_s3.requests(), disk=folder / "disk/derain")


def _committed(s3: S3) -> list[str]:
    answer = s3.client.list_objects_v2(Bucket="datasets", Prefix="out/derain/manifest/")
    return [entry["Key"] for entry in answer.get("Contents", [])]


def _grow_old(s3: S3) -> None:
    """As if the killed run had been heard of long ago."""
    lease = {"Bucket": "datasets", "Key": "out/derain/.lock"}
    owner = json.loads(s3.client.get_object(**lease)["Body"].read())
    s3.client.put_object(**lease, Body=json.dumps({**owner, "heard_s": 0.0}).encode())


def test_a_killed_run_leaves_whole_objects_and_goes_on_to_the_bytes_of_a_disk(s3: S3, made: Made) -> None:
    on_disk = sha256_by_file(made.disk)
    left = {name.removeprefix("out/derain/"): data for name, data in made.killed.items()}
    assert "manifest/derain-000000.parquet" in left and "manifest/derain-000001.parquet" not in left
    for name in set(left) - {".lock", "seen.parquet"}:
        assert hashlib.sha256(left[name]).hexdigest() == on_disk[name], name
    there = {name: hashlib.sha256(data).hexdigest() for name, data in s3.objects("datasets", "out/derain/").items()}
    assert there == on_disk


def test_a_photo_costs_two_requests(made: Made) -> None:
    """The read of a photo, and the look whether it has changed since; what failed is asked for once more."""
    answered = [(method, path) for method, path, status in made.requests if status not in (500, 503)]
    of_photos = [path for _, path in answered if path.startswith("/photos/set/")]
    items = PHOTOS - len(Dataset(str(made.disk)).unit(Dataset(str(made.disk)).plan(), 0).items)
    assert len(of_photos) <= 2 * items


def test_a_dataset_in_a_bucket_is_verified_browsed_and_asked(
    made: Made, s3: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", OUT]) == 0
    assert "2 shards: nothing wrong" in capsys.readouterr().out
    bucket, disk = Dataset(f"{OUT}/derain"), Dataset(str(made.disk))
    assert bucket.counts() == disk.counts()
    (count,) = run_sql(connect(OUT), "SELECT count(*) FROM pairs").rows
    assert count == (disk.counts()["pairs"],)
    for ours, theirs in zip(bucket.pairs(), disk.pairs(), strict=True):
        assert ours.key == theirs.key and ours.image_bytes("input") == theirs.image_bytes("input")
    with serving(OUT) as port:
        assert get(port, "/")[0].status == 200
        assert ask(port, "overview")[0]["pairs"] == disk.counts()["pairs"]
    guard = "s3://datasets/guard.parquet"
    assert main(["hashes", "s3://photos/set", "--name", "set", "--out", guard]) == 0
    assert f"{PHOTOS} images of set" in capsys.readouterr().out
    s3.client.delete_object(Bucket="datasets", Key="guard.parquet")


@pytest.fixture(scope="module")
def tokenised(made: Made, running_s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset on a disk with other contexts and with tokens; the one in the bucket has them too then."""
    disk = Dataset(shutil.copytree(made.disk, tmp_path_factory.mktemp("tokenised") / "derain"))
    bucket = Dataset(f"{OUT}/derain")
    for dataset in (bucket, disk):
        plan = dataset.plan()
        for unit in range(plan.units):
            _choose_next(dataset, plan.name(unit))
        finish_rewriting(dataset, plan)
        tokenizer = Tokenizer(tokenizers())
        for unit in range(plan.units):
            tokenize_unit(dataset, plan, unit, tokenizer)
    return disk


def test_tokens_and_contexts_are_written_and_two_workers_read_what_one_process_reads_of_a_disk(
    tokenised: Dataset, s3: S3
) -> None:
    disk, bucket = tokenised, Dataset(f"{OUT}/derain")
    there = {name: hashlib.sha256(data).hexdigest() for name, data in s3.objects("datasets", "out/derain/").items()}
    assert there == sha256_by_file(Path(disk.url))
    assert list(verify(OUT)) == []
    batches = list(itertools.islice(_feed(bucket, 2), 8))
    for ours, theirs in zip(batches, itertools.islice(_feed(disk, 0), 8), strict=True):
        assert ours.cursor == theirs.cursor and ours.labels == theirs.labels
        assert np.array_equal(ours.batch.ids.numpy(), theirs.batch.ids.numpy())


def test_the_trainer_with_two_workers_on_a_bucket_is_bit_for_bit_that_without_on_a_disk(
    tokenised: Dataset, s3: S3, tmp_path: Path
) -> None:
    """The command as a user types it. Its arrays are made once: the second time no part is asked for."""
    model = make_model(tmp_path / "model")
    sizes = "--xp-tokens 4 --warmup-steps 1 --window-tokens 512 --windows 1 --buffer-windows 2 --global-windows 4"
    common = [
        *sizes.split(),
        "--model",
        str(model),
        "--streams",
        "4",
        "--checkpoint-every",
        "2",
        "--cached-shards",
        "1",
    ]

    def trained(url: str, workers: int, steps: int) -> list[dict[str, Any]]:
        out = tmp_path / f"run-{workers}"
        given = ["--data", url, "--workers", str(workers), "--steps", str(steps), "--out", str(out)]
        assert main(["train", *common, *given]) == 0
        lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        return [{name: line[name] for name in ("step", "loss", "loss_by", "tokens", "gradient_norm")} for line in lines]

    expected = trained(tokenised.url, 0, 2)
    assert len(expected) == 2 and trained(f"{OUT}/derain", 2, 2) == expected
    exported = [(tmp_path / f"run-{workers}/model/model.safetensors").read_bytes() for workers in (0, 2)]
    assert exported[0] == exported[1]
    s3.requests()
    assert (
        main(
            [
                "train",
                *common,
                "--data",
                f"{OUT}/derain",
                "--workers",
                "2",
                "--steps",
                "2",
                "--out",
                str(tmp_path / "run-2"),
            ]
        )
        == 0
    )
    asked = [path for method, path, _ in s3.requests() if method == "GET" and path.endswith(".parquet")]
    assert [path for path in asked if "/plan.parquet" not in path] == []


def test_training_ends_with_one_line_if_the_bucket_is_away_and_leaves_nothing_out(tokenised: Dataset, s3: S3) -> None:
    """A shard that was left out for an hour's outage would be missing from the run for good."""
    fed = _feed(Dataset(f"{OUT}/derain"), 2)
    s3.disturb({"method": "GET", "path": r"tokens/.*tar", "status": 403, "times": 999})
    with pytest.raises(ValueError, match=r"^s3://datasets/out/derain/tokens/derain-00000\d.tar: [^\n]+$"):
        next(fed)


def _choose_next(dataset: Dataset, name: str) -> None:
    """Make each example's context that of the pair after its own."""
    table = read_columns(dataset, name, ["pair", "direction", "kind", "inputs"])
    keys = table["pair"].to_pylist()
    distinct = list(dict.fromkeys(keys))
    following = dict(zip(distinct, [*distinct[1:], distinct[0]], strict=True))
    has = needing(table, dataset.plan()).to_pylist()
    ranked = ([(following[key], None, 1.0)] if needs else [] for key, needs in zip(keys, has, strict=True))
    write_contexts(dataset, name, contexts_of(*ranked, method="next"))


def _feed(dataset: Dataset, workers: int) -> Iterator[Fed]:
    corpus = Corpus.open([dataset.url])
    long = options(window_tokens=512)
    return feed(corpus, VOCABULARY, long, rank=0, ranks=1, workers=workers, first=0, cursors={})


def test_pictures_of_rejects_are_those_of_a_disk(s3: S3, tmp_path: Path) -> None:
    url = f"s3://{s3.bucket('rejects')}/derain"
    make_by_hand(url, units=1, pictures=True)
    make_by_hand(f"{tmp_path}/derain", units=1, pictures=True)
    there = {name: hashlib.sha256(data).hexdigest() for name, data in s3.objects("rejects", "derain/").items()}
    assert there == sha256_by_file(tmp_path / "derain") and "reject_pictures/derain-000000.tar" in there
    assert list(verify(url)) == []
    with serving(url) as port:
        response, body = get(port, "/reject/derain/photo.png%234/output")
        assert (response.status, body[8:12]) == (200, b"WEBP")
