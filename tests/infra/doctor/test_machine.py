"""Each check of a machine, passing here and failing of a real cause."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.doctor import machine
from tests.commands import ROOT
from tests.infra.doctor.conftest import Disk, only

_METADATA = """Metadata-Version: 2.4
Name: xprompt-data-engine
Version: 9
Requires-Python: >=9.9
Requires-Dist: ray<1
Requires-Dist: no-such-package>=2
Requires-Dist: none-of-models; extra == "models"
Requires-Dist: none-of-gcs; extra == "gcs"
"""


@pytest.fixture
def another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our package, installed by a record that asks for what is not here."""
    (tmp_path / "xprompt_data_engine-9.dist-info").mkdir()
    (tmp_path / "xprompt_data_engine-9.dist-info/METADATA").write_text(_METADATA)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_this_python_and_its_packages_will_do() -> None:
    assert only([*machine.python()])[0] == "ok"
    state, text, _ = only([*machine.packages([])])
    assert state == "ok" and "Ray 2." in text


@pytest.mark.usefixtures("another_package")
def test_a_python_that_is_too_old() -> None:
    state, text, way_out = only([*machine.python()])
    assert state == "fails" and ">=9.9 is needed" in text and "newer Python" in way_out


@pytest.mark.usefixtures("another_package")
def test_packages_that_are_missing_or_of_another_version() -> None:
    missing, other = machine.packages(["models"])
    assert (missing.state, missing.text) == ("fails", "not installed: no-such-package, none-of-models")
    assert "'xprompt-data-engine[models]'" in missing.way_out
    assert other.state == "warning" and "ray 2." in other.text and "<1" in other.text
    assert next(iter(machine.packages([]))).text == "not installed: no-such-package"


def test_few_open_files() -> None:
    """The limit of a process is lowered for real; it can only be lowered."""
    script = (
        "import resource; from infra.doctor import machine\n"
        "for most in (4096, 4095, 127):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))\n"
        "    (one,) = machine.open_files(); print(one.state, bool(one.way_out), f'{most:,}' in one.text)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["ok False True", "warning True True", "fails True True"]


def test_little_shared_memory(disk: Disk) -> None:
    state, text, way_out = only([*machine.shared_memory(str(disk("size=8m")))])
    assert state == "warning" and text.startswith("8.0 MiB free: Ray keeps 256 MiB") and "--shm-size" in way_out
    assert only([*machine.shared_memory(str(disk("size=300m", "larger")))])[0] == "ok"


def test_no_shared_memory(tmp_path: Path) -> None:
    assert only([*machine.shared_memory(str(tmp_path / "none"))])[0] == "fails"


def test_rays_folder_with_a_long_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'x' * 60}")
    state, text, way_out = only([*machine.ray_folder()])
    assert state == "fails" and "of 107 at most" in text and "RAY_TMPDIR" in way_out
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert only([*machine.ray_folder()])[0] in ("ok", "warning")


def test_rays_folder_that_nobody_may_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc")
    state, text, _ = only([*machine.ray_folder()])
    assert state == "fails" and text.startswith("nothing can be written to /proc")


def test_rays_folder_on_a_disk_that_is_nearly_full(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = disk("size=1m")
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setattr(machine, "_SOCKET_CHARS", 1_000)  # the folders of tests have long names
    assert only([*machine.ray_folder()])[0] == "ok"
    (folder / "file").write_bytes(bytes(1000 * 1024))
    state, text, _ = only([*machine.ray_folder()])
    assert state == "warning" and "over 95% full" in text


def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MEMORY_GIB", 0.001)
    assert only([*machine.memory()])[0] == "ok"
    monkeypatch.setattr(machine, "_MEMORY_GIB", 2.0**20)
    state, text, _ = only([*machine.memory()])
    assert state == "warning" and "GiB free: Ray needs about" in text


def test_this_machine_reaches_itself_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.1")
    assert only([*machine.own_address()])[0] == "ok"
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "198.51.100.7")  # of RFC 5737: nobody's
    state, text, way_out = only([*machine.own_address()])
    assert state == "fails" and "cannot reach itself at 198.51.100.7" in text and "firewall" in way_out


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        number = taken.getsockname()[1]
        found = machine.port(number, "torchrun", "set MASTER_PORT")
        assert (found.state, found.name) == ("fails", f"port {number}")
        assert found.text == "torchrun cannot have it (Address already in use)"
    assert machine.port(number, "torchrun", "").state == "ok"
    assert machine.port(-1, "torchrun", "").state == "fails"


def test_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert machine.nearest(tmp_path / "a/b/c") == tmp_path
    assert machine.nearest(Path(os.sep)) == Path(os.sep)
