"""Tab. 4 of the paper in miniature: does a model apply a task that it has never seen, from one example?

`xprompt icl --out DIR` trains a small Chameleon from scratch for each of five seeds, the base, and from it four arms
(train/icl/model.py), two of them with each number of X-Prompt tokens, on tasks over real pictures (train/icl/tasks.py);
it writes report.md with learning curves and pictures. The paper's arms start from one pretrained Chameleon as well. A
finished run is kept in DIR/runs and not repeated: the same command goes on where it stopped.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from train.icl.model import IclModel
from train.icl.pictures import LEVELS, to_levels
from train.icl.runs import ARMS, BASE, COMPRESSED, Arm, Run, Score, Settings
from train.icl.tasks import EXAMINED, Examined, Examples, draw

_CURVE_EXAMPLES, _PICTURES = 100, 10
_EVALUATIONS = 10  # points of a learning curve
_WARM_UP_STEPS = 100
_FINAL_LEARNING_RATE = 0.1  # share of the first
_TEST_SEED = 1_000  # the examples that are scored are the same for all arms and seeds


class Planned(NamedTuple):
    """A run that is to be."""

    arm: Arm
    seed: int
    xp_tokens: int = 0


def train(planned: Planned, settings: Settings, folder: Path, device: str = "cpu") -> Run:
    """Train a base from scratch, and keep its weights in `folder`, or an arm from the base there; then score it.

    Without steps for a base, an arm is from scratch. On one thread, so that it is the same however many run at once.
    """
    torch.set_num_threads(1)
    started_s = time.process_time()
    arm, seed, xp_tokens = planned
    learner = IclModel(arm, xp_tokens, seed, settings, device)
    if arm != BASE and settings.base_steps:
        base = Run(arm=BASE, seed=seed, xp_tokens=0, settings=settings)
        learner.start_from(load_file(base.weights(folder), device))
    random = np.random.default_rng([seed, arm != BASE])  # the arms of a seed are shown the same examples
    optimizer = torch.optim.AdamW(
        learner.model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
    )
    steps, losses = settings.base_steps if arm == BASE else settings.steps, []
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
    if arm == BASE:
        temporary = run.weights(folder).with_suffix(".tmp")
        save_file(learner.model.state_dict(), temporary)
        temporary.rename(run.weights(folder))
    return run


def _step(learner: IclModel, examples: Examples, optimizer: torch.optim.Optimizer) -> float:
    """One step of the optimizer; the loss, nats a token."""
    optimizer.zero_grad()
    loss = learner.loss(examples)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(learner.model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


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


def plan(seeds: int, budgets: Sequence[int], *, bases: bool = True) -> list[Planned]:
    """Every run, a base before its arms; seed by seed, so that what is there when it stops can be compared."""
    arms: list[tuple[Arm, int]] = [(BASE, 0)] if bases else []
    arms += [(arm, budget) for arm in ARMS for budget in (budgets if arm in COMPRESSED else (0,))]
    return [Planned(arm, seed, budget) for seed in range(seeds) for arm, budget in arms]


def run_all(
    out: Path, settings: Settings, seeds: int, budgets: Sequence[int], workers: int, device: str = "cpu"
) -> Iterator[Run]:
    """All runs, those that are finished first, each written to `out`/runs when it ends. Without workers these only."""
    folder = out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    todo = []
    for each in plan(seeds, budgets, bases=settings.base_steps > 0):
        if run := Run.finished(folder, *each, settings):
            yield run
        else:
            todo.append(each)
    for run in _trained(todo, workers, settings, folder, device) if workers else ():
        run.write(folder)
        yield run


def _trained(todo: Sequence[Planned], workers: int, settings: Settings, folder: Path, device: str) -> Iterator[Run]:
    """The runs as they end. One worker is this process, so that nothing has been begun when it is asked for no more."""
    if workers == 1:
        yield from (train(each, settings, folder, device) for each in todo)
        return
    # The base of the next seed before the arms of this one: else some would have to wait for it.
    waiting = sorted(todo, key=lambda each: (each.seed - (each.arm == BASE), each.arm != BASE))
    running: dict[Future[Run], Planned] = {}
    context = multiprocessing.get_context("spawn")  # a forked PyTorch may hang
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        while waiting or running:
            baseless = {each.seed for each in (*waiting, *running.values()) if each.arm == BASE}
            ready = [each for each in waiting if each.arm == BASE or each.seed not in baseless]
            for each in ready[: workers - len(running)]:
                waiting.remove(each)
                running[pool.submit(train, each, settings, folder, device)] = each
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                yield future.result()
