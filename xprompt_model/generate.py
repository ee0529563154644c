"""Answers an instruction from the command line:

    xprompt generate --model DIR --context a.png b.png --context-instruction "Remove the rain." \\
        --input c.png --instruction "Remove the rain." --out d.png

Without --input an image is made from the text alone; --describe answers in words. In place of --context,
--contexts-from DATASET takes the pair whose instruction is nearest, with --examples K the K nearest, each compressed
by itself; --library DIR keeps compressed examples for the next time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xprompt_model.arm import ARMS


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt generate") -> int:
    """Answer as the arguments say; `prog` is the command as the user typed it.

    Returns the exit status: 0, or 2 with one line for what a user can put right.
    """
    options = _parse(arguments, prog)
    from xprompt_model.answer import answer  # torch takes seconds to import: --help need not wait for it

    try:
        answer(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, type=Path, help="model directory, with its tokenizers")
    parser.add_argument("--instruction", required=True)
    parser.add_argument("--input", nargs="*", type=Path, default=[], help="images that the instruction is about")
    parser.add_argument("--out", type=Path, help="image to write; with several seeds, -SEED is added to its name")
    parser.add_argument("--describe", action="store_true", help="answer with a text")
    parser.add_argument("--context", nargs="*", type=Path, default=[], help="the example's images, its answer last")
    parser.add_argument("--context-instruction", default="")
    parser.add_argument("--context-answer", help="the example's answer with --describe, after whose images it comes")
    parser.add_argument("--contexts-from", type=Path, help="dataset directory to take the example from")
    parser.add_argument("--examples", type=int, default=1, help="with --contexts-from, how many (default 1)")
    parser.add_argument("--library", type=Path, help="folder where compressed examples are kept, and taken from")
    parser.add_argument("--clip", type=Path, help="CLIP weights to compare instructions by, instead of MiniLM")
    parser.add_argument(
        "--arm", choices=ARMS, help="what is seen of the example (Tab. 4; default: what the model was trained with)"
    )
    parser.add_argument("--temperature", type=float, help="0: the likeliest (default 0.7, Meta's)")
    parser.add_argument("--top-k", type=int, help="draw from so many likeliest (default 0: all)")
    parser.add_argument("--top-p", type=float, help="draw from so much probability (default 0.9, Meta's)")
    parser.add_argument(
        "--guidance",
        type=float,
        help="classifier-free guidance towards the instruction (default 3.0, Meta's; with --describe 1: none)",
    )
    parser.add_argument(
        "--image-guidance",
        type=float,
        help="guidance towards the input images (default 1.2, Meta's; with --describe 1: none)",
    )
    parser.add_argument("--max-tokens", type=int, default=256, help="longest text answer (default 256)")
    parser.add_argument("--seed", nargs="+", type=int, default=[0], help="one answer each")
    parser.add_argument("--batch", type=int, default=1, help="seeds whose answers are made together (default 1)")
    parser.add_argument("--device", help="where the model runs (default: cuda if there is one, else cpu)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--compile", action="store_true", help="on CUDA, compile the steps: worth it for many answers")
    options = parser.parse_args(arguments)
    if options.batch < 1 or options.max_tokens < 1 or options.examples < 1:
        parser.error("--batch, --max-tokens and --examples are at least 1")
    if options.examples > 1 and not options.contexts_from:
        parser.error("--examples needs --contexts-from")
    if not all(-(2**63) <= seed < 2**64 for seed in options.seed):
        parser.error("--seed is a number of 64 bits")
    if options.context and options.contexts_from:
        parser.error("--context and --contexts-from exclude each other")
    if options.describe and options.context and options.context_answer is None:
        parser.error("--describe with --context needs --context-answer")
    if not options.describe and options.out is None:
        parser.error("--out is needed, or --describe")
    return options
