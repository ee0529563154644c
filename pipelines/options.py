"""Options that are the same for `shards`, `plan` and recipes: the share of a source, a vision-language model."""

from __future__ import annotations

import argparse
import os

from operators.vlm.client import LOCAL, Vlm
from pipelines.report.progress import Prices


def add_scale_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scale", type=_share, default=1.0, help="share of the source's items, 0.001 for a trial (default: 1)"
    )


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share above 0 and up to 1")
    return share


def add_vlm_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vision-language model", "Its key is read from OPENAI_API_KEY alone.")
    group.add_argument(
        "--vlm", default=os.environ.get("VLM"), help=f"URL of an OpenAI-compatible server, or {LOCAL} (default: $VLM)"
    )
    group.add_argument("--vlm-model", default=os.environ.get("VLM_MODEL"), help="its name there (default: $VLM_MODEL)")
    group.add_argument(
        "--prompts", default=os.environ.get("PROMPTS"), help="folder of prompts to use instead (default: $PROMPTS)"
    )
    group.add_argument("--vlm-concurrency", type=int, default=16, help="requests in the air at once (default: 16)")
    group.add_argument("--vlm-rate", type=float, default=0.0, help="requests a second, at most (default: any)")
    group.add_argument("--vlm-timeout", type=float, default=300.0, help="seconds to wait for an answer (default: 300)")
    group.add_argument("--price-in", type=float, help="what a million tokens in cost")
    group.add_argument("--price-out", type=float, help="what a million tokens out cost")


def vlm_of(options: argparse.Namespace) -> Vlm | None:
    """The model that the options name, if they name one. Raises ValueError, one line, for what cannot be."""
    if not options.vlm:
        return None
    if options.vlm_concurrency < 1 or options.vlm_rate < 0 or options.vlm_timeout <= 0:
        raise ValueError("--vlm-concurrency must be at least 1, --vlm-rate not negative, --vlm-timeout positive")
    return Vlm.of(
        options.vlm,
        options.vlm_model,
        options.models,
        concurrency=options.vlm_concurrency,
        requests_per_s=options.vlm_rate,
        timeout_s=options.vlm_timeout,
    )


def prices_of(options: argparse.Namespace) -> Prices | None:
    """The prices that the options give. Raises ValueError if one of the two is missing."""
    if options.price_in is None and options.price_out is None:
        return None
    if options.price_in is None or options.price_out is None:
        raise ValueError("a cost needs both prices: --price-in and --price-out")
    return Prices(per_million_in=options.price_in, per_million_out=options.price_out)
