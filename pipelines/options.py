"""What a user may set of every run, whatever the task. What a task's operators and readers add is declared by them.

Each option is written here once. `--help`, the checks of `xprompt` and of the Makefile's variables, `make(...)` and
recipes all go by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from manifests.licences.policy import allowable
from manifests.storage import expanded
from operators.arrange.resize import Mode
from operators.judge.hold_out import NOVEL_TASKS, EditJudge, novel_task
from operators.option import Option, at_least_one
from operators.read.split import TRAIN
from operators.vlm.client import LOCAL
from pipelines.report.price_table import OURS


def share(text: str) -> float:
    """A share of something, above 0 and up to 1. Raises ValueError, one line, for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ValueError(f"{text} is not a share above 0 and up to 1, such as 0.01")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise ValueError(f"{text} is not above 0")
    return value


def place(text: str) -> str:
    """A folder or URL, with `~` expanded. Raises ValueError for none: --data "$PHOTOS", where no PHOTOS is set, would
    be the current folder."""
    if not text.strip():
        raise ValueError("it is empty: give a folder or a URL, or leave it out")
    return expanded(text)


AS = "as"
"""The option by which a user insists on what DATA is."""

SHAPE = (
    Option(name="data", type=place, help="folder or URL of the source (default: the task's bundled input)"),
    Option(name=AS, help="the source that DATA is read as, whatever it looks like: photos, or one by its name"),
    Option(name="split", default=TRAIN, help="split of the source: train, or one to test with, as its source names it"),
    Option(name="seed", type=int, default=0, help="the seed of all that is drawn at random (default: 0)"),
    Option(name="scale", type=share, default=1.0, help="share of the source's items, 0.001 for a trial (default: 1)"),
    Option(name="size", type=at_least_one, help="bring photos to this shorter side, in pixels (default: as they are)"),
    Option(name="resize", choices=get_args(Mode), default="fit", help="with --size: fit, or crop the centred square"),
    Option(name="models", type=place, help="where checkpoints are: a folder with one folder per role, hub, or tiny"),
    Option(
        name="keep", choices=("judged", "all"), default="judged", help="all: store scores and reject nothing by them"
    ),
    Option(
        name="reject_pictures",
        type=bool,
        default=True,
        help="no: keep no small pictures of what gates reject (default: yes, at most 16 KB a side)",
    ),
    Option(name="guard", type=place, help="guard file of evaluation images to leave out (xprompt hashes writes it)"),
    Option(
        name="hold_out",
        type=novel_task,
        many=True,
        choices=tuple(NOVEL_TASKS),
        default=(),
        help="novel tasks to leave out (paper 4.4)",
    ),
    Option(
        name="allow_licence",
        type=allowable,
        many=True,
        default=(),
        help="leave out what is under other licences: commercial, research, or names that xprompt licences lists",
    ),
    Option(name="hold_out_by", choices=get_args(EditJudge), default="rules", help="who says which edits are left out"),
)
"""Options that decide which pairs are made."""

ASK = (
    Option(name="vlm", type=place, help=f"vision-language model: URL of an OpenAI-compatible server, or {LOCAL}"),
    Option(name="vlm_model", help="the model's name there; its key is read from OPENAI_API_KEY alone"),
    Option(name="prompts", type=place, help="paper, or a folder of prompts, to use in the place of the packaged ones"),
    Option(name="vlm_concurrency", type=at_least_one, default=16, help="requests at the same time (default: 16)"),
    Option(
        name="vlm_rate", type=_positive, default=0.0, help="requests a second at the most (default: as many as fit)"
    ),
    Option(name="vlm_timeout", type=_positive, default=300.0, help="seconds for an answer, in all (default: 300)"),
    Option(name="price_in", type=float, help="price of a million tokens that the model is sent"),
    Option(name="price_out", type=float, help="price of a million tokens that the model answers"),
)
"""Options that say which vision-language model is asked, and how."""

WHERE = (
    Option(
        name="out", type=place, default="data", help="folder or URL that gets a folder for each task (default: data)"
    ),
    Option(name="cpus", type=at_least_one, help="CPUs that the Ray started on this machine has (default: all)"),
    Option(
        name="gpus",
        type=at_least_one,
        help="GPUs that a cluster will come to have, where an autoscaler adds them (default: those that it has)",
    ),
    Option(
        name="gpu_gib", type=_positive, help="memory of a GPU, in GiB (default: what is found; for plan and recipes 80)"
    ),
    Option(
        name="price_table",
        type=place,
        default=OURS,
        help="file of what machines and buckets cost, for plans (default: pipelines/prices.toml, a copy to begin with)",
    ),
    Option(name="wait", type=bool, default=False, help="if another run writes to the same dataset: wait for its end"),
)
"""Where and how fast a dataset is made, and what that costs. None of these options changes a byte."""

RUN = (*SHAPE, *ASK, *WHERE)


def defaults(given: Mapping[str, Any], declared: tuple[Option, ...] = RUN) -> dict[str, Any]:
    """The values of a run's own options: those given, and the defaults of the others."""
    values = {}
    for one in declared:
        values[one.name] = one.default
        if given.get(one.name) is not None:
            one.check(given[one.name])
            value = given[one.name]
            values[one.name] = one.parsed(str(value)) if one.type is place else value
    return values
