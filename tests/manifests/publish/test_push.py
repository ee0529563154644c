"""Pushes to a server of the hub's API on this machine: what gets there, once, and what is said when it does not."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from PIL import Image as PILImage

from infra.command import main
from manifests.browse.contact_sheet import contact_sheet
from manifests.dataset import Dataset
from manifests.publish import push
from manifests.verify.dataset import verify
from tests.hub import TOKEN, Hub, Repo, serving_hub
from tests.manifests.make import finish_dataset, make_dataset, make_plan, write_unit

NAME = "alice/derain"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        for name, value in (("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True)):
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-login"))
        monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
        monkeypatch.setattr("manifests.publish.files.contact_sheet", lambda url, pairs: b"a picture")
        yield hub


def test_what_is_pushed_is_the_dataset_and_verifies(
    root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("manifests.publish.files.contact_sheet", contact_sheet)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / "tokens").mkdir()
    (root / "tokens" / "derain-000000.tar").write_bytes(b"of one tokenizer")
    assert main(["push", str(root), NAME]) == 0
    files = hub.files(NAME)
    made = {"README.md", "dataset.json", "checksums.txt", "preview.png", "LICENSE.md", ".gitattributes"}
    stored = {str(path.relative_to(root)): data for path, data in before.items()}
    assert files.keys() - made == stored.keys() - {"README.md", "dataset.json"}
    assert all(files[name] == stored[name] for name in files.keys() - made)
    assert {path: path.read_bytes() for path in before} == before
    assert any(path.endswith("/2") for path in hub.uploads())  # a shard came in parts
    with PILImage.open(io.BytesIO(files["preview.png"])) as preview:
        assert preview.width > 1_000
    copy = hub.download(NAME, tmp_path / "copy" / "derain")
    assert list(verify(str(copy))) == []
    assert Dataset(str(copy)).plan() == Dataset(str(root)).plan()
    subprocess.run(["sha256sum", "--check", "--quiet", "checksums.txt"], cwd=copy, check=True)
    listed = {line.split("  ")[1] for line in files["checksums.txt"].decode().splitlines()}
    assert listed == files.keys() - {"checksums.txt", ".gitattributes"}


def test_again_nothing_is_uploaded(root: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(root), NAME]) == 0
    asked = len(hub.asked)
    assert main(["push", str(root), NAME]) == 0
    assert {method for method, _ in hub.asked[asked:]} == {"GET"}
    assert len(hub.repos[NAME].commits) == 1
    assert "0 files uploaded, 0.0 MiB; 15 there already" in capsys.readouterr().out


def test_a_push_that_is_killed_goes_on_and_sends_nothing_twice(
    root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is killed in its second commit, with some of that commit's files uploaded."""
    monkeypatch.setattr(push, "FILES_A_COMMIT", 4)
    reached = threading.Event()

    def stop(method: str, path: str) -> int:
        """Lets a whole file of the second commit through, and not the next."""
        if method != "PUT" or not hub.repos[NAME].commits:
            return 0
        committed = {hashlib.sha256(data).hexdigest() for data in hub.files(NAME).values()}
        if not hub.stored.keys() - committed:
            return 0
        reached.set()
        return 503

    hub.fault = stop
    script = (
        "import sys; from manifests.publish import push; push.FILES_A_COMMIT = 4; "
        f"sys.exit(push.main([{str(root)!r}, {NAME!r}]))"
    )
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, cwd=Path(__file__).parents[3]) as pushing:
        assert reached.wait(60)
        pushing.send_signal(signal.SIGKILL)
    sent = [path for path in hub.uploads() if path.split("/")[2] in hub.stored]
    assert len(hub.repos[NAME].commits) == 1
    assert "dataset.json" not in hub.files(NAME)  # as of an unfinished dataset
    hub.fault = lambda method, path: 0
    assert main(["push", str(root), NAME]) == 0
    assert [path for path in sent if hub.uploads().count(path) > 1] == []
    assert list(verify(str(hub.download(NAME, tmp_path / "copy" / "derain")))) == []


def test_errors_of_the_server_are_tried_again(root: Path, hub: Hub) -> None:
    failed: set[tuple[str, str]] = set()

    def once(method: str, path: str) -> int:
        if (method == "PUT" or "preupload" in path or "batch" in path or "complete" in path) and (
            method,
            path,
        ) not in failed:
            failed.add((method, path))
            return 500
        return 0

    hub.fault = once
    assert main(["push", str(root), NAME]) == 0
    assert len(failed) > 10


def test_a_newer_dataset_replaces_it(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files that are none of the new one's go, and while it comes in parts the repository is of no finished dataset."""
    assert main(["push", str(root), NAME]) == 0
    monkeypatch.setattr(push, "FILES_A_COMMIT", 4)
    newer = tmp_path / "newer"
    dataset = Dataset(str(newer))
    plan = make_plan(dataset, units=2, pairs=5)
    for unit in range(2):
        write_unit(dataset, plan, unit)
    finish_dataset(dataset, plan)
    assert main(["push", str(newer), NAME]) == 0
    gone = {f"{folder}/derain-000002.{ending}" for folder, ending in _ENDINGS}
    (_, _, first), *_, (_, added, last) = hub.repos[NAME].commits[1:]
    assert (first, last) == ({"dataset.json"}, gone)
    assert {"dataset.json", "README.md", "checksums.txt"} <= added
    assert list(verify(str(hub.download(NAME, tmp_path / "copy" / "derain")))) == []


_ENDINGS = (("shards", "tar"), ("manifest", "parquet"), ("rejects", "parquet"))


def test_a_dry_run_says_all_and_does_nothing(root: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(root), NAME, "--dry-run", "--private"]) == 0
    assert {method for method, _ in hub.asked} == {"GET"}
    out = capsys.readouterr().out
    size = (root / "shards" / "derain-000000.tar").stat().st_size
    for line in (
        f"derain, fingerprint {'f' * 64} -> {hub.url}/datasets/{NAME}: would be made, private",
        f"upload shards/derain-000000.tar {size:,} bytes",
        "  license: other",
        "  pretty_name: X-Prompt derain",
    ):
        assert line in out.splitlines()
    assert "would have 15 files uploaded" in out
    main(["push", str(root), NAME])
    shutil.copy(root / "shards" / "derain-000000.tar", root / "candidates.tar")
    hub.files(NAME)["shards/stray.tar"] = b"of another"
    hub.files(NAME)["README.md"] = b"edited there"
    capsys.readouterr()
    assert main(["push", str(root), NAME, "--dry-run"]) == 0
    changed = [line for line in capsys.readouterr().out.splitlines() if re.match("upload|replace|delete", line)]
    assert [line.split()[:2] for line in changed] == [["replace", "README.md"], ["delete", "shards/stray.tar"]]


def test_a_dry_run_without_a_network_says_what_it_knows(
    root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(root), NAME, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "what is there is not known" in out and "would have 15 files uploaded" in out


def test_private_and_branches(root: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(root), NAME, "--private", "--revision", "v1"]) == 0
    assert hub.repos[NAME].private
    assert "dataset.json" in hub.files(NAME, "v1") and "dataset.json" not in hub.files(NAME)
    assert f"{hub.url}/datasets/{NAME}/tree/v1: 15 files" in capsys.readouterr().out
    hub.repos[NAME].private = False
    assert main(["push", str(root), NAME, "--private"]) == 2
    assert "is there and public" in capsys.readouterr().err


def test_a_repository_of_other_data_is_left_alone(root: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repos[NAME] = Repo(branches={"main": {"README.md": b"# mine", "data/train.csv": b"1"}})
    assert main(["push", str(root), NAME]) == 2
    assert "holds other data (data/train.csv and 0 more files): give another NAME" in capsys.readouterr().err
    assert hub.repos[NAME].commits == []
    del hub.files(NAME)["data/train.csv"]  # as a repository that was made on the web
    assert main(["push", str(root), NAME]) == 0


@pytest.mark.parametrize(
    ("status", "at", "wanted"),
    [
        (401, r"/api/datasets/alice/derain$", "401 .*the token is not valid: set HF_TOKEN, or run hf auth login"),
        (403, r"/api/repos/create", "403 .*give it write access"),
        (403, r"/commit/main", "403 .*give it write access"),
        (404, r"/preupload/", "404 .*look at the name"),
        (409, r"/commit/main", "409 .*run the same command again"),
        (429, r"batch$", "429 .*wait a while"),
        (500, r"/upload/", "500 .*what is uploaded stays"),
    ],
)
def test_refusals_are_one_line_with_the_way_out(
    root: Path, hub: Hub, capsys: pytest.CaptureFixture[str], status: int, at: str, wanted: str
) -> None:
    hub.fault = lambda method, path: status if re.search(at, path) else 0
    hub.said = f"no\nto {TOKEN}"
    assert main(["push", str(root), NAME]) == 1
    said = capsys.readouterr()
    assert TOKEN not in said.out + said.err
    (line,) = said.err.splitlines()
    assert re.fullmatch(rf"xprompt push: alice/derain: the hub answers {wanted}.*", line)


def test_no_network_no_token_no_name(
    root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("derain", "a/b/c", "alice/../x", "alice/de rain", "alice/x.git"):
        assert main(["push", str(root), name]) == 2
        assert "is no repository's name: give NAMESPACE/NAME" in capsys.readouterr().err
    assert main(["push", str(root), NAME, "--revision", "a b"]) == 2
    assert "no branch's name" in capsys.readouterr().err
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(root), NAME]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "http://127.0.0.1:9 cannot be reached" in line and "look at the network" in line
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(root), NAME]) == 1
    assert "there is no token to push with: set HF_TOKEN, or run hf auth login" in capsys.readouterr().err
    assert hub.asked == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: (root / "dataset.json").unlink(), "is unfinished"),
        (lambda root: _edit(root / "dataset.json", b"derain", b"dehaze"), "edited"),
        (lambda root: _edit(root / "README.md", b"pairs", b"PAIRS"), "README.md is not what dataset.json says"),
        (lambda root: (root / "README.md").unlink(), "README.md is missing"),
        (lambda root: _edit(root / "shards/derain-000001.tar", b"json", b"jsom"), "has other bytes than were commit"),
        (lambda root: (root / "shards/derain-000001.tar").unlink(), "lacks a file of derain-000001"),
        (lambda root: (root / "shards/derain-000001.tar").write_bytes(b""), "has 0 bytes, and"),
        (lambda root: (root / "rejects/derain-000001.parquet").write_bytes(b"x"), "rejects.* has other bytes"),
        (lambda root: shutil.copy(root / "manifest/derain-000000.parquet", root / "manifest/derain-000001.parquet"),
         "not what"),
        (lambda root: (root / "manifest/derain-000001.parquet").unlink(), "does not list the units that are there"),
    ],
)  # fmt: skip
def test_what_does_not_verify_is_not_pushed(
    root: Path, hub: Hub, capsys: pytest.CaptureFixture[str], damage: object, said: str
) -> None:
    damage(root)  # type: ignore[operator]
    assert main(["push", str(root), NAME]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)
    assert not hub.repos or hub.repos[NAME].commits == []


def test_with_verify_all_is_checked_before(root: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    _edit(root / "shards/derain-000001.tar", b"json", b"jsom")
    assert main(["push", str(root), NAME, "--verify"]) == 2
    assert "xprompt verify" in capsys.readouterr().err
    assert hub.asked == []


def test_candidates_go_with_it_and_a_bucket_is_read(hub: Hub, tmp_path: Path) -> None:
    dataset = make_dataset("memory://pushed/derain", units=1, candidates=True)
    assert main(["push", dataset.url, NAME]) == 0
    files = hub.files(NAME)
    assert files["candidates/derain-000000.tar"] == dataset.store.read("candidates/derain-000000.tar")
    assert hashlib.sha256(files["shards/derain-000000.tar"]).hexdigest() == dataset.description()["shards"][0]["sha256"]
    dataset.store.fs.rm(dataset.store.root, recursive=True)


def test_the_token_of_a_login_is_found(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "no-login").write_text(TOKEN)
    assert huggingface_hub.get_token() == TOKEN
    assert main(["push", str(root), NAME]) == 0


def _edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
