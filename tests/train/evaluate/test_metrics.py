"""What a step reports, from sums over its micro-batches; and the log of a run that was killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

from manifests.log import chosen
from tests.train.make import CONFIG, VOCABULARY, make_tokens, options
from train.data.corpus import Corpus
from train.data.loader import feed
from train.evaluate.metrics import Log, Tally
from train.run.parallel import start
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    start()
    yield
    dist.destroy_process_group()


def test_losses_by_label_are_those_of_the_documents(tmp_path: Path) -> None:
    corpus = Corpus.open([make_tokens(str(tmp_path / "derain"), units=1).url])
    fed = next(feed(corpus, VOCABULARY, options(), rank=0, ranks=1, workers=0, first=0, cursors={}))
    torch.manual_seed(0)
    model = XPromptChameleon(CONFIG, xp_tokens=4)
    with torch.no_grad():
        parts = model.loss(fed.batch, dense_mask(fed.batch))
    tally = Tally(corpus.labels)
    tally.add(fed, parts)
    found = tally.result()
    assert found["loss"] == pytest.approx(float((parts.text_nll + parts.image_nll) / parts.weight), rel=1e-6)
    with torch.no_grad():
        logits = model.logits(model(fed.batch, dense_mask(fed.batch)))[:-1].log_softmax(1)
    nll = -logits.gather(1, fed.batch.ids[1:, None])[:, 0] * fed.batch.weight[1:]
    sums: dict[str, list[float]] = {}
    for number, label in enumerate(fed.labels):
        of = fed.batch.document[1:] == number
        both = sums.setdefault(corpus.labels[label], [0.0, 0.0])
        both[0] += float(nll[of].sum())
        both[1] += float(fed.batch.weight[1:][of].sum())
    assert found["loss_by"] == pytest.approx(
        {label: total / weight for label, (total, weight) in sums.items()}, rel=1e-5
    )
    assert (found["tokens"], found["capacity"]) == (fed.tokens, 256)
    assert found["fill"] == fed.tokens / 256


def test_what_is_dropped_for_length_is_counted_by_label(tmp_path: Path) -> None:
    corpus = Corpus.open([make_tokens(str(tmp_path / "derain"), units=1).url])
    narrow = options(window_tokens=45)  # describe examples are longer than that
    fed = next(feed(corpus, VOCABULARY, narrow, rank=0, ranks=1, workers=0, first=0, cursors={}))
    torch.manual_seed(0)
    with torch.no_grad():
        parts = XPromptChameleon(CONFIG, xp_tokens=4).loss(fed.batch, dense_mask(fed.batch))
    tally = Tally(corpus.labels)
    for _ in range(2):
        tally.add(fed, parts)
    found = tally.result()
    for name, dropped in (("no_context", fed.no_context), ("too_long", fed.too_long)):
        assert dropped
        assert found[name] == {corpus.labels[label]: 2 * dropped.count(label) for label in {*dropped}}


def test_lines_after_the_checkpoint_and_half_a_line_are_dropped(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step}) + "\n" for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"step": 4, "lo')
    log = Log(str(tmp_path), 9, 2)
    record = {
        "step": 3,
        "loss": 1.0,
        "lr": 0.1,
        "tokens_per_s": 5.0,
        "fill": 1.0,
        "data_wait": 0.0,
        "loss_by": {"a": 1.0},
    }
    log.step(record)
    log.close()
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(lines[:2]) + json.dumps(record) + "\n"


def test_a_step_is_a_line_of_text_or_an_event_with_its_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = {"step": 3, "loss": 1.25, "lr": 0.1, "tokens_per_s": 5000.0, "fill": 0.5, "data_wait": 0.25, "mfu": 0.4}
    losses = {"loss": 2.5, "loss_text": 1.5, "derain/forward/generate": 3.5}
    log = Log(str(tmp_path), 9, 0)
    log.step({**record, "validation": losses})
    with chosen(["--log", "json"]):
        log.step({**record, "loss_by": {"a": float("nan")}, "validation": losses})
    log.close()
    *text, step, validation = capfd.readouterr().out.splitlines()
    assert text == [
        "step     3 of 9  loss 1.2500  lr 1.00e-01  5,000 tokens/s  MFU 40.0%  fill 50.0%  waiting for data 25%",
        "step     3 of 9  held out: loss 2.5000  loss of text 1.5000  derain/forward/generate 3.5000",
    ]
    told, validated = json.loads(step), json.loads(validation)
    assert [told.pop("message"), validated.pop("message")] == text
    of_line = {"time": told["time"], "level": "info", "event": "step", "steps": 9}
    assert told == {**of_line, **record, "loss_by": {"a": None}}
    assert (validated["event"], validated["step"], validated["losses"]) == ("validation", 3, losses)


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    record = {"step": 1, "loss": float("nan"), "lr": 0.1, "tokens_per_s": 5.0, "fill": 1.0, "data_wait": 0.0}
    log = Log(str(tmp_path), 9, 0)
    log.step({**record, "loss_by": {"a": float("inf")}})
    log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {**record, "loss": None, "loss_by": {"a": None}}


def test_weights_and_biases_gets_the_same_numbers_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline: what is written into OUT/wandb is read back."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    log = Log(str(tmp_path), 9, 0, "project", {"seed": 5})
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    log.pictures(2, {"0-a": picture})
    record = {"step": 2, "loss": 1.5, "lr": 0.1, "tokens_per_s": 5.0, "fill": 1.0, "data_wait": 0.0}
    log.step({**record, "validation": {"loss": 2.5}})
    log.close()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline_s = time.monotonic() + 60
    while not (read := _read_back(file))[0] and time.monotonic() < deadline_s:
        time.sleep(0.1)  # a process of wandb's own writes it
    found, config = read
    assert config["seed"] == 5
    assert {name: found[name] for name in (*record, "validation/loss")} == {**record, "validation/loss": 2.5}
    assert found["samples/0-a/width"] == 4
    (stored,) = file.parent.glob("files/media/images/samples/*.png")
    for path in (stored, tmp_path / "samples/step-000002/0-a.png"):
        assert np.array_equal(np.asarray(Image.open(path)), picture)


def _read_back(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the one step of an offline run has, and its configuration."""
    wandb_internal: Any = import_module("wandb.proto.wandb_internal_pb2")  # without types
    found: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for data in _leveldb_log(file.read_bytes()[7:]):  # behind wandb's own header
        record = wandb_internal.Record.FromString(data)
        for item in record.history.item:
            found["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        for item in (*record.run.config.update, *record.config.update):
            config["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return found, config


def _leveldb_log(data: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format: blocks of 32 KiB of chunks, checksum (4 bytes), length (2), type (1), data.

    A record is one chunk (type 1), or a first, middle ones and a last (2, 3, 4). The first block is 7 bytes shorter.
    """
    at, whole = 0, b""
    while at + 7 <= len(data):
        left = 32_768 - (at + 7) % 32_768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""
