"""What is fuzzed: each reader with the valid files that its inputs are made from."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image as PILImage

from infra.tiny.chameleon import tiny_config
from manifests.dataset import Dataset, DatasetError
from manifests.images.colour import from_icc, to_srgb
from manifests.images.evaluation import hash_folder, read_guard
from manifests.images.phash import phash
from manifests.images.pixels import decode_rgb, decode_values, orientation, read_header, thumbnail
from manifests.schema import Reject
from manifests.verify.dataset import verify
from manifests.write.tar import Damaged, Walk
from operators.arrange.dense import dense
from operators.base import Reader
from operators.read.column_pairs import OwnPairs
from operators.read.columns import Columns
from operators.read.files import list_files
from operators.read.photos import alone, together
from operators.vlm.answers import read_choice, read_parts
from operators.vlm.responses import Answer, Responses
from pipelines.recipe import read_recipe
from pipelines.run.chain import make_pairs
from pipelines.run.spent import Spent
from pipelines.sources.datasets import LAION_AESTHETICS, MAGICBRUSH
from tests.edit_datasets import EDIT_FIXTURES
from tests.fuzz import seeds
from tests.fuzz.mutate import fit_png, fit_tar
from tests.sources import encode, jpeg, photo
from tests.train.make import make_tokens
from train.data.tokens import BadShard, read_shard
from xprompt_model.vocabulary import Vocabulary

Read = Callable[[bytes], object]


class Fault(Exception):
    """A reader did what no input may make it do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader and what to feed it. `read` returns or raises what users see in one line; all else is a fault."""

    name: str
    seeds: Sequence[bytes]
    read: Read
    fit: Callable[[bytes], bytes] = bytes
    """Makes the checksums of an input right."""
    text: bool = False
    """Whether inputs are text, of which values are changed rather than bytes."""
    weight: int = 1
    """Its share of the inputs."""


def targets(work: Path) -> dict[str, Target]:
    """All targets by name. `work` is a folder for what is written to be read."""
    return {
        target.name: target for target in (*_of_images(), *_of_sources(work), *_of_texts(work), *_of_datasets(work))
    }


@contextmanager
def in_one_line() -> Iterator[None]:
    """What users may be told of an input: a reject, or a ValueError that is one line."""
    try:
        yield
    except Reject:
        pass
    except ValueError as error:
        if type(error) not in (ValueError, DatasetError, BadShard):
            raise
        if "\n" in str(error) or len(str(error)) > 5_000:
            raise Fault(f"its {len(str(error)):,} characters are not one line: {str(error)[:200]!r}") from error


def _of_images() -> Iterator[Target]:
    kinds = {"png": seeds.pngs(), "jpeg": seeds.jpegs(), "tiff": seeds.tiffs(), "image": seeds.other_images()}
    for name, files in kinds.items():
        yield Target(name=name, seeds=files, read=_read_image, fit=fit_png, weight=20)
    yield Target(name="icc", seeds=seeds.profiles(), read=_read_profile, weight=6)


def _read_image(data: bytes) -> None:
    """Every way in which an image is read; each raises Reject alone."""
    ways: tuple[Read, ...] = (
        *(read_header, orientation, decode_rgb, decode_values, thumbnail, phash),
        *(partial(alone, "target"), partial(dense, values="depth_mm"), partial(dense, values="normals")),
        lambda data: together({"input": jpeg(0), "target": data}),
    )
    for way in ways:
        with suppress(Reject):
            way(data)


def _read_profile(data: bytes) -> None:
    colours = from_icc(data)
    pixels = PILImage.fromarray(photo(0)[:8, :8])
    for mode in ("RGB", "L", "CMYK", "LAB"):
        with suppress(Reject):
            to_srgb(pixels.convert(mode), colours)


def _of_sources(work: Path) -> Iterator[Target]:
    laion, hub = LAION_AESTHETICS.reader, MAGICBRUSH.reader
    tars = seeds.tars()
    beside = {"00000.tar": tars[0], "00000.parquet": seeds.image_list()}

    def source(reader: Reader, file: str, files: Mapping[str, bytes] = {}) -> Read:
        return lambda data: _read_source(work, reader, {**files, file: data})

    yield Target(name="laion-tar", seeds=tars, read=source(laion, "00000.tar", beside), fit=fit_tar, weight=12)
    yield Target(name="laion-list", seeds=seeds.lists(), read=source(laion, "00000.parquet", beside), weight=12)
    yield Target(name="hub", seeds=seeds.hub_files(), read=source(hub, "data/train-00000-of-00001.parquet"), weight=12)
    pairs = OwnPairs(columns=Columns.of("input=input target=target instruction=say group=group"), files=("*", "*.json"))
    images = {"a.jpg": jpeg(0), "b.png": encode(photo(1))}
    for name, file, of_pairs in (
        ("pairs-json", "x.jsonl", seeds.pair_lines()),
        ("pairs-list", "x.json", seeds.pair_list()),
        ("pairs-csv", "x.csv", seeds.pair_values()),
    ):
        yield Target(name=name, seeds=of_pairs, read=source(pairs, file, images), text=True, weight=8)
        yield Target(name=f"{name}-bytes", seeds=of_pairs, read=source(pairs, file, images), weight=4)
    yield Target(name="pairs-tar", seeds=seeds.pair_tars(), read=source(pairs, "0.tar"), fit=fit_tar, weight=8)
    yield Target(name="pairs-parquet", seeds=seeds.pair_files(), read=source(pairs, "x.parquet", images), weight=8)
    listed = {
        f"{side}/00000.{kind}": beside[f"00000.{kind}"] for side in ("input", "target") for kind in ("tar", "parquet")
    }
    downloads = replace(pairs, columns=Columns.of("input=input target=target instruction=caption"))
    yield Target(
        name="pairs-downloads", seeds=seeds.lists(), read=source(downloads, "input/00000.parquet", listed), weight=4
    )
    yield from _of_edit_datasets(work)
    yield Target(name="evaluation", seeds=seeds.hub_files(), read=partial(_read_evaluation, work), weight=6)


def _of_edit_datasets(work: Path) -> Iterator[Target]:
    """A record of each shape of rows: what it is told by is published, so that others may send such files."""
    for name, file in _EDIT_TABLES.items():
        source, write, _ = EDIT_FIXTURES[name]
        with tempfile.TemporaryDirectory(dir=work) as folder:
            write(Path(folder))
            files = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.*")}
        others = {path: data for path, data in files.items() if path != file}
        text = not file.endswith(".parquet")
        yield Target(
            name=f"edits-{name}",
            seeds=[files[file]],
            read=partial(_read_edits, work, source.reader, file, others),
            text=text,
            weight=3,
        )


_EDIT_TABLES = {
    "omniedit": "data/train-00000-of-00001.parquet",
    "subjects200k": "data/train-00000-of-00032.parquet",
    "imgedit_turns": "Parquet/version_backtracking_part0.parquet",
    "seed_turns": "multi_turn_editing/annotations/split_0001.jsonl",
    "pico_banana_preference": "preference_with_local_source_image_path.jsonl",
    "pico_banana_turns": "multi-turn_with_local_source_image_path.jsonl",
    "gpt_image_edit": "training_json/hqedit_gpt_edit.json",
}
"""Layouts of edit datasets, by the names of their fixtures: one for each shape, and the file that is changed."""


def _read_edits(work: Path, reader: Reader, file: str, others: Mapping[str, bytes], data: bytes) -> None:
    _read_source(work, reader, {**others, file: data})


def _read_source(work: Path, reader: Reader, files: Mapping[str, bytes]) -> None:
    """A source, from its listing to its pairs, as a worker makes them. Nothing that a file holds ends a unit."""
    with _folder(work, files) as root, in_one_line():
        if located := reader.located(str(root), list_files(str(root))):
            items = list(located.items(listing := located.listing()))
            if items:
                located.suffixes(items)
            for part in ("told", "left_out", "missing"):
                if tell := getattr(located, part, None):
                    tell(listing)
            made = make_pairs(located, "task", 0, items, (), Spent())
            if unforeseen := [
                str(one) for one in made if getattr(getattr(one, "reject", None), "reason", "") == "error"
            ]:
                raise Fault(f"an error that no reader foresaw: {unforeseen[0]}")


def _read_evaluation(work: Path, data: bytes) -> None:
    with _folder(work, {"set/x.parquet": data}) as root, in_one_line():
        hash_folder(str(root / "set"), "set", str(root / "guard.parquet"))


def _of_texts(work: Path) -> Iterator[Target]:
    yield Target(name="recipe", seeds=seeds.recipes(), read=partial(_read_recipe, work), text=True, weight=6)
    yield Target(name="answer", seeds=seeds.said(), read=_read_answer, text=True, weight=6)
    yield Target(name="responses", seeds=[_responses(work)], read=partial(_read_responses, work), text=True, weight=6)


def _read_recipe(work: Path, data: bytes) -> None:
    with _folder(work, {"recipe.toml": data}) as root, in_one_line():
        read_recipe(str(root / "recipe.toml"))


def _read_answer(data: bytes) -> None:
    answer = Answer(text=data.decode("utf-8", "replace"), model="x", finish_reason="stop", tokens_in=1, tokens_out=1)
    with in_one_line():
        read_parts(answer, {"relation": ("difference",), "input caption": ("caption",), "same": ()})
    with in_one_line():
        read_choice(answer, ("yes", "no"))


KEY = "a" * 64


def _responses(work: Path) -> bytes:
    """A file of two answers."""
    from manifests.answers import request_key

    with tempfile.TemporaryDirectory(dir=work) as folder:
        kept = Responses(folder)
        for number in range(2):
            request = {"model": "x", "text": f"what is it, {number}?", "images": [KEY]}
            answer = Answer(text="a cat", model="x", finish_reason="stop", tokens_in=9, tokens_out=9)
            kept.add(request_key(request), request, answer)
        kept.close()
        return b"".join(path.read_bytes() for path in Path(folder).glob("*.jsonl"))


def _read_responses(work: Path, data: bytes) -> None:
    """A damaged line is an OSError that names it: the machine's or somebody's fault, not a pair's."""
    with _folder(work, {"000000-0123456789ab.jsonl": data}) as root:
        try:
            kept = Responses(str(root))
            for key in list(kept._index):
                kept.get(key.hex())
        except OSError as error:
            if "\n" in str(error):
                raise Fault(f"not one line: {str(error)[:200]!r}") from error


def _of_datasets(work: Path) -> Iterator[Target]:
    root = work / "derain"
    make_tokens(str(root), units=1, pairs=2)
    unit = "derain-000000"
    files = {
        "plan": "plan.parquet",
        "manifest": f"manifest/{unit}.parquet",
        "rejects": f"rejects/{unit}.parquet",
        "shard": f"shards/{unit}.tar",
        "token-shard": f"tokens/{unit}.tar",
        "token-table": f"tokens/{unit}.parquet",
        "description": "dataset.json",
    }
    vocabulary = Vocabulary.from_config(tiny_config())
    for name, file in files.items():
        data = (root / file).read_bytes()
        hard = [seeds.lying(data), seeds.lying(data, 2**31 - 1)] if file.endswith(".parquet") else []
        yield Target(
            name=name,
            seeds=[data, data, *hard],
            read=partial(_read_dataset, root, file, unit, vocabulary),
            fit=fit_tar if file.endswith(".tar") else bytes,
            text=file.endswith(".json"),
        )
    guard = work / "guard.parquet"
    hash_folder(str(root), "set", str(guard))
    yield Target(name="guard", seeds=[guard.read_bytes()], read=_read_guard, weight=6)


def _read_guard(data: bytes) -> None:
    with in_one_line():
        read_guard(data, "guard.parquet")


def _read_dataset(root: Path, file: str, unit: str, vocabulary: Vocabulary, data: bytes) -> None:
    """A finished dataset one of whose files is another: `verify`, and all that reads datasets."""
    sound = (root / file).read_bytes()
    (root / file).write_bytes(data)
    try:
        for finding in verify(str(root)):
            if "\n" in finding.message:
                raise Fault(f"a finding of several lines: {finding.message[:200]!r}")
        dataset = Dataset(str(root))
        with in_one_line():
            dataset.counts()
        with in_one_line():
            dataset.unit(dataset.plan(), 0)
        with in_one_line():
            dataset.to_arrow()
        with in_one_line():
            for pair in dataset.pairs():
                _ = pair.record
                for example in pair.examples:
                    with in_one_line():
                        example.context()
                for role in pair.roles:
                    with in_one_line():
                        pair.image(role)
        with in_one_line():
            read_shard(dataset, unit, vocabulary)
        if file.endswith(".tar"):
            with suppress(Damaged):
                list(Walk(io.BytesIO(data)).members())
    finally:
        (root / file).write_bytes(sound)


@contextmanager
def _folder(work: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """A new folder of files: readers keep what they have read by its path."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        for name, data in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        yield Path(folder)
