"""The training loop.

A step is `global_windows` windows over all ranks, by accumulation. Its loss is the sum of all weighted negative
log-likelihoods of the step divided by the sum of all its loss weights, whichever micro-batch and rank they are on: so
that a token counts the same in a full micro-batch and in one of descriptions only, and at any world size.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from manifests.printing import say
from train.data.corpus import Corpus
from train.data.held_out import Split, split
from train.data.loader import Fed, feed
from train.data.stream import Cursor, StreamOptions
from train.evaluate.metrics import Log, Tally, gathered, peak_memory_gb
from train.run.checkpoint import Checkpoints, Position
from train.run.config import Config
from train.run.cost import flops_per_token, peak_flops
from train.run.exporter import Exporter
from train.run.optimizer import learning_rate, make_optimizer, set_learning_rate
from train.run.parallel import export, export_adapter, is_exported, load_pretrained, model_config, shard, start
from train.run.samples import Samples
from train.run.shared import open_corpus
from train.run.spikes import Skips, SpikeRule
from train.run.stopping import STOPPED, Stop
from train.run.validation import Validation
from xprompt_model.layout import Weights
from xprompt_model.mask import block_mask, dense_mask
from xprompt_model.same_tokenizers import refuse_other_tokenizers
from xprompt_model.text import TextTokenizer
from xprompt_model.vocabulary import Vocabulary
from xprompt_model.vqgan import VQGAN

_OTHER_TOKENS = "name the model whose tokenizers made them with --model, or remove them and run make tokens again"

_REPORTED = 10
"""The number of left-out examples and shards that a rank prints one by one."""


def train(config: Config) -> int:
    """Train from the newest checkpoint in OUT, or from the model directory, to the last step; then export.

    Returns the exit status: 0, or STOPPED if a signal or `max_hours` ended the run at a checkpoint. Raises ValueError,
    one line, for what is missing or cannot be trained.
    """
    with Stop(config.max_hours) as stop:
        return _train(config, stop)


def _train(config: Config, stop: Stop) -> int:
    if not Path(config.model).is_dir():
        raise ValueError(f"no model at {config.model}: make tiny-models writes a small one, --model names another")
    device = start()
    try:
        corpus = open_corpus(config)
        vocabulary = _vocabulary(config, corpus)
        held_out = split(corpus, config.validation_share) if config.validation_share else None
        return _Trainer(config, corpus, held_out, vocabulary, device).run(stop)
    finally:
        dist.destroy_process_group()
        gc.collect()  # ends the group's threads: it is in cycles, and must not be garbage in a process that forks later


def _vocabulary(config: Config, corpus: Corpus) -> Vocabulary:
    """The model's. Raises ValueError if the corpus has not the tokens that the model and the config need."""
    vocabulary = Vocabulary.from_config(model_config(config))
    if config.context_pixels:
        corpus.refuse_without_small_contexts(config.context_pixels)
    codes = len(vocabulary.image_ids)
    if (theirs := corpus.tokenizer.get("codes")) != codes:
        url = corpus.pairs[0].url
        raise ValueError(
            f"the tokens of {url} are of {theirs} image codes, and {config.model} has {codes}: {_OTHER_TOKENS}"
        )
    refuse_other_tokenizers(
        corpus.tokenizer,
        f"{corpus.pairs[0].url}/tokens",
        config.model,
        TextTokenizer(config.model),
        VQGAN.load(config.model),
        _OTHER_TOKENS,
    )
    return vocabulary


class _Trainer:
    def __init__(
        self, config: Config, corpus: Corpus, held_out: Split | None, vocabulary: Vocabulary, device: torch.device
    ) -> None:
        self._corpus = held_out.training if held_out else corpus
        self._config, self._vocabulary, self._device = config, vocabulary, device
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        if config.micro_batches % self._ranks or config.streams % self._ranks:
            parts = f"a step's {config.micro_batches} micro-batches, or the {config.streams} streams"
            raise ValueError(f"{self._ranks} ranks do not divide {parts}")
        torch.manual_seed(config.seed)
        self._model = shard(config, device)
        self._optimizer = make_optimizer(
            self._model, config.lr, config.weight_decay, kind=config.optimizer, on_gpu=device.type == "cuda"
        )
        # Frozen weights are in no checkpoint.
        frozen = load_pretrained(self._model, config) if config.lora_rank else ""
        identity = held_out.identity if held_out else corpus.identity
        self._exporter: Exporter | None = None
        self._checkpoints = Checkpoints(
            config, self._model, self._optimizer, identity, frozen, told=self._tell_of_checkpoint
        )
        found = self._checkpoints.load()
        if found is None and not config.lora_rank:
            load_pretrained(self._model, config)
        self._done = found.step if found else 0
        if self._done > config.steps:
            raise ValueError(
                f"{config.out} is at step {self._done} already, beyond --steps {config.steps}: ask for more, or choose "
                "another --out"
            )
        self._saved = self._done
        self._cursors: dict[int, Cursor] = dict(found.cursors) if found else {}
        rule = SpikeRule(
            deviations=config.spike_deviations,
            window=config.spike_window,
            most_in_row=config.max_skipped_in_row,
            most=config.max_skipped,
        )
        self._skips = Skips(rule, found.skips if found else {})
        self._accumulate = config.micro_batches // self._ranks
        self._flops = flops_per_token(self._model, config.window_tokens)
        self._peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self._reported = 0
        self._validation: Validation | None = None
        self._samples: Samples | None = None
        if held_out:
            self._hold_out(held_out)

    def _hold_out(self, held_out: Split) -> None:
        config, options = self._config, self._options()
        self._validation = Validation(
            held_out.validation,
            self._vocabulary,
            options,
            config.validation_examples,
            compress=config.compress,
        )
        vqgan = VQGAN.load(config.model, device=self._device) if config.sample_pictures else None
        if vqgan and vqgan.decoder:
            validation, most = held_out.validation, config.sample_pictures
            self._samples = Samples(validation, self._vocabulary, options, vqgan, most, config.arm)
        if self._rank == 0:
            of = [sum(len(rows.pair) for rows in side.examples) for side in (held_out.training, held_out.validation)]
            say(
                f"trained on: {of[0]:,} examples; held out: {of[1]:,}, of which {self._validation.examples:,} are "
                f"validated on and {self._validation.left_out:,} do not fit; left out: {held_out.left_out:,}, whose "
                "in-context examples are all held out",
                event="data",
                trained_on=of[0],
                held_out=of[1],
                validated_on=self._validation.examples,
                too_long=self._validation.left_out,
                left_out=held_out.left_out,
            )

    def run(self, stop: Stop) -> int:
        """Train until the last step, or until the run is to stop. Returns the exit status."""
        config = self._config
        if self._rank == 0 and config.metrics_port:
            self._exporter = Exporter(
                config.metrics_port, steps=config.steps, done=self._done, skipped=self._skips.count, out=config.out
            )
        try:
            return self._run(stop)
        finally:
            if self._exporter:
                self._exporter.close()

    def _run(self, stop: Stop) -> int:
        config = self._config
        log = Log(config.out, config.steps, self._done, config.wandb, asdict(config))
        if self._done and self._rank == 0:
            text = f"going on after step {self._done} of {config.steps}"
            say(text, event="resume", step=self._done, steps=config.steps)
        batches = feed(
            self._corpus,
            self._vocabulary,
            self._options(),
            rank=self._rank,
            ranks=self._ranks,
            workers=config.workers,
            first=self._done * self._accumulate,
            cursors=self._cursors,
        )
        with closing(batches):  # whatever happens: workers that are left behind keep the process from ending
            if status := self._steps(batches, stop, log):
                return status
        self._checkpoints.finish()
        log.close()
        self._skips.refuse_nothing_learned(config.steps)
        if config.lora_rank:
            export_adapter(self._model, config, Path(config.out) / "adapter")
        folder = Path(config.out) / "model"
        # The ranks may see the folder at different times, while all of them take part in an export.
        if config.export and not gathered(is_exported(folder, config.steps))[0]:
            export(self._model, config, folder, self._corpus.tokenizer)
            if self._rank == 0:
                say(f"model: {folder}", event="model", path=str(folder))
        return 0

    def _steps(self, batches: Iterator[Fed], stop: Stop, log: Log) -> int:
        """All steps that are left. Returns 0, or STOPPED if the run is to stop before the last."""
        config = self._config
        for step in range(self._done, config.steps):
            if why := stop.asked():
                return self._leave(step, why, log)
            started_s = time.perf_counter()
            fed = list(itertools.islice(batches, self._accumulate))
            waited_s = time.perf_counter() - started_s
            record = self._step(step, fed)
            seconds = time.perf_counter() - started_s
            record |= {
                "tokens_per_s": record["tokens"] / seconds,
                "data_wait": float(gathered(waited_s / seconds).max()),
                "memory_gb": float(gathered(peak_memory_gb(self._device)).max()),
                "seconds": seconds,
            }
            if self._peak:
                record["mfu"] = record["capacity"] * self._flops / seconds / (self._peak * self._ranks)
            if self._validation and ((step + 1) % config.validate_every == 0 or step + 1 == config.steps):
                record["validation"] = self._validation.losses(self._model, self._device)
                if self._samples:
                    log.pictures(step + 1, self._samples.draw(self._model))
            log.step(record)
            if self._exporter:
                self._exporter.step(record)
            self._checkpoints.poll()
            # While steps are being skipped, the newest checkpoint remains one from before.
            is_due = (step + 1) // config.checkpoint_every > self._saved // config.checkpoint_every
            if (is_due and not self._skips.in_row) or step + 1 == config.steps:
                self._save(step + 1)
        return 0

    def _leave(self, step: int, why: str, log: Log) -> int:
        """Save what `step` steps have made, unless it is saved, and say so."""
        if step > self._saved:
            self._save(step)
        self._checkpoints.finish()
        log.close()
        if self._rank == 0:
            text = f"stopped by {why} after step {step} of {self._config.steps}: the same command goes on"
            say(text, event="stopped", why=why, step=step, steps=self._config.steps)
        return STOPPED

    def _tell_of_checkpoint(self, step: int, seconds: float) -> None:
        if self._exporter:
            self._exporter.checkpoint(step, seconds)

    def _save(self, step: int) -> None:
        self._checkpoints.save(Position(step=step, cursors=self._own_cursors(), skips=self._skips.state))
        self._saved = step

    def _step(self, step: int, fed: list[Fed]) -> dict[str, Any]:
        """One update. Returns its losses and counts over all ranks."""
        config = self._config
        tally = Tally(self._corpus.labels)
        weight = torch.stack([each.batch.weight.sum(dtype=torch.float64) for each in fed]).sum()
        dist.all_reduce(weight)
        if not float(weight) > 0:
            raise ValueError(
                f"step {step + 1}: no token of it has a loss weight: leave out by --sampling the examples that are "
                "weighted 0, as in */*/describe=0"
            )
        # FSDP averages gradients over ranks; the sum is wanted.
        scale = self._ranks / float(weight)
        for each in fed:
            batch = each.batch.to(self._device)
            mask = (block_mask if self._device.type == "cuda" else dense_mask)(batch, causal=not config.compress)
            parts = self._model.loss(batch, mask)
            loss = parts.text_nll + parts.image_nll + config.z_loss * parts.z
            torch.autograd.backward(loss * scale)
            tally.add(each, parts)
            self._cursors[each.stream] = each.cursor
            self._report(each.reports)
        lr = learning_rate(step, peak=config.lr, warmup_steps=config.warmup_steps, steps=config.steps)
        set_learning_rate(self._optimizer, lr)
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), config.clip_norm)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        found = tally.result()
        if not self._is_bad(step + 1, found["loss"], float(norm)):
            self._optimizer.step()
        self._optimizer.zero_grad()
        return {
            "step": step + 1,
            **found,
            "gradient_norm": float(norm),
            "lr": lr,
            "skipped": self._skips.count,
        }

    def _is_bad(self, step: int, loss: float, norm: float) -> bool:
        """Whether a step is to be skipped, which is noted. Raises Diverged if there have been too many."""
        why = self._skips.wrong(loss, norm)
        # Losses and norms are sums over ranks, whose last bits need not be the same on all: rank 0 decides for all.
        if not gathered(bool(why))[0]:
            self._skips.taken(loss)
            return False
        if self._rank == 0:
            text = f"step {step} is skipped: {why}"
            say(text, event="skipped", level="warning", step=step, why=why, loss=loss, gradient_norm=norm)
        self._skips.skipped(step, why)
        return True

    def _own_cursors(self) -> dict[int, Cursor]:
        """The cursors of this rank's own streams; those that a checkpoint held of other ranks' are theirs to write."""
        return {stream: cursor for stream, cursor in self._cursors.items() if stream % self._ranks == self._rank}

    def _report(self, reports: tuple[str, ...]) -> None:
        for report in reports:
            self._reported += 1
            if self._reported <= _REPORTED:
                say(f"rank {self._rank}: {report}", event="left_out", level="warning", rank=self._rank)
            if self._reported == _REPORTED:
                text = f"rank {self._rank}: more will be left out without a word"
                say(text, event="left_out", level="warning", rank=self._rank)

    def _options(self) -> StreamOptions:
        config = self._config
        return StreamOptions(
            seed=config.seed,
            streams=config.streams,
            window_tokens=config.window_tokens,
            windows=config.windows,
            buffer_windows=config.buffer_windows,
            xp_tokens=config.xp_tokens,
            weights=Weights(
                image=config.image_weight,
                text=config.text_weight,
                context_image=config.context_image_weight,
                prompt=config.prompt_weight,
                prompt_text=config.prompt_text_weight,
                prompt_image=config.prompt_image_weight,
            ),
            examples=config.examples,
            context_pixels=config.context_pixels,
            max_bad_shards=config.max_bad_shards,
            cached_shards=config.cached_shards,
            interleaved_shards=config.interleaved_shards,
        )
