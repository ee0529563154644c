"""Tokens a CPU second that a small Chameleon writes: ours against transformers' `generate`. `make bench` runs it.

Both have the same weights, prompts of different lengths (an instruction and an image each), and write the same number
of text tokens, greedily: transformers cannot write image tokens, whose logits it masks. It is told no end token, so
that it never stops. The arms take turns in one process, on one thread, round by round after one that is not measured.
Beforehand transformers, with all tokens suppressed that ours never writes, must give the same tokens as ours.

Two models: the checkpoint of `make tiny-models`, whose steps are nearly all Python, and one with eight layers of width
512, whose steps are nearly all arithmetic. Then, without an equal in transformers, images with guidance, which are
three rows a request; and what is kept of an in-context example.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import ChameleonConfig, ChameleonForConditionalGeneration
from transformers.utils import logging

from infra.tiny.chameleon import tiny_config, write_chameleon
from xprompt_model.generator import Generator, Request
from xprompt_model.layout import Turn
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import IMAGE, Sampling

BATCHES = (1, 8)
AIM = 1.0
"""How many times transformers' tokens a CPU second ours are to be at batch 8."""
_CHECKED_TOKENS = 16
_GREEDY = Sampling(temperature=0)


@dataclass(frozen=True, kw_only=True)
class _Models:
    """The same weights twice."""

    ours: Generator
    theirs: Any
    model: XPromptChameleon


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.generate", description="Tokens a CPU second.")
    parser.add_argument("--tokens", type=int, default=64, help="new ones of each request (default: 64)")
    parser.add_argument("--rounds", type=int, default=5, help="measured, after one that is not (default: 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as root:
        folders = {"tiny": write_chameleon(Path(root)), "8 layers of 512": _write_larger(Path(root) / "larger")}
        for name, folder in folders.items():
            _compare(name, _load(folder), options.tokens, options.rounds)
    print(f"aim: at batch 8 ours writes at least {AIM} times as many tokens a CPU second as transformers", flush=True)
    return 0


def _compare(name: str, models: _Models, tokens: int, rounds: int) -> None:
    parameters = sum(parameter.numel() for parameter in models.model.parameters())
    print(f"{name}: {parameters / 1e6:.1f}M parameters, {tokens} tokens a request")
    print("  tokens a CPU second, median (min - max)")
    _check(models)
    for batch in BATCHES:
        speeds = _speeds(models, batch, tokens, rounds)
        ratios = [ours / theirs for ours, theirs in zip(speeds["ours"], speeds["transformers"], strict=True)]
        shown = ", ".join(f"{arm} {_spread(found, 0)}" for arm, found in speeds.items())
        print(f"  batch {batch}: {shown}; ours / transformers {_spread(ratios, 2)}", flush=True)
    requests = _requests(models.model, 2)
    turn = Turn(instruction=requests[0].instruction, inputs=(*requests[0].inputs,), output=requests[1].inputs[0])
    kept = models.ours.compress(turn)
    print(
        f"  an in-context example of {kept.tokens} tokens: keys and values {kept.bytes_before / 1e6:.2f} MB, "
        f"{kept.bytes_after / 1e6:.2f} MB kept"
    )


def _speeds(models: _Models, batch: int, tokens: int, rounds: int) -> Mapping[str, list[float]]:
    """Tokens a CPU second by arm, one for each round."""
    requests = _requests(models.model, batch)
    ids, mask = _padded(models.model, requests)
    arms: Mapping[str, Callable[[], int]] = {
        "ours": lambda: sum(map(len, models.ours.texts(requests, _GREEDY, tokens))),
        "transformers": lambda: _theirs(models, ids, mask, tokens).numel(),
        "images, guided": lambda: models.ours.images(requests, IMAGE).size,
    }
    speeds: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(rounds + 1):
        for arm, run in arms.items():
            started_s = time.process_time()
            made = run()
            speed = made / (time.process_time() - started_s)
            assert arm.startswith("images") or made == batch * tokens, "a text has ended early"
            if number:
                speeds[arm].append(speed)
    return speeds


def _check(models: _Models) -> None:
    """Raises AssertionError if the two write different tokens."""
    vocabulary, requests = models.model.vocabulary, _requests(models.model, 8)
    ours = models.ours.texts(requests, _GREEDY, _CHECKED_TOKENS)
    never = np.setdiff1d(np.arange(vocabulary.size), np.append(vocabulary.text_ids, vocabulary.end_text))
    theirs = _theirs(models, *_padded(models.model, requests), _CHECKED_TOKENS, suppress_tokens=never.tolist())
    assert theirs.tolist() == [found.tolist() for found in ours], "transformers writes other tokens"


def _theirs(models: _Models, ids: Tensor, mask: Tensor, tokens: int, **more: Any) -> Tensor:
    found: Tensor = models.theirs.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=None,
        pad_token_id=models.model.vocabulary.pad,
        **more,
    )
    return found[:, ids.shape[1] :]


def _requests(model: XPromptChameleon, count: int) -> list[Request]:
    """Instructions of 8 to 30 tokens, and an image each."""
    vocabulary, random = model.vocabulary, np.random.default_rng(0)
    side = vocabulary.image_side_tokens
    return [
        Request(
            instruction=random.choice(vocabulary.text_ids, random.integers(8, 31)),
            inputs=[random.integers(0, len(vocabulary.image_ids), (side, side))],
            seed=number,
        )
        for number in range(count)
    ]


def _padded(model: XPromptChameleon, requests: Sequence[Request]) -> tuple[Tensor, Tensor]:
    """The same prompts as transformers takes them: padded on the left, and what is no padding."""
    words = model.vocabulary
    prompts = [
        [words.begin_text, *one.instruction, *words.image_block(np.asarray(one.inputs[0])), words.separator]
        for one in requests
    ]
    longest = max(map(len, prompts))
    ids = torch.tensor([[words.pad] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask


def _load(folder: Path) -> _Models:
    model = XPromptChameleon.from_pretrained(folder)
    theirs: Any = ChameleonForConditionalGeneration.from_pretrained(folder)
    return _Models(ours=Generator(model), theirs=theirs.eval(), model=model)


def _write_larger(folder: Path) -> Path:
    sizes = {"hidden_size": 512, "intermediate_size": 1_376, "num_hidden_layers": 8, "num_attention_heads": 8}
    config = ChameleonConfig.from_dict({**tiny_config().to_dict(), **sizes, "num_key_value_heads": 8})
    torch.manual_seed(0)
    ChameleonForConditionalGeneration(config).save_pretrained(folder)
    return folder


def _spread(found: Sequence[float], digits: int) -> str:
    return f"{statistics.median(found):,.{digits}f} ({min(found):,.{digits}f} - {max(found):,.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
