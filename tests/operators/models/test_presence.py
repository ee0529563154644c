from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from operators.models import checkpoints
from operators.models import presence as module
from operators.models.presence import presence
from operators.models.published import Published
from operators.models.table import CHECKPOINTS
from tests.sources import write_files
from tests.tiny import tiny_models

_WEIGHTS = b"the published weights"


def _publish(monkeypatch: pytest.MonkeyPatch, role: str, file: str, size: int | None, sha256: str | None) -> None:
    monkeypatch.setattr(module, "PUBLISHED", {role: {file: Published(size_bytes=size, sha256=sha256)}})


def test_a_folder_is_compared_with_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, digest = str(tmp_path), hashlib.sha256(_WEIGHTS).hexdigest()
    _publish(monkeypatch, "hed", "ControlNetHED.pth", len(_WEIGHTS), digest)
    assert presence(models, "hed").state == "missing"
    write_files(tmp_path, {"hed/ControlNetHED.pth": _WEIGHTS})
    found = presence(models, "hed")
    assert (found.state, found.why, found.folder) == ("present", "", str(tmp_path / "hed"))
    write_files(tmp_path, {"hed/ControlNetHED.pth": _WEIGHTS[::-1]})
    found = presence(models, "hed")
    assert found.state == "wrong" and f"the published one {digest[:12]}" in found.why
    write_files(tmp_path, {"hed/ControlNetHED.pth": _WEIGHTS + b"!"})
    assert presence(models, "hed").why == "ControlNetHED.pth has 22 bytes, the published one 21"


def test_the_hubs_cache_is_looked_at_by_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are links to blobs that are named by their sha256: such ones are not read again."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    digest, table = "ab" * 32, CHECKPOINTS["hed"]
    _publish(monkeypatch, "hed", "ControlNetHED.pth", None, digest)
    repository = tmp_path / "models--lllyasviel--Annotators"
    snapshot = repository / "snapshots" / table.revision
    assert presence("hub", "hed").state == "missing" and presence("hub", "hed").folder == str(snapshot)
    write_files(repository, {f"blobs/{digest}": b"weights", f"snapshots/{table.revision}/other.pth": b"x"})
    assert presence("hub", "hed").why == "ControlNetHED.pth is not there yet"
    (snapshot / "ControlNetHED.pth").symlink_to(f"../../blobs/{digest}")
    assert presence("hub", "hed").state == "present"
    _publish(monkeypatch, "hed", "ControlNetHED.pth", None, "cd" * 32)
    assert presence("hub", "hed").state == "wrong"


def test_a_branch_is_the_commit_that_was_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert CHECKPOINTS["flux-controlnet-pose"].revision == "main"
    repository = tmp_path / "models--Shakker-Labs--FLUX.1-dev-ControlNet-Union-Pro"
    write_files(repository, {"refs/main": b"0123abcd"})
    assert presence("hub", "flux-controlnet-pose").folder == str(repository / "snapshots" / "0123abcd")


def test_what_is_not_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(checkpoints, "TINY", tmp_path / "tiny")
    assert presence("hub", "lpips").why == "not on the hub" and presence("hub", "lpips").folder == ""
    assert presence("hub", "blazepose").folder == str(tmp_path / "blazepose")  # where `make blazepose` puts it


def test_tensors_are_those_that_the_config_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what nothing is published: by the library, of diffusers and of transformers."""
    from safetensors.torch import load_file, save_file

    monkeypatch.setattr(module, "PUBLISHED", {})
    roles = {"sd15-controlnet-openpose": "diffusion_pytorch_model.safetensors", "dino": "model.safetensors"}
    for role, name in roles.items():
        shutil.copytree(Path(tiny_models(role), role), tmp_path / role)
        assert presence(str(tmp_path), role).state == "present"
        path = tmp_path / role / name
        tensors = load_file(path)
        gone = max(tensors)
        save_file({key: value for key, value in tensors.items() if key != gone}, path, metadata={"format": "pt"})
        found = presence(str(tmp_path), role)
        assert found.state == "wrong" and gone in found.why
    config = tmp_path / "dino" / "config.json"
    save_file(tensors, path, metadata={"format": "pt"})
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_size": 48, "num_attention_heads": 1}))
    assert presence(str(tmp_path), "dino").state == "wrong"


def test_a_download_that_did_not_come_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISHED", {})
    write_files(tmp_path, {"dino/config.json": b'{"architectures": ["ViTModel"]}', "dino/.cache/x.incomplete": b"x"})
    found = presence(str(tmp_path), "dino")
    assert (found.state, found.why) == ("missing", "there are no weights in its folder")
    write_files(tmp_path, {"openpose/body_pose_model.pth": b"x", "openpose/hand_pose_model.pth": b"x"})
    found = presence(str(tmp_path), "openpose")
    assert (found.state, found.why) == ("wrong", "facenet.pth is not there")


def test_a_config_with_nonsense_is_wrong_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISHED", {})
    shutil.copytree(Path(tiny_models("dino"), "dino"), tmp_path / "dino")
    config = json.loads((tmp_path / "dino/config.json").read_text())
    for size, why in ((0, "config.json says that hidden_size is 0"), ("many", "ViTModel cannot take it: ")):
        (tmp_path / "dino/config.json").write_text(json.dumps({**config, "hidden_size": size}))
        found = presence(str(tmp_path), "dino")
        assert found.state == "wrong" and found.why.startswith(why)


def test_of_tiny_only_damage_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "TINY", tmp_path)
    write_files(tmp_path, {"hed/ControlNetHED.pth": b"random"})
    assert presence("tiny", "hed").state == "present"
    write_files(tmp_path, {"hed/ControlNetHED.pth": b"version https://git-lfs.github.com/spec/v1\n"})
    assert presence("tiny", "hed").state == "wrong"
