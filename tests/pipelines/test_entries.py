from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from manifests.schema import Pair
from operators.models.catvton import RELEASED
from operators.option import option
from operators.read.column_pairs import OwnPairs
from operators.read.columns import Columns
from operators.read.photo_pairs import PhotoPairs
from operators.read.style_prompts import StylePrompts
from operators.read.viton_hd import VitonHd
from pipelines.entries import (
    DataRoot,
    Planned,
    options_of_tasks,
    plan_entry,
    refuse_untaken,
    sources_of,
    takes,
    with_parsed_options,
)
from pipelines.recipe import Entry
from pipelines.sources import datasets
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.low_level import DERAIN, LOWLIGHT
from pipelines.tasks.personalisation import POSE, STYLE
from pipelines.tasks.task import Task
from tests.fixtures import FIXTURES, write_viton_hd
from tests.sources import write_files, write_photos, write_rain13k


def _plan(root: Path, entry: Entry, **shared: Any) -> Planned:
    return plan_entry(entry, OUR_TASKS[entry.task], DataRoot(url=str(root)), shared)


def test_of_several_folders_the_first_that_is_there_is_read(tmp_path: Path) -> None:
    write_photos(tmp_path / "people", 2)
    write_photos(tmp_path / "photos", 2)
    planned = _plan(tmp_path, Entry(task="derain", data=("frames", "people", "photos")))
    assert planned.place == "photos (people/)"
    assert planned.prepared and planned.prepared.reader.root == str(tmp_path / "people")


def test_a_folder_of_clips_is_read_as_clips_and_one_of_photos_as_photos(tmp_path: Path) -> None:
    write_photos(tmp_path / "frames/walk", 2)
    write_photos(tmp_path / "photos", 2)
    clips, photos = (_plan(tmp_path, Entry(task="mimicbrush", data=(folder,))) for folder in ("frames", "photos"))
    assert clips.prepared and isinstance(clips.prepared.reader, PhotoPairs)
    assert photos.prepared and photos.prepared.reader.source == "photos"


def test_an_entry_says_that_its_folder_is_one_of_photos(tmp_path: Path) -> None:
    write_files(tmp_path, {f"p/{side}/{number}.jpg": b"x" for side in ("input", "other") for number in (1, 2)})
    entry = Entry(task="denoise", data=("p",))
    assert "--as photos" in _plan(tmp_path, entry).why_not
    for insisting in (replace(entry, options={"as": "photos"}), replace(entry, source="photos")):
        assert _plan(tmp_path, insisting).prepared
    assert _plan(tmp_path, entry, **{"as": "photos"}).prepared
    assert not takes(OUR_TASKS["ultraedit"], None, "as", "photos") and takes(DERAIN, None, "as", "photos")


def test_an_entry_may_name_a_folder_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "home/photos", 2)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("~/photos", str(tmp_path / "home/photos")):
        planned = _plan(tmp_path / "root", Entry(task="derain", data=(folder,)))
        assert planned.prepared and planned.prepared.reader.root == str(tmp_path / "home/photos")


def test_dfwb_two_by_two_keeps_its_licence(tmp_path: Path) -> None:
    FIXTURES["dfwb"][1](tmp_path / "DFWB")
    planned = _plan(tmp_path, Entry(task="composition", data=("photos", "DFWB")))
    assert planned.source and planned.source.reader.licence == datasets.DFWB.reader.licence
    assert len(list(planned.source.reader.items(planned.source.reader.listing()))) == 9


def test_a_source_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    FIXTURES["lol_v2_real"][1](tmp_path / "LOL")
    assert _plan(tmp_path, Entry(task="lowlight", source="LOL")).place == "LOL v2 real (LOL/)"
    assert _plan(tmp_path, Entry(task="lowlight", source="LOL v1")).why_not == f"LOL v1 is not below {tmp_path}"
    write_photos(tmp_path / "photos", 2)
    named = _plan(tmp_path, Entry(task="derain", source="Rain13K", data=("photos",)))
    assert named.why_not == f"photos is not below {tmp_path}"


def test_a_source_in_part_is_said(tmp_path: Path) -> None:
    write_rain13k(tmp_path / "Rain13K", 2)
    shutil.rmtree(tmp_path / "Rain13K/target")
    planned = _plan(tmp_path, Entry(task="derain"))
    assert planned.prepared is None and "target" in planned.why_not


def test_prompts_and_bundled_photos_can_be_named(tmp_path: Path) -> None:
    write_photos(tmp_path / "people", 2)
    root = DataRoot(url=str(tmp_path))
    for source, place in (("prompts", "prompts"), ("bundled", "scikit-image and scikit-learn photos (bundled)")):
        found = root.source(POSE, Entry(task="pose", data=("people",), source=source))
        assert found and found[1] == place
    with pytest.raises(ValueError, match="derain has no source prompts: "):
        sources_of(DERAIN, "prompts")
    with pytest.raises(ValueError, match=r"lowlight has no source LOL v3: did you mean LOL v[12]"):
        sources_of(LOWLIGHT, "LOL v3")


def test_prompts_begin_with_as_many_pairs_as_the_recipe_counts(tmp_path: Path) -> None:
    """Which is known without the models that make them, too."""
    counted = _plan(tmp_path, Entry(task="style", pairs=40))
    assert counted.why_not.startswith("flux (") and counted.count == 40
    assert counted.source and counted.source.reader == StylePrompts(count=40)
    # More to begin with, since some are rejected: they are not cut again.
    more = _plan(tmp_path, Entry(task="style", pairs=40, options={"count": 60}), count=50)
    assert more.source and more.source.reader == StylePrompts(count=60) and more.count is None


def test_pairs_that_a_dataset_does_not_hold_are_planned_where_models_can_paint_them(tmp_path: Path) -> None:
    write_viton_hd(tmp_path / "VITON-HD")
    entry = Entry(task="tryon", pairs=120_000)
    write_files(tmp_path / "models", {f"sd15-{role}/unet.bin": b"weights" for role in ("inpaint", "tryon")})
    replace(RELEASED, vae="base").write(tmp_path / "models/sd15-tryon")
    painted = _plan(tmp_path, entry, models=str(tmp_path / "models"))
    assert painted.paints and painted.prepared and isinstance(painted.prepared.reader, VitonHd)
    assert painted.prepared.reader.count == 120_000
    published = _plan(tmp_path, entry)
    assert not published.paints and published.prepared and isinstance(published.prepared.reader, VitonHd)
    assert published.prepared.reader.count is None


def test_a_few_photos_are_combined_until_there_are_as_many_pairs_as_are_counted(tmp_path: Path) -> None:
    write_photos(tmp_path / "frames/walk", 4)
    planned = _plan(tmp_path, Entry(task="mimicbrush", data=("frames",), pairs=10))
    assert planned.prepared
    reader = planned.prepared.reader
    assert len(list(reader.items(reader.listing()))) == 10


def test_an_entry_takes_the_options_that_it_can_and_its_own_win(tmp_path: Path) -> None:
    write_rain13k(tmp_path / "Rain13K", 2)
    write_photos(tmp_path / "photos", 2)
    shared = {"size": 32, "keep": "all", "seed": 3, "strength": 9.0, "scale": 0.5}
    pairs = _plan(tmp_path, Entry(task="derain", source="Rain13K", options={"seed": 7}), **shared)
    photos = _plan(tmp_path, Entry(task="derain", data=("photos",), options={"size": 16}), **shared)
    assert pairs.prepared and photos.prepared
    assert (pairs.prepared.values["size"], pairs.prepared.values["seed"]) == (None, 7)
    assert (photos.prepared.values["size"], photos.prepared.values["seed"]) == (16, 3)
    assert {one.prepared.values["keep"] for one in (pairs, photos) if one.prepared} == {"judged"}
    assert pairs.prepared.values["scale"] == 0.5


def test_what_a_task_can_take() -> None:
    assert takes(STYLE, STYLE.bundled, "keep", "all") and not takes(DERAIN, DERAIN.bundled, "keep", "all")
    assert takes(POSE, None, "generator", "flux") and not takes(POSE, None, "generator", "dall-e")
    assert not takes(DERAIN, None, "generator", "flux")
    assert takes(POSE, POSE.prompted, "count", 3) and not takes(POSE, POSE.sources[0], "count", 3)
    assert takes(DERAIN, datasets.PHOTOS, "size", 64) and not takes(DERAIN, datasets.RAIN13K, "size", 64)
    planned = Planned(entry=Entry(task="derain"), task=DERAIN, source=datasets.RAIN13K)
    refuse_untaken({"size": None, "seed": 3}, [planned])
    with pytest.raises(ValueError, match="--size: no dataset of the recipe can take 64"):
        refuse_untaken({"size": 64}, [planned])


def test_options_of_an_entry_become_values() -> None:
    entry = Entry(task="pose", options={"size": "64", "scale": 1, "wait": True, "hold_out": "derain"})
    with pytest.raises(ValueError, match="pose cannot have an option wait of its own"):
        with_parsed_options(entry, POSE)
    entry = replace(entry, options={"size": "64", "scale": 1, "hold_out": "derain", "count": 5})
    assert with_parsed_options(entry, POSE).options == {"size": 64, "scale": 1.0, "hold_out": ["derain"], "count": 5}


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("derain", {"split": "Rain100H"}, "never of the split Rain100H"),
        ("depth", {"palette": "unseen"}, "no training data is drawn in the palette unseen"),
    ],
)
def test_an_entry_makes_nothing_that_is_evaluated_on(task: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_parsed_options(Entry(task=task, options=options), OUR_TASKS[task])
    with_parsed_options(Entry(task="depth", options={"split": "train", "palette": "rainbow"}), OUR_TASKS["depth"])


@dataclass(frozen=True, kw_only=True)
class _Brush:
    name: ClassVar[str] = "brush"
    version: ClassVar[int] = 1
    tool: str = option("hair", "what paints", choices=("hair", "sponge"))

    def __call__(self, pair: Pair, seed: int) -> Pair:
        return pair


@dataclass(frozen=True, kw_only=True)
class _Pen(_Brush):
    tool: str = option("quill", "what writes", choices=("quill", "hair"))


def test_an_option_of_several_tasks_holds_for_those_that_have_the_choice() -> None:
    brush, pen = Task(name="brush", chain=(_Brush(),)), Task(name="pen", chain=(_Pen(),))
    (found,) = options_of_tasks([brush, pen])
    assert (found.name, found.choices) == ("tool", ("hair", "sponge", "quill"))
    assert [[takes(task, None, "tool", value) for task in (brush, pen)] for value in ("hair", "sponge", "quill")] == [
        [True, True],
        [True, False],
        [False, True],
    ]


def test_each_dataset_holds_out_what_concerns_it_and_what_concerns_none_is_refused(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    shared = {"hold_out": ["derain", "lowlight"]}
    planned = [
        _plan(tmp_path, Entry(task=task, data=("photos",)), **shared) for task in ("derain", "lowlight", "denoise")
    ]
    chains = {one.task.name: [link.name for link in one.prepared.task.chain] for one in planned if one.prepared}
    assert chains.keys() == {"derain", "lowlight", "denoise"}
    assert [name for name, chain in chains.items() if "hold_out_examples" in chain] == ["derain", "lowlight"]
    refuse_untaken(shared, planned)
    with pytest.raises(ValueError, match="--hold-out object_edits: no dataset of the recipe has any of it"):
        refuse_untaken({"hold_out": ["derain", "object_edits"]}, planned)
    of_its_own = _plan(tmp_path, Entry(task="denoise", data=("photos",), options={"hold_out": ["derain"]}))
    assert of_its_own.why_not == "--hold-out derain leaves out pairs of derain: denoise has none of them"


def test_who_judges_edits_is_passed_on_only_to_what_has_some(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    shared = {
        "hold_out": ["derain", "object_edits"],
        "hold_out_by": "vlm",
        "vlm": "http://127.0.0.1:9/v1",
        "vlm_model": "m",
    }
    assert _plan(tmp_path, Entry(task="derain", data=("photos",)), **shared).why_not == ""


def test_own_pairs_of_a_file_and_a_map_that_an_entry_writes_in_words_or_as_a_table(tmp_path: Path) -> None:
    row = '{"before": "a.jpg", "after": "b.jpg", "prompt": "p"}\n'
    write_files(tmp_path / "own", {"x.jsonl": row.encode(), "y.jsonl": 2 * row.encode()})
    table: dict[str, Any] = {"input": ["before"], "target": "after", "instruction": "prompt"}
    for given in (
        table,
        [f"{role}={column if isinstance(column, str) else column[0]}" for role, column in table.items()],
    ):
        entry = Entry(task="pairs", data=("own/x.jsonl",), options={"columns": given, "licence": "CC0-1.0"})
        planned = _plan(tmp_path, with_parsed_options(entry, OUR_TASKS["pairs"]))
        assert planned.prepared, planned.why_not
        reader = planned.prepared.reader
        assert isinstance(reader, OwnPairs) and reader.columns == Columns.of(table) and reader.licence == "CC0-1.0"
        assert [item.ref for item in reader.items(reader.listing())] == ["x.jsonl#0"]
        assert planned.place == "own pairs (own/x.jsonl)"
    assert "has the columns before, after, prompt" in _plan(tmp_path, Entry(task="pairs", data=("own",))).why_not
    gone = Entry(task="pairs", data=("own/z.jsonl",), options=entry.options)
    assert "own/z.jsonl is not below" in _plan(tmp_path, gone).why_not
