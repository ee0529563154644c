"""Where models run, and how they are loaded."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

from operators.account import accounting, open_account
from operators.base import StopRun

Given = ParamSpec("Given")
Model = TypeVar("Model")


def prepared_device() -> str:
    """Set torch up so that results repeat, and name where models run: "cuda" if there is a GPU, else "cpu".

    On a CPU one thread is used: a worker is given one core, and sums that are split over threads have other last bits.
    On a GPU, sums are taken in one order wherever there is a kernel for it, and float32 is float32: TensorFloat-32,
    which PyTorch lets convolutions use, keeps 10 bits of a factor's 23.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts: one order for cuBLAS too
    import torch

    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if not torch.cuda.is_available():
        return "cpu"
    torch.use_deterministic_algorithms(True, warn_only=True)
    return "cuda"


class LoadedOnce(Generic[Given, Model]):
    """A function that loads a model, of which a process keeps the last `most` models.

    It returns the kept model where it is called with the same arguments again. Where another one is to be loaded, the
    one that was asked for longest ago is let go of before: both together may be more than the memory holds. It raises
    StopRun for whatever goes wrong but OSError: memory that is too small, a checkpoint of another shape or a package
    that is missing are no pair's fault, and no other unit would fare better.
    """

    def __init__(self, load: Callable[Given, Model], most: int) -> None:
        self.load, self._most = load, most
        self._kept: OrderedDict[tuple[Any, ...], Model] = OrderedDict()
        self._lock = threading.RLock()

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Model:
        key = (*args, *kwargs.items())
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            while len(self._kept) >= self._most:
                self._kept.popitem(last=False)
                gc.collect()  # a model may be in a circle of references, and hold its memory until then
            try:
                with _timed():
                    self._kept[key] = self.load(*args, **kwargs)
            except OSError:
                raise
            except Exception as error:
                names = ", ".join(part for part in args if isinstance(part, str))
                said = " ".join(f"{type(error).__name__}: {error}".split())
                raise StopRun(f"the model of {names} cannot be loaded: {said}") from error
            return self._kept[key]

    def cache_clear(self) -> None:
        """Let go of all models."""
        with self._lock:
            self._kept.clear()

    @property
    def kept(self) -> list[tuple[tuple[Any, ...], Model]]:
        """The models that are kept, each with the arguments that it was loaded by."""
        with self._lock:
            return [*self._kept.items()]


def loaded_once(most: int) -> Callable[[Callable[Given, Model]], LoadedOnce[Given, Model]]:
    """Decorate a function that loads a model, so that a process keeps the last `most` models (LoadedOnce)."""
    return lambda load: LoadedOnce(load, most)


@contextmanager
def _timed() -> Iterator[None]:
    """Add the seconds of the block, in which a model is loaded, to the account that is open.

    What it loads in turn has been added by then.
    """
    began_s = time.perf_counter()
    with accounting() as account:
        yield
    open_account().add_loading(time.perf_counter() - began_s - account.loading_s)


def gpu_failed(error: BaseException) -> bool:
    """Whether a GPU is lost for this process: every later call fails too. Memory that runs out is not that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.AcceleratorError)


def memory_ran_out(error: BaseException) -> bool:
    """Whether an exception says that the GPU's memory was too small."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)
