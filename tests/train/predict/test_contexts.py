"""Which in-context example an example has, by each policy, against what can be worked out from the manifests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.dataset import Dataset
from manifests.schema import MANIFEST, Direction
from manifests.write.contexts import Contexts, write_contexts
from operators.shared.texts import Vectors
from tests.manifests.make import make_dataset, make_plan, write_unit
from train.evaluate.predictions import Example, examples
from train.predict.contexts import Drawn, Named, Nearest, Pool, Ranked, refuse_as_context

TEXTS = ("Take away the rain — vollständig.", "Let it rain.", "Add a hat.")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contexts")
    make_dataset(str(folder / "derain"), units=2, pairs=4)
    make_dataset(str(folder / "deblur"), task="deblur", units=1, pairs=4)
    make_dataset(str(folder / "derain-test"), units=1, pairs=12, first=40, split="test")
    return folder


def _asked(place: Path, direction: Direction = "forward") -> list[Example]:
    return list(examples(Dataset(str(place / "derain-test")), direction))


def _keys(place: Path, name: str) -> list[str]:
    return [pair.key for pair in Dataset(str(place / name)).pairs()]


def test_drawn_for_each_example_or_for_all_from_the_same_task(place: Path) -> None:
    pool = Pool([Dataset(str(place / "deblur")), Dataset(str(place / "derain"))])
    each = {one.pair: Drawn(pool, 0, same=False).of(one, 1) for one in _asked(place)}
    found = {chosen.pair for (chosen,) in each.values()}
    assert found <= {*_keys(place, "derain")} and len(found) > 3
    alone = _asked(place)[5]
    assert Drawn(pool, 0, same=False).of(alone, 1) == each[alone.pair], "whatever was asked before"
    assert any(Drawn(pool, 1, same=False).of(one, 1) != each[one.pair] for one in _asked(place))
    assert len({tuple(Drawn(pool, 0, same=True).of(one, 1)) for one in _asked(place)}) == 1
    (back,) = {chosen for one in _asked(place, "reverse") for chosen in Drawn(pool, 0, same=True).of(one, 1)}
    assert back.direction == "reverse"
    other = Pool([Dataset(str(place / "deblur"))])
    others = {chosen.pair for one in _asked(place) for chosen in Drawn(other, 0, same=False).of(one, 1)}
    assert others <= {*_keys(place, "deblur")}


def test_several_are_drawn_once_each_and_begin_with_the_one(place: Path) -> None:
    pool, keys = Pool([Dataset(str(place / "derain"))]), {*_keys(place, "derain")}
    for one in _asked(place):
        few, all_there = Drawn(pool, 0, same=False).of(one, 3), Drawn(pool, 0, same=False).of(one, 100)
        assert few == all_there[:3] and few[:1] == Drawn(pool, 0, same=False).of(one, 1)
        assert len(all_there) == len(keys) and {chosen.pair for chosen in all_there} == keys


def test_the_nearest_instruction_of_all_datasets(place: Path) -> None:
    """Instructions are vectors of angles, so which is nearest is known; the lowest key breaks ties."""
    said = {text: float(number) for number, text in enumerate(TEXTS)}

    def embed(texts: Sequence[str]) -> Vectors:
        angles = np.array([said[text] for text in texts], np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], 1)

    pool = Pool([Dataset(str(place / name)) for name in ("derain", "deblur")])
    (example, *_), (back, *_) = _asked(place), _asked(place, "reverse")
    (chosen,) = Nearest(pool, embed).of(example, 1)
    keys = sorted(_keys(place, "derain") + _keys(place, "deblur"))
    assert (chosen.pair, chosen.score) == (keys[0], 1.0)
    assert [one.pair for one in Nearest(pool, embed).of(example, 3)] == keys[:3]
    scores = [one.score or 0 for one in Nearest(pool, embed).of(example, 1_000)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(pool.rows(example, any_task=True))
    # What is asked backwards is answered backwards, though another direction's instruction were nearer.
    said["Let it rain."] = 0.0
    hat = Example(**{**vars(back), "instruction": "Add a hat."})
    (found,) = Nearest(pool, embed).of(hat, 1)
    assert found.direction == "reverse" and found.score == pytest.approx(np.cos(2.0), abs=1e-6)


def test_a_named_pair_is_everybodys_but_its_own(place: Path) -> None:
    first, second, third, *_ = _asked(place)
    test = Dataset(str(place / "derain-test"))
    named = Named({first.pair: test, second.pair: test})
    assert [chosen.pair for chosen in named.of(first, 2)] == [second.pair]
    assert [chosen.pair for chosen in named.of(third, 2)] == [first.pair, second.pair]
    with pytest.raises(ValueError, match=f"--context: no pair {'0' * 32} in"):
        Named({"0" * 32: Dataset(str(place / "derain"))}).of(first, 1)


def test_ranked_contexts_are_of_another_dataset(place: Path, tmp_path: Path) -> None:
    test = make_dataset(str(tmp_path / "test"), units=1, pairs=3, first=40, split="test")
    training = make_dataset(str(tmp_path / "train"), units=1, pairs=4)
    keys = [pair.key for pair in training.pairs()]
    own = Ranked(0, best=True, may_show=lambda one: refuse_as_context(one, [test]))
    with pytest.raises(ValueError, match="its ranked contexts are pairs of its own"):
        own.of(next(examples(test, "forward")), 1)
    for name, place_of in (("train", keys), ("test", [pair.key for pair in test.pairs()])):
        ranked = [{"pair": key, "dataset": name, "score": 0.5} for key in place_of[:3]]
        (unit,) = test.unit_names()
        count = test.table_of(unit, ["pair"]).num_rows
        column = pa.array([ranked] * count, MANIFEST.field("contexts").type)
        write_contexts(test, unit, Contexts(ranked=column, method="minilm"))
        asked = list(examples(test, "forward"))
        ranking = Ranked(0, best=True, may_show=lambda one: refuse_as_context(one, [test]))
        if name == "test":
            with pytest.raises(ValueError, match="test is what is predicted: contexts come from data to train on"):
                ranking.of(asked[0], 1)
            continue
        assert [[chosen.pair for chosen in ranking.of(one, 2)] for one in asked] == [keys[:2]] * len(asked)
        drawn = Ranked(0, best=False, may_show=lambda one: None)
        assert {chosen.pair for one in asked for chosen in drawn.of(one, 1)} <= {*keys[:3]}
        assert all({chosen.pair for chosen in drawn.of(one, 3)} == {*keys[:3]} for one in asked)


def test_an_unfinished_dataset_is_refused(tmp_path: Path) -> None:
    """What it may yet get would change what is drawn."""
    dataset = Dataset(str(tmp_path / "derain"))
    write_unit(dataset, make_plan(dataset, units=2), 0)
    with pytest.raises(ValueError, match="derain is unfinished, 1 units are missing"):
        Pool([dataset])
