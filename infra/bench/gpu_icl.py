"""The paper's Tab. 4 in miniature on one GPU: `python -m infra.bench.gpu_icl --out DIR`, at most twelve minutes.

The experiment of `xprompt icl` with pictures of 16 x 16 tokens, as many as Chameleon's tokenizer makes of 256 px, and a
model of 122 times as many weights: examples of 519 tokens, S from a hundredth of them to a half. Run by run, seed by
seed; what is not finished when the time is over is left out, and the report says what is there. The same command goes
on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from train.icl.experiment import run_all
from train.icl.report import write_report
from train.icl.runs import BASE, Run, Settings

SETTINGS = Settings(
    side=16, width=384, layers=8, heads=6, base_steps=1_000, steps=200, learning_rate=1e-3, examined=200
)
BUDGETS = (8, 64, 256)
_SEEDS = 5


def main() -> int:
    options = _parser().parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu_icl: PyTorch sees no CUDA device on this machine", file=sys.stderr)
        return 2
    torch.set_float32_matmul_precision("high")  # TF32: the weights are float32
    settings = SETTINGS if options.device == "cuda" else Settings(base_steps=4, steps=4, examined=20)
    started_s, runs = time.monotonic(), list[Run]()
    for run in run_all(options.out, settings, _SEEDS, BUDGETS, 1, options.device):
        runs.append(run)
        if any(run.arm != BASE for run in runs):
            write_report(options.out, runs)
        spent_s = time.monotonic() - started_s
        print(f"{run.name}: {run.scores['parameters'].psnr_db:.2f} dB, {spent_s:.0f} s so far", flush=True)
        if spent_s + run.seconds > 60 * options.minutes:
            print(f"gpu_icl: {len(runs)} runs, the time is over; the same command goes on", flush=True)
            break
    print(options.out / "report.md")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.gpu_icl", description="Tab. 4 in miniature, on a GPU.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the finished runs")
    parser.add_argument("--minutes", type=float, default=11, help="after which no run is begun (default: 11)")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a few steps, to try it (default: cuda)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
