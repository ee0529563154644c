from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from manifests.schema import Pair, Reject
from operators.account import accounting
from operators.batching import each_pair, in_batches
from tests.sources import pair_of

torch = pytest.importorskip("torch")


class Gpu:
    """Squares numbers, as many at once as it has memory for; `too_large` never fit."""

    def __init__(self, memory: int, too_large: int = -1) -> None:
        self.memory, self.too_large, self.batches = memory, too_large, list[list[int]]()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append([*numbers])
        if len(numbers) > self.memory or self.too_large in numbers:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return [number * number for number in numbers]


def test_every_batch_is_full_the_last_one_of_copies() -> None:
    gpu = Gpu(memory=4)
    assert in_batches(gpu, range(6), 4) == [number * number for number in range(6)]
    assert gpu.batches == [[0, 1, 2, 3], [4, 5, 5, 5]]
    assert in_batches(gpu, [], 4) == []


def test_how_full_batches_were_is_counted() -> None:
    with accounting() as account:
        in_batches(Gpu(memory=4), range(6), 4)
        in_batches(Gpu(memory=4), range(1), 4)
    in_batches(Gpu(memory=4), range(3), 4)
    assert (account.places, account.own) == (12, 7)


def test_only_what_is_alike_shares_a_batch_and_the_order_stays() -> None:
    gpu = Gpu(memory=2)
    assert in_batches(gpu, [1, 2, 3, 4, 5], 2, alike=lambda number: number % 2) == [1, 4, 9, 16, 25]
    assert gpu.batches == [[1, 3], [5, 5], [2, 4]]


def test_a_batch_is_halved_until_it_fits() -> None:
    gpu = Gpu(memory=2)
    assert in_batches(gpu, range(7), 7) == [number * number for number in range(7)]
    assert [len(batch) for batch in gpu.batches] == [7, 3, 1, 1, 1, 3, 1, 1, 1, 3, 1]
    gpu = Gpu(memory=2)
    assert in_batches(gpu, range(8), 8) == [number * number for number in range(8)]
    assert [len(batch) for batch in gpu.batches] == [8, 4, 2, 2, 4, 2, 2]


def test_what_does_not_fit_alone_is_a_reject_and_the_others_are_kept() -> None:
    results = in_batches(Gpu(memory=4, too_large=5), range(8), 8)
    (reject,) = (result for result in results if isinstance(result, Reject))
    assert reject.reason == "out_of_memory"
    assert [result for result in results if result is not reject] == [n * n for n in range(8) if n != 5]
    assert results.index(reject) == 5


def test_other_exceptions_pass_through() -> None:
    def fail(batch: Sequence[int]) -> list[int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_batches(fail, [1, 2], 2)


def test_what_pairs_ask_for_is_run_together_and_each_gets_its_own() -> None:
    batches = []

    def asked(pair: Pair, seed: int) -> list[int]:
        if pair.key == "refused":
            raise Reject("not_asked", "")
        return [*range(seed)]

    def run(numbers: Sequence[int]) -> list[int | Reject]:
        batches.append([*numbers])
        return [Reject("no_result", "") if number == 3 else -number for number in numbers]

    def done(pair: Pair, seed: int, found: Sequence[int]) -> Pair:
        if pair.key == "undone":
            raise Reject("not_done", "")
        return replace(pair, texts={"found": str(found)})

    keys = {"none": 0, "refused": 2, "two": 2, "undone": 1, "four": 4}
    pairs = [pair_of(key=key) for key in keys]
    results = each_pair(pairs, [*keys.values()], asked, run, done)
    assert batches == [[0, 1, 0, 0, 1, 2, 3]]
    assert [one.reason if isinstance(one, Reject) else one.texts["found"] for one in results] == [
        "[]",
        "not_asked",
        "[0, -1]",
        "not_done",
        "no_result",
    ]
    assert [one.texts["found"] for one in each_pair(pairs[:1], [0], asked, run, done) if isinstance(one, Pair)] == [
        "[]"
    ]
    assert len(batches) == 1  # nothing is run for nothing
