"""What a training run is: presets, and the command line over them.

torchrun --nproc-per-node 2 train/fsdp_train.py                              # preset tiny, on a CPU
torchrun ... train/fsdp_train.py --preset 7b-paper --recipe /xprompt/recipe.json --lr 5e-5
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from manifests.log import add_option as add_log_option
from manifests.storage import expanded
from xprompt_model.arm import Arm

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""All linear layers of a block: adapters beside attention alone learn less (Dettmers et al. 2023, QLoRA, figure 2)."""

_ABOVE_0 = (
    *("steps", "lr", "clip_norm", "window_tokens", "windows", "global_windows", "streams", "buffer_windows"),
    *("cached_shards", "interleaved_shards", "xp_tokens", "examples", "checkpoint_every", "keep_checkpoints"),
    *("validate_every", "validation_examples", "spike_window", "max_skipped_in_row", "max_skipped"),
)
_FROM_0 = (
    *("image_weight", "text_weight", "context_image_weight"),
    *("prompt_weight", "prompt_text_weight", "prompt_image_weight", "weight_decay", "z_loss"),
    *("warmup_steps", "context_pixels", "workers", "max_bad_shards", "shard_ranks"),
    *("max_hours", "spike_deviations", "sample_pictures"),
)
"""The options that must be numbers above 0, and finite numbers that are not below it."""

_Value = TypeVar("_Value")


def _option(default: _Value, text: str) -> _Value:
    """A field with the text that --help prints."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that decides what a run computes. Defaults are the paper's section 4, or ours where it is silent."""

    preset: str = "tiny"
    model: str = _option("models/chameleon-7b", "model directory to start from, in facebook/chameleon-7b's format")
    data: tuple[str, ...] = _option(("data/derain",), "dataset directories, mixed by their numbers of examples")
    recipe: str = _option("", "recipe.json of pipelines/full_8m.py, by whose weights its datasets are mixed")
    out: str = _option("runs/7b-paper", "folder of checkpoints, metrics and the exported model")
    seed: int = _option(0, "of the data order and of new X-Prompt embeddings")
    sampling: tuple[str, ...] = _option((), "how often examples come an epoch: derain/reverse/describe=0.5 */*/*=1")

    xp_tokens: int = _option(64, "X-Prompt embeddings; the paper does not say")
    image_weight: float = _option(1.0, "loss weight of output images")
    text_weight: float = _option(1.0, "loss weight of output texts")
    context_image_weight: float = _option(0.0, "loss weight of the in-context example's output image")
    prompt_weight: float = _option(
        0.0,
        "loss weight of TD's instruction and inputs, which are given when it answers; the paper's formula has 1",
    )
    prompt_text_weight: float = _option(1.0, "prompt weight's share of the text in it")
    prompt_image_weight: float = _option(1.0, "prompt weight's share of the images in it")
    compress: bool = _option(True, "the X-Prompt mask; --no-compress is Tab. 4's arm without X-Prompt")
    contexts: bool = _option(True, "train with in-context examples; --no-contexts is Tab. 4's arm without context")

    examples: int = _option(1, "in-context examples of a document at most: as many as it has, and as fit the window")
    context_pixels: int = _option(0, "side of in-context images, px, as xprompt tokens --context-pixels; 0: as all")

    steps: int = _option(20_000, "optimizer steps (section 4)")
    warmup_steps: int = _option(500, "steps of linear warm-up (the paper does not say)")
    lr: float = _option(1e-4, "peak learning rate (section 4), then cosine to 0")
    weight_decay: float = _option(0.1, "AdamW's, on matrices (Lumina-mGPT's; the paper does not say)")
    clip_norm: float = _option(4.0, "largest gradient norm (Lumina-mGPT's)")
    optimizer: str = _option("adamw", "adamw, or adamw8bit: torchao's, with moments in 8 bits (Dettmers et al. 2021)")
    z_loss: float = _option(1e-5, "weight of the squared log of the softmax's denominator (Lumina-mGPT's); 0 is none")

    lora_rank: int = _option(0, "rank of LoRA adapters, the weights being frozen; 0 trains all weights")
    lora_alpha: int = _option(0, "adapters are scaled by alpha / rank; 0 is twice the rank")
    lora_targets: tuple[str, ...] = _option(LINEAR_LAYERS, "linear layers that get adapters, by the ends of names")
    lora_whole: tuple[str, ...] = _option((), "embed_tokens, lm_head: trained whole beside the adapters")
    frozen_bits: int = _option(0, "8 keeps the blocks' frozen matrices in int8, 0 in --dtype")

    window_tokens: int = _option(5_120, "context window (section 4); it bounds a document")
    rope: str = _option(
        "", "linear or yarn: rotary embeddings scaled to the window; left out: as the checkpoint has them"
    )
    windows: int = _option(8, "windows a micro-batch: 8 fill to 99%, 4 to 90% (infra/bench/packing.py)")
    global_windows: int = _option(1_024, "windows a step over all ranks (section 4), by accumulation")
    buffer_windows: int = _option(18, "a micro-batch is chosen from documents that would fill so many windows")
    streams: int = _option(128, "virtual data streams; a multiple of ranks times workers")
    workers: int = _option(1, "data processes a rank; 0 reads in the trainer itself")
    max_bad_shards: int = _option(8, "token shards a data process may refuse before the run ends")
    cached_shards: int = _option(64, "token shards in memory of each data process, 5 MB each")
    interleaved_shards: int = _option(
        32, "token shards that examples come from at a time, over all datasets by weight; contexts need others cached"
    )

    dtype: str = _option("bf16", "of computation, float32 or bf16; weights, reductions and Adam are float32")
    shard_ranks: int = _option(0, "ranks that share one copy of the weights (HSDP); 0 is all (FSDP)")
    cpu_offload: bool = _option(False, "weights, gradients and Adam's state in main memory; the update runs there")
    recompute: bool = _option(True, "activation checkpointing of each block")
    compile: bool = _option(False, "torch.compile each block")

    checkpoint_every: int = _option(500, "steps between checkpoints")
    keep_checkpoints: int = _option(2, "complete checkpoints that are kept")
    validation_share: float = _option(0.0, "share of the groups that is held out to validate on; 0 is none")
    validate_every: int = _option(500, "steps between validations")
    validation_examples: int = _option(64, "held-out examples of each task, direction and kind, at most")
    sample_pictures: int = _option(4, "held-out examples that are drawn into OUT/samples at each validation")
    wandb: str = _option("", "project at Weights & Biases to report to as well (WANDB_MODE=offline: OUT/wandb only)")
    metrics_port: int = _option(0, "port at which rank 0 serves metrics to Prometheus; 0 is none")
    max_hours: float = _option(0.0, "hours after which to save and leave with status 75; 0 is without end")
    spike_deviations: float = _option(
        0.0, "skip a step whose loss is so many robust standard deviations above the last ones' median; 0 skips none"
    )
    spike_window: int = _option(128, "the steps whose losses a spike is told by")
    max_skipped_in_row: int = _option(10, "skipped steps in a row, not finite or spikes, that end the run")
    max_skipped: int = _option(100, "skipped steps in all that end the run")
    export: bool = _option(True, "write OUT/model, which transformers loads, after the last step")

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be trained."""
        if self.dtype not in ("float32", "bf16"):
            raise ValueError(f"--dtype {self.dtype}: float32 or bf16")
        if self.optimizer not in ("adamw", "adamw8bit"):
            raise ValueError(f"--optimizer {self.optimizer}: adamw or adamw8bit")
        self._check_adapters()
        self._check_numbers()
        if self.global_windows % self.windows:
            raise ValueError(f"{self.global_windows} windows a step are not a multiple of {self.windows} a micro-batch")
        if self.buffer_windows < self.windows:
            raise ValueError(f"a buffer of {self.buffer_windows} windows cannot fill {self.windows}")
        if not (self.image_weight or self.text_weight or self.context_image_weight or self.prompt_weight):
            raise ValueError("--image-weight and --text-weight are both 0: nothing would be learned")

    def _check_numbers(self) -> None:
        """That each number is in its range; not a number is in none."""
        for name in _ABOVE_0:
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: it must be above 0")
        if self.lr == float("inf"):
            raise ValueError("--lr inf: it must be finite")
        for name in _FROM_0:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: it must be 0 or above")
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"--validation-share {self.validation_share}: it is a share, from 0 to below 1")
        if not 0 <= self.metrics_port < 65_536:
            raise ValueError(f"--metrics-port {self.metrics_port}: a port, 1 to 65535, or 0 for none")
        if self.examples > 127:
            raise ValueError(f"--examples {self.examples}: at most 127, as their numbers are bytes")
        if not -(2**63) <= self.seed < 2**64:
            raise ValueError(f"--seed {self.seed}: it is a number of 64 bits")

    def _check_adapters(self) -> None:
        if self.lora_rank < 0 or self.lora_alpha < 0:
            raise ValueError(f"--lora-rank {self.lora_rank} --lora-alpha {self.lora_alpha}: they must not be below 0")
        if self.frozen_bits not in (0, 8):
            raise ValueError(f"--frozen-bits {self.frozen_bits}: 8, or 0 for those of --dtype")
        if self.lora_rank and not self.lora_targets:
            raise ValueError("--lora-targets: name at least one linear layer")
        for name in self.lora_whole:
            if name not in ("embed_tokens", "lm_head") or name in self.lora_targets:
                raise ValueError(f"--lora-whole {name}: embed_tokens or lm_head, and not among --lora-targets")
        for name in ("lora_whole", "frozen_bits"):
            if getattr(self, name) and not self.lora_rank:
                raise ValueError(f"--{name.replace('_', '-')} needs --lora-rank: without adapters all weights train")

    @property
    def arm(self) -> Arm:
        """What the model learns to see of an in-context example: it is exported with the model, for generation."""
        if not self.contexts:
            return "none"
        return "xprompt" if self.compress else "causal"

    @property
    def capacity(self) -> int:
        """Tokens of a micro-batch."""
        return self.windows * self.window_tokens

    @property
    def micro_batches(self) -> int:
        """The micro-batches of a step, over all ranks."""
        return self.global_windows // self.windows


PAPER_7B = Config(preset="7b-paper")
"""Section 4: 1,024 windows of 5,120 tokens a step, 20,000 steps; 128 micro-batches, one for each of its 128 GPUs."""

PRESETS = {
    "tiny": Config(
        preset="tiny",
        model="models/tiny/chameleon",
        out="runs/tiny",
        steps=40,
        warmup_steps=4,
        lr=3e-3,
        windows=2,
        window_tokens=512,
        global_windows=8,
        streams=8,
        buffer_windows=4,
        workers=0,
        max_bad_shards=1,
        dtype="float32",
        recompute=False,
        checkpoint_every=20,
        validate_every=20,
        validation_examples=8,
        sample_pictures=2,
    ),
    "7b-paper": PAPER_7B,
    "34b": replace(PAPER_7B, preset="34b", model="models/chameleon-34b", out="runs/34b"),
}


def _with_home(value: Any) -> Any:
    """A value, or each of several, with `~` expanded: torchrun's shell leaves --out=~/x as it is."""
    if isinstance(value, list):
        return [_with_home(one) for one in value]
    return expanded(value) if isinstance(value, str) else value


def parse(arguments: Sequence[str] | None = None, description: str | None = None, prog: str | None = None) -> Config:
    """The configuration of a command line: a preset and what is set over it. Raises ValueError."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--preset", choices=PRESETS, default="tiny", help="what the other options start from (default: tiny)"
    )
    hints = get_type_hints(Config)
    for each in fields(Config)[1:]:
        add: dict[str, Any] = {"type": hints[each.name]}
        if get_origin(hints[each.name]) is tuple:
            add = {"nargs": "*", "type": get_args(hints[each.name])[0]}
        elif hints[each.name] is bool:
            add = {"action": argparse.BooleanOptionalAction}
        name = f"--{each.name.replace('_', '-')}"
        parser.add_argument(name, default=argparse.SUPPRESS, help=each.metadata["help"].replace("%", "%%"), **add)
    add_log_option(parser)
    given = {name: _with_home(value) for name, value in vars(parser.parse_args(arguments)).items()}
    preset = PRESETS[given.pop("preset")]
    changes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    return replace(preset, **changes)
