from __future__ import annotations

from collections.abc import Sequence

import pytest

from manifests.schema import Reject
from operators.batching import in_halves

torch = pytest.importorskip("torch")


class Gpu:
    """Squares numbers, as many at once as it has memory for; `too_large` never fit."""

    def __init__(self, memory: int, too_large: int = -1) -> None:
        self.memory, self.too_large, self.batches = memory, too_large, list[int]()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(len(numbers))
        if len(numbers) > self.memory or self.too_large in numbers:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return [number * number for number in numbers]


def test_what_fits_is_one_batch() -> None:
    gpu = Gpu(memory=8)
    assert in_halves(gpu, range(8)) == [number * number for number in range(8)]
    assert gpu.batches == [8]
    assert in_halves(gpu, []) == []


def test_a_batch_is_halved_until_it_fits() -> None:
    gpu = Gpu(memory=2)
    assert in_halves(gpu, range(7)) == [number * number for number in range(7)]
    assert max(size for size in gpu.batches if size <= 2) == 2
    assert gpu.batches[0] == 7


def test_what_does_not_fit_alone_is_a_reject_and_the_others_are_kept() -> None:
    results = in_halves(Gpu(memory=4, too_large=5), range(8))
    (reject,) = (result for result in results if isinstance(result, Reject))
    assert reject.reason == "out_of_memory"
    assert [result for result in results if result is not reject] == [n * n for n in range(8) if n != 5]
    assert results.index(reject) == 5


def test_other_exceptions_pass_through() -> None:
    def fail(batch: Sequence[int]) -> list[int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_halves(fail, [1, 2])
