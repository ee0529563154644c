"""Whatever lies in a folder, in whatever layout and state: a run ends in order, and accounts for every file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import webdataset
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from manifests.dataset import Dataset
from manifests.schema import DatasetError
from manifests.verify.dataset import verify
from operators.read.files import DATASETS, HIDDEN, Listing
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.task import Task
from tests.commands import run, shards_command
from tests.datasets import Row, examples, finish_job, plan_job, rejects
from tests.sources import bomb, encode, encode_image, jpeg, photo, rainy_jpeg, real_profile, turned_jpeg

LINK, PIPE, FOLDER = b"link", b"pipe", b"folder"
"""In the place of a file's bytes: what it is that is no file. Of links one is dangling and one leads to a photo."""

FOLDERS = (
    *("", "", "input", "target", "rain", "norain", "train/rain", "train/norain", "Input", "Rain13K/input"),
    *("Rain13K/target", "GOPR0372_07_00/blur", "GOPR0372_07_00/sharp", "train/GOPR0372_07_00/blur", "low", "high"),
    *("our485/low", "our485/high", "a/b/c", "été", "with space", ".hidden", "new\nline", "caf\udce9", "DFWB/DIV2K"),
    *("00000", "data", "expertC", "images", "__MACOSX", "test/input", "*", "~", "-x"),
)
STEMS = (
    *("1", "2", "0001", "rain-1", "norain-1", "rain-001", "photo", "été–雨", "caf\udce9", "new\nline", "a.b.c", "%s"),
    *(
        " ",
        "-f",
        "x" * 200,
        "000000000",
        "#1",
        "a#0",
        "a+b",
        ".hidden",
        "..x",
        "\\xe9",
        "\t",
        "'",
        '"',
        "＊",
        "1.input",
    ),
)
ENDINGS = (*(".jpg",) * 3, *(".png",) * 2, ".JPG", ".jpeg", ".txt", "", ".tif", ".webp", ".parquet", ".tar", ".jpg.jpg")


@cache
def contents() -> Mapping[str, bytes]:
    """What may be in a file, by its name in reports: photos in every state, and what is none."""
    image, whole = PILImage.fromarray(photo(3)), encode(photo(2))
    return {
        **{f"photo {index}": jpeg(index) for index in range(5)},
        **{f"rainy {index}": rainy_jpeg(index) for index in range(3)},
        "turned": turned_jpeg(photo(4), 6),
        "cut": jpeg(0)[:-700],
        "cut png": whole[:-200],
        "flipped": whole[:500] + bytes([whole[500] ^ 1]) + whole[501:],
        "1 x 1": encode(photo(0)[:1, :1]),
        "other size": encode(photo(5, 64, 36), "JPEG"),
        "clear": encode_image(image.convert("RGBA")),
        "cmyk": encode_image(image.convert("CMYK"), "JPEG"),
        "palette": encode_image(image.quantize(16)),
        "of Adobe RGB": encode_image(image, "JPEG", icc_profile=real_profile("rocket.jpg")),
        "of an odd profile": encode_image(image, "JPEG", icc_profile=b"no profile" * 30),
        "float": encode_image(image.convert("F"), "TIFF"),
        "webp": encode_image(image, "WEBP"),
        "bomb": bomb(),
        "empty": b"",
        "text": b"not an image\n",
        "zeros": bytes(700),
        "link": LINK,
        "pipe": PIPE,
        "folder": FOLDER,
    }


PLAIN = [stem for stem in STEMS if "rain" not in stem and "input" not in stem]
"""Names that say nothing of pairs, beside which a folder is one of photos."""

KINDS = st.one_of(st.sampled_from(["photo 0", "photo 1", "photo 2", "photo 3"]), st.sampled_from(sorted(contents())))
PATHS = st.builds(
    lambda folder, stem, end: os.path.join(folder, stem + end), *map(st.sampled_from, (FOLDERS, STEMS, ENDINGS))
)
TREES = st.dictionaries(PATHS, KINDS, max_size=14)
PHOTOS = st.dictionaries(
    st.builds(
        lambda folder, stem, end: os.path.join(folder, stem + end),
        *map(
            st.sampled_from,
            (["", "a", "a/b", "été", "caf\udce9", ".hidden", "__MACOSX", "with space"], PLAIN, ENDINGS[:8]),
        ),
    ),
    KINDS,
    min_size=3,
    max_size=14,
)
PAIRS = st.one_of(
    st.sampled_from([(f"rainy {index}", f"photo {index}") for index in range(3)]), st.tuples(KINDS, KINDS)
)
PAIRED = st.builds(
    lambda sides, pairs: {
        f"{folder}/{stem}.jpg": kind for stem, two in pairs.items() for folder, kind in zip(sides, two, strict=True)
    },
    st.sampled_from([("input", "target"), ("Rain13K/input", "Rain13K/target"), ("our485/low", "our485/high")]),
    st.dictionaries(st.sampled_from(STEMS), PAIRS, min_size=1, max_size=6),
)
FOLDER_OF = st.one_of(PHOTOS, PAIRED, PAIRED, TREES, st.builds(lambda one, other: {**one, **other}, PAIRED, TREES))
TASK = st.sampled_from([OUR_TASKS[name] for name in ("derain", "lowlight", "deblur")])


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(FOLDER_OF, TASK)
def test_a_run_accounts_for_every_file(tree: Mapping[str, str], task: Task) -> None:
    with written(tree) as folder:
        data, out = folder / "data", folder / "out"
        try:
            job = plan_job(out, data, task=task)
        except (ValueError, DatasetError) as error:
            event("refused")
            if type(error) in (ValueError, DatasetError) and printable(str(error)):
                return
            raise
        items = [item for unit in range(job.plan.units) for item in job.dataset.unit(job.plan, unit).items]
        for unit in range(job.plan.units):
            make_unit(job, unit, Spent())
        finish_job(job)
        dataset = job.dataset
        kept, refused = pairs_of(dataset), rejects(dataset)
        event("kept some" if kept else "kept none")
        assert not {row["reason"] for row in refused} & {"error"}, refused
        told = Counter([row["source_ref"] for row in (*kept, *refused)])
        assert told == Counter(item.ref for item in items)
        assert all(count == 1 for count in told.values())
        assert_nothing_is_lost(Path(job.reader.root), job.reader.listing())
        assert_as_they_were(dataset, kept, Path(job.reader.root), {item.ref: item.files for item in items})
        assert list(verify(dataset.url)) == []
        assert_readable(dataset, kept)


def test_datasets_reads_what_the_property_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One tree with all names and contents: Hugging Face's reader takes too long for every example."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    names = sorted(contents())
    tree = {f"{stem}{number}.jpg": names[number % len(names)] for number, stem in enumerate(PLAIN * 2)}
    with written(tree) as folder:
        job = plan_job(folder / "out", folder / "data", task=OUR_TASKS["derain"])
        for unit in range(job.plan.units):
            make_unit(job, unit, Spent())
        shards = {"train": [str(path) for path in sorted(Path(job.dataset.url, "shards").iterdir())]}
        rows = datasets.load_dataset("webdataset", data_files=shards, split="train", streaming=True)
        kept = pairs_of(job.dataset)
        assert [row["json"]["source_ref"] for row in rows] == [row["source_ref"] for row in kept]
        assert len(kept) > 10


@pytest.mark.parametrize(
    ("tree", "status"),
    [
        (
            {"1.jpg": "photo 1", "caf\udce9.jpg": "photo 2", "new\nline.jpg": "cut", "p.jpg": "pipe", "e.jpg": "empty"},
            0,
        ),
        ({"input/1.jpg": "rainy 0", "input/2.jpg": "rainy 1"}, 2),
        ({"1.jpg": "text", "2.jpg": "empty", "3.jpg": "link"}, 3),
    ],
)
def test_the_command_ends_in_order(tree: Mapping[str, str], status: int) -> None:
    with written(tree) as folder:
        done = run(shards_command(folder / "data", folder / "out"))
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == status, done.stderr


@contextmanager
def written(tree: Mapping[str, str]) -> Iterator[Path]:
    """A folder with `data` of these files, where they can be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for path, kind in tree.items():
            full, content = folder / "data" / path, contents()[kind]
            try:
                full.parent.mkdir(parents=True, exist_ok=True)
                if content == LINK:
                    full.symlink_to("nowhere")
                elif content == PIPE:
                    os.mkfifo(full)
                elif content == FOLDER:
                    full.mkdir()
                else:
                    full.write_bytes(content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                pass  # a file is there, where another one needs a folder
        yield folder


def pairs_of(dataset: Dataset) -> list[Row]:
    """The first row of each pair."""
    return [*{row["pair"]: row for row in reversed(examples(dataset))}.values()][::-1]


def printable(line: str) -> bool:
    """Whether a message can be printed in one line. The names of files may have line ends in them."""
    line.encode()  # no half of a surrogate pair
    return "Traceback" not in line and len(line.splitlines()) <= 1


def assert_nothing_is_lost(root: Path, listing: Any) -> None:
    """Each file below a root is in its listing, or in the counts of what is passed over."""
    assert isinstance(listing, Listing)
    found, hidden = 0, 0
    for _, folders, names in os.walk(root):
        left = [name for name in (*folders, *names) if name.startswith(".") or name == "__MACOSX"]
        hidden += len(left)
        folders[:] = [name for name in folders if name not in left]
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        found += len([name for name in names if name not in left]) + len(links)
    assert (len(listing), listing.passed_over.get(HIDDEN, 0)) == (found, hidden)
    assert not listing.passed_over.get(DATASETS)


def assert_as_they_were(dataset: Dataset, kept: list[Row], root: Path, files: Mapping[str, tuple[str, ...]]) -> None:
    """What is said to be kept as it was has the bytes of its file, which are read here without a reader of ours."""
    on_disk = {
        os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace"): path for path in root.rglob("*")
    }
    for row in kept:
        remade = {json.loads(step["params"])["role"] for step in row["steps"] if step["operator"] == "to_rgb"}
        paths = files[row["source_ref"]]
        roles = ("input", "target") if len(paths) == 2 else ("target",)
        images = {image["role"]: image for image in row["images"]}
        for role, path in zip(roles, paths, strict=True):
            if role not in remade:
                assert images[role]["sha256"] == hashlib.sha256(on_disk[path].read_bytes()).hexdigest(), (path, role)


def assert_readable(dataset: Dataset, kept: list[Row]) -> None:
    """Python's tarfile and webdataset find the pairs of the manifest, and the bytes whose hashes it has."""
    shards = sorted(Path(dataset.url, "shards").iterdir())
    members = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file
                members[member.name] = hashlib.sha256(file.read()).hexdigest()
    wanted = {image["member"]: image["sha256"] for row in kept for image in row["images"]}
    assert wanted == {name: digest for name, digest in members.items() if not name.endswith(".json")}
    assert {f"{row['pair']}.json" for row in kept} == {name for name in members if name.endswith(".json")}
    samples = list(webdataset.WebDataset([*map(str, shards)], shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in samples] == [row["pair"] for row in kept]
    for sample, row in zip(samples, kept, strict=True):
        assert json.load(io.BytesIO(sample["json"]))["source_ref"] == row["source_ref"]
        assert {*sample} - {"__key__", "__url__", "json", "__local_path__"} == {
            image["member"].partition(".")[2] for image in row["images"]
        }
