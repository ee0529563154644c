"""The datasets that derain makes of its three kinds of input. They are made in this process, without Ray."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from infra.command import main
from manifests.dataset import Dataset
from manifests.verify.dataset import verify
from operators.degrade.rain import Rain
from operators.read.bundled import PHOTOS
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.low_level import DERAIN
from tests.datasets import examples, image, make_dataset, nearest, params, reasons, rejects, stored_bytes, totals
from tests.pipelines.hazards import Raises
from tests.sources import write_photos, write_rain13k

KINDS = {"forward generate", "reverse generate", "forward describe", "reverse describe"}


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("bundled"), None)


@pytest.fixture(scope="module")
def rain13k(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    folder = tmp_path_factory.mktemp("rain13k")
    data = write_rain13k(folder / "data/train/Rain13K", 6)
    return data, make_dataset(folder / "out", folder / "data")


def test_bundled_every_pair_gives_four_examples(bundled: Dataset) -> None:
    rows = examples(bundled)
    assert Counter(f"{row['direction']} {row['kind']}" for row in rows) == dict.fromkeys(KINDS, 320)
    kinds_by_pair = Counter(row["pair"] for row in rows)
    assert len(kinds_by_pair) == 320 and set(kinds_by_pair.values()) == {4}
    assert {row["source_ref"] for row in rows} == {f"{path}#{index}" for path in PHOTOS for index in range(32)}
    assert totals(bundled) == {
        "shards": 8,
        "pairs": 320,
        "examples": 1_280,
        "examples_by_kind": dict.fromkeys(KINDS, 320),
        "examples_without_context": 0,
        "examples_missing": {},
        "rejects": 0,
        "rejects_by_reason": {},
        "shard_bytes": sum(len(bundled.store.read(f"shards/{name}")) for name in bundled.store.names("shards")),
    }
    assert list(verify(bundled.url)) == []


def test_bundled_every_example_has_a_context_of_its_direction_and_kind_from_another_photo(bundled: Dataset) -> None:
    rows = examples(bundled)
    by_example = {(row["pair"], row["direction"], row["kind"]): row for row in rows}
    assert len(by_example) == len(rows)
    for row in rows:
        context = by_example[nearest(row)["pair"], row["direction"], row["kind"]]
        assert context["pair"] != row["pair"]
        assert context["source_group"] != row["source_group"]
        assert context["shard"] == row["shard"]


def test_bundled_texts_say_what_was_recorded(bundled: Dataset) -> None:
    for row in examples(bundled):
        if row["kind"] == "describe":
            assert Rain.in_words(params(row, "rain"))[1:] in row["text"]
            assert row["output"] is None
        else:
            assert row["text"] is None
            assert (row["inputs"], row["output"]) in ((["input"], "target"), (["target"], "input"))


def test_bundled_every_pair_names_its_licence_and_how_it_was_made(bundled: Dataset) -> None:
    for row in examples(bundled):
        assert row["licence"] == PHOTOS[row["source_group"]]
        assert [step["operator"] for step in row["steps"]] == [
            *("crop", "rain", "gate", "degraded", "instruct", "describe")
        ]
        assert {name for name, _ in row["scores"]} == {"mean_abs_diff", "visible_change", "alignment", "direction"}
        assert 0 < dict(row["scores"])["mean_abs_diff"] < 0.5


def test_shards_mix_the_photos(bundled: Dataset) -> None:
    """Shuffled: in the order of the listing a shard would hold crops of two photos."""
    photos_by_shard: dict[str, set[str]] = {}
    for row in examples(bundled):
        photos_by_shard.setdefault(row["shard"], set()).add(row["source_group"])
    assert len(photos_by_shard) == 8
    assert min(map(len, photos_by_shard.values())) >= 8


def test_rain13k_is_stored_byte_for_byte(rain13k: tuple[Path, Dataset]) -> None:
    data, dataset = rain13k
    rows = examples(dataset)
    assert Counter(row["source_ref"] for row in rows) == {f"input/{number}.jpg": 2 for number in range(6)}
    for row in rows:
        name = row["source_ref"].removeprefix("input/")
        assert stored_bytes(dataset, row, "input") == (data / "input" / name).read_bytes()
        assert stored_bytes(dataset, row, "target") == (data / "target" / name).read_bytes()
        assert image(row, "input")["member"] == f"{row['pair']}.input.jpg"
    assert list(verify(dataset.url)) == []


def test_rain13k_describe_examples_are_absent_and_counted_as_missing(rain13k: tuple[Path, Dataset]) -> None:
    _, dataset = rain13k
    assert {row["kind"] for row in examples(dataset)} == {"generate"}
    found = totals(dataset)
    assert found["examples_by_kind"] == {"forward generate": 6, "reverse generate": 6}
    assert found["examples_missing"] == {
        "forward describe (waits for a vision-language model)": 6,
        "reverse describe (waits for a vision-language model)": 6,
    }


def test_the_plan_says_what_is_not_made_and_writes_nothing(
    rain13k: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["xprompt", "plan", "derain", "--data", str(rain13k[0])])
    assert main() == 0
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert lines > {
        "items 6",
        "pairs about 6 (6 of 6 sampled items were kept)",
        "examples about 12",
        "forward describe waits for a vision-language model",
        "reverse describe waits for a vision-language model",
        "model calls 0",
    }
    assert list(tmp_path.iterdir()) == []


def test_photos_are_the_targets_byte_for_byte_and_get_rain_and_texts(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 5)
    dataset = make_dataset(tmp_path / "out", data)
    rows = examples(dataset)
    assert Counter(f"{row['direction']} {row['kind']}" for row in rows) == dict.fromkeys(KINDS, 5)
    assert {row["source_ref"] for row in rows} == {path.name for path in data.iterdir()}
    for row in rows:
        assert stored_bytes(dataset, row, "target") == (data / row["source_ref"]).read_bytes()
        assert (image(row, "target")["member"], image(row, "input")["member"]) == (
            f"{row['pair']}.target.jpg",
            f"{row['pair']}.input.png",
        )
        assert image(row, "input")["format"] == "png"


def test_a_single_pair_has_no_context_and_that_is_counted(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "out", write_photos(tmp_path / "photos", 1))
    assert {(nearest(row)["pair"], row["context_method"]) for row in examples(dataset)} == {(None, None)}
    assert totals(dataset)["examples_without_context"] == 4


def test_an_exception_in_an_operator_rejects_its_pair_alone(tmp_path: Path) -> None:
    task = DERAIN.changed(lambda link: Raises(ref="0003.jpg") if isinstance(link, Rain) else link)
    dataset = make_dataset(tmp_path / "out", write_photos(tmp_path / "photos", 6), task=task)
    assert reasons(dataset) == {"0003.jpg": "error"}
    (row,) = rejects(dataset)
    assert (row["operator"], row["message"]) == ("raises", "ZeroDivisionError: no rain today")
    assert {row["source_ref"] for row in examples(dataset)} == {f"000{number}.jpg" for number in (0, 1, 2, 4, 5)}


def test_the_plan_counts_such_a_pair_as_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(
        OUR_TASKS, "derain", DERAIN.changed(lambda link: Raises(ref="0003.jpg") if isinstance(link, Rain) else link)
    )
    data = write_photos(tmp_path / "photos", 6)
    monkeypatch.setattr(sys, "argv", ["xprompt", "plan", "derain", "--data", str(data)])
    assert main() == 0
    assert "about 5 (5 of 6 sampled items were kept)" in capsys.readouterr().out
