"""Ray as a user meets it: quiet, one line where it cannot be had, and workers that find the user's modules."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import ray

from pipelines.run import session, start
from pipelines.run.session import ray_session
from pipelines.run.start import RayUnavailable
from tests.commands import ROOT, run

DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
import one_file, a_package.inner
import ray
from pipelines.run.session import ray_session

@ray.remote(num_cpus=1)
def make(unit):
    return {"made": one_file.twice(unit) + a_package.inner.ONE}

with ray_session(2, py_modules=sys.argv[2:], say=print):
    print(sorted(row["made"] for row in ray.get([make.remote(unit) for unit in range(4)])))
"""


@pytest.fixture
def modules(tmp_path: Path) -> list[str]:
    """A file and a package of the user's, in a folder that no worker knows."""
    folder = tmp_path / "theirs"
    (folder / "a_package").mkdir(parents=True)
    (folder / "one_file.py").write_text("def twice(number):\n    return 2 * number\n")
    (folder / "a_package/__init__.py").touch()
    (folder / "a_package/inner.py").write_text("ONE = 1\n")
    (tmp_path / "cwd").mkdir()
    return [str(folder / "one_file.py"), str(folder / "a_package")]


@pytest.mark.parametrize("gpus", ["None", "0.5"], ids=["tasks", "actors"])
def test_a_ray_of_our_own_is_quiet_and_finds_the_users_modules(gpus: str, modules: list[str], tmp_path: Path) -> None:
    """Of actors Ray says that their arguments might be lost, on the file descriptor itself."""
    done = _drive(gpus, modules, tmp_path, RAY_ADDRESS="local")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout == "Starting Ray on this machine ...\n[1, 3, 5, 7]\n"


def test_a_cluster_is_sent_the_users_modules(modules: list[str], tmp_path: Path) -> None:
    """Two nodes; the driver's folder is neither the clone nor where the modules are."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        done = _drive("None", modules, tmp_path, RAY_ADDRESS=cluster.address)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert done.stdout == f"Connecting to the Ray of RAY_ADDRESS={cluster.address} ...\n[1, 3, 5, 7]\n"
    finally:
        cluster.shutdown()


def test_what_a_cluster_is_sent(modules: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Our clone if we run from one; nothing of the current folder if we are installed, or in a submitted job."""
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(session, "connect", lambda address, runtime_env: sent.append(runtime_env))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.chdir(tmp_path / "theirs")
    with ray_session():
        pass
    monkeypatch.setattr(start, "__file__", "/venv/lib/python3.11/site-packages/pipelines/run/start.py")
    with ray_session(py_modules=["one_file.py"]):
        pass
    with ray_session():
        pass
    assert sent == [
        {"working_dir": str(ROOT), "excludes": [".git", ".venv", ".env*"]},
        {"py_modules": [modules[0]]},
        {},
    ]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/data/", "/models/"} <= set(ignored)  # Ray reads this file


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:{closed}", "nothing answers at 127.0.0.1:{closed}"),
        ("ray://127.0.0.1:{closed}", "nothing answers at 127.0.0.1:{closed}"),
        ("[::1]:{closed}", "nothing answers at ::1:{closed}"),
        ("nowhere.invalid:6379", "nothing answers at nowhere.invalid:6379"),
        ("http://127.0.0.1:8265", "`ray job submit`"),
        ("somehost", "is not host:port, as in somehost:6379"),
        ("somehost:port", "is not host:port"),
    ],
)
def test_an_address_at_which_no_ray_answers_is_one_line(address: str, message: str) -> None:
    with socket.socket() as listening:  # not listening: the port is ours, and nothing answers
        listening.bind(("127.0.0.1", 0))
        closed = listening.getsockname()[1]
        address = address.format(closed=closed)
        with pytest.raises(RayUnavailable) as caught:
            start.connect(address, {})
    text = str(caught.value)
    assert text.startswith(f"RAY_ADDRESS={address}") and message.format(closed=closed) in text and "\n" not in text


def test_auto_without_a_cluster_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found(address: str) -> str:
        raise ConnectionError("Could not find any running Ray instance.\nPlease ...")

    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address_or_die", none_found)
    with pytest.raises(RayUnavailable, match=r"^RAY_ADDRESS=auto: no cluster runs on this machine; start one .*$"):
        start.connect("auto", {})


def test_another_version_at_the_other_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def mismatch(**options: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9.1\n")

    monkeypatch.setattr(ray, "init", mismatch)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with pytest.raises(RayUnavailable) as caught:
            start.connect(f"127.0.0.1:{listening.getsockname()[1]}", {})
    assert "cluster was started with: Ray: 2.9.0 Python: 3.9.1; start that cluster" in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "way_out"),
    [(None, "set RAY_AUTH_MODE=token here"), ("disabled", "RAY_AUTH_MODE=disabled has to be what it was")],
)
def test_who_is_not_let_in_is_told_of_tokens(mode: str | None, way_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray says of a cluster that wants a token, which the driver has not sent: nothing of it."""

    def not_let_in(**options: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")

    monkeypatch.setattr(ray, "init", not_let_in)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with pytest.raises(RayUnavailable) as caught:
            start.connect(f"127.0.0.1:{listening.getsockname()[1]}", {})
    assert way_out in str(caught.value) and "\n" not in str(caught.value)


def test_a_ray_that_does_not_start_is_one_line_with_advice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Too slow, it is tried again; broken, it is not. What is not Ray's own line is still heard."""
    tried: list[str] = []

    def fails(**options: object) -> None:
        tried.append(os.environ["RAY_BACKEND_LOG_LEVEL"])
        os.write(2, b"[2026-11-29 07:13:28,477 E 15166 15166] core_worker.cc:2465: Actor\nours\n")
        raise Exception(error)

    monkeypatch.delenv("RAY_BACKEND_LOG_LEVEL", raising=False)
    monkeypatch.setattr(ray, "init", fails)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    for error, times in (
        ("The current node timed out during startup. This\ncould", start.START_ATTEMPTS),
        ("No space left", 1),
    ):
        tried.clear()
        with pytest.raises(RayUnavailable) as caught:
            start.start(1, 2**28, [])
        text = str(caught.value)
        assert tried == ["fatal"] * times
        assert error.split("\n")[0] in text and "\n" not in text
        assert all(word in text for word in ("memory", "256 MiB of /dev/shm", "RAY_TMPDIR", "cores"))
        assert capfd.readouterr().err == "ours\n" * times
    assert "RAY_BACKEND_LOG_LEVEL" not in os.environ


@pytest.mark.usefixtures("local_ray")
def test_a_ray_that_is_there_is_used_and_stays_also_off_the_main_thread() -> None:
    failed: list[BaseException] = []
    before = signal.getsignal(signal.SIGTERM)

    def use() -> None:
        try:
            with ray_session(1, say=lambda text: pytest.fail(text)):
                assert ray.get(ray.remote(lambda: 1).remote()) == 1
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failed == []
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("main", [True, False], ids=["main thread", "another"])
def test_rays_handler_of_sigterm_does_not_stay(main: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ray, "init", lambda **options: main and signal.signal(signal.SIGTERM, lambda number, frame: None)
    )
    before = signal.getsignal(signal.SIGTERM)
    if main:
        start.start(1, 2**28, [])
    else:
        thread = threading.Thread(target=start.start, args=(1, 2**28, []))
        thread.start()
        thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def _drive(gpus: str, modules: list[str], tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the driver, in whose own path alone our packages and the modules are."""
    script = tmp_path / "cwd/driver.py"
    script.write_text(
        f"import sys, os\nsys.path.insert(0, {str(ROOT)!r})\nos.chdir({str(script.parent)!r})\n"
        + DRIVER.replace("GPUS", gpus)
    )
    return run([sys.executable, str(script), str(tmp_path / "theirs"), *modules], env)
