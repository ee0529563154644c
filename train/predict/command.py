"""Predicts over a test set with a trained model, for `xprompt evaluate` to score:

    xprompt predict --dataset data/derain-test --model runs/7b/model --out predictions/derain \\
        --contexts seeded --contexts-from data/derain
    torchrun --nproc-per-node 8 -m train.predict --geneval evaluation_metadata.jsonl --model ... --out ...

Under torchrun the processes share the examples, a GPU each. The same command goes on where it was stopped: a prediction
that is there is not written again, and none is half written. One of another model or other options is refused. A
prediction depends on its example, the model and the options alone, not on the number of processes or what was made
before (on a GPU as far as its kernels repeat; on a CPU each process computes on one thread). With another --batch the
last bits of logits may differ, and with them a code here and there.

In-context examples (--contexts):

    none      there are none
    fixed     the same for all examples of a task: the pairs --context, else drawn of --contexts-from by --seed
    seeded    drawn by --seed for each example: of those that `xprompt contexts` ranked for it, or of --contexts-from
    raie      the pairs of --contexts-from whose instructions are nearest (paper section 3.3), or the best ranked ones

One is shown, or --examples of them, each compressed by itself, as far as the model's window has room.

They come from data to train on, never from a test split or from what is predicted itself, unless --context names one.
Of --contexts-from, the datasets of the example's own task serve, if there are any, for `fixed` and `seeded`; all serve
for `raie`. What is seen of them is as the model was trained (--arm chooses otherwise, as for Tab. 4).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from manifests.log import add_option, chosen
from manifests.printing import say
from operators.shared.extras import MissingExtra
from train.predict.contexts import POLICIES
from xprompt_model.arm import ARMS

SAMPLES = 4
"""Images a prompt of GenEval: what its own program makes, generation/diffusers_generate.py."""


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt predict") -> int:
    """Predict as the arguments say; `prog` is the command as the user typed it.

    Returns the exit status: 0, or 2 with one line if it cannot do what was asked.
    """
    with chosen(sys.argv[1:] if arguments is None else arguments) as rest:
        return _main(rest, prog)


def _main(arguments: Sequence[str], prog: str) -> int:
    options = _parse(arguments, prog)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        from train.predict.run import predict  # torch takes seconds to import: --help need not wait for it

        predict(options)
    except (ValueError, OSError, ImportError, MissingExtra) as error:
        rank = f" (rank {os.environ['RANK']})" if world > 1 else ""
        say(f"{prog}{rank}: {' '.join(str(error).split())}", error=True)
        return 2
    return 0


def _parse(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", help="a dataset directory, or a folder of them")
    what.add_argument("--geneval", type=Path, help="GenEval's evaluation_metadata.jsonl")
    parser.add_argument("--model", required=True, type=Path, help="model directory, with its tokenizers")
    parser.add_argument("--out", required=True, type=Path, help="folder of the predictions")
    parser.add_argument("--direction", choices=("forward", "reverse"), default="forward")
    parser.add_argument("--samples", type=_positive, default=SAMPLES, help="images a prompt of GenEval (default: 4)")
    parser.add_argument("--contexts", choices=POLICIES, help="which in-context examples: see above")
    parser.add_argument("--contexts-from", nargs="+", default=[], metavar="DATASET", help="datasets that they are of")
    parser.add_argument(
        "--context", nargs="+", default=[], metavar="PAIR", help="for fixed: keys of pairs of --contexts-from, in order"
    )
    parser.add_argument("--examples", type=_positive, default=1, help="in-context examples of a prediction (default 1)")
    parser.add_argument("--library", type=Path, help="folder that keeps compressed examples, for this and later runs")
    parser.add_argument("--clip", type=Path, help="for raie: CLIP to compare instructions by, instead of MiniLM")
    parser.add_argument("--arm", choices=ARMS, help="what is seen of the example (default: as the model was trained)")
    parser.add_argument("--temperature", type=float, help="0: the likeliest (default 0.7, Meta's)")
    parser.add_argument("--top-k", type=int, help="draw from so many likeliest (default 0: all)")
    parser.add_argument("--top-p", type=float, help="draw from so much probability (default 0.9, Meta's)")
    parser.add_argument("--guidance", type=float, help="towards instruction and example (default 3.0, Meta's)")
    parser.add_argument("--image-guidance", type=float, help="towards the input images (default 1.2, Meta's)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    parser.add_argument("--batch", type=_positive, default=8, help="predictions made together (default 8)")
    parser.add_argument("--device", help="where the model runs (default: this process' GPU if there is one, else cpu)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    add_option(parser)
    options = parser.parse_args(arguments)
    if options.geneval and (options.contexts or "none") != "none":
        parser.error("GenEval's prompts have no in-context examples: leave out --contexts")
    if options.contexts != "fixed" and options.context:
        parser.error("--context goes with --contexts fixed")
    if options.context and options.examples > 1:
        parser.error("--examples does not go with --context: as many are shown as it names")
    if options.examples > 1 and (options.contexts or "none") == "none":
        parser.error("--examples needs --contexts fixed, seeded or raie")
    if options.contexts == "fixed" and not options.contexts_from:
        parser.error("--contexts fixed needs --contexts-from")
    if options.contexts in (None, "none") and options.contexts_from:
        parser.error("--contexts-from needs --contexts fixed, seeded or raie")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)
