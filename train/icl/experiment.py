"""Tab. 4 of the paper in miniature: does a model apply a task that it has never seen, from one example?

`xprompt icl --out DIR` trains a small Chameleon from scratch in four arms (train/icl/model.py), two of them with each
number of X-Prompt tokens, and five seeds, on tasks over real pictures (train/icl/tasks.py), and writes report.md with
learning curves and pictures. A finished run is kept in DIR/runs and not repeated: the same command goes on where it
stopped.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from train.icl.model import IclModel
from train.icl.pictures import LEVELS, to_levels
from train.icl.runs import ARMS, COMPRESSED, Arm, Run, Score, Settings
from train.icl.tasks import EXAMINED, Examined, Examples, draw

_CURVE_EXAMPLES, _PICTURES = 100, 10
_EVALUATIONS = 10  # points of a learning curve
_WARM_UP_STEPS = 100
_FINAL_LEARNING_RATE = 0.1  # share of the first
_TEST_SEED = 1_000  # the examples that are scored are the same for all arms and seeds


def train(arm: Arm, seed: int, xp_tokens: int, settings: Settings, device: str = "cpu") -> Run:
    """Train one arm from scratch and score it; on one thread, so that it is the same however many run at once."""
    torch.set_num_threads(1)
    started_s = time.process_time()
    learner = IclModel(arm, xp_tokens, seed, settings, device)
    random = np.random.default_rng([seed, 1])
    parameters = list(learner.model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
    )
    steps, losses = settings.steps, []
    run = Run(arm=arm, seed=seed, xp_tokens=xp_tokens, settings=settings)
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, steps)
        losses.append(_step(learner, draw(None, settings.batch, settings.side, random), optimizer))
        if step % max(1, steps // _EVALUATIONS) == 0:
            test = draw("parameters", _CURVE_EXAMPLES, settings.side, np.random.default_rng(_TEST_SEED))
            run.curve.append((step, float(np.mean(losses)), score(learner.answer(test), test.answer)))
            losses = []
    for examined in EXAMINED:
        final = _final(examined, settings)
        found = learner.answer(final)
        run.scores[examined] = score(found, final.answer)
        run.families[examined] = by_family(final, found)
        if examined != "trained":
            rows = (final.context_input, final.context_output, final.query, final.answer, found)
            shown = [row[: _PICTURES // 2].reshape(-1, settings.side**2).tolist() for row in rows]
            run.pictures = [a + b for a, b in zip(run.pictures, shown, strict=True)] if run.pictures else shown
    run.seconds = time.process_time() - started_s
    return run


def _step(learner: IclModel, examples: Examples, optimizer: torch.optim.Optimizer) -> float:
    """One step of the optimizer; the loss, nats a token."""
    documents = learner.documents(examples)
    targets = sum(float(document.weight.sum()) for document in documents)
    optimizer.zero_grad()
    total = 0.0
    for batch in learner.micro_batches(documents):
        loss = learner.loss(batch) / targets
        torch.autograd.backward(loss)
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(learner.model.parameters(), 1.0)
    optimizer.step()
    return total


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, cosine to a tenth."""
    cosine = (1 + math.cos(math.pi * step / steps)) / 2
    return min(1.0, step / _WARM_UP_STEPS) * (_FINAL_LEARNING_RATE + (1 - _FINAL_LEARNING_RATE) * cosine)


def score(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> Score:
    """Of answers, in codes. Pictures that are all right have an infinite PSNR."""
    error = float(np.mean(np.square(to_levels(found) - to_levels(wanted)))) / (LEVELS - 1) ** 2
    psnr_db = 10 * math.log10(1 / error) if error else math.inf
    return Score(psnr_db=psnr_db, right=float((found == wanted).mean()))


def copied(examined: Examined, settings: Settings) -> Score:
    """What the queries score as answers: what there is to gain by doing nothing."""
    final = _final(examined, settings)
    return score(final.query, final.answer)


def _final(examined: Examined, settings: Settings) -> Examples:
    return draw(examined, settings.examined, settings.side, np.random.default_rng(_TEST_SEED + 1))


def by_family(examples: Examples, found: NDArray[np.int64]) -> dict[str, Score]:
    """The score of each family among the examples."""
    family = np.array(examples.family)
    return {
        name: score(found[family == name], examples.answer[family == name]) for name in dict.fromkeys(examples.family)
    }


def planned(seeds: int, budgets: Sequence[int]) -> list[tuple[Arm, int, int]]:
    """Arm, seed and S of every run, seed by seed, so that what is there when it stops can be compared."""
    return [
        (arm, seed, xp_tokens)
        for seed, arm in itertools.product(range(seeds), ARMS)
        for xp_tokens in (budgets if arm in COMPRESSED else (0,))
    ]


def run_all(
    out: Path, settings: Settings, seeds: int, budgets: Sequence[int], workers: int, device: str = "cpu"
) -> Iterator[Run]:
    """All runs, those that are finished first, each written to `out`/runs when it ends. Without workers these only."""
    folder = out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    todo = []
    for arm, seed, xp_tokens in planned(seeds, budgets):
        if run := Run.finished(folder, arm, seed, xp_tokens, settings):
            yield run
        else:
            todo.append((arm, seed, xp_tokens, settings, device))
    for run in _trained(todo, workers) if workers else ():
        run.write(folder)
        yield run


def _trained(todo: Sequence[tuple[Arm, int, int, Settings, str]], workers: int) -> Iterator[Run]:
    """The runs as they end. One worker is this process, so that nothing has been begun when it is asked for no more."""
    if workers == 1:
        yield from (train(*each) for each in todo)
        return
    context = multiprocessing.get_context("spawn")  # a forked PyTorch may hang
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for finished in as_completed([pool.submit(train, *each) for each in todo]):
            yield finished.result()
