"""Memory of one GPU, measured without one: the trainer's own step, run on tensors that have sizes and no values.

The model class, FSDP's gathering and reducing, mixed precision, recomputation, the loss in chunks and the optimizer
are those of a run; the ranks are PyTorch's `fake` process group, the tensors FakeTensors. Each storage that the step
makes is counted from its birth to its death. What a GPU has besides: CUDA's context, NCCL's buffers, fragments.

Attention is causal by scaled_dot_product_attention, which keeps what flex_attention keeps on a GPU: queries, keys,
values, the result and one logarithm a query and head.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_iter
from transformers import ChameleonConfig

from train.run.config import Config
from train.run.optimizer import make_optimizer
from train.run.parallel import shard_on_meta
from xprompt_model.batch import MicroBatch
from xprompt_model.model import XPromptChameleon

_FEW_BLOCKS = (4, 5)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Bytes on one GPU."""

    rest: float
    """Between two steps: this rank's weights and Adam's state."""
    passes: float
    """The peak of forward and backward passes."""
    update: float
    """The peak of clipping and the optimizer."""
    host: float = 0
    """In main memory for this GPU, with `cpu_offload`: weights, gradients and Adam's state."""

    @property
    def peak(self) -> float:
        return max(self.passes, self.update)

    def towards(self, other: Measured, share: float) -> Measured:
        """On the straight line through both, which `share` 0 and 1 are."""
        ours, others = vars(self), vars(other)
        return Measured(**{name: value + share * (others[name] - value) for name, value in ours.items()})


class Counter(TorchDispatchMode):
    """Counts the bytes of all storages that operations return, now and at their peak, until they are freed.

    `targets` is the number of tokens with a loss weight, which tensors without values do not tell.
    """

    def __init__(self, targets: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.elsewhere = 0
        self._targets = targets
        self._bytes: dict[int, int] = {}
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._elsewhere: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) or each.__module__.startswith("torchao") for each in types):
            return NotImplemented  # it will come again, with the tensors that those are made of
        if func is torch.ops.aten.nonzero.default and self._targets is not None:
            found = args[0].new_empty((self._targets, 1), dtype=torch.int64)
        else:
            found = func(*args, **(kwargs or {}))
        for tensor in tree_iter(found):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return found

    def __enter__(self) -> Counter:
        # FSDP frees and fills the storages of gathered weights, which no operation tells.
        self._resize = torch.UntypedStorage.resize_
        counter = self

        def resize(storage: torch.UntypedStorage, size: int) -> Any:
            found = counter._resize(storage, size)
            counter._count(storage)
            return found

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign, assignment]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage, if it is not counted yet."""
        for part in _parts(tensor):
            self._count(part.untyped_storage())

    def move(self, tensor: Tensor) -> None:
        """Count a tensor's storage as `elsewhere`, in another memory, from now on."""
        for part in _parts(tensor):
            storage = part.untyped_storage()
            self._count(storage)
            if storage._cdata not in self._elsewhere:
                self._set(storage._cdata, 0)
                self._elsewhere.add(storage._cdata)
                self._set(storage._cdata, storage.nbytes())

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._forget(key))
        self._set(key, storage.nbytes())

    def _forget(self, key: int) -> None:
        self._set(key, 0)
        self._elsewhere.discard(key)
        del self._bytes[key], self._alive[key]

    def _set(self, key: int, size: int) -> None:
        more = size - self._bytes.get(key, 0)
        self._bytes[key] = size
        if key in self._elsewhere:
            self.elsewhere += more
        else:
            self.now += more
            self.peak = max(self.peak, self.now)


def measured(config: Config, described: ChameleonConfig, gpus: int, targets: int) -> Measured:
    """A step of a run on `gpus` GPUs, `described` being its model, with `targets` loss weights a micro-batch.

    The 7B takes some 20 s of a CPU. Raises ValueError if the ranks cannot be divided so.
    """
    cpu = torch.device("cpu")
    _warm_up(config)
    with _ranks(gpus):
        model = shard_on_meta(config, described, cpu)
        with FakeTensorMode(allow_non_fake_inputs=True), Counter(targets) as counter:
            model.to_empty(device=cpu)
            return _two_steps(model, config, gpus, counter)


def extended(config: Config, described: ChameleonConfig, gpus: int, targets: int) -> Measured:
    """The same from models of 4 and 5 blocks, in a third of the time: each block more adds the same.

    With fewer, the first and the last block, which differ, would be part of what is added.
    """
    few, more = _FEW_BLOCKS
    if described.num_hidden_layers <= more:
        return measured(config, described, gpus, targets)
    found = []
    for blocks in _FEW_BLOCKS:
        short = ChameleonConfig.from_dict({**described.to_dict(), "num_hidden_layers": blocks})
        found.append(measured(config, short, gpus, targets))
    share = (described.num_hidden_layers - few) / (more - few)
    return found[0].towards(found[1], share)


def _two_steps(model: XPromptChameleon, config: Config, gpus: int, counter: Counter) -> Measured:
    # The fused kernels, as a run on GPUs has. torchao's update is not compiled here and so needs more than it would.
    optimizer = make_optimizer(
        model, config.lr, config.weight_decay, kind=config.optimizer, on_gpu=config.optimizer == "adamw"
    )
    for parameter in model.parameters():
        counter.add(parameter)
        if config.cpu_offload:
            counter.move(parameter)
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda p: counter.move(_gradient(p)))
    # The first step makes Adam's state; DTensor looks at whole tensors once to learn their shapes. The second counts.
    _pass(model, config)
    optimizer.step()
    if config.cpu_offload:
        for tensor in tree_iter([*optimizer.state.values()]):
            counter.move(tensor)
    if config.micro_batches <= gpus:
        optimizer.zero_grad()  # else a pass finds the gradients of the micro-batch before it
    counter.peak = counter.now
    _pass(model, config)
    passes = counter.peak
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    counter.peak = counter.now
    optimizer.step()
    update = 0 if config.cpu_offload else counter.peak
    host = counter.elsewhere
    optimizer.zero_grad()
    return Measured(rest=counter.now, passes=passes, update=update, host=host)


def _warm_up(config: Config) -> None:
    """An update of a small matrix: torchao computes its tables of 8-bit values once, which needs values."""
    small = nn.Linear(64, 64, bias=False)
    optimizer = make_optimizer(small, config.lr, config.weight_decay, kind=config.optimizer)
    small.weight.grad = torch.zeros_like(small.weight)
    optimizer.step()


def _pass(model: XPromptChameleon, config: Config) -> None:
    """Forward and backward of one micro-batch, as the trainer has them."""
    dtypes = {"ids": torch.int64, "segment": torch.int8, "document": torch.int32, "example": torch.int8}
    columns = {name: torch.zeros(config.capacity, dtype=dtype) for name, dtype in dtypes.items()}
    columns["position"] = torch.zeros_like(columns["ids"])
    batch = MicroBatch(**columns, weight=torch.zeros(config.capacity))
    parts = model.loss(batch, None)
    torch.autograd.backward(parts.text_nll + parts.image_nll + config.z_loss * parts.z)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


@contextmanager
def _ranks(gpus: int) -> Iterator[None]:
    """This process as rank 0 of so many, none of which there is."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=gpus)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    """The plain tensors that a tensor is made of."""
    if isinstance(tensor, DTensor):
        yield from _parts(tensor.to_local())
    elif is_traceable_wrapper_subclass(tensor):
        names, _ = tensor.__tensor_flatten__()
        for name in names:
            yield from _parts(getattr(tensor, name))
    else:
        yield tensor
