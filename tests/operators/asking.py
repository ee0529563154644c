"""What the tests of operators that ask a vision-language model share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifests.schema import Pair
from operators.judge.hold_out import HoldOutEdits
from operators.judge.vlm_filter import VlmFilter
from operators.vlm.client import Vlm
from operators.vlm.request import Request
from operators.word.difference import Difference
from operators.word.instruct import Instruct
from operators.word.propose_edit import ProposeEdit
from operators.word.recaption import Recaption
from operators.word.relation import Relation
from pipelines.tasks.task import FOUR
from tests.sources import lossless, pair_of, photo
from tests.vlm import Server


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A server, and a model that is asked there."""

    server: Server
    vlm: Vlm


ASKING: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Difference(examples=FOUR), ("input", "target")),
    (VlmFilter(), ("input", "target", "exemplar")),
    (Relation(), ("input1", "input2", "target")),
    (Relation(form="attributes"), ("input1", "input2", "target")),
    (Recaption(), ("target",)),
    (ProposeEdit(), ("input",)),
    (HoldOutEdits(by="vlm"), ("input", "target")),
)
"""Every operator that asks a model, with the images of its pairs: together they ask every prompt."""

PROMPT_SETS = (None, "paper")


def all_requests(vlm: Vlm, prompts: str | None) -> list[Request]:
    """What all of them ask about a pair each, by a set of prompts."""
    requests: list[Request] = []
    for operator, roles in ASKING:
        pair = Instruct(forward=("Add a red hat.",))(pair_with(*roles), 1)
        requests += operator.asking(vlm, prompts).requests(pair, 2)
    return requests


def pair_with(*roles: str, number: int = 0) -> Pair:
    """A pair with a photo for each role: other photos for another number."""
    images = [lossless(role, photo(7 * number + place)) for place, role in enumerate(roles)]
    return pair_of(*images, key=f"{number:032x}")
