"""Ranked in-context examples of datasets: what leaks is planted, and never chosen."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.dataset import Dataset, DatasetError, plan_table
from manifests.images.evaluation import hash_folder
from manifests.images.phash import distance, phash
from manifests.images.pixels import Pixels, stored
from manifests.schema import Example, Item, Pair, Step, canonical_json
from manifests.verify.dataset import verify
from manifests.write.finish import finish
from manifests.write.writer import UnitWriter
from operators.retrieve import contexts
from operators.retrieve.contexts import By, Choosing, assign_ranked, main
from operators.shared.palettes import UNSEEN_PALETTE
from tests.datasets import examples, sha256_by_file
from tests.operators.words import Words

HONEST = ["honest 1", "honest 2", "honest 3"]
"""What is left for the pair that is asked for, in whichever way it is chosen."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A pair of a dataset that is made here."""

    name: str
    image: bytes
    target: bytes
    group: str
    text: str = "remove the cat"
    style: str = "Cubism"
    key: str | None = None
    inputs: int = 1
    made_by: str = "style_prompts"


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def picture(seed: int) -> Pixels:
    """64 x 64 with blocks of colour: hashes of two are some 32 bits apart."""
    small = np.random.default_rng(seed).integers(0, 200, (8, 8, 3))
    return np.kron(small, np.ones((8, 8, 1), np.int64)).astype(np.uint8)


def flat(level: int) -> bytes:
    return png(np.full((64, 64, 3), level, np.uint8))


def told(name: str, seed: int, group: str, text: str = "remove the cat", style: str = "Cubism") -> Told:
    return Told(
        name=name, image=png(picture(seed)), target=png(picture(seed + 100)), group=group, text=text, style=style
    )


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def make(
    folder: Path, pairs: Sequence[Told], *, split: str = "", config: Mapping[str, object] | None = None, shard: int = 4
) -> Dataset:
    """A finished dataset of these pairs, in their order."""
    dataset = Dataset(str(folder))
    items = [Item(ref=pair.name, files=(pair.name,), index=number) for number, pair in enumerate(pairs)]
    units = [items[start : start + shard] for start in range(0, len(items), shard)]
    whole = {"seed": 0, **({"source": {"split": split}} if split else {}), **(config or {})}
    fingerprint = hashlib.sha256(canonical_json([folder.name, [pair.name for pair in pairs]]).encode()).hexdigest()
    plan = dataset.write_plan(folder.name, whole, fingerprint, plan_table(units))
    by_name = {pair.name: pair for pair in pairs}
    for unit in range(plan.units):
        suffixes = {"input": "png", "input_2": "png", "target": "png", "mask": "png"}
        with UnitWriter.open(dataset, plan, unit, prototype_task="editing", suffixes=suffixes) as writer:
            for item in dataset.unit(plan, unit).items:
                writer.add(pair_of(by_name[item.ref]))
        writer.commit({}, 2 * len(writer.stored), {})
    finish(dataset, plan, versions={}, licences={"edits": "CC0"})
    return dataset


def pair_of(one: Told) -> Pair:
    images = [stored("input", one.image), stored("target", one.target), stored("mask", png(picture(999)))]
    if one.inputs == 2:
        images.append(stored("input_2", png(picture(777 + len(one.name)))))
    inputs = ("input", "input_2")[: one.inputs]
    return Pair(
        key=key_of(one.key or one.name),
        source="edits",
        source_ref=one.name,
        licence="CC0",
        images=tuple(images),
        group=one.group,
        examples=(
            Example(direction="forward", kind="generate", inputs=inputs, output="target", instruction=one.text),
            Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction="undo it"),
        ),
        steps=(Step(operator=one.made_by, version=1, params={"style": one.style}),),
    )


def chosen(dataset: Dataset) -> dict[tuple[str, str], list[tuple[str, str | None, float | None]]]:
    """By name and direction of each example the ranked names, places and scores."""
    return {
        (row["source_ref"], row["direction"]): [(one["pair"], one["dataset"], one["score"]) for one in row["contexts"]]
        for row in examples(dataset)
    }


def names(dataset: Dataset, *others: Dataset) -> dict[str, str]:
    return {row["pair"]: row["source_ref"] for one in (*others, dataset) for row in examples(one)}


def planted() -> tuple[list[Told], list[Told]]:
    """The pairs of two datasets: what "asked" may be shown, and every kind of leak. A brighter, a smaller and a copied
    version of its image are the nearest by image, and all have its very instruction."""
    asked = told("asked", 1, "photo 1")
    brighter = png(np.clip(picture(1).astype(int) + 9, 0, 255).astype(np.uint8))
    smaller = png(np.asarray(PILImage.fromarray(picture(1)).resize((48, 48), PILImage.Resampling.LANCZOS)))
    mirrored = png(picture(101)[:, ::-1])
    assert {distance(phash(asked.image) or "", phash(near) or "") for near in (brighter, smaller)} <= {0, 1, 2, 3, 4}
    assert distance(phash(asked.target) or "", phash(mirrored) or "") > 16
    here = [
        asked,
        told("same group", 2, "photo 1"),
        replace(told("near input", 3, "photo 3"), image=brighter),
        replace(told("near target", 4, "photo 4"), target=smaller),
        told("evaluation", 5, "photo 5"),
        told("honest 1", 6, "photo 6"),
        told("honest 2", 7, "photo 7", text="remove the small cat"),
        replace(told("flat", 8, "photo 8"), image=flat(3), target=flat(9)),
    ]
    there = [
        replace(asked, name="copy", group="elsewhere"),
        replace(asked, name="swapped", group="elsewhere 2", image=asked.target, target=asked.image),
        replace(told("same key", 9, "elsewhere 3"), key="asked"),
        told("honest 3", 10, "photo 10"),
        replace(told("flat copy", 11, "photo 11"), image=flat(9), target=flat(3)),
        replace(told("two inputs", 12, "photo 12"), inputs=2),
        replace(told("mirrored target", 13, "photo 13"), target=mirrored),
        told("evaluation mirrored", 14, "photo 14"),
        replace(told("flat answer", 15, "photo 15"), target=flat(9)),
        replace(told("flat input", 16, "photo 16"), image=flat(3)),
    ]
    return here, there


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset, str]:
    """Both datasets, and a guard file of an evaluation set, whose image was cut at an edge and saved as a JPEG."""
    root = tmp_path_factory.mktemp("planted")
    here, there = planted()
    (root / "evaluation").mkdir()
    PILImage.fromarray(picture(5)).resize((80, 80)).save(root / "evaluation/1.jpg", quality=95)
    PILImage.fromarray(picture(14)[:, ::-1]).save(root / "evaluation/2.png")
    hash_folder(str(root / "evaluation"), "bench", str(root / "guard.parquet"))
    return make(root / "here", here), make(root / "there", there), str(root / "guard.parquet")


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("k", [1, 2, 16])
def test_what_leaks_is_never_chosen(data: tuple[Dataset, Dataset, str], by: By, k: int) -> None:
    here, there, guard = data
    choosing = Choosing(k=k, by=by, texts=Words(), guard=guard)
    report = assign_ranked(here, here.plan(), choosing, databases=[there, here])
    known, found = names(here, there), chosen(here)
    for direction in ("forward", "reverse"):
        ranked = [known[pair] for pair, _, _ in found["asked", direction]]
        more = {"two inputs"} if direction == "reverse" else set()
        allowed = {*HONEST, "flat", "flat answer", "flat input", *more}
        # The flat pair and its copy are one: of two that are the same, one is offered, that of the lower key.
        ranked = ["flat" if name == "flat copy" else name for name in ranked]
        assert set(ranked) <= allowed and len(ranked) == len(set(ranked)) == min(k, len(allowed))
        flats = {known[pair] for pair, _, _ in found["flat", direction]}
        assert not flats & {"flat", "flat copy", "flat answer", "flat input"}
    for of in found.values():
        assert not {known[pair] for pair, _, _ in of} & {"evaluation", "evaluation mirrored"}
    places = {place for of in found.values() for _, place, _ in of}
    assert places <= {None, "there"}
    assert report.left_out["with an image of an evaluation set"] == 2
    if k == 16 and by not in (By.SEEDED, By.GROUP):
        assert all(report.passed.values()), "each guard had something to do"
    assert list(verify(here.url)) == []


@pytest.mark.parametrize("by", By)
def test_neither_the_order_of_shards_nor_of_databases_matters(tmp_path: Path, by: By) -> None:
    here, there = planted()
    more = [told(f"more {number}", 20 + number, f"photo {number % 3}", "remove the dog") for number in range(5)]
    found = []
    for number, (shard, turn) in enumerate([(2, 1), (5, -1)]):
        root = tmp_path / str(number)
        datasets = [make(root / "here", here[::turn], shard=shard), make(root / "there", there[::turn], shard=shard)]
        datasets.append(make(root / "more", more[::turn], shard=shard))
        choosing = Choosing(k=4, by=by, texts=Words(), diversity=0.5)
        assign_ranked(datasets[0], datasets[0].plan(), choosing, databases=datasets[::turn])
        found.append(chosen(datasets[0]))
    assert found[0] == found[1]
    assert {place for of in found[0].values() for _, place, _ in of} == {None, "there", "more"}


def test_a_test_split_is_offered_to_nothing_but_itself(tmp_path: Path) -> None:
    here, there = planted()
    train, dev, test = (
        make(tmp_path / name, pairs, split=split)
        for name, pairs, split in (("train", here, ""), ("dev", there, "dev"), ("test", here[1:], "test"))
    )
    for asking, database in ((train, test), (train, dev), (test, dev), (dev, test)):
        for by in By:
            with pytest.raises(DatasetError, match=r"no training data has examples of it|neither has examples of the"):
                assign_ranked(asking, asking.plan(), Choosing(k=4, by=by, texts=Words()), databases=[database])
    assign_ranked(dev, dev.plan(), Choosing(k=2, texts=Words()), databases=[train])
    assert {place for of in chosen(dev).values() for _, place, _ in of} == {"train"}
    drawn = [{"name": "colour_dense", "palette": UNSEEN_PALETTE}]
    unseen = make(tmp_path / "unseen", [told("unseen", 20, "photo 20")], config={"operators": drawn})
    with pytest.raises(DatasetError, match="to evaluate on: no training data has examples of it"):
        assign_ranked(train, train.plan(), Choosing(texts=Words()), databases=[train, unseen])
    assign_ranked(unseen, unseen.plan(), Choosing(texts=Words()), databases=[train])
    assert {place for of in chosen(unseen).values() for _, place, _ in of} == {"train"}


@pytest.mark.parametrize("by", By)
def test_what_a_dataset_holds_out_it_is_not_shown_either(tmp_path: Path, by: By) -> None:
    link = {"name": "hold_out_edits", "version": 3, "novel_task": "object_edits", "by": "rules"}
    texts = ["make it winter", "turn it into an oil painting", "make the sky pink"]
    kept = make(
        tmp_path / "kept",
        [told(f"kept {n}", n, f"photo {n}", text) for n, text in enumerate(texts)],
        config={"operators": [link]},
    )
    pairs = [told("removes", 10, "photo 10"), told("adds", 11, "photo 11", "add a red hat to the dog")]
    other = make(tmp_path / "other", [*pairs, told("paints", 12, "photo 12", "turn it into a watercolour")])
    report = assign_ranked(kept, kept.plan(), Choosing(k=16, by=by, texts=Words()), databases=[kept, other])
    known = names(kept, other)
    assert {known[pair] for of in chosen(kept).values() for pair, _, _ in of} == {
        *(f"kept {number}" for number in range(3)),
        "paints",
    }
    assert report.left_out["of a novel task that is held out"] == 2
    # A dataset that holds nothing out is shown all of them.
    assign_ranked(other, other.plan(), Choosing(k=16, by=by, texts=Words()), databases=[kept, other])
    assert set(known.values()) == {known[pair] for of in chosen(other).values() for pair, _, _ in of}


def test_an_example_held_out_by_kind_is_not_offered(tmp_path: Path) -> None:
    """Paper section 4.4: derain's forward examples are removed, its reverse ones stay."""
    link = {"name": "hold_out_examples", "novel_task": "derain", "examples": [["forward", "generate"]]}
    pairs = [told(f"a {n}", n, f"photo {n}") for n in range(2)]
    asking = make(tmp_path / "a" / "derain", pairs, config={"operators": [link]})
    database = make(tmp_path / "b" / "derain", [told(f"b {n}", 5 + n, f"photo {5 + n}") for n in range(3)])
    assign_ranked(asking, asking.plan(), Choosing(k=4, texts=Words()), databases=[database])
    assert {(direction, len(of)) for (_, direction), of in chosen(asking).items()} == {("forward", 0), ("reverse", 3)}


def test_a_group_is_a_style(tmp_path: Path) -> None:
    pairs = [
        told(f"{style} {n}", 10 * n + len(style), f"{style} {n}", style=style)
        for style in ("Mosaic", "Sketching")
        for n in range(4)
    ]
    styles = make(tmp_path / "styles", pairs)
    assign_ranked(styles, styles.plan(), Choosing(k=2, by=By.GROUP))
    known = names(styles)
    for (name, _), of in chosen(styles).items():
        assert len(of) == 2 and {known[pair].split()[0] for pair, _, _ in of} == {name.split()[0]}
        assert {score for _, _, score in of} == {None}
    plain = make(tmp_path / "plain", [replace(pair, style="") for pair in pairs])
    with pytest.raises(DatasetError, match="records neither styles nor poses nor sub-tasks"):
        assign_ranked(plain, plain.plan(), Choosing(by=By.GROUP))


def test_persons_of_one_pose_are_shown_with_each_other_and_no_person_twice(tmp_path: Path) -> None:
    """Paper section 4.5: what they have in common is the first person's picture, which all of them have."""
    persons = [
        replace(
            told(f"{pose} {n}", 10 * n + pose, f"pose {pose}"),
            image=png(picture(1_000 + pose)),
            inputs=0,
            made_by="person_prompts",
        )
        for pose in range(2)
        for n in range(4)
    ]
    persons.append(
        replace(persons[0], name="0 again", target=png(np.clip(picture(100).astype(int) + 9, 0, 255).astype(np.uint8)))
    )
    dataset = make(tmp_path / "persons", persons, config={"in_context": [["forward", "generate"]]})
    report = assign_ranked(dataset, dataset.plan(), Choosing(k=3, by=By.GROUP))
    assert report.sizes == {3: 9}
    known = names(dataset)
    found = {
        name: {known[pair] for pair, _, _ in of}
        for (name, direction), of in chosen(dataset).items()
        if direction == "forward"
    }
    assert all({other[0] for other in others} == {name[0]} for name, others in found.items())
    assert found["0 0"] == found["0 again"] == {"0 1", "0 2", "0 3"}
    for by in (By.INSTRUCTION, By.IMAGE, By.SEEDED):
        with pytest.raises(DatasetError, match="its contexts are of the same group"):
            assign_ranked(dataset, dataset.plan(), Choosing(by=by, texts=Words()))


def test_images_are_compared_and_both_is_the_mean(data: tuple[Dataset, Dataset, str]) -> None:
    here, there, _ = data
    scores = {}
    for by in (By.INSTRUCTION, By.IMAGE, By.BOTH):
        assign_ranked(here, here.plan(), Choosing(k=16, by=by, texts=Words(), diversity=0), databases=[there, here])
        scores[by] = {pair: score or 0.0 for pair, _, score in chosen(here)["asked", "forward"]}
    known = names(here, there)
    assert set(scores[By.IMAGE]) == set(scores[By.BOTH])
    for pair, score in scores[By.BOTH].items():
        assert score == pytest.approx((scores[By.IMAGE][pair] + scores[By.INSTRUCTION][pair]) / 2, abs=3e-6)
    number = {pair.name: n for n, pair in enumerate([*planted()[0], *planted()[1]])}
    by_hand = {}
    for pair in scores[By.IMAGE]:
        told_pair = [*planted()[0], *planted()[1]][number[known[pair]]]
        one, other = (
            np.asarray(PILImage.open(io.BytesIO(image)).resize((8, 8), PILImage.Resampling.BICUBIC))
            .astype(float)
            .ravel()
            for image in (planted()[0][0].image, told_pair.image)
        )
        by_hand[pair] = np.corrcoef(one, other)[0, 1] if other.std() else 0.0
    assert scores[By.IMAGE] == pytest.approx(by_hand, abs=0.05)


def test_again_changes_no_byte_and_embeds_nothing(data: tuple[Dataset, Dataset, str]) -> None:
    here, there, guard = data
    choosing = Choosing(k=3, by=By.BOTH, texts=Words(), guard=guard)
    assign_ranked(here, here.plan(), choosing, databases=[there, here])
    before = sha256_by_file(Path(here.url)), sha256_by_file(Path(there.url))
    assert assign_ranked(here, here.plan(), choosing, databases=[here, there]).embedded == 0
    assert (sha256_by_file(Path(here.url)), sha256_by_file(Path(there.url))) == before
    assert {"embeddings/words.parquet", "embeddings/layout.parquet"} <= before[0].keys()


def test_the_command_reports_and_refuses(
    data: tuple[Dataset, Dataset, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there, guard = data
    monkeypatch.setattr(contexts, "MiniLM", lambda device: Words())
    asked = [here.url, "--k", "3", "--diversity", "0.5", "--database", here.url, there.url, "--guard", guard]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "16 examples have an in-context example, 0 have none" in said
    assert "2 with an image of an evaluation set" in said and "\\x0a" not in said
    assert said.count("\n") == 5
    for wrong, line in (
        (["--k", "0"], "an example may have 1 to 16 in-context examples, not 0"),
        (["--k", "17"], "not 17"),
        (["--diversity", "1"], "the diversity is at least 0 and less than 1, not 1.0"),
        (["--guard", f"{here.url}/plan.parquet"], "is not a guard file"),
        (["--guard", f"{here.url}/none.parquet"], "none.parquet"),
    ):
        assert main([here.url, *wrong]) == 2
        error = capsys.readouterr().err
        assert error.startswith("xprompt contexts: ") and line in error and error.count("\n") == 1


def test_several_datasets_each_get_examples_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contexts, "MiniLM", lambda device: Words())
    pairs = [told(f"pair {n}", n, f"photo {n}") for n in range(6)]
    one, other, third = (make(tmp_path / name, pairs[2 * n :][:2]) for n, name in enumerate(("one", "other", "third")))
    test = make(tmp_path / "test", pairs[:1], split="test")
    before = [sha256_by_file(Path(dataset.url)) for dataset in (one, other)]
    for wrong, line in (
        (test.url, "is of the split test"),
        (one.url, "is named twice"),
        (f"{one.url}/no", "is not a dataset"),
    ):
        assert main([one.url, other.url, wrong, "--k", "4"]) == 2
        assert line in capsys.readouterr().err
    assert [sha256_by_file(Path(dataset.url)) for dataset in (one, other)] == before
    asked = [one.url, other.url, third.url, "--k", "16"]
    assert main(asked) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.endswith(":")] == [f"{dataset.url}:" for dataset in (one, other, third)]
    known = names(one, other, third)
    for dataset in (one, other, third):
        for (name, _), of in chosen(dataset).items():
            assert {known[pair] for pair, _, _ in of} == {pair.name for pair in pairs} - {name}
        assert list(verify(dataset.url)) == []
    files = [sha256_by_file(Path(dataset.url)) for dataset in (one, other, third)]
    assert main([*asked[2::-1], "--k", "16"]) == 0
    assert [sha256_by_file(Path(dataset.url)) for dataset in (one, other, third)] == files
    assert main([one.url, other.url, "--database", third.url]) == 0
    assert {place for dataset in (one, other) for of in chosen(dataset).values() for _, place, _ in of} == {"third"}
