"""MODELS, the hub, DATA and the server of a vision-language model, as a task needs them."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.doctor import models
from infra.slurm.ports import free_port
from operators.models.published import Published
from operators.models.table import CHECKPOINTS
from tests.infra.doctor.conftest import asked, only
from tests.sources import write_files
from tests.vlm import KEY, running

TOKEN = "hf_forTestsAlone"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """MODELS with the one file of the one checkpoint of the task hed2img, of other bytes than the published."""
    return write_files(tmp_path / "models", {"hed/ControlNetHED.pth": b"weights"})


def test_models_that_are_whole_and_with_a_file_removed(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, text, _ = only([*models.here(asked("hed2img", "--models", str(whole)))])
    assert state == "fails" and "hed is wrong: ControlNetHED.pth has 7 bytes, the published one 29,444,406" in text
    known = Published(size_bytes=7, sha256=hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setattr("operators.models.presence.PUBLISHED", {"hed": {"ControlNetHED.pth": known}})
    assert only([*models.here(asked("hed2img", "--models", str(whole)))])[:2] == (
        "ok",
        f"1 of 1 that hed2img loads are in {whole}",
    )
    (whole / "hed/ControlNetHED.pth").unlink()
    state, text, way_out = only([*models.here(asked("hed2img", "--models", str(whole)))])
    assert state == "fails" and text.startswith("hed is missing") and "hf download lllyasviel/Annotators" in way_out


def test_the_small_models_are_written_by_a_run_unless_they_are_damaged(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("operators.models.checkpoints", "infra.doctor.models"):
        monkeypatch.setattr(f"{module}.TINY", tmp_path / "tiny")
    state, text, _ = only([*models.here(asked("hed2img", "--models", "tiny"))])
    assert state == "ok" and "writes the small random ones" in text
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/.made").touch()
    state, _, way_out = only([*models.here(asked("hed2img", "--models", "tiny"))])
    assert state == "fails" and "anew" in way_out
    shutil.copytree(whole / "hed", tmp_path / "tiny/hed")
    assert only([*models.here(asked("hed2img", "--models", "tiny"))])[1] == "1 of 1 that hed2img loads are in tiny"


def test_a_source_that_brings_inputs_needs_no_models() -> None:
    """What makes depth maps is not run on the bundled pair of pictures, which has one."""
    assert only([*models.here(asked("depth2img", "--models", "/nowhere"))])[1] == "depth2img loads none"


def test_models_of_a_task_that_loads_none() -> None:
    assert only([*models.here(asked("derain"))])[:2] == ("ok", "derain loads none")


def test_models_that_are_not_given(tmp_path: Path) -> None:
    state, text, way_out = only([*models.here(asked("style"))])
    assert state == "fails" and "flux, stable-cascade-prior" in text and "hub to download them" in way_out
    lines = [*models.here(asked("style", "--models", str(tmp_path)))]
    assert {one.state for one in lines} == {"fails"}
    assert [one.text.split()[0] for one in lines] == [*asked("style").roles]
    assert all(one.way_out == CHECKPOINTS[role].obtain for one, role in zip(lines, asked("style").roles, strict=True))


def test_what_the_options_of_a_task_and_a_model_here_add() -> None:
    assert set(asked("pose", "--generator", "flux", "--estimator", "dwpose", "--models", "x").roles) == {
        *("flux", "flux-controlnet-pose", "dwpose")
    }
    assert asked("derain", "--vlm", "local", "--models", "x").roles == ("qwen2-vl",)


@dataclass(kw_only=True)
class Hub:
    """What a stand-in of the hub says: it takes TOKEN, and gives one repository."""

    url: str = ""
    gated: bool = False
    granted: bool = False
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Answers as huggingface.co does: 401 for no or a wrong token, 403 for a gated repository."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            hub.asked.append(self.path)
            token = self.headers.get("Authorization")
            if token not in (None, f"Bearer {TOKEN}"):
                self._answer(401, {"error": "Invalid username or password."}, {})
            elif "lllyasviel/Annotators" not in self.path:
                self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            elif self.path.endswith("/auth-check") and hub.gated and not (token and hub.granted):
                said = {"error": "Access to model is restricted"}
                self._answer(403 if token else 401, said, {"X-Error-Code": "GatedRepo"})
            elif self.path.endswith("/auth-check"):
                self._answer(200, {}, {})
            else:
                files = [{"rfilename": "ControlNetHED.pth", "size": 99_173_660}, {"rfilename": "a.md", "size": 2**40}]
                self._answer(200, {"id": "lllyasviel/Annotators", "siblings": files}, {})

        def _answer(self, status: int, value: Any, headers: dict[str, str]) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield hub
        server.shutdown()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no token of this machine's user."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("hub", "token", "state", "text", "way_out"),
    [
        (Hub(), "", "ok", "may be downloaded, 94.6 MiB", ""),
        (Hub(), TOKEN, "ok", "may be downloaded, 94.6 MiB", ""),
        (Hub(), "hf_another", "fails", "does not take the token", "set HF_TOKEN"),
        (Hub(gated=True), "", "fails", "is gated, and there is no token", "accept its licence at https://huggingface"),
        (Hub(gated=True), TOKEN, "fails", "account has not been given access", "accept its licence at https://hugging"),
        (Hub(gated=True, granted=True), TOKEN, "ok", "may be downloaded", ""),
    ],
)
def test_the_hub(
    hub: Hub, token: str, state: str, text: str, way_out: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with serving(hub):
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        first, room = models.hub(asked("hed2img", "--models", "hub"))
    assert first.state == state and text in first.text and way_out in first.way_out, first
    assert TOKEN not in first.text + first.way_out and "hf_another" not in first.text + first.way_out
    assert room.state == ("ok" if state == "ok" else "skipped")
    assert not cache.exists()  # nothing is downloaded
    assert all("/api/models/lllyasviel/Annotators" in path for path in hub.asked)


@pytest.mark.usefixtures("cache")
def test_a_hub_with_more_than_the_disk_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("infra.doctor.models.shutil.disk_usage", lambda folder: usage._replace(free=99_173_659))
    with serving(Hub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        _, room = models.hub(asked("hed2img", "--models", "hub"))
    assert room.state == "fails" and "HF_HOME" in room.way_out


@pytest.mark.usefixtures("cache")
def test_a_hub_that_is_not_to_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    first, _ = models.hub(asked("hed2img", "--models", "hub"))
    assert first.state == "fails" and "cannot be reached (ConnectError)" in first.text and "proxy" in first.way_out
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    state, text, _ = only([*models.hub(asked("hed2img", "--models", "hub"))])
    assert state == "fails" and "HF_HUB_OFFLINE forbids to download hed" in text


def test_a_vlm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with running() as server:
        state, text, _ = only([*models.vlm(asked("derain", "--vlm", server.url, "--vlm-model", "m"))])
        assert state == "ok" and server.url in text
        monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key")
        state, text, way_out = only([*models.vlm(asked("derain", "--vlm", server.url, "--vlm-model", "m"))])
        assert state == "fails" and "refuses the key" in text and "another" not in text and "OPENAI_API_KEY" in way_out
    state, text, way_out = only([*models.vlm(asked("derain", "--vlm", server.url, "--vlm-model", "m"))])
    assert state == "fails" and "cannot be reached" in text and "start that server" in way_out
    state, text, _ = only([*models.vlm(asked("derain", "--vlm", server.url))])
    assert state == "fails" and text.startswith("VLM_MODEL is not set")


def test_data(tmp_path: Path) -> None:
    assert only([*models.data(asked("derain"))])[0] == "ok"
    (tmp_path / "words.txt").write_text("no pictures")
    for folder, why in ((tmp_path, "nothing that derain can read"), (tmp_path / "none", "none")):
        state, text, way_out = only([*models.data(asked("derain", "--data", str(folder)))])
        assert state == "fails" and why in text and "--data" in way_out
