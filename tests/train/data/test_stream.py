"""The data stream: each example once an epoch, exact resumption, contexts by key, bad shards left out."""

from __future__ import annotations

import gc
import io
import itertools
import json
import os
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.write.contexts import write_contexts
from tests.datasets import contexts_of, examples, nearest
from tests.persons import make_persons
from tests.train.make import SIDE, VOCABULARY, add_small_tokens, make_tokens, options, record, sample, write_token_shard
from train.data.corpus import Corpus
from train.data.loader import Fed, feed
from train.data.stream import Library, NoData, Packed, Stream
from train.data.tokens import read_shard
from xprompt_model.layout import IE, TD

WEIGHTED = [("a", 3), ("b", 1)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus.open([str(_make(tmp_path_factory.mktemp("stream"), "derain"))])


def test_each_example_comes_once_an_epoch_over_all_streams(corpus: Corpus) -> None:
    seen: list[list[int]] = [[], [], [], []]
    for number in range(4):
        stream = Stream(_library(corpus), number)
        seen[number] = [stream._next()[1] for _ in range(36)]
    taken = [example for turn in zip(*seen, strict=True) for example in turn]
    for epoch in range(3):
        assert sorted(taken[48 * epoch : 48 * (epoch + 1)]) == list(range(48))


def test_nothing_is_lost_between_order_and_micro_batches(corpus: Corpus) -> None:
    """What was packed and what is still open is what was drawn."""
    library = _library(corpus)
    stream = Stream(library, 0)
    batches = list(itertools.islice(stream, 30))
    counted = Counter(label for packed in batches for label in packed.labels)
    cursor = batches[-1].cursor
    counted += Counter(library.label(*entry[:2]) for entry in cursor["open"])
    fresh = Stream(_library(corpus), 0)
    assert counted == Counter(library.label(*fresh._next()[:2]) for _ in range(cursor["draws"]))


def test_a_cursor_resumes_exactly_and_is_small(corpus: Corpus) -> None:
    batches = list(itertools.islice(Stream(_library(corpus), 1), 20))
    for done in (0, 7, 13):
        cursor = json.loads(json.dumps(batches[done].cursor))
        assert len(json.dumps(cursor)) < 300
        again = itertools.islice(Stream(_library(corpus), 1, cursor), 20 - done - 1)
        assert [_content(packed) for packed in again] == [_content(packed) for packed in batches[done + 1 :]]


def test_a_cursor_of_the_order_before_is_refused_in_one_line(corpus: Corpus) -> None:
    before = {"draws": 3, "at": [[0, 12]], "open": [[0, 5, 0]]}
    for begin in (lambda: Stream(_library(corpus), 0, before), lambda: next(_feed(corpus, 0, 1, 2, 3, {0: before}))):
        with pytest.raises(ValueError, match="of data order 1, this version has 2: choose another --out") as refused:
            begin()
        assert "\n" not in str(refused.value)


def test_examples_come_from_several_shards_at_a_time(tmp_path: Path) -> None:
    """From three of five, in every stretch; they are shared out over datasets by weight."""
    corpus = Corpus.open([str(_make(tmp_path, name, units=5)) for name, _ in WEIGHTED])
    corpus = replace(corpus, weights=(0.75, 0.25))
    library = _library(corpus, interleaved_shards=4)
    for dataset, at_a_time in ((0, 3), (1, 1)):
        order, pairs = library.order(dataset, 0), corpus.examples[dataset].pair
        shards = [corpus.pairs[dataset].place(int(pairs[order[place]]))[0] for place in range(len(order))]
        assert [len({*shards[first : first + 16]}) for first in range(0, 80, 16)] == [at_a_time] * 5


@pytest.mark.parametrize(("ranks", "workers"), [(2, 0), (4, 0), (1, 2), (2, 2)])
def test_the_order_is_the_same_at_any_world_size(corpus: Corpus, ranks: int, workers: int) -> None:
    alone = list(itertools.islice(_feed(corpus, 0, 1), 24))
    parts = [list(itertools.islice(_feed(corpus, rank, ranks, workers), 24 // ranks)) for rank in range(ranks)]
    together = [fed for turn in zip(*parts, strict=True) for fed in turn]
    assert [_fed(fed) for fed in together] == [_fed(fed) for fed in alone]


def test_garbage_is_collected_before_workers_are_forked(corpus: Corpus) -> None:
    """A process group that a worker collected would wait for threads that the worker has not."""
    ended = list[int]()

    class Garbage:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            ended.append(os.getpid())

    gc.disable()
    try:
        Garbage()
        assert not ended
        with closing(_feed(corpus, 0, 1, 2)) as batches:
            next(batches)
        assert ended == [os.getpid()]
    finally:
        gc.enable()


def test_resuming_at_another_world_size(corpus: Corpus) -> None:
    """12 micro-batches by two ranks, then 12 by four with two of the first ranks' cursors each."""
    alone = list(itertools.islice(_feed(corpus, 0, 1), 24))
    cursors: dict[int, Any] = {}
    for rank in range(2):
        cursors |= {fed.stream: fed.cursor for fed in itertools.islice(_feed(corpus, rank, 2), 6)}
    parts = [list(itertools.islice(_feed(corpus, rank, 4, first=3, cursors=cursors), 3)) for rank in range(4)]
    assert [_fed(fed) for turn in zip(*parts, strict=True) for fed in turn] == [_fed(fed) for fed in alone[12:]]


def test_streams_that_cannot_be_shared(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="4 streams cannot be shared by 3 ranks"):
        next(_feed(corpus, 0, 3))


def test_the_context_is_another_pairs_example_of_the_same_kind(corpus: Corpus) -> None:
    library, rows = _library(corpus), corpus.examples[0]
    for example in range(len(rows.pair)):
        document = library.document(0, example, 0)
        assert document is not None
        name = ("forward", "generate"), ("forward", "describe"), ("reverse", "generate"), ("reverse", "describe")
        turns = [
            library._sample(0, int(pair), name[rows.code[example]]).turns[name[rows.code[example]]]
            for pair in (rows.pair[example], rows.context[example])
        ]
        for turn, segment in zip(turns, (TD, IE), strict=True):
            (start,) = np.flatnonzero(document.segment == segment)[:1]
            after_begin = start + (segment == IE)
            ids = document.ids[after_begin : after_begin + len(turn.instruction)]
            assert ids.tolist() == turn.instruction.tolist()
            block = VOCABULARY.image_block(turn.inputs[0])
            at = after_begin + len(turn.instruction)
            assert document.ids[at : at + len(block)].tolist() == block.tolist()


def test_one_of_several_contexts_is_shown_by_seed_and_epoch(tmp_path: Path) -> None:
    """Each of four about equally often; the same whoever asks and in whatever order, and another in another epoch."""
    dataset = make_tokens(str(tmp_path / "derain"), units=1, pairs=6)
    rows = examples(dataset)
    keys = list(dict.fromkeys(row["pair"] for row in rows))
    others = [[key for key in keys if key != row["pair"]][:4] for row in rows]
    write_contexts(dataset, "derain-000000", contexts_of(*([(key, None, None) for key in four] for four in others)))
    corpus = Corpus.open([dataset.url])
    (count,) = {*np.diff(corpus.examples[0].contexts).tolist()}
    assert count == 4
    library, epochs = _library(corpus), range(300)
    shown = {(example, epoch): library._contexts(0, example, epoch)[0] for example in range(3) for epoch in epochs}
    again = _library(corpus)
    assert {key: again._contexts(0, *key)[0] for key in reversed(shown)} == shown
    for example in range(3):
        counts = Counter(shown[example, epoch] for epoch in epochs)
        names = [corpus.pairs[0].key(int(corpus.examples[0].context[place])) for place in sorted(counts)]
        assert names == others[example] and min(counts.values()) > 45  # of 75, five standard deviations below
    later = next(epoch for epoch in epochs if shown[0, epoch] != shown[0, 0])
    first, second = (library.document(0, 0, epoch) for epoch in (0, later))
    assert first and second
    assert first.ids.tolist() != second.ids.tolist()


def test_a_stream_goes_on_with_the_contexts_that_its_open_documents_had(tmp_path: Path) -> None:
    corpus = _several(tmp_path)
    batches = list(itertools.islice(Stream(_library(corpus), 0), 12))
    cursor = json.loads(json.dumps(batches[5].cursor))
    assert cursor["at"][0][0] > 0  # in a later epoch than the first
    resumed = itertools.islice(Stream(_library(corpus), 0, cursor), 6)
    for old, new in zip(batches[6:], resumed, strict=True):
        assert [one.ids.tolist() for one in old.documents] == [one.ids.tolist() for one in new.documents]


def test_a_context_that_does_not_fit_is_left_out(corpus: Corpus) -> None:
    document = _library(corpus, window_tokens=64).document(0, 0, 0)
    assert document is not None
    assert set(document.segment.tolist()) == {TD} and len(document) > SIDE * SIDE * 2


def test_several_examples_are_shown_as_many_as_fit(tmp_path: Path) -> None:
    corpus = _several(tmp_path)
    one = _library(corpus).document(0, 0, 0)
    assert one is not None
    shown = int((one.segment == IE).sum()) + 4
    todo = int((one.segment == TD).sum())
    for most, window, expected in ((1, 999, 1), (3, 999, 3), (9, 999, 5), (9, todo + 2 * shown, 2)):
        library = _library(corpus, examples=most, window_tokens=window)
        seen = set()
        for epoch in range(6):
            document = library.document(0, 0, epoch)
            assert document is not None and len(document) <= window
            assert int(document.example.max()) + 1 == expected
            chosen = library._contexts(0, 0, epoch)
            assert len({*chosen}) == len(chosen) == min(most, 5)
            assert chosen[:1] == _library(corpus)._contexts(0, 0, epoch), "the first is that of a single example"
            seen.add(tuple(chosen[:expected]))
        assert len(seen) > 1
    again = _library(corpus, examples=3)
    assert again._contexts(0, 7, 2) == _library(corpus, examples=3)._contexts(0, 7, 2)


def test_what_is_dropped_for_length_is_counted_by_label_and_once(corpus: Corpus) -> None:
    """Also by a stream that goes on from a cursor: its open documents are built again, and not counted again."""
    library = _library(corpus)
    lengths = [len(library.document(0, example, 0) or ()) for example in range(48)]
    window = 64  # of the 48 examples the described ones fit with their context, the others do not
    batches = list(itertools.islice(Stream(_library(corpus, window_tokens=window), 0), 30))
    lost = Counter(label for packed in batches for label in packed.no_context)
    shown = Counter(label for packed in batches for label in packed.labels)
    assert max(lengths) > window and lost
    without = Counter(
        label
        for packed in batches
        for label, document in zip(packed.labels, packed.documents, strict=True)
        if not (document.segment == IE).any()
    )
    assert lost == without and all(lost[label] <= shown[label] for label in lost)
    cursor = json.loads(json.dumps(batches[9].cursor))
    resumed = itertools.islice(Stream(_library(corpus, window_tokens=window), 0, cursor), 20)
    assert [one.no_context for one in resumed] == [one.no_context for one in batches[10:]]
    narrow = _library(corpus, window_tokens=45)
    batches = list(itertools.islice(Stream(narrow, 0), 12))
    left_out = Counter(label for packed in batches for label in packed.too_long)
    reported = Counter(report.split(": ")[1].split(" of ")[1] for packed in batches for report in packed.reports)
    assert {corpus.labels[label]: count for label, count in left_out.items()} == reported and reported
    assert not any(packed.no_context for packed in itertools.islice(Stream(library, 0), 12))


def test_smaller_images_of_contexts_come_from_tokens_of_their_own(tmp_path: Path) -> None:
    """The example is of 2 x 2 codes where the tokens at half the resolution have them, what is to be done of 4 x 4."""
    dataset = make_tokens(str(tmp_path / "derain"), units=2)
    corpus, half = Corpus.open([dataset.url]), record()["resolution_px"] // 2
    with pytest.raises(ValueError, match=f"2 of 2 shards have no tokens at {half} px .* --context-pixels {half}"):
        corpus.refuse_without_small_contexts(half)
    with pytest.raises(ValueError, match="must be below the 64 px"):
        corpus.refuse_without_small_contexts(64)
    add_small_tokens(dataset, half)
    corpus.refuse_without_small_contexts(half)
    whole, small = _library(corpus).document(0, 0, 0), _library(corpus, context_pixels=half).document(0, 0, 0)
    assert whole and small
    saved = 2 * (SIDE**2 - (SIDE // 2) ** 2)
    assert (small.segment == IE).sum() == (whole.segment == IE).sum() - saved
    assert small.ids[small.segment == TD].tolist() == whole.ids[whole.segment == TD].tolist()
    rows = corpus.examples[0]
    shard, _ = corpus.pairs[0].place(int(rows.context[0]))
    context = read_shard(dataset, shard, VOCABULARY, pixels=half, side_tokens=2)
    (shown,) = (one for one in context if one.pair == corpus.pairs[0].key(int(rows.context[0])))
    block = VOCABULARY.image_block(shown.turns["forward", "generate"].output, 2).tolist()
    assert small.ids[small.segment == IE][-6:].tolist() == block
    add_small_tokens(dataset, half, vq_sha256="other")
    with pytest.raises(ValueError, match=f"tokens-{half} is of another tokenizer than tokens/: remove it"):
        corpus.refuse_without_small_contexts(half)


def test_a_person_is_asked_for_from_words_and_its_pose_is_shown_by_two_others(tmp_path: Path) -> None:
    """IE: the words and both persons of another pair of the pose. TD: words, then the person; no image before it."""
    dataset = make_persons(tmp_path, 8)
    (name,) = dataset.unit_names()
    rows = examples(dataset)
    members = {row["pair"]: sample(row["pair"], [row]) for row in rows}
    write_token_shard(dataset, name, 0, [*members.items()])
    corpus = Corpus.open([dataset.url])
    library, v = _library(corpus), VOCABULARY
    for number, row in enumerate(rows):
        shown_pair = nearest(row)["pair"]
        asked, context = (dict(members[key]) for key in (row["pair"], shown_pair))
        said = [
            json.loads(held[f"{key}.json"])["examples"][0]["instruction"]
            for held, key in ((asked, row["pair"]), (context, shown_pair))
        ]
        first, second = (np.load(io.BytesIO(context[f"{shown_pair}.{role}.npy"])) for role in ("input", "target"))
        wanted = np.load(io.BytesIO(asked[f"{row['pair']}.target.npy"]))
        shown = [v.begin_text, *said[1], *v.image_block(first), v.separator, *v.image_block(second)]
        todo = [*said[0], v.separator, *v.image_block(wanted), v.end_text]
        document = library.document(0, number, 0)
        assert document is not None
        assert document.ids.tolist() == [*shown, *range(4), *todo]
        assert (document.segment == IE).sum() == len(shown) and (document.segment == TD).sum() == len(todo)
    # Without the context nothing says which pose it is: it is left out itself, and that is said.
    small = _library(corpus, window_tokens=len(shown) + len(todo))
    assert small.document(0, 0, 0) is None
    assert "with its in-context example it does not fit into a window" in small.reports()[0]


def test_documents_longer_than_a_window_are_reported(corpus: Corpus) -> None:
    library = _library(corpus, window_tokens=32)
    assert library.document(0, 0, 0) is None
    assert library.reports()[0].startswith("left out: example 0 of derain/forward/generate: a document of 4")


def test_datasets_are_mixed_by_weight(tmp_path: Path) -> None:
    corpus = Corpus.open([str(_make(tmp_path, name, units=1)) for name, _ in WEIGHTED])
    corpus = replace(corpus, weights=(0.75, 0.25))
    stream = Stream(_library(corpus), 0)
    drawn = Counter(stream._next()[0] for _ in range(2_000))
    assert drawn[0] / 2_000 == pytest.approx(0.75, abs=0.03)


def test_a_corrupt_shard_is_left_out_with_a_report(tmp_path: Path) -> None:
    corpus = Corpus.open([str(_make(tmp_path, "derain"))])
    _corrupt(tmp_path / "derain/tokens/derain-000000.tar")
    stream = Stream(_library(corpus, max_bad_shards=1), 0)
    batches = list(itertools.islice(stream, 12))
    (report,) = (report for packed in batches for report in packed.reports)
    assert "derain-000000.tar is refused" in report and "\n" not in report
    drawn = [stream._next()[1] for _ in range(48)]
    left = {corpus.pairs[0].place(int(corpus.examples[0].pair[example]))[0] for example in drawn}
    assert len(left) == 3  # its examples keep their places in the order
    opened = [example for packed in batches for _, example, _ in packed.cursor["open"]]
    assert all(corpus.examples[0].pair[example] >= 4 for example in opened)


def test_more_corrupt_shards_than_allowed_end_the_run_with_one_line(tmp_path: Path) -> None:
    corpus = Corpus.open([str(_make(tmp_path, "derain"))])
    for shard in ("derain-000000", "derain-000001"):
        _corrupt(tmp_path / f"derain/tokens/{shard}.tar")
    for workers in (0, 2):
        fed = feed(corpus, VOCABULARY, options(max_bad_shards=1), rank=0, ranks=1, workers=workers, first=0, cursors={})
        with pytest.raises(ValueError, match=r"is refused: .* \(2 bad, 1 allowed\)$") as refused:
            list(itertools.islice(fed, 40))
        assert "\n" not in str(refused.value)


def test_where_nothing_is_left_to_train_on(corpus: Corpus) -> None:
    with pytest.raises(NoData, match="nothing to train on, 1,000 examples in a row: left out: example"):
        next(iter(Stream(_library(corpus, window_tokens=32), 0)))


def _several(folder: Path) -> Corpus:
    """Six pairs, of which every other is a context of each."""
    dataset = make_tokens(str(folder / "derain"), units=1, pairs=6)
    keys = list(dict.fromkeys(row["pair"] for row in examples(dataset)))
    ranked = [[(key, None, None) for key in keys if key != row["pair"]] for row in examples(dataset)]
    write_contexts(dataset, "derain-000000", contexts_of(*ranked))
    return Corpus.open([dataset.url])


def _make(folder: Path, task: str, units: int = 3) -> Path:
    make_tokens(str(folder / task), task=task, units=units)
    return folder / task


def _library(corpus: Corpus, **changes: Any) -> Library:
    return Library(corpus, VOCABULARY, options(**changes))


def _feed(
    corpus: Corpus, rank: int, ranks: int, workers: int = 0, first: int = 0, cursors: Any = None
) -> Generator[Fed, None, None]:
    own = dict(cursors or {})
    return feed(corpus, VOCABULARY, options(), rank=rank, ranks=ranks, workers=workers, first=first, cursors=own)


def _corrupt(tar: Path) -> None:
    tar.write_bytes(tar.read_bytes().replace(b"NUMPY", b"numpy"))


def _content(packed: Packed) -> tuple[Any, ...]:
    return [document.ids.tolist() for document in packed.documents], packed.labels, packed.cursor


def _fed(fed: Fed) -> tuple[Any, ...]:
    return fed.stream, fed.batch.ids.tolist(), fed.labels, fed.cursor
