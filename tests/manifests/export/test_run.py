"""Exports as a whole: what is chosen, refused, resumed and explained."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.command import main
from manifests.dataset import Dataset, DatasetError
from manifests.export.folder import Folder
from manifests.export.format import Format, Part
from manifests.export.formats import FORMATS, format_named
from manifests.export.part import PartWriter
from manifests.export.run import export
from manifests.export.sample import Sample
from manifests.export.select import Choice
from manifests.storage import Store
from tests.commands import ROOT
from tests.datasets import sha256_by_file
from tests.manifests.export.make import key, make_mixed
from tests.manifests.make import make_dataset, make_plan, write_unit

Capture = pytest.CaptureFixture[str]


def pairs_in(out: Path) -> list[str]:
    """The pairs of an imagefolder, in order."""
    return [json.loads(line)["pair"] for line in (out / "train/metadata.jsonl").read_text().splitlines()]


_KILLED = """
import os, signal, sys
from manifests.dataset import Dataset
from manifests.export import folder, select
from manifests.export.format import Format, Part
from manifests.export.formats import format_named
from manifests.export.run import export
select.PART_BYTES = 1  # a part for each unit
left = [0]
def counted(what):
    def called(self, *arguments):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return what(self, *arguments)
    return called
folder.Folder._temporary_path = counted(folder.Folder._temporary_path)
folder.Folder._rename = counted(folder.Folder._rename)
for step in sys.argv[3:]:
    form, out, kill_at = step.split(",")
    if not (child := os.fork()):
        left[0] = int(kill_at)
        choice = select.Choice(direction="both")
        export([Dataset(sys.argv[1])], format_named(form), f"{sys.argv[2]}/{out}/{form}", choice)
        os._exit(0)
    print(step, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_killed_and_run_again_it_is_the_same(mixed: Dataset, tmp_path: Path) -> None:
    """Killed at several writes and renames, one after the other, until it comes to its end."""
    forms = ["musubi-tuner", "parquet"]
    kills = {"musubi-tuner": (2, 19, 44), "parquet": (3, 6)}
    steps = [f"{form},whole,-1" for form in forms]
    steps += [f"{form},again,{kill_at}" for form in forms for kill_at in (*kills[form], -1)]
    command = [sys.executable, "-c", _KILLED, mixed.url, str(tmp_path), *steps]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == [f"{step} {0 if step.endswith('-1') else -9}" for step in steps]
    whole, again = sha256_by_file(tmp_path / "whole"), sha256_by_file(tmp_path / "again")
    moved = {"musubi-tuner/dataset.toml", "musubi-tuner/metadata.jsonl"}  # which have the folder's path in them
    assert {name for name in whole if whole[name] != again.get(name)} == moved
    assert set(whole) == set(again)
    assert len([name for name in whole if name.startswith("parquet/data/")]) == 2
    assert not [name for name in again if ".export" in name or name.endswith(".tmp")]


def test_finished_parts_are_not_written_again(mixed: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifests.export.select.PART_BYTES", 1)
    out, form = tmp_path / "out", format_named("imagefolder")

    def fail(made: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(form, "finish", fail)
    with pytest.raises(OSError, match="no room"):
        export([mixed], form, str(out))
    assert sorted(path.name for path in (out / ".export").glob("*.json")) == ["00000.json", "00001.json", "config.json"]
    monkeypatch.undo()
    (out / ".export/00000.json").write_bytes(b"")  # as a loss of power leaves it
    monkeypatch.setattr("manifests.export.select.PART_BYTES", 1)
    pictures = {path: path.stat().st_ino for path in (out / "train/images").iterdir()}
    (lost,) = (out / "train/images").glob(f"{key(2)}-input-*.png")
    lost.write_bytes(lost.read_bytes()[:-1])
    written: list[int] = []
    inner = type(form).write

    def write(self: Format, samples: Iterator[Sample], part: Part) -> None:
        written.append(part.number)
        inner(self, samples, part)

    monkeypatch.setattr(type(form), "write", write)
    export([mixed], form, str(out))
    assert written == [0, 1]
    now = {path: path.stat().st_ino for path in (out / "train/images").iterdir()}
    assert {path for path in pictures if pictures[path] != now[path]} == {lost}
    assert not (out / ".export").exists()


def test_the_same_again_writes_nothing(mixed: Dataset, tmp_path: Path, capsys: Capture) -> None:
    command = ["export", mixed.url, "--to", "ai-toolkit", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("was there already: ")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    assert main([*command, "--limit", "1"]) == 2
    assert "holds another export (limit: None there, 1 now)" in capsys.readouterr().err


def test_what_is_refused(mixed: Dataset, tmp_path: Path, capsys: Capture) -> None:
    unfinished = Dataset(str(tmp_path / "unfinished"))
    write_unit(unfinished, make_plan(unfinished, units=2, pairs=1), 0)
    full = tmp_path / "full"
    full.mkdir()
    (full / "photo.jpg").write_bytes(b"x")
    out = str(tmp_path / "out")
    for arguments, said in (
        ([unfinished.url, "--out", out], "is unfinished: run the command that makes it again, then this"),
        ([mixed.url, "--out", str(full)], "is not empty (photo.jpg is in it)"),
        ([mixed.url, "--out", f"{mixed.url}/export"], "lie in each other"),
        ([mixed.url, "--out", str(Path(mixed.url).parent)], "lie in each other"),
        ([mixed.url, "--out", f"{unfinished.url}/export"], "is in the dataset"),
        ([mixed.url, "--out", out, "--kind", "describe"], "no place for describe examples, only for generate"),
        ([mixed.url, "--out", out, "--contexts", "2"], "no place for in-context examples"),
        ([mixed.url, "--out", out, "--where", "shape = 1"], "--where shape = 1: "),
        ([mixed.url, "--out", out, "--where", "true; DROP VIEW examples"], "--where true; DROP VIEW examples: "),
        ([mixed.url, "--out", out, "--limit", "0"], "0 is not 1 or more"),
        ([str(tmp_path / "nothing"), "--out", out], "no dataset at"),
    ):
        assert main(["export", *arguments, "--to", "musubi-tuner"]) == 2, arguments
        printed = capsys.readouterr().err
        assert said in printed and printed.count("\n") == 1, printed
    assert main(["export", mixed.url, "--out", out, "--where", "false", "--to", "musubi-tuner"]) == 3
    printed = capsys.readouterr().err
    assert "no example is left to export: 8 describe examples" in printed and printed.count("\n") == 1
    assert sorted(path.name for path in full.iterdir()) == ["photo.jpg"]
    assert not (Path(mixed.url) / "export").exists()
    assert main(["export", mixed.url, "--to", "musubi", "--out", out]) == 2
    assert "did you mean musubi-tuner?" in capsys.readouterr().err


def test_what_is_chosen(mixed: Dataset, tmp_path: Path) -> None:
    form = format_named("imagefolder")
    for name, choice, numbers in (
        ("where", Choice(kind="generate", where="scores['ssim'] > 0.15 AND licence LIKE 'CC-BY%' -- )"), [3]),
        ("limit", Choice(kind="generate", limit=3), [0, 2, 1]),
    ):
        export([mixed], form, str(tmp_path / name), choice)
        assert pairs_in(tmp_path / name) == [key(number) for number in numbers]
    done = export([mixed], form, str(tmp_path / "none"), Choice(kind="generate", contexts=0, limit=3, direction="both"))
    assert not any("context" in line for line in (tmp_path / "none/train/metadata.jsonl").read_text().splitlines())
    assert done.description["examples"] == 3


def test_several_datasets(mixed: Dataset, tmp_path: Path, capsys: Capture) -> None:
    other = make_mixed(tmp_path / "a/other", task="other", units=1)
    make_dataset(str(tmp_path / "a/derain"), units=1, pairs=2)
    out = tmp_path / "out"
    assert main(["export", mixed.url, str(tmp_path / "a"), other.url, "--to", "imagefolder", "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 16 examples of mixed, derain, other as imagefolder, ")
    assert len(set(pairs_in(out))) == 4 + 2 + 2
    twin = make_mixed(tmp_path / "twin")
    with pytest.raises(DatasetError, match=rf"{mixed.url} and {twin.url} both have pair \w{{32}}: name one of them"):
        export([mixed, other, twin], format_named("imagefolder"), str(tmp_path / "twins"))


def test_licences_are_listed_of_contexts_too(mixed: Dataset, tmp_path: Path) -> None:
    """Of the example of pair 0 alone, CC0, which shows pair 1, CC-BY-4.0."""
    for form, rows in (
        ("imagefolder", ["| CC-BY-4.0 | photos | 0 | 1 |", "| CC0 | photos | 1 | 0 |"]),
        ("musubi-tuner", ["| CC0 | photos | 1 |"]),
    ):
        export([mixed], format_named(form), str(tmp_path / form), Choice(limit=1))
        lines = (tmp_path / form / "LICENCES.md").read_text().splitlines()
        assert lines[-len(rows) :] == rows


def test_only_allowed_licences_are_exported_of_contexts_too(mixed: Dataset, tmp_path: Path, capsys: Capture) -> None:
    """Pairs of odd numbers are CC-BY-4.0, and the contexts of pair 0 and 2, which are CC0."""
    out = tmp_path / "out"
    asked = [
        "export",
        mixed.url,
        "--to",
        "imagefolder",
        "--kind",
        "generate",
        "--allow-licence",
        "cc0",
        "--out",
        str(out),
    ]
    assert main(asked) == 0
    assert pairs_in(out) == [key(0), key(2)]
    assert "under a licence that is not allowed: CC-BY-4.0" in capsys.readouterr().out
    assert (out / "LICENCES.md").read_text().splitlines()[-1] == "| CC0 | photos | 2 | 0 |"
    left_out = json.loads((out / "export.json").read_text())["left_out"]
    rows = [*mixed.rows(["licence", "kind", "direction"])]
    ours = sum(row == {"licence": "CC-BY-4.0", "kind": "generate", "direction": "forward"} for row in rows)
    assert left_out["under a licence that is not allowed: CC-BY-4.0"] == ours > 0
    assert main(asked) == 0  # it is the same export
    assert main([*asked[:-3], "mit", *asked[-2:-1], f"{out}2"]) == 3
    assert "not allowed: CC0-1.0" in capsys.readouterr().err


def test_a_text_cannot_leave_its_cell(mixed: Dataset, tmp_path: Path) -> None:
    export([mixed], format_named("parquet"), str(tmp_path / "out"), Choice(where="source_ref = '3'"))
    lines = (tmp_path / "out/SAMPLE.md").read_text().splitlines()
    assert "| instruction | column `instruction` | instruction | \\| Étés \\`a\\` &lt;b\\> \\# 2 |" in lines


def test_a_part_whose_lines_were_lost_is_written_again(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"))
    with PartWriter(folder, 0, 1) as part:
        part.line("x", "first")
        part.text("a.txt", "a")
    folder.write_record(0, {"files": part.files, "lines": part.lines})
    assert folder.record(0) == {"files": {"a.txt": 1}, "lines": {".export/00000.x.jsonl": len(b'"first"\n')}}
    (tmp_path / "out/.export/00000.x.jsonl").write_bytes(b"")
    assert folder.record(0) is None


def test_a_full_disk_is_said_in_a_line(
    mixed: Dataset, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    command = ["export", mixed.url, "--to", "musubi-tuner", "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr("manifests.export.folder.os.write", full)
        assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "No space left on device" in said and "/control/" in said
    assert not (tmp_path / "out/control").exists()
    assert main(command) == 0


def test_an_upload_that_fails_ends_the_export(mixed: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part is not recorded, and is written when the same export goes on."""
    out, form = "memory://lost/out", format_named("musubi-tuner")
    inner = Store.write_bytes

    def write_bytes(store: Store, name: str, data: bytes) -> None:
        if name.endswith(".txt"):
            raise OSError("the bucket is gone")
        inner(store, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", write_bytes)
        with pytest.raises(OSError, match="the bucket is gone"):
            export([mixed], form, out)
    assert "00000.json" not in Store(out).names(".export")
    export([mixed], form, out)
    assert len([name for name in Store(out).names("target") if name.endswith(".txt")]) == 4


def test_to_a_url_and_from_one(mixed: Dataset, tmp_path: Path) -> None:
    """fsspec's own store in memory, which lists and writes as buckets do."""
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in Path(mixed.url).rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/here/mixed/{path.relative_to(mixed.url)}", path.read_bytes())
    export([Dataset("memory://here/mixed")], format_named("imagefolder"), "memory://there/out")
    export([mixed], format_named("imagefolder"), str(tmp_path / "out"))
    there = {name.removeprefix("/there/out/"): zlib.crc32(memory.cat_file(name)) for name in memory.find("/there/out")}
    local = {
        str(path.relative_to(tmp_path / "out")): zlib.crc32(path.read_bytes())
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert there == local


@pytest.mark.parametrize("form", [form.name for form in FORMATS])
def test_places_name_what_is_there(form: str, mixed: Dataset, tmp_path: Path) -> None:
    """SAMPLE.md of every format names files that the export has."""
    out = tmp_path / "out"
    export([mixed], format_named(form), str(out))
    text = (out / "SAMPLE.md").read_text()
    named = {part for part in text.split("`") if "/" in part and " " not in part and part.count(".") == 1}
    named = {name for name in named if name.rpartition(".")[2] in ("png", "jpg", "webp", "txt", "tif")}
    assert all((out / name).is_file() for name in named), named
    assert text.startswith(f"# {form}: ")
    assert "](sample/1.png)" in text and (out / "sample/1.png").is_file()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = Folder(str(tmp_path / "out")), Folder(str(tmp_path / "out"))
    first.begin({"format": "x"})
    with pytest.raises(ValueError, match="another process is exporting to"):
        second.begin({"format": "x"})
    first.close()
    second.begin({"format": "x"})
    second.close()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a/.x", "a//x", "", "a\0", "a\\b"])
def test_a_manifest_cannot_name_files_elsewhere(path: str, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"))
    with pytest.raises(DatasetError, match="it was edited"), PartWriter(folder, 0, 1) as part:
        part.text(path, "x")
    assert not [*tmp_path.rglob("x")]
