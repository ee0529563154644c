"""OUT and its disk: real ones, with room and without."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.doctor import storage
from infra.doctor.limits import Undoing
from tests.infra.doctor.conftest import Disk, asked, only


def test_an_out_that_can_be_written_and_nothing_stays(tmp_path: Path) -> None:
    new = tmp_path / "not/there/yet"
    written, clock = storage.out(asked("derain", "--out", str(new)), Undoing())
    assert (written.state, clock.state) == ("ok", "ok") and [*tmp_path.iterdir()] == []
    (tmp_path / "data").mkdir()
    assert [one.state for one in storage.out(asked("--out", str(tmp_path / "data")), Undoing())] == ["ok", "ok"]
    assert [*(tmp_path / "data").iterdir()] == []


def test_an_out_that_cannot_be_written(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "file").touch()
    for place, why in (
        (tmp_path / "file", "Not a directory"),
        (disk("ro,size=1m"), "Read-only file system"),
        (Path("/proc/nowhere"), "No such file"),
    ):
        state, text, way_out = only([*storage.out(asked("--out", str(place)), Undoing())])
        assert state == "fails" and text.startswith(f"nothing can be written to {place}") and "OUT" in way_out, text
        assert why in text or "File exists" in text


def test_a_full_disk(disk: Disk) -> None:
    full = disk("size=64k")
    (full / "file").write_bytes(bytes(64 * 1024))
    state, text, _ = only([*storage.out(asked("--out", str(full)), Undoing())])
    assert state == "fails" and "No space left on device" in text and [one.name for one in full.iterdir()] == ["file"]


def test_a_disk_with_too_little_room_for_the_task(disk: Disk) -> None:
    space, inodes = storage.room(asked("derain", "--out", f"{disk('size=8m')}/data"))
    assert (space.state, inodes.state) == ("fails", "ok") and "8.0 MiB free" in space.text
    assert "MiB needed for 320 pairs" in space.text and "--scale" in space.way_out
    assert next(storage.room(asked("derain", "--scale", "0.01", "--out", f"{disk('size=9m', 'other')}"))).state == "ok"


def test_a_disk_with_too_few_inodes(disk: Disk) -> None:
    few = disk("size=1g,nr_inodes=9")
    space, inodes = storage.room(asked("derain", "--out", str(few)))
    assert (space.state, inodes.state) == ("ok", "fails") and "files are made" in inodes.text


def test_what_painters_would_need_is_a_bound_and_no_failure(disk: Disk) -> None:
    space, _ = storage.room(asked("style", "--models", "/nowhere", "--out", str(disk("size=8m"))))
    assert space.state == "warning" and "at most" in space.text


def test_what_cannot_be_planned_is_told(tmp_path: Path) -> None:
    guard = str(tmp_path / "none.parquet")
    found = [*storage.room(asked("derain", "--guard", guard, "--out", str(tmp_path)))]
    assert (found[0].name, found[0].state) == ("plan", "fails") and guard in found[0].text


def test_a_clock_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for off_s, state in ((0, "ok"), (-100, "warning"), (100, "warning"), (1_000, "fails")):
        monkeypatch.setattr(storage, "time", SimpleNamespace(time=lambda off_s=off_s: time.time() + off_s))
        _, clock = storage.out(asked("--out", str(tmp_path)), Undoing())
        assert clock.state == state, clock
        assert state == "ok" or "NTP" in clock.way_out
