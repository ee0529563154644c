from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from operators.account import accounting
from operators.base import StopRun
from operators.models.device import gpu_failed, loaded_once, memory_ran_out, prepared_device


def test_a_model_is_loaded_once_and_the_last_few_are_kept() -> None:
    loaded = []

    @loaded_once(2)
    def load(folder: str) -> object:
        loaded.append(folder)
        return object()

    first = load("a")
    assert load("a") is first
    load("b")
    load("c")
    assert load("a") is not first
    assert loaded == ["a", "b", "c", "a"]


def test_an_old_model_is_freed_before_the_next_one_is_loaded() -> None:
    """Both together may be more than a GPU's memory. Models are in circles of references, as modules with hooks are."""
    living: weakref.WeakSet[Model] = weakref.WeakSet()
    at_once = []

    class Model:
        def __init__(self) -> None:
            self.itself = self
            living.add(self)

    @loaded_once(1)
    def load(folder: str, device: str) -> Model:
        at_once.append(len(living))
        return Model()

    for folder in "aab":
        load(folder, device="cpu")
    assert at_once == [0, 0]
    assert [given for given, _ in load.kept] == [("b", ("device", "cpu"))]


def test_threads_that_ask_at_the_same_time_are_given_one_model() -> None:
    entered, may_go_on = threading.Event(), threading.Event()
    loaded = []

    @loaded_once(1)
    def load(folder: str) -> object:
        loaded.append(folder)
        entered.set()
        assert may_go_on.wait(30)
        return object()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(load, "a")
        assert entered.wait(30)
        second = pool.submit(load, "a")
        may_go_on.set()
        assert first.result() is second.result()
    assert loaded == ["a"]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), ImportError("no module"), KeyError("weight")],
)
def test_what_cannot_be_loaded_stops_the_run_with_one_line(error: Exception) -> None:
    @loaded_once(1)
    def load(kind: str, folder: str) -> object:
        raise error

    with pytest.raises(
        StopRun, match=f"^the model of unet, /models/x cannot be loaded: {type(error).__name__}: "
    ) as stop:
        load("unet", "/models/x")
    assert "\n" not in str(stop.value)


def test_a_disk_that_fails_may_be_tried_again() -> None:
    @loaded_once(1)
    def load(folder: str) -> object:
        raise OSError("stale handle")

    with pytest.raises(OSError, match="stale handle"):
        load("/models/x")


def test_a_lost_gpu_is_told_from_one_whose_memory_ran_out() -> None:
    lost, full = torch.AcceleratorError("an illegal memory access"), torch.OutOfMemoryError("CUDA out of memory")
    assert (gpu_failed(lost), memory_ran_out(lost)) == (True, False)
    assert (gpu_failed(full), memory_ran_out(full)) == (False, True)
    assert not gpu_failed(ValueError()) and not memory_ran_out(ValueError())


def test_one_thread_is_used() -> None:
    torch.set_num_threads(2)
    assert prepared_device() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert torch.get_num_threads() == 1


def test_what_loading_takes_is_added_once_to_the_account_that_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline of 60 s, of which 20 s are for a part that is loaded by itself; then it is there."""
    clock = [0.0]
    monkeypatch.setattr("operators.models.device.time.perf_counter", lambda: clock[0])

    @loaded_once(1)
    def part(folder: str) -> object:
        clock[0] += 20.0
        return object()

    @loaded_once(1)
    def whole(folder: str) -> object:
        clock[0] += 40.0
        return part(folder)

    with accounting() as account:
        whole("flux")
        clock[0] += 14.0
        whole("flux")
    assert account.loading_s == 60.0
