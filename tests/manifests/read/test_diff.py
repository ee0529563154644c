"""What was planted between two datasets is found, each pair with just the fields that were changed, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from infra.command import main
from manifests.dataset import Dataset, DatasetError, plan_table
from manifests.images.pixels import encode_lossless
from manifests.read.diff import Difference, Summary, compared
from manifests.schema import Item, Pair, Step
from manifests.write.writer import Context, UnitWriter
from tests.commands import ROOT
from tests.manifests.make import SUFFIXES, finish_dataset, make_dataset, make_pair, photo

PAIRS = 12
Edit = Callable[[Pair], Pair]
FIRST = ("forward", "generate")


def _write(url: str, pairs: Sequence[Pair], *, units: int, task: str = "derain", contexts: str = "") -> Dataset:
    """A finished dataset of given pairs, in so many shards; `contexts` is the key of everyone's context."""
    dataset = Dataset(url)
    items = [Item(ref=pair.source_ref, files=("photo.png",), index=index) for index, pair in enumerate(pairs)]
    cut = [items[unit::units] for unit in range(units)]
    plan = dataset.write_plan(task, {"task": task, "units": units}, "f" * 64, plan_table(cut))
    for unit in range(units):
        with UnitWriter.open(dataset, plan, unit, prototype_task="low-level", suffixes=SUFFIXES) as writer:
            for pair in pairs[unit::units]:
                writer.add(pair)
        chosen = {
            (stored.pair.key, example.direction, example.kind): Context(pair=contexts, method="seeded")
            for stored in writer.stored
            for example in stored.pair.examples
            if contexts and stored.pair.key != contexts and (example.direction, example.kind) == FIRST
        }
        writer.commit(chosen, len(chosen), {})
    finish_dataset(dataset, plan)
    return dataset


def _pairs(task: str = "derain") -> list[Pair]:
    return [make_pair(task, Item(ref=f"photo.png#{index}", files=(), index=index)) for index in range(PAIRS)]


def _said(pair: Pair, instruction: str) -> Pair:
    first, *others = pair.examples
    return replace(pair, examples=(replace(first, instruction=instruction), *others))


def _image(pair: Pair) -> Pair:
    return replace(pair, images=(encode_lossless("input", photo(99)), *pair.images[1:]))


def _described(pair: Pair) -> Pair:
    changed = [replace(one, text="Another text.") if one.kind == "describe" else one for one in pair.examples]
    return replace(pair, examples=tuple(changed))


PLANTED: Mapping[int, tuple[Edit, set[str]]] = {
    0: (_image, {"image input"}),
    1: (lambda pair: _said(pair, "Dry it."), {"instruction forward generate"}),
    2: (_described, {"text forward describe", "text reverse describe"}),
    3: (lambda pair: replace(pair, examples=pair.examples[1:]), {"example forward generate"}),
    4: (lambda pair: replace(pair, scores={"mean_abs_diff": 9.0, "ssim": 1.0}), {"score mean_abs_diff", "score ssim"}),
    5: (lambda pair: replace(pair, steps=(*pair.steps, Step(operator="gate", version=1))), {"step gate"}),
    6: (lambda pair: replace(pair, steps=(replace(pair.steps[0], seed=77),)), {"step rain"}),
    7: (lambda pair: replace(pair, licence="MIT", group="another"), {"licence", "group"}),
}
"""Place of a pair -> what is done to it, and the fields in which it then differs."""
SAME, GONE, ANEW = {8, 9}, 10, 11


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    """A dataset, and another with what is planted, one pair removed, one added and one made anew, in other shards."""
    folder = tmp_path_factory.mktemp("diff")
    before = _pairs()
    after = [PLANTED[index][0](pair) if index in PLANTED else pair for index, pair in enumerate(before)]
    after[GONE] = replace(before[GONE], key="0" * 32, source_ref="photo.png#new")
    after[ANEW] = _image(replace(before[ANEW], key="f" * 32))
    return _write(f"{folder}/a", before, units=3), _write(f"{folder}/b", [*reversed(after)], units=2)


def _differences(before: Dataset, after: Dataset) -> tuple[list[Difference], Summary, int]:
    summary = Summary()
    with compared(before, after) as diff:
        found = [*diff.differences()]
        for one in found:
            summary.add(one)
        return found, summary, summary.same(diff.counts)


def test_what_was_planted_is_found_and_nothing_else(both: tuple[Dataset, Dataset]) -> None:
    keys = [pair.key for pair in _pairs()]
    found, summary, same = _differences(*both)
    changed = {keys.index(one.before): {*one.fields} for one in found if one.change == "changed" and one.before}
    assert changed == {index: fields for index, (_, fields) in PLANTED.items()}
    others = {
        (one.change, one.before, one.after, one.source_ref, *one.fields) for one in found if one.change != "changed"
    }
    assert others == {
        ("removed", keys[GONE], None, f"photo.png#{GONE}"),
        ("added", None, "0" * 32, "photo.png#new"),
        ("made anew", keys[ANEW], "f" * 32, f"photo.png#{ANEW}", "image input"),
    }
    assert [one.before or one.after for one in found] == sorted(one.before or one.after or "" for one in found)
    assert same == len(SAME)
    assert summary.changes == {"changed": len(PLANTED), "added": 1, "removed": 1, "made anew": 1}
    assert summary.fields["image input"] == 2


def test_the_other_way_round_it_is_the_mirror_image(both: tuple[Dataset, Dataset]) -> None:
    there, back = (_differences(*pair)[0] for pair in (both, both[::-1]))
    mirrored = {
        (
            {"added": "removed", "removed": "added"}.get(one.change, one.change),
            one.after,
            one.before,
            *sorted((name, str(values[::-1])) for name, values in one.fields.items()),
        )
        for one in there
    }
    assert {
        (one.change, one.before, one.after, *sorted((name, str(values)) for name, values in one.fields.items()))
        for one in back
    } == mirrored


def test_values_of_both_sides_are_told(both: tuple[Dataset, Dataset]) -> None:
    pairs = _pairs()
    fields = {one.before: one.fields for one in _differences(*both)[0]}
    assert fields[pairs[4].key]["score ssim"] == (None, 1.0)
    assert fields[pairs[4].key]["score mean_abs_diff"] == (0.4, 9.0)
    assert fields[pairs[3].key]["example forward generate"] == (True, False)
    old, new = fields[pairs[1].key]["instruction forward generate"]
    assert (old, new) == (pairs[1].examples[0].instruction, "Dry it.")


def test_where_pairs_lie_is_no_difference(tmp_path: Path) -> None:
    before, after = (_write(f"{tmp_path}/{units}", _pairs()[:5], units=units) for units in (1, 2))
    assert _differences(before, after)[0] == []


def test_contexts_are_compared(tmp_path: Path) -> None:
    pairs = _pairs()[:3]
    one, other = pairs[0].key, pairs[1].key
    datasets = [_write(f"{tmp_path}/{key or 'none'}", pairs, units=1, contexts=key) for key in (one, other, "")]
    found = {item.before: {*item.fields} for item in _differences(*datasets[:2])[0]}
    name = "contexts forward generate"
    method = "context_method forward generate"
    assert found == {pairs[2].key: {name}, one: {name, method}, other: {name, method}}
    values = {item.before: item.fields[name] for item in _differences(datasets[0], datasets[2])[0]}
    assert [len(values[pairs[2].key][0]), values[pairs[2].key][1]] == [1, []]
    assert values[pairs[2].key][0][0]["pair"] == one


def test_a_dataset_of_schema_version_1_is_compared_with_one_of_today(tmp_path: Path) -> None:
    """The stored one has what make_dataset makes, contexts too, in its own columns."""
    old = Dataset(str(ROOT / "tests/data/version-1/derain"))
    assert _differences(old, make_dataset(f"{tmp_path}/same", units=2, pairs=2))[0] == []
    found, _, _ = _differences(old, make_dataset(f"{tmp_path}/one", units=1, pairs=4))
    changed = {name for one in found if one.change == "changed" for name in one.fields}
    ways = [f"{direction} {kind}" for direction in ("forward", "reverse") for kind in ("generate", "describe")]
    assert changed == {f"contexts {way}" for way in ways}


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["a", "a"], 0, "12 the same"),
        (["a", "b"], 1, "2 the same, 1 added, 8 changed, 1 made anew, 1 removed"),
        (["a", "other"], 2, "is a dataset of derain"),
        (["a", "none"], 2, "is not a dataset directory"),
    ],
)
def test_exit_status(
    both: tuple[Dataset, Dataset], capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, told: str
) -> None:
    folder = Path(both[0].url).parent
    if "other" in arguments and not (folder / "other").exists():
        make_dataset(f"{folder}/other", task="lowlight", units=1, pairs=1)
    assert main(["diff", *(f"{folder}/{name}" for name in arguments)]) == status
    said = capsys.readouterr()
    assert told in said.out + said.err
    assert status != 2 or len(said.err.splitlines()) == 1


def test_json_and_the_first_rows(both: tuple[Dataset, Dataset], capsys: pytest.CaptureFixture[str]) -> None:
    urls = [dataset.url for dataset in both]
    assert main(["diff", *urls, "--json"]) == 1
    *differences, total = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(differences) == 11
    assert total["changes"] == {"added": 1, "changed": 8, "made anew": 1, "removed": 1}
    assert (total["before"], total["after"], total["same"]) == (12, 12, 2)
    assert main(["diff", *urls, "--rows", "3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("and 8 more")


def test_a_pair_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    dataset = make_dataset(f"{tmp_path}/a", units=1, pairs=2)
    copied = dataset.store.read("manifest/derain-000000.parquet")
    twice = make_dataset(f"{tmp_path}/b", units=2, pairs=2)
    twice.store.write_bytes("manifest/derain-000001.parquet", copied)
    with pytest.raises(DatasetError, match="twice: xprompt verify"), compared(dataset, Dataset(twice.url)):
        pass
