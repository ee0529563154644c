"""Pairs on their way: what is kept comes back whole or not at all."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from manifests.dataset import Dataset
from manifests.schema import Candidate, Example, Image, Pair, Reject, Step
from pipelines.run.chain import Rejected, State
from pipelines.run.painted import Painted

UNIT = "style-000003"
IMAGE = Image(role="input", data=b"\x89PNG\n\nbytes\n\x00", format="png", width_px=3, height_px=2, mode="RGB")
STEP = Step(
    operator="flux", version=2, params={"steps": 28, "deep": {"a": [1, 2]}}, seed=2**63, model="m", model_revision="r"
)
CANDIDATE = Candidate(
    pair="k",
    image=Image(role="candidate", data=b"first\n", format="png", width_px=1, height_px=1, mode="L"),
    step=STEP,
    scores={"dino": 1 / 3},
    reason="low_dino",
    won=False,
)
PAIR = Pair(
    key="0123abcd",
    source="prompts",
    source_ref="a „quoted“ one\n#3",
    licence="CC0-1.0",
    images=(IMAGE, Image(role="style", data=b"", format="jpeg", width_px=1, height_px=1, mode="L")),
    group="g",
    context_group="oil",
    examples=(
        Example(direction="forward", kind="generate", inputs=("input",), output="target", instruction="Grün."),
        Example(
            direction="reverse", kind="describe", inputs=("a", "b"), output=None, instruction="What?", text="This.\n"
        ),
    ),
    texts={"caption": "wörtlich"},
    scores={"style": 0.1, "tiny": 1e-300},
    steps=(STEP, Step(operator="gate", version=1, prompt="line\nline")),
    parents=("p", "q"),
    candidates=(CANDIDATE, CANDIDATE),
)
REJECT = Reject("low_style", "too low:\n0.1", {"style": 0.1}, (CANDIDATE,))


@pytest.fixture
def painted(tmp_path: Path) -> Painted:
    return Painted(Dataset(str(tmp_path)), UNIT)


def test_a_pair_comes_back_with_all_that_it_has(painted: Painted) -> None:
    """Every field of the pair under test differs from its default, so that one that is forgotten shows."""
    bare = Pair(key="", source="", source_ref="", licence="", images=(), group="")
    assert all(getattr(PAIR, field.name) != getattr(bare, field.name) for field in fields(Pair))
    painted.put(17, PAIR, 4)
    assert painted.progress() == {17: 4}
    assert painted.get(17, painted.progress()) == State(made=PAIR, links=4)


def test_types_survive(painted: Painted) -> None:
    painted.put(0, PAIR, 1)
    state = painted.get(0, painted.progress())
    assert state and isinstance(state.made, Pair)
    pair = state.made
    assert all(isinstance(data, bytes) for data in (image.data for image in pair.images))
    assert isinstance(pair.steps[0].seed, int) and isinstance(pair.scores["style"], float)
    assert hash(pair.examples) == hash(PAIR.examples)  # tuples, not lists


def test_scores_keep_their_order_and_may_be_no_numbers(painted: Painted) -> None:
    """The order is that of the manifest's rows; a model whose half precision overflows scores nan."""
    painted.put(0, replace(PAIR, scores={"z": math.nan, "a": math.inf}, texts={"odd": "\ud800"}), 1)
    state = painted.get(0, painted.progress())
    assert state and isinstance(state.made, Pair)
    assert list(state.made.scores) == ["z", "a"] and math.isnan(state.made.scores["z"])
    assert state.made.scores["a"] == math.inf and state.made.texts == {"odd": "\ud800"}


def test_a_reject_comes_back_with_its_step_scores_and_candidates(painted: Painted) -> None:
    painted.put(3, Rejected(step="scores", reject=REJECT), 2)
    assert painted.progress() == {3: None}
    state = painted.get(3, painted.progress())
    assert state and isinstance(state.made, Rejected)
    found = state.made
    assert (found.step, vars(found.reject)) == ("scores", vars(REJECT))
    assert str(found.reject) == REJECT.message


def test_the_furthest_state_counts_and_a_reject_is_the_end(painted: Painted) -> None:
    for links in (2, 10, 4):
        painted.put(1, PAIR, links)
    painted.put(2, PAIR, 2)
    painted.put(2, Rejected(step="scores", reject=REJECT), 4)
    assert painted.progress() == {1: 10, 2: None}
    state = painted.get(1, painted.progress())
    assert state and state.links == 10


def test_what_is_not_there_is_none(painted: Painted) -> None:
    assert painted.progress() == {}
    assert painted.get(0, {}) is None
    assert painted.get(0, {0: 4}) is None  # it was listed and has been removed since


@pytest.mark.parametrize("harm", ["cut", "cut to nothing", "flip", "flip in the digest", "longer"])
@pytest.mark.parametrize("made", [PAIR, Rejected(step="scores", reject=REJECT)])
def test_what_is_damaged_is_not_there_and_is_removed(
    painted: Painted, tmp_path: Path, harm: str, made: Pair | Rejected
) -> None:
    painted.put(5, made, 4)
    (file,) = (tmp_path / painted.folder).iterdir()
    data = bytearray(file.read_bytes())
    if harm == "flip":
        data[-3] ^= 1
    elif harm == "flip in the digest":
        data[3] ^= 1
    data = {"cut": data[:-1], "cut to nothing": data[:0], "longer": data + b"x"}.get(harm, data)
    file.write_bytes(data)
    assert painted.get(5, painted.progress()) is None
    assert painted.progress() == {}
    painted.put(5, made, 4)
    assert painted.get(5, painted.progress()) is not None


def test_what_was_half_written_and_what_is_strange_is_not_listed(painted: Painted, tmp_path: Path) -> None:
    """A killed process leaves its temporary file; operators keep their pictures beside the states."""
    painted.put(7, PAIR, 1)
    folder = tmp_path / painted.folder
    for name in (".000008-1.123.tmp", "3fa0c1.png", "3fa0c1.json", "000009-x", "notes"):
        (folder / name).write_bytes(b"half")
    assert painted.progress() == {7: 1}


def test_units_do_not_mix_and_one_is_removed_with_all_that_lies_beside(painted: Painted, tmp_path: Path) -> None:
    other = Painted(Dataset(str(tmp_path)), "style-000004")
    painted.put(0, PAIR, 1)
    other.put(1, PAIR, 2)
    (tmp_path / painted.folder / "3fa0c1.png").write_bytes(b"a picture")
    painted.remove()
    assert not (tmp_path / painted.folder).exists()
    assert (painted.progress(), other.progress()) == ({}, {1: 2})
    painted.remove()  # of which nothing is there


def test_the_same_pair_has_the_same_bytes(painted: Painted, tmp_path: Path) -> None:
    painted.put(0, PAIR, 1)
    painted.put(1, PAIR, 1)
    first, second = sorted((tmp_path / painted.folder).iterdir())
    assert first.read_bytes() == second.read_bytes()


def test_it_works_in_a_store_of_objects() -> None:
    painted = Painted(Dataset("memory://painted-test/style"), UNIT)
    painted.put(0, PAIR, 1)
    assert painted.get(0, painted.progress()) == State(made=PAIR, links=1)
    painted.remove()
    assert painted.progress() == {}
