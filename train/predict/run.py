"""Makes the predictions that are asked for and not there yet. It imports torch."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from transformers import ChameleonVQVAEConfig

from manifests.dataset import Dataset, find_datasets
from manifests.printing import counted, say
from manifests.schema import canonical_json, seed_for, shown_inputs
from manifests.storage import Store
from operators.shared.texts import ClipText, Embedder, MiniLM
from train.evaluate.predictions import Malformed, decode
from train.predict.asked import Asked, asked_by_geneval, asked_of
from train.predict.contexts import (
    Chosen,
    Contexts,
    Drawn,
    Named,
    Nearest,
    Nothing,
    Policy,
    Pool,
    Ranked,
    refuse_as_context,
)
from train.predict.record import claim, model_sha256
from xprompt_model.arm import Arm
from xprompt_model.cache import Compressed
from xprompt_model.checkpoint import read_arm, read_config, read_context_pixels
from xprompt_model.generator import Generator, Request
from xprompt_model.layout import Turn, build_prompt, turn_tokens
from xprompt_model.library import Library, model_identity
from xprompt_model.model import XPromptChameleon
from xprompt_model.same_tokenizers import refuse_untrained_tokenizers
from xprompt_model.sampling import IMAGE, Sampling
from xprompt_model.text import NoTokens, TextTokenizer
from xprompt_model.vocabulary import Ids
from xprompt_model.vqgan import VQGAN

_VERSION = 2
"""Raised whenever the same model and options would make other predictions: a folder holds those of one version."""

_KEPT_BYTES = 2**30
"""Compressed examples in memory: one of 64 X-Prompt tokens has 34 MB with a model of 7B in bfloat16."""

_SAID_EVERY_S = 30.0


def predict(options: argparse.Namespace) -> None:
    """Make this process' share. Raises ValueError, one line, for what a user can put right."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    of_rank = f"rank {rank} of {world}: " if world > 1 else ""
    trained = read_arm(options.model)
    arm: Arm = options.arm or trained
    policy = _policy(options, arm)
    names = ("temperature", "top_k", "top_p", "guidance", "image_guidance")
    sampling = replace(IMAGE, **{name: value for name in names if (value := getattr(options, name)) is not None})
    datasets = [] if options.geneval else find_datasets(options.dataset)
    contexts = _contexts(options, policy, datasets)
    beside: dict[str, str] = {}
    if options.geneval:
        asked, beside = asked_by_geneval(options.geneval, options.samples)
    else:
        asked = asked_of(datasets, options.direction)
    mine = _share(asked, options.batch, rank, world)
    codebook = read_config(options.model).vq_config
    assert isinstance(codebook, ChameleonVQVAEConfig)
    side_px = codebook.resolution
    missing = {one.file for batch in mine for one in batch if not _is_there(options.out / one.file, side_px)}
    damaged = sum((options.out / file).exists() for file in missing)
    # A batch of which any is missing is computed whole: rows beside others and rows alone have other last bits.
    batches = [batch for batch in mine if any(one.file in missing for one in batch)]
    count = len(options.context) or options.examples
    # What contexts there are is known before the folder is claimed and the model is loaded.
    chosen = {
        one.file: contexts.of(one.example, count) if one.example and one.in_context else []
        for batch in batches
        for one in batch
    }
    claim(options.out, _record(options, arm, policy, sampling, datasets, asked))
    for file, text in beside.items():
        if not (options.out / file).is_file():
            Store(str(options.out)).write_bytes(file, f"{text}\n".encode())
    if rank == 0 and arm != trained:
        text = f"{options.model} was trained in the arm {trained}, and predicts in the arm {arm}"
        say(text, error=True, event="message", level="warning", trained=trained, arm=arm)
    without = f", {damaged:,} of them in the place of damaged files" if damaged else ""
    if missing:
        threads = torch.get_num_threads()
        try:
            run = _Run(options, arm, sampling, chosen)
            run.make(batches, missing, of_rank)
        finally:
            torch.set_num_threads(threads)
        if run.too_long:
            without += f", {len(run.too_long):,} of them without an in-context example, which does not fit"
    there = sum(map(len, mine)) - len(missing)
    text = f"{of_rank}{counted(len(missing), 'prediction')} made{without}, {there:,} were there: {options.out}"
    say(text, error=True, event="report", level="info", rank=rank, made=len(missing), there=there, out=str(options.out))


def _is_there(file: Path, side_px: int) -> bool:
    """Whether a prediction is there as it was written: what has been damaged since is made again."""
    try:
        return decode(file.read_bytes()).shape == (side_px, side_px, 3)
    except (FileNotFoundError, Malformed):
        return False


def _policy(options: argparse.Namespace, arm: Arm) -> Policy:
    if options.geneval:
        return "none"
    if arm == "none":
        if (options.contexts or "none") != "none":
            raise ValueError(f"the arm none has no in-context examples: leave out --contexts {options.contexts}")
        return "none"
    if options.contexts is None:
        raise ValueError(f"--contexts none, fixed, seeded or raie: the arm {arm} has in-context examples")
    policy: Policy = options.contexts
    return policy


def _contexts(options: argparse.Namespace, policy: Policy, datasets: Sequence[Dataset]) -> Contexts:
    """What says which in-context example an example has."""
    shown = [one for url in options.contexts_from for one in find_datasets(url)]
    if policy == "none":
        return Nothing()
    if options.context:
        places = {pair: one for pair in options.context for one in reversed(shown) if pair in one}
        if missing := [pair for pair in options.context if pair not in places]:
            raise ValueError(f"no pair {' or '.join(missing)} in {' '.join(options.contexts_from)}")
        return Named(places)
    for one in shown:
        refuse_as_context(one, datasets)
    if not shown:
        return Ranked(options.seed, best=policy == "raie", may_show=lambda one: refuse_as_context(one, datasets))
    if policy == "raie":
        return Nearest(Pool(shown), _embedder(options.clip))
    return Drawn(Pool(shown), options.seed, same=policy == "fixed")


def _record(
    options: argparse.Namespace,
    arm: Arm,
    policy: Policy,
    sampling: Sampling,
    datasets: Sequence[Dataset],
    asked: Sequence[Asked],
) -> dict[str, Any]:
    """All that the predictions depend on, but not the batch and the number of processes."""
    contexts: dict[str, Any] = {"policy": policy}
    if options.context:
        contexts["pairs"] = options.context
    elif policy != "none":
        contexts["examples"] = options.examples
    if options.contexts_from:
        shown = [one for url in options.contexts_from for one in find_datasets(url)]
        contexts["from"] = [one.plan().fingerprint for one in shown]
    elif policy != "none":
        ranked = [[one.file, one.example.contexts] for one in asked if one.example]
        contexts["ranked"] = hashlib.sha256(canonical_json(ranked).encode()).hexdigest()
    if policy == "raie" and options.contexts_from:
        contexts["embedder"] = _embedder(options.clip).fingerprint
    if options.geneval:
        metadata = hashlib.sha256(options.geneval.read_bytes()).hexdigest()
        what: dict[str, Any] = {"geneval": {"metadata": metadata, "samples": options.samples}}
    else:
        made = {one.plan().task: one.plan().fingerprint for one in datasets}
        what = {"datasets": made, "direction": options.direction}
    return {
        "version": _VERSION,
        "model": model_sha256(options.model),
        "arm": arm,
        "contexts": contexts,
        "sampling": asdict(sampling),
        "seed": options.seed,
        "dtype": options.dtype,
        **what,
    }


@cache
def _embedder(clip: Path | None) -> Embedder:
    """What instructions are compared by: its weights are read once, for the record and for the search."""
    return ClipText(checkpoint=str(clip)) if clip else MiniLM()


def _share(asked: Sequence[Asked], batch: int, rank: int, world: int) -> list[Sequence[Asked]]:
    """The batches that a process makes: every one whose turn it is, counted round the processes."""
    return [asked[start : start + batch] for start in range(rank * batch, len(asked), world * batch)]


class _Run:
    """The model, loaded, and what it predicts."""

    def __init__(
        self, options: argparse.Namespace, arm: Arm, sampling: Sampling, chosen: Mapping[str, Sequence[Chosen]]
    ) -> None:
        """Load the model. `chosen` are the in-context examples, by the prediction's file. Raises ValueError."""
        self._out, self._seed, self._arm = Store(str(options.out)), options.seed, arm
        self._sampling, self._chosen = sampling, chosen
        self.too_long: set[str] = set()
        """The predictions that had to do without one of their in-context examples."""
        device = options.device
        if not device:
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, ImportError) as error:  # of a build that has no such device
            raise ValueError(f"--device {device} cannot be used: {error}") from None
        if device == "cpu":
            torch.set_num_threads(1)  # several threads add up in another order, to other last bits
        model = XPromptChameleon.from_pretrained(options.model, dtype=getattr(torch, options.dtype), device=device)
        self._vqgan = VQGAN.load(options.model, device=device)
        self._vqgan.needed_decoder()
        self._context_side_px = read_context_pixels(options.model) or None
        self._tokenizer = TextTokenizer(options.model)
        refuse_untrained_tokenizers(options.model, self._tokenizer, self._vqgan)
        self._generator = Generator(model)
        self._compress = self._generator.compress
        if options.library:
            self._compress = partial(Library(options.library, model_identity(model)).compressed, self._generator)
        self._vocabulary, self._window_tokens = model.vocabulary, model.window_tokens
        self._kept: OrderedDict[tuple[str, str, str], Compressed | None] = OrderedDict()

    def make(self, batches: Sequence[Sequence[Asked]], missing: Collection[str], of_rank: str) -> None:
        """Make some batches and write what is missing of them, and say now and then how far it is."""
        total, made = sum(map(len, batches)), 0
        started_s = said_s = time.monotonic()
        for batch in batches:
            self._make(batch, missing)
            made += len(batch)
            now_s = time.monotonic()
            if now_s - said_s > _SAID_EVERY_S:
                left_s = (now_s - started_s) / made * (total - made)
                text = f"{of_rank}{made:,} of {total:,} predictions, {left_s / 60:,.0f} min left"
                say(text, error=True, event="progress", level="info", made=made, predictions=total, left_s=left_s)
                said_s = now_s

    def _make(self, batch: Sequence[Asked], missing: Collection[str]) -> None:
        requests = [self._request(one) for one in batch]
        grids = self._generator.images([request for request, _ in requests], self._sampling)
        for one, (request, shown), grid in zip(batch, requests, grids, strict=True):
            if one.file in missing:
                self._out.write_bytes(one.file, self._png(shown, request.seed, grid))

    def _request(self, one: Asked) -> tuple[Request, list[Chosen]]:
        """What the model is asked, with those of its in-context examples that fit, and which these are."""
        inputs = [*map(self._vqgan.tokenize, one.images())]
        instruction = self._ids(one.instruction, one.file)
        prompt = len(build_prompt(instruction, inputs, self._vocabulary).ids)
        room = self._window_tokens - prompt - 1 - self._vocabulary.image_tokens
        contexts, shown = list[Compressed](), list[Chosen]()
        for chosen in self._chosen[one.file]:
            context = self._compressed(chosen)
            if context is None or context.tokens > room:
                self.too_long.add(one.file)
                continue
            room -= context.tokens
            contexts.append(context)
            shown.append(chosen)
        seed = seed_for(self._seed, one.file)
        return Request(instruction=instruction, inputs=inputs, contexts=contexts, seed=seed), shown

    def _compressed(self, chosen: Chosen) -> Compressed | None:
        """An in-context example, run once as long as it is kept; None if it is too long for any document."""
        key = (chosen.dataset.url, chosen.pair, chosen.direction)
        if key not in self._kept:
            example = chosen.dataset[chosen.pair].example(chosen.direction, "generate")
            pair = example.pair
            turn = Turn(
                instruction=self._ids(example.instruction, f"pair {chosen.pair} of {chosen.dataset.url}"),
                inputs=tuple(
                    self._vqgan.tokenize(pair.image(role), self._context_side_px)
                    for role in shown_inputs(example.inputs, pair.roles)
                ),
                output=self._vqgan.tokenize(pair.image(str(example.output)), self._context_side_px),
            )
            fits = turn_tokens(turn) < self._window_tokens
            self._kept[key] = self._compress(turn, keep_example=self._arm == "causal") if fits else None
            while len(self._kept) > 1 and sum(one.bytes_after for one in self._kept.values() if one) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _ids(self, text: str, what: str) -> Ids:
        try:
            return self._tokenizer.ids(text)
        except NoTokens as error:
            raise ValueError(f"{what}: its instruction cannot be made into tokens: {error}") from None

    def _png(self, shown: Sequence[Chosen], seed: int, grid: NDArray[np.integer]) -> bytes:
        """A PNG of the codes, whose text `xprompt` says what it was made of."""
        contexts = [{"pair": chosen.pair, "score": chosen.score} for chosen in shown]
        told = PngInfo()
        told.add_text("xprompt", canonical_json({"contexts": contexts, "seed": seed}))
        file = io.BytesIO()
        Image.fromarray(self._vqgan.picture(grid)).save(file, "PNG", pnginfo=told)
        return file.getvalue()
