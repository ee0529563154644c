"""The engine on GPUs that are not there: operators sleep as long as models take, Ray's GPUs are numbers.

whole     style, 20 units of 64 pairs on 8 GPUs, at a hundredth of the time
steady    style in few units at a twentieth, where a call's overhead on this machine (0.1 s a pair) does not count
eight     8 units on 8 GPUs: do all of them get work?
killed    as `whole`, and every 8 s one painter that has a picture in hand is killed
node      two nodes of 4 GPUs each; one is killed when half of the pictures are painted. Three tries
recipe    the whole recipe on 128 GPUs, by a virtual clock and the engine's own schedule (infra/bench/simulate.py)

The arms, each on a Ray of its own:

fused     the engine of before (infra/bench/fused.py): a row of Ray Data is a unit, an actor goes through its chain
ours      the engine

All figures are counted from what the painters say (infra/bench/paint_log.py), not from what the engine reports. A GPU
is busy while a picture is painted that was ended; what was in hand of a painter that was killed counts as idle. `over
the run` includes the start of the painters and the writing of the last shard, not Ray's own start.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

from infra.bench import fused, simulate
from infra.bench.logical import Meddler, NodeKill, PainterKills, logical_gpus
from infra.bench.paint_log import Painting, busy_share, read_log, steady, waste
from infra.bench.sleeping import CHAINS, QUESTIONS_AT_ONCE, reader_of, sleeping_task
from pipelines.run import engine
from pipelines.run.plan import Job, make_job
from pipelines.run.watch import Watch

GPUS = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is run, and what happens to it meanwhile."""

    says: str
    units: int
    pairs: int
    """In a unit."""
    quicker: float = 100.0
    arms: tuple[str, ...] = ("fused", "ours")
    kill_every_s: float = 0.0
    """How often a painter is killed; 0 for never."""
    nodes: int = 1
    tries: int = 1


CASES: Mapping[str, Case] = {
    "whole": Case(says="20 units of 64 on 8 GPUs", units=20, pairs=64),
    "steady": Case(says="few units, a call's overhead does not count", units=16, pairs=8, quicker=20.0),
    "eight": Case(says="8 units on 8 GPUs", units=8, pairs=16),
    "killed": Case(says="a painter is killed every 8 s", units=20, pairs=64, arms=("ours",), kill_every_s=8.0),
    "node": Case(
        says="a node with half of the GPUs is killed",
        units=16,
        pairs=16,
        quicker=50.0,
        arms=("ours",),
        nodes=2,
        tries=3,
    ),
}

SIMULATED = "recipe"
"""The case in which nothing runs."""

NODE_LIMIT, NODE_LIMIT_S = 1.3, 25.0
"""The rest after a node's death may take so many times the work left over the GPUs left, plus so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm's run of a case."""

    paintings: Sequence[Painting]
    start_s: float
    end_s: float
    committed: int
    failure: str
    """Why it ended early; empty if it did not."""
    kills: int
    node: NodeKill | None


def main() -> int:
    arguments = _parser().parse_args()
    for name in arguments.cases:
        if name == SIMULATED:
            print(f"\n{name}: the paper's recipe, simulated", flush=True)
            for text in simulate.table(simulate.RECIPE, simulate.Site(), arguments.seed, list(simulate.ARMS)):
                print(text, flush=True)
            continue
        case = CASES[name]
        case = replace(case, pairs=max(1, round(arguments.part * case.pairs)), tries=arguments.tries or case.tries)
        shape = f"{case.units} units of {case.pairs} pairs, {arguments.task}, time / {case.quicker:g}"
        print(f"\n{name}: {case.says}: {shape}", flush=True)
        for arm in arguments.arms or case.arms:
            for number in range(case.tries):
                run = _run(arm, case, arguments.task, arguments.cpus, arguments.seed + number)
                print(f"  {arm:<6} {_line(case, run, _painted_s(arguments.task, case))}", flush=True)
    return 0


def _run(arm: str, case: Case, task: str, cpus: int, seed: int) -> Run:
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # where Ray tells of each death; the table stays by itself
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = str(folder / "log")
        at_once = QUESTIONS_AT_ONCE // min(GPUS, case.units) if arm == "fused" else QUESTIONS_AT_ONCE
        job = make_job(
            sleeping_task(task, pairs_per_shard=case.pairs, quicker=case.quicker, log=log, at_once=max(1, at_once)),
            reader_of(task, case.units * case.pairs),
            str(folder / task),
            seed=0,
        )
        others = stack.enter_context(logical_gpus(GPUS, cpus, case.nodes))
        node = NodeKill(log=log, after_s=_painted_s(task, case) / 2, node=others[0]) if others else None
        kills = PainterKills(log=log, chance=random.Random(seed))
        if node:
            stack.enter_context(Meddler(node))
        if case.kill_every_s:
            stack.enter_context(Meddler(kills, case.kill_every_s))
        start_s, failure = time.monotonic(), ""
        try:
            ARMS[arm](job)
        except Exception as error:  # a line of the table is what is to be had of it
            failure = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        end_s = time.monotonic()
        return Run(
            paintings=read_log(log),
            start_s=start_s,
            end_s=end_s,
            committed=len(job.dataset.committed()),
            failure=failure,
            kills=kills.kills,
            node=node,
        )


def _ours(job: Job) -> None:
    engine.run([job], Watch())


ARMS: Mapping[str, Callable[[Job], None]] = {"fused": fused.run, "ours": _ours}


def _painted_s(task: str, case: Case) -> float:
    """GPU seconds of all pictures of a case, as its painters sleep them."""
    chain = CHAINS[task]({"quicker": case.quicker}, {"quicker": case.quicker})
    return case.units * case.pairs * sum(getattr(link, "gpu_s", 0.0) for link in chain) / case.quicker


def _line(case: Case, run: Run, painted_s: float) -> str:
    window = steady(run.paintings, GPUS)
    parts = [
        f"{run.committed} of {case.units} units in {run.end_s - run.start_s:.1f} s (at best {painted_s / GPUS:.1f})",
        f"{len({one.gpu for one in run.paintings})} GPUs worked",
        f"busy over the run {busy_share(run.paintings, GPUS, run.start_s, run.end_s):.1%}",
        f"in steady state {busy_share(run.paintings, GPUS, *window):.1%}" if window else "no steady state",
    ]
    if case.kill_every_s or run.node:
        lost = waste(run.paintings)
        parts.append(f"{run.kills} painters killed, {lost.in_hand} pictures lost in hand, {lost.again} painted again")
    if run.node and run.node.at_s:
        left_s = (painted_s - run.node.done_s) / (GPUS / case.nodes)
        rest_s, limit_s = run.end_s - run.node.at_s, NODE_LIMIT * left_s + NODE_LIMIT_S
        kept = rest_s <= limit_s and run.committed == case.units
        parts.append(
            f"the rest took {rest_s:.1f} s, work left over GPUs left {left_s:.1f} s, limit {limit_s:.1f} s: "
            + ("kept" if kept else "missed")
        )
    return "; ".join(filter(None, [*parts, run.failure]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.cluster", description="The engine on logical GPUs.")
    names = [*CASES, SIMULATED]
    parser.add_argument("--cases", nargs="+", choices=names, default=names, help="(default: all)")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), help="(default: as the case has them)")
    parser.add_argument("--task", choices=list(CHAINS), default="style", help="(default: style)")
    parser.add_argument("--part", type=float, default=1.0, help="share of each unit's pairs (default: 1)")
    parser.add_argument("--tries", type=int, help="of each arm (default: as the case has them)")
    parser.add_argument("--cpus", type=int, default=10, help="of Ray's; a fused actor takes one (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of who is killed (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
