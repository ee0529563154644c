"""Stages of chains, against sums by hand of what the networks of each take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import pytest

from manifests.schema import Pair
from operators.arrange.swap import Swap
from operators.base import Link, LoadsCheckpoints, ModelOperator
from operators.judge.gate import Gate
from operators.judge.scores import Scores
from operators.models import checkpoints
from operators.models.catvton import RELEASED, Trained
from operators.models.table import CHECKPOINTS, Part
from operators.paint.best_edit import BestEdit
from operators.vlm.client import Vlm
from operators.word.propose_edit import ProposeEdit
from pipelines.run.stages import CUDA_GIB, Need, Stage, as_fits, gpu_stages, need_of, on_gpu
from pipelines.tasks.catalogue import OUR_TASKS

LOCAL = Vlm(model="q", url_or_folder="/models/qwen2-vl")
SERVER = Vlm(model="q", url_or_folder="http://127.0.0.1:9/v1")
GIB_OF = {"sd15": 2.55, "flux": 31.42, "sd15-controlnet-openpose": 0.67, "clip": 0.56, "qwen2-vl": 15.44}


@dataclass(frozen=True, kw_only=True)
class Painter:
    """Loads checkpoints of the table and does nothing."""

    name: ClassVar[str] = "painter"
    version: ClassVar[int] = 1
    gpu_s: ClassVar[float] = 1.0
    loads: tuple[str, ...]
    working_gib: float = 4.0
    gpus: float = 0.25

    def __call__(self, pair: Pair, seed: int) -> Pair:
        return pair

    def bound(self, models: str | None) -> Self:
        return self


@dataclass(frozen=True, kw_only=True)
class Silent:
    """A user's operator, which runs a model that the table does not have."""

    name: ClassVar[str] = "silent"
    version: ClassVar[int] = 1
    gpu_s: ClassVar[float] = 1.0
    gpus: float

    def __call__(self, pair: Pair, seed: int) -> Pair:
        return pair

    def bound(self, models: str | None) -> Self:
        return self


SD15 = Painter(loads=("sd15",))
CONTROL = Painter(loads=("sd15", "sd15-controlnet-openpose"), working_gib=5.0)
FLUX = Painter(loads=("flux",), gpus=1.0)


def _cut(stages: tuple[Stage, ...]) -> list[tuple[int, int, float]]:
    return [(stage.start, stage.stop, stage.gpus) for stage in stages]


def test_models_that_fit_together_are_one_stage_from_the_first_link_to_the_last_on_a_gpu() -> None:
    chain: list[Link] = [Swap(), SD15, Gate(), CONTROL, Gate()]
    (stage,) = gpu_stages(chain, 24)
    # The second needs the first one's networks, a ControlNet, and 5 GiB to work in while the first does not work.
    need = GIB_OF["sd15"] + GIB_OF["sd15-controlnet-openpose"] + 5.0 + CUDA_GIB
    assert stage.need.gib == pytest.approx(need, abs=0.01)
    assert (stage.start, stage.stop) == (0, 4)
    assert stage.gpus == 0.4  # 8.7 of 24 is 0.363
    assert _cut(gpu_stages(chain, 80)) == [(0, 4, 0.25)]  # of the memory 0.11, but each keeps a quarter busy
    assert _cut(gpu_stages(chain, None)) == [(0, 4, 0.5)]


def test_where_they_do_not_fit_each_wave_takes_as_many_links_as_it_can() -> None:
    """FLUX.1 needs 31.42 + 4 + 0.5 = 35.92 GiB, the three others together 2.55 + 0.67 + 0.56 + 5 + 0.5."""
    scores = Scores(measures=("clip_image",))
    chain: list[Link] = [Swap(), FLUX, Gate(), SD15, CONTROL, scores, Gate(), FLUX, Gate()]
    assert _cut(gpu_stages(chain, 36)) == [(0, 2, 1.0), (2, 6, 0.3), (6, 8, 1.0)]  # 9.28 of 36 is 0.258
    assert [stage.need.gib for stage in gpu_stages(chain, 36)] == pytest.approx([35.92, 9.28, 35.92], abs=0.02)
    assert _cut(gpu_stages(chain, 41)) == [(0, 8, 1.0)]  # 31.42 + 2.55 + 0.67 + 0.56 + 5 + 0.5 is 40.7
    assert _cut(gpu_stages(chain, 40.6)) == [(0, 5, 1.0), (5, 8, 1.0)]  # without the 0.56 of CLIP it is 40.14


def test_a_chain_on_cpus_has_no_stage() -> None:
    assert gpu_stages([Swap(), Gate(), Scores(measures=("ssim",))], 80) == ()
    assert gpu_stages([], None) == ()


def test_a_model_of_this_process_is_on_the_gpu_and_that_of_a_server_is_not() -> None:
    asking = ProposeEdit()
    assert [on_gpu(replace(asking, vlm=vlm)) for vlm in (None, SERVER, LOCAL)] == [False, False, True]
    twice: list[Link] = [replace(asking, vlm=LOCAL), Gate(), replace(asking, vlm=LOCAL)]
    (stage,) = gpu_stages(twice, None)
    assert (stage.start, stage.stop, stage.gpus) == (0, 3, 0.5)
    assert stage.need.gib == pytest.approx(GIB_OF["qwen2-vl"] + 2.0 + CUDA_GIB, abs=0.01)
    assert gpu_stages(twice, 24)[0].gpus == 0.75  # 17.94 of 24
    assert gpu_stages([replace(asking, vlm=SERVER)], 1) == ()


def test_what_does_not_fit_by_itself_is_refused_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"^painter needs 35\.9 GiB of a GPU \(.*T5-XXL 8\.9, .*and one has 24: "
    ) as no:
        gpu_stages([SD15, FLUX], 24)
    assert "\n" not in str(no.value)
    with pytest.raises(ValueError, match=r"a server in the place of VLM=local$"):
        gpu_stages([replace(ProposeEdit(), vlm=LOCAL)], 16)
    pose = OUR_TASKS["pose"].with_options({"generator": "flux"}).chain
    with pytest.raises(ValueError, match=r"^make_person .*GENERATOR=sd15$"):
        gpu_stages(pose, 24)
    assert len(gpu_stages(pose, None)) == len(gpu_stages(pose, 80)) == 1


def test_an_operator_that_does_not_say_what_it_loads_has_its_share_to_itself() -> None:
    assert _cut(gpu_stages([Silent(gpus=0.5), SD15], 80)) == [(0, 2, 0.6)]  # 0.5 + 7.05 / 80
    assert _cut(gpu_stages([Silent(gpus=1.0), SD15], 80)) == [(0, 1, 1.0), (1, 2, 0.25)]
    assert _cut(gpu_stages([Silent(gpus=1.0), SD15], None)) == [(0, 2, 1.0)]


def test_shares_are_rounded_up_to_twentieths() -> None:
    part = Part(name="x", parameters_m=2.5 * 2**30 / 1e6, bytes_each=1)  # 2.5 GiB, and CUDA's 0.5
    assert Need(parts=(part,)).share(20) == pytest.approx(0.15)
    quiet = replace(SD15, gpus=0.01)
    wanted = need_of([quiet]).gib
    assert [gpu_stages([quiet], wanted / share)[0].gpus for share in (0.149, 0.15, 0.151, 0.999)] == [
        0.15,
        0.15,
        0.2,
        1.0,
    ]


def test_editors_that_do_not_fit_together_take_turns() -> None:
    """Kontext and Fill: 22.17 x 2 + 9.26 of both, with CLIP 0.56, 4.30 to paint in and 0.5 are 58.95 GiB."""
    edit = BestEdit(scores=Scores(measures=("clip_direction",)))
    assert need_of([edit]).gib == pytest.approx(58.95, abs=0.05)
    assert as_fits(edit, 59.5) is edit and as_fits(edit, None) is edit
    assert as_fits(edit, 40) == replace(edit, in_turns=True)
    assert need_of([as_fits(edit, 40)]).gib == pytest.approx(58.95 - 22.17, abs=0.05)
    with pytest.raises(ValueError, match=r"^best_edit needs 59\.0"):
        gpu_stages([edit], 40)
    with pytest.raises(ValueError, match=r"^best_edit needs 36\.8 GiB .* one has 24"):
        gpu_stages([as_fits(edit, 24)], 24)
    assert as_fits(SD15, 1) is SD15


@pytest.mark.parametrize("generator", ["sd15", "flux"])
@pytest.mark.parametrize("task", OUR_TASKS)
def test_operators_say_which_checkpoints_they_load(task: str, generator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those are what `bound` looks for, and nothing else."""
    with _looked_for(monkeypatch) as looked_for:
        for link in OUR_TASKS[task].with_options({"generator": generator}).chain:
            if isinstance(link, ModelOperator):
                looked_for.clear()
                bound: Any = link.bound("/models")
                assert isinstance(bound, LoadsCheckpoints) and isinstance(bound, ModelOperator)
                assert sorted(looked_for) == sorted(bound.loads), link.name
                assert (bound.gpus > 0) == any(CHECKPOINTS[role].parts for role in bound.loads)
                assert (bound.working_gib > 0) == (bound.gpus > 0)


@contextmanager
def _looked_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    roles: list[str] = []

    def noted(models: str | None, role: str) -> str:
        roles.append(role)
        return f"/models/{role}"

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "folder", noted)
        patch.setattr(checkpoints, "has", lambda models, role: True)
        patch.setattr(checkpoints, "identity", lambda folder, role: (role, "0"))
        patch.setattr(Trained, "of", lambda folder: RELEASED)
        patch.setattr("operators.judge.scores.folder", noted)
        patch.setattr("operators.degrade.label_map._check_classes", lambda config: None)  # of a file that is not there
        patch.setattr("operators.judge.scores.identity", lambda folder, role: (role, "0"))
        yield roles
