"""What a step reports, from sums over its micro-batches; and the log of a run that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

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
