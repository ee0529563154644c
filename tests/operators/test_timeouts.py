from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from manifests.schema import Pair
from operators.base import Link
from operators.degrade.rain import Rain
from operators.judge.gate import Gate
from operators.judge.scores import Scores
from operators.judge.vlm_filter import VlmFilter
from operators.paint.flux import Flux
from operators.paint.inpaint import Inpaint
from operators.paint.rb_modulation import RbModulation
from operators.timeouts import timeout_s
from operators.vlm.client import Vlm
from operators.word.propose_edit import ProposeEdit
from pipelines.tasks.catalogue import OUR_TASKS

SERVER = Vlm(model="m", url_or_folder="http://127.0.0.1:9/v1", timeout_s=100.0)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """An operator of a user's, who knows better."""

    name: ClassVar[str] = "patient"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 1.0
    gpu_s: ClassVar[float] = 1.0
    timeout_s: float = 7_200.0

    def __call__(self, pair: Pair, seed: int) -> Pair:
        return pair


@pytest.mark.parametrize(
    ("link", "expected_s"),
    [
        (Gate(), 600.0),
        (Flux(prompts=(("style", "a"), ("input", "b"))), 600.0 + 20 * 2 * 14),
        (RbModulation(), 600.0 + 20 * 60),
        (Inpaint(family="sd15"), 600.0 + 20 * 2.5),
        (Inpaint(family="flux"), 600.0 + 20 * 2 * 14.0 * 50 / 28),  # two megapixels, in the steps of Fill
        (Inpaint(), 600.0),
        (Scores(measures=("ssim",)), 600.0),
        (Scores(measures=("dino",)), 600.0 + 20 * 0.1),
        # Ten attempts, each of 100 s and followed by the longest wait that a server may ask for.
        (ProposeEdit(vlm=SERVER), 10 * (100.0 + 600.0)),
        (VlmFilter(exemplar="style", vlm=SERVER), 2 * 10 * (100.0 + 600.0)),
        (VlmFilter(exemplar="style", vlm=replace(SERVER, url_or_folder="/models/qwen2-vl")), 2 * 600.0),
        (VlmFilter(exemplar="style"), 600.0),
        (Patient(), 7_200.0),
    ],
)
def test_the_time_follows_from_what_an_operator_says_of_itself(link: Link, expected_s: float) -> None:
    assert timeout_s(link) == expected_s


def test_every_operator_of_every_task_has_a_time_that_is_longer_than_what_is_assumed() -> None:
    links = [link for task in OUR_TASKS.values() for link in task.chain]
    assert any(isinstance(link, Rain) for link in links)
    for link in links:
        assert timeout_s(link) >= max(600.0, 10 * getattr(link, "gpu_s", 0.0))
