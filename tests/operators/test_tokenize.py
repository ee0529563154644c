"""Tokens of small datasets of real photos, by the tiny Chameleon."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from infra.command import main
from infra.tiny.chameleon import write_chameleon
from manifests.dataset import Dataset, DatasetError
from manifests.images.pixels import decode_rgb
from manifests.schema import canonical_json
from manifests.tokens import committed_tokens, token_commit
from manifests.verify.dataset import verify
from manifests.verify.tokens import token_problems
from manifests.write.writer import UnitWriter
from operators.tokenize import Tokenizer, load_tokenizer, tokenize_unit
from pipelines.report.terminal import SILENT
from pipelines.run.engine import UnitFailed
from pipelines.run.nothing import NothingKept
from pipelines.run.tokens import make_tokens
from tests.commands import Running, run
from tests.datasets import examples, sha256_by_file, stored_bytes
from tests.datasets import make_dataset as photos_of
from tests.manifests.make import SUFFIXES, make_dataset, make_pair, make_plan, write_unit
from tests.sources import write_files
from train.data.tokens import read_shard
from xprompt_model.checkpoint import read_config
from xprompt_model.vocabulary import Vocabulary
from xprompt_model.vqgan import VQGAN


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_chameleon(folder)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(str(tmp_path / "derain"), units=3, pairs=2)


@pytest.fixture
def tokenized(dataset: Dataset, models: Path) -> Dataset:
    _tokenize(dataset, load_tokenizer(models / "chameleon"))
    return dataset


def test_a_sample_has_the_codes_of_each_image_and_the_tokens_of_each_text(tokenized: Dataset, models: Path) -> None:
    vqgan, tokenizer = VQGAN.load(models / "chameleon"), Tokenizer(models / "chameleon")
    seen = 0
    for name in ("derain-000000", "derain-000001", "derain-000002"):
        rows = {row["pair"]: row for row in examples(tokenized) if row["shard"] == f"{name}.tar"}
        for sample in _samples(tokenized, name):
            row = rows[sample["pair"]]
            for role in ("input", "target"):
                codes = sample[f"{role}.npy"]
                assert (codes.dtype, codes.shape) == (np.uint16, (4, 4))
                assert np.array_equal(codes, vqgan.tokenize(decode_rgb(stored_bytes(tokenized, row, role))))
            forward, *others = sample["json"]["examples"]
            assert len(others) == 3
            assert (forward["direction"], forward["kind"], forward["output"]) == ("forward", "generate", "target")
            assert forward["inputs"] == ["input"]
            assert forward["instruction"] == tokenizer.text("Take away the rain — vollständig.")
            assert len(forward["instruction"]) > 3 and forward["text"] == []
            described = others[1]
            assert (described["kind"], described["output"]) == ("describe", "")
            assert described["text"] == tokenizer.text("The rain is gone.")
            seen += 1
    assert seen == 6


def test_rows_say_where_a_pair_lies_and_the_commit_what_was_used(tokenized: Dataset, models: Path) -> None:
    record = load_tokenizer(models / "chameleon").record
    commit = token_commit(tokenized, "derain-000001")
    assert commit.tokenizer == vars(record)
    assert (record.resolution_px, record.codes) == (64, 256)
    assert (commit.unit, commit.pairs, commit.members) == (1, 2, 6)
    data = tokenized.store.read("tokens/derain-000001.tar")
    table = pq.read_table(io.BytesIO(tokenized.store.read("tokens/derain-000001.parquet"))).to_pylist()
    assert [row["pair"] for row in table] == list(dict.fromkeys(r["pair"] for r in examples(tokenized)))[2:4]
    for row in table:
        part = data[row["offset"] : row["offset"] + row["bytes"]] + bytes(1024)
        with tarfile.open(fileobj=io.BytesIO(part)) as tar:
            assert [member.name for member in tar] == [
                f"{row['pair']}.input.npy",
                f"{row['pair']}.target.npy",
                f"{row['pair']}.json",
            ]


def test_codes_do_not_depend_on_what_is_encoded_beside_them(dataset: Dataset, models: Path) -> None:
    import torch

    vqgan = VQGAN.load(models / "chameleon")
    rows = examples(dataset)
    images = [vqgan.prepare(decode_rgb(stored_bytes(dataset, row, "target"))) for row in rows[::4]]
    together = vqgan.encode(torch.stack(images))
    for image, codes in zip(images, together, strict=True):
        assert torch.equal(vqgan.encode(image[None])[0], codes)


@pytest.mark.usefixtures("local_ray")
def test_workers_write_the_bytes_that_one_process_writes(tokenized: Dataset, models: Path, tmp_path: Path) -> None:
    """And a finished dataset is left as it is."""
    expected = sha256_by_file(Path(tokenized.url))
    copy = tmp_path / "copy/derain"
    shutil.copytree(tokenized.url, copy)
    shutil.rmtree(copy / "tokens")
    make_tokens(str(copy), str(models), _this_ray, SILENT)
    assert sha256_by_file(copy) == expected
    make_tokens(str(copy), str(models), _no_ray, SILENT)
    assert sha256_by_file(copy) == expected


@pytest.mark.chaos
def test_a_killed_run_goes_on(tokenized: Dataset, models: Path, tmp_path: Path) -> None:
    """The command as a user gives it; killed with its workers when the first shard is committed."""
    expected = sha256_by_file(Path(tokenized.url))
    shutil.rmtree(Path(tokenized.url) / "tokens")
    command = [sys.executable, "-m", "infra.command", "tokens", "derain", "--cpus", "1"]
    command += ["--out", str(tmp_path), "--models", str(models)]
    with Running(command) as running:
        running.until(lambda: any(Path(tokenized.url, "tokens").glob("*.parquet")))
    left = Path(tokenized.url, "tokens/.derain-000002.tar.123.tmp")
    left.write_bytes(b"half")
    finished = run(command)
    assert finished.returncode == 0, finished.stderr
    assert sha256_by_file(Path(tokenized.url)) == expected
    assert "there already" in finished.stdout


def test_another_tokenizer_is_refused(tokenized: Dataset, models: Path, tmp_path: Path) -> None:
    changed = tmp_path / "models/chameleon"
    shutil.copytree(models / "chameleon", changed)
    text = changed / "tokenizer.json"
    text.write_text(text.read_text() + "\n")
    before = sha256_by_file(Path(tokenized.url))
    with pytest.raises(DatasetError, match="tokens of another tokenizer") as error:
        make_tokens(tokenized.url, str(tmp_path / "models"), _no_ray, SILENT)
    message = str(error.value)
    assert message.startswith(f"{tokenized.url}/tokens holds tokens of another tokenizer (text_sha256 ")
    assert message.endswith("remove that folder to tokenize anew") and "\n" not in message
    assert sha256_by_file(Path(tokenized.url)) == before


def test_what_cannot_be_tokenized_is_said_in_one_line(models: Path, tmp_path: Path) -> None:
    unfinished = Dataset(str(tmp_path / "derain"))
    write_unit(unfinished, make_plan(unfinished, units=2), 0)
    with pytest.raises(DatasetError, match="is unfinished: run the command that makes it again, then this"):
        make_tokens(unfinished.url, str(models), _no_ray, SILENT)
    finished = make_dataset(str(tmp_path / "other"), units=1, pairs=1)
    with pytest.raises(ValueError, match=r"^MODELS=/nowhere has no chameleon/: .* make tiny-models$"):
        make_tokens(finished.url, "/nowhere", _no_ray, SILENT)
    (tmp_path / "chameleon").mkdir()
    with pytest.raises(ValueError, match=r"chameleon has no tokenizer\.json"):
        make_tokens(finished.url, str(tmp_path), _no_ray, SILENT)


@pytest.mark.usefixtures("local_ray")
def test_a_unit_that_cannot_be_tokenized_fails_the_run_when_all_others_are_made(dataset: Dataset, models: Path) -> None:
    member = _damaged(dataset)
    with pytest.raises(UnitFailed, match=rf"^tokens of shard derain-000000: .*shards/derain-000000\.tar: {member}: "):
        make_tokens(dataset.url, str(models), _this_ray, SILENT)
    assert committed_tokens(dataset, dataset.plan()) == {1, 2}


def _damaged(dataset: Dataset) -> str:
    """Damage the first image of the first shard; its member's name."""
    row = examples(dataset)[0]
    (image, _) = row["images"]
    shard = Path(dataset.url, "shards", row["shard"])
    data = bytearray(shard.read_bytes())
    data[image["offset"] + 100 : image["offset"] + image["bytes"]] = bytes(image["bytes"] - 100)
    shard.write_bytes(data)
    return str(image["member"])


def test_a_damaged_image_stops_its_unit(dataset: Dataset, models: Path) -> None:
    member = _damaged(dataset)
    with pytest.raises(DatasetError, match=rf"shards/derain-000000\.tar: {member}: "):
        tokenize_unit(dataset, dataset.plan(), 0, load_tokenizer(models / "chameleon"))
    assert not Path(dataset.url, "tokens").exists() or not list(Path(dataset.url, "tokens").iterdir())


def test_a_bad_text_is_one_reject_and_costs_its_examples_only(tmp_path: Path, models: Path) -> None:
    """Neither the other examples of its pair nor the other pairs; and the trainer's reader takes the shard."""
    dataset = make_dataset(str(tmp_path / "derain"), units=1, pairs=3)
    (spoilt, whole, other) = dict.fromkeys(row["pair"] for row in examples(dataset))
    table = Path(dataset.url, "manifest/derain-000000.parquet")
    rows = pq.read_table(table)
    said, answers = rows["instruction"].to_pylist(), rows["text"].to_pylist()
    for place, pair in enumerate(rows["pair"].to_pylist()):
        if pair == spoilt:
            said[place] = " "  # of each of its four examples
        if pair == whole and answers[place]:
            answers[place] = "rain " * 5_000  # of its two answers in words
    for name, values in (("instruction", said), ("text", answers)):
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), [values])
    pq.write_table(rows, table)
    commit = tokenize_unit(dataset, dataset.plan(), 0, load_tokenizer(models / "chameleon"))
    assert commit.rejects == {"empty": 1, "too_long": 1}
    left = {sample["pair"]: sample["json"]["examples"] for sample in _samples(dataset, "derain-000000")}
    assert {pair: len(kept) for pair, kept in left.items()} == {spoilt: 0, whole: 2, other: 4}
    rejects = pq.read_table(Path(dataset.url, "tokens/derain-000000.rejects.parquet")).to_pylist()
    assert [(row["operator"], row["reason"]) for row in rejects] == [("tokenize", "empty"), ("tokenize", "too_long")]
    assert rejects[0]["message"].startswith(f"pair {spoilt} (forward generate, instruction; reverse generate, ")
    assert rejects[1]["message"].endswith(" tokens: at most 4,096 can be trained on")
    vocabulary = Vocabulary.from_config(read_config(models / "chameleon"))
    found = {sample.pair: len(sample.turns) for sample in read_shard(dataset, "derain-000000", vocabulary)}
    assert found == {spoilt: 0, whole: 2, other: 4}
    assert list(token_problems(dataset, dataset.plan(), {0})) == []
    Path(dataset.url, "tokens/derain-000000.rejects.parquet").write_bytes(b"")
    (problem,) = token_problems(dataset, dataset.plan(), {0})
    assert problem[0] == "tokens/derain-000000.rejects.parquet" and "is missing, damaged, or not what" in problem[1]


@pytest.mark.parametrize("spoilt", [1, 2])
def test_where_no_example_gets_tokens_the_run_is_a_failure(spoilt: int, tmp_path: Path, models: Path) -> None:
    """Of two shards of one pair each, so many have no text that can be tokenized."""
    dataset = make_dataset(str(tmp_path / "derain"), units=2, pairs=1)
    for name in [f"derain-{unit:06d}" for unit in range(spoilt)]:
        table = Path(dataset.url, f"manifest/{name}.parquet")
        rows = pq.read_table(table)
        place = rows.schema.get_field_index("instruction")
        pq.write_table(rows.set_column(place, rows.schema.field(place), [[" "] * rows.num_rows]), table)
    for unit in range(2):
        tokenize_unit(dataset, dataset.plan(), unit, load_tokenizer(models / "chameleon"))
    if spoilt == 1:
        make_tokens(dataset.url, str(models), _no_ray, SILENT)
        return
    with pytest.raises(
        NothingKept, match=r"/tokens: no example has tokens, 2 texts were left out as empty; see tokens/"
    ):
        make_tokens(dataset.url, str(models), _no_ray, SILENT)


def test_a_dataset_of_rejects_has_nothing_to_tokenize(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "photos", {"0.jpg": b"no photo"})
    photos_of(tmp_path / "out", tmp_path / "photos")
    assert main(["tokens", "derain", "--out", str(tmp_path / "out"), "--models", str(models)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("/out/derain has no examples: all of its items were rejected. Make it anew (xprompt shards)")


def test_a_model_of_a_gpu_repeats(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags that GPUs heed can be looked at without one."""
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    load_tokenizer.cache_clear()
    load_tokenizer(models / "chameleon")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (False, False)
    asked: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, warn_only: asked.append(mode))
    devices: list[str] = []
    monkeypatch.setattr("operators.tokenize.Tokenizer", lambda folder, device: devices.append(device))
    load_tokenizer.cache_clear()
    load_tokenizer(models / "chameleon")
    assert (devices, asked) == (["cuda"], [True])
    load_tokenizer.cache_clear()


def test_verify_knows_tokens(tokenized: Dataset) -> None:
    assert list(verify(tokenized.url)) == []


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (
            "flip",
            "tokens/derain-000001.tar",
            "its size, sha256 or number of members is not what its",
        ),
        ("cut", "tokens/derain-000001.tar", "it is cut off"),
        ("lose tar", "tokens/derain-000001.tar", "is missing"),
        ("lose unit", "tokens", "1 of 3 units have no tokens yet"),
        ("swap", "tokens/derain-000001.parquet", "is the commit of unit 0 under another name"),
        ("edit", "tokens/derain-000001.parquet", "its rows do not say where its pairs lie in the tar"),
        ("parquet", "tokens/derain-000001.parquet", "is damaged"),
        ("strange", "tokens/notes.txt", "does not belong to this dataset"),
        ("orphan", "tokens/derain-000001.tar", "is of a unit whose tokens are not committed"),
        ("temporary", "tokens/.x.tmp", "is being written, or its writer was killed"),
        ("other tokenizer", "tokens", "holds tokens of 2 tokenizers, first derain-000000, derain-000001"),
    ],
)
def test_verify_finds_damage(tokenized: Dataset, models: Path, damage: str, file: str, message: str) -> None:
    folder = Path(tokenized.url, "tokens")
    tar, table = folder / "derain-000001.tar", folder / "derain-000001.parquet"
    if damage == "flip":
        data = bytearray(tar.read_bytes())
        data[600] ^= 1  # in the first array
        tar.write_bytes(data)
    elif damage == "cut":
        tar.write_bytes(tar.read_bytes()[:1000])
    elif damage == "lose tar":
        tar.unlink()
    elif damage == "lose unit":
        tar.unlink()
        table.unlink()
    elif damage == "swap":
        shutil.copy(folder / "derain-000000.parquet", table)
    elif damage == "edit":
        edited = pq.read_table(table)
        column = pq.read_table(table)["offset"].to_numpy() + 512
        place = edited.schema.get_field_index("offset")
        pq.write_table(edited.set_column(place, edited.schema.field(place), [column]), table, write_page_checksum=True)
    elif damage == "parquet":
        table.write_bytes(table.read_bytes()[:-20])
    elif damage == "strange":
        (folder / "notes.txt").touch()
    elif damage == "orphan":
        table.unlink()
    elif damage == "temporary":
        (folder / ".x.tmp").touch()
    else:
        tokenizer = Tokenizer(models / "chameleon")
        tokenizer.record = replace(tokenizer.record, text_sha256="0" * 64)
        tokenize_unit(tokenized, tokenized.plan(), 1, tokenizer)
    found = [(finding.file, finding.message) for finding in verify(tokenized.url)]
    assert any(path == f"{tokenized.url}/{file}" and message in said for path, said in found), found


def test_smaller_images_for_contexts_have_a_folder_and_a_commit_of_their_own(
    tokenized: Dataset, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sha256_by_file(Path(tokenized.url))
    plan, vqgan = tokenized.plan(), VQGAN.load(models / "chameleon")
    tokenizer = load_tokenizer(models / "chameleon")
    for unit in range(plan.units):
        tokenize_unit(tokenized, plan, unit, tokenizer, 32)
    after = sha256_by_file(Path(tokenized.url))
    assert {file: after[file] for file in before} == before
    assert {file.split("/")[0] for file in after.keys() - before.keys()} == {"tokens-32"}
    name = plan.name(0)
    large, small = token_commit(tokenized, name), token_commit(tokenized, name, 32)
    assert small.tokenizer == {**large.tokenizer, "resolution_px": 32} and small.fingerprint != large.fingerprint
    row = next(row for row in examples(tokenized) if row["shard"] == f"{name}.tar")
    vocabulary = Vocabulary.from_config(read_config(models / "chameleon"))
    (first, *_) = read_shard(tokenized, name, vocabulary, pixels=32, side_tokens=2)
    for role in ("input", "target"):
        expected = vqgan.tokenize(decode_rgb(stored_bytes(tokenized, row, role)), 32)
        assert first.images[role].tolist() == expected.tolist() and expected.shape == (2, 2)
    assert list(verify(tokenized.url)) == []
    Path(tokenized.url, "tokens-32", f"{name}.tar").unlink()
    assert [finding.file for finding in verify(tokenized.url)] == [f"{tokenized.url}/tokens-32/{name}.tar"]
    # The command: a side that the tokenizer does not have, and one of which all is there.
    command = ["tokens", "derain", "--out", tokenized.url.rpartition("/")[0], "--models", str(models)]
    for wrong in (64, 40, -32):
        assert main([*command, "--context-pixels", str(wrong)]) == 2
        assert "it is a multiple of 16 below the tokenizer's 64" in capsys.readouterr().err
    assert main([*command, "--context-pixels", "32"]) == 0
    assert "3 of them there already" in " ".join(capsys.readouterr().out.split())


def test_tiny_models_are_written_only_where_none_are_named(
    tokenized: Dataset, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only for a dataset that is there."""
    written: list[Path] = []
    monkeypatch.setattr("infra.tiny.models.ensure_tiny", written.append)
    monkeypatch.setattr("operators.models.checkpoints.TINY", models)
    out = tokenized.url.rpartition("/")[0]
    assert main(["tokens", "derain", "--out", out]) == 0
    assert written == [models]
    assert main(["tokens", "derain", "--out", out, "--models", str(models)]) == 0
    assert main(["tokens", "derain", "--out", "/nowhere"]) == 2
    assert written == [models]


def _tokenize(dataset: Dataset, tokenizer: Tokenizer) -> None:
    plan = dataset.plan()
    for unit in range(plan.units):
        tokenize_unit(dataset, plan, unit, tokenizer)


def test_a_mask_has_codes_where_an_example_shows_it(tmp_path: Path, models: Path) -> None:
    dataset = Dataset(str(tmp_path / "derain"))
    plan = make_plan(dataset, units=1, pairs=2)
    tokenizer = load_tokenizer(models / "chameleon")
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        for number, item in enumerate(dataset.unit(plan, 0).items[:2]):
            pair = make_pair(plan.task, item)
            images = (*pair.images, replace(pair.images[0], role="mask"))
            shown = replace(pair.examples[0], inputs=("input", "mask"))
            writer.add(replace(pair, images=images, examples=(shown, *pair.examples[1:]) if number else pair.examples))
    writer.commit({}, 0, {})
    tokenize_unit(dataset, plan, 0, tokenizer)
    with tarfile.open(tmp_path / "derain/tokens/derain-000000.tar") as tar:
        roles = [name.split(".", 1)[1] for name in tar.getnames()]
    assert roles == ["input.npy", "target.npy", "json", "input.npy", "target.npy", "mask.npy", "json"]


def _samples(dataset: Dataset, name: str) -> list[dict[str, Any]]:
    """The samples of a token tar, by member names as WebDataset splits them."""
    samples: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=io.BytesIO(dataset.store.read(f"tokens/{name}.tar"))) as tar:
        for member in tar:
            pair, _, field = member.name.partition(".")
            file = tar.extractfile(member)
            assert file
            data = file.read()
            value = json.loads(data) if field == "json" else np.load(io.BytesIO(data), allow_pickle=False)
            assert field != "json" or canonical_json(value).encode() == data
            samples.setdefault(pair, {"pair": pair})[field] = value
    return list(samples.values())


def _this_ray() -> AbstractContextManager[None]:
    """That of the fixture `local_ray`."""
    return nullcontext()


def _no_ray() -> AbstractContextManager[None]:
    raise AssertionError("there is nothing to run")
