"""Tab. 4 of the paper in miniature: does a model apply a task that it has never seen, from one example?

`python -m train.icl --out DIR` trains a small Chameleon from scratch in four arms and three seeds (train/icl/model.py)
on a family of tasks, of which 30% are held out (train/icl/tasks.py), and writes report.md with learning curves and
pictures. A finished run is kept in DIR/runs and not repeated: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch

from train.icl.model import ARMS, Arm, IclModel
from train.icl.report import write_report
from train.icl.runs import Run, Settings
from train.icl.tasks import FAMILIES, PALETTE, Codes, Family, draw, split_tasks

SEEDS = 3
STEPS: dict[Family, int] = {"stencil": 1_000, "recolour": 3_000}
"""Training steps by family: half an hour of CPU for the stencils' twelve runs, three times as much for the
permutations of colours."""

_CURVE_EXAMPLES, _FINAL_EXAMPLES, _PICTURES = 128, 512, 6
_EVALUATIONS = 20  # points of a learning curve
_WARM_UP_STEPS = 100
_FINAL_LEARNING_RATE = 0.1  # share of the first
_TEST_SEED = 1_000  # the examples that are scored are the same for all arms and seeds


def train(arm: Arm, seed: int, settings: Settings) -> Run:
    """Train one arm from scratch and score it; on one thread, so that it is the same however many run at once."""
    torch.set_num_threads(1)
    started_s = time.process_time()
    learner = IclModel(arm, seed)
    family = settings.family
    trained, held_out = split_tasks(family)
    random = np.random.default_rng([seed, 1])
    test = draw(family, held_out, _CURVE_EXAMPLES, np.random.default_rng(_TEST_SEED))
    parameters = list(learner.model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    steps, losses = settings.steps, []
    run = Run(arm=arm, seed=seed, settings=settings)
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, steps)
        loss = learner.loss(draw(family, trained, settings.batch, random))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % max(1, steps // _EVALUATIONS) == 0:
            run.curve.append((step, float(np.mean(losses)), _accuracy(learner.answer(test), test.answer)))
            losses = []
    for name, tasks in (("held_out", held_out), ("trained", trained)):
        final = draw(family, tasks, _FINAL_EXAMPLES, np.random.default_rng(_TEST_SEED + 1))
        found = learner.answer(final)
        run.accuracy[name] = _accuracy(found, final.answer)
        run.psnr_db[name] = _psnr_db(found, final.answer)
        if name == "held_out":
            rows = (final.context_input, final.context_output, final.query, final.answer, found)
            run.pictures = [row[:_PICTURES].tolist() for row in rows]
    run.seconds = time.process_time() - started_s
    return run


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, cosine to a tenth."""
    cosine = (1 + math.cos(math.pi * step / steps)) / 2
    return min(1.0, step / _WARM_UP_STEPS) * (_FINAL_LEARNING_RATE + (1 - _FINAL_LEARNING_RATE) * cosine)


def _accuracy(found: Codes, wanted: Codes) -> float:
    """Share of the cells that are right."""
    return float((found == wanted).mean())


def _psnr_db(found: Codes, wanted: Codes) -> float:
    """PSNR of the pictures, dB, by the mean squared error over all of them: a right picture alone would be infinite."""
    error = float(np.mean(np.square(PALETTE[found].astype(np.float64) - PALETTE[wanted])))
    return 10 * math.log10(255**2 / error) if error else math.inf


def run_all(out: Path, every: Sequence[Settings], seeds: int, workers: int) -> Iterator[Run]:
    """Every family, arm and seed, those that are finished first, each written to `out`/runs when it ends."""
    folder = out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    todo = []
    for settings, seed, arm in itertools.product(every, range(seeds), ARMS):
        if run := Run.finished(folder, arm, seed, settings):
            yield run
        else:
            todo.append((arm, seed, settings))
    context = multiprocessing.get_context("spawn")  # a forked PyTorch may hang
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for finished in as_completed([pool.submit(train, *each) for each in todo]):
            run = finished.result()
            run.write(folder)
            yield run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not finished; the report is written anew after each run."""
    options = _parser().parse_args(arguments)
    every = [Settings(family=family, steps=options.steps or STEPS[family]) for family in options.families]
    runs: list[Run] = []
    for run in run_all(options.out, every, options.seeds, options.workers):
        runs.append(run)
        print(
            f"{run.name}: {run.accuracy['held_out']:.3f} of held-out cells right, {run.seconds:.0f} CPU s", flush=True
        )
        write_report(options.out, runs)
    print(options.out / "report.md")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.icl", description="In-context learning in miniature.")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the finished runs")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["stencil"], help="(default: stencil)")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, help=f"of each run (default: {STEPS})")
    parser.add_argument("--workers", type=int, default=cpus, help="runs at once (default: all CPUs)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
