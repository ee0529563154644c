from __future__ import annotations

from pathlib import Path

import pytest

from operators.models import checkpoints
from operators.models.checkpoints import folder, has, identity, tiny_folder
from operators.models.table import CHECKPOINTS
from tests.sources import write_files


@pytest.mark.parametrize("role", sorted(CHECKPOINTS))
def test_what_is_missing_is_one_line_with_licence_and_way_out(role: str, tmp_path: Path) -> None:
    (tmp_path / role / ".cache").mkdir(parents=True)  # what an interrupted download leaves
    (tmp_path / role / ".cache" / "note").touch()
    for models in (None, str(tmp_path)):
        assert not has(models, role)
        with pytest.raises(ValueError, match="make tiny-models") as caught:
            folder(models, role)
        message, checkpoint = str(caught.value), CHECKPOINTS[role]
        assert "\n" not in message
        assert checkpoint.licence in message and checkpoint.obtain in message and checkpoint.hub_id in message
        assert all(task in message for task in checkpoint.tasks)
        assert f"MODELS={models or ''}: " in message


def test_a_role_is_a_folder_below_models_and_tiny_is_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"dino/pytorch_model.bin": b"weights"})
    assert folder(str(tmp_path), "dino") == str((tmp_path / "dino").resolve())
    assert Path(__file__).parents[3] / "models" / "tiny" == checkpoints.TINY
    monkeypatch.setattr(checkpoints, "TINY", tmp_path)
    assert folder("tiny", "dino") == folder(str(tmp_path), "dino")
    monkeypatch.chdir(tmp_path)
    assert Path(folder(".", "dino")).is_absolute()


def test_a_file_that_is_cut_short_is_one_line_before_anything_is_loaded(tmp_path: Path) -> None:
    """Safetensors by hand: the length of the header, the header, and 23 of the 24 bytes that it speaks of."""
    text = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    write_files(tmp_path, {"csd/model.safetensors": len(text).to_bytes(8, "little") + text + bytes(23)})
    with pytest.raises(
        ValueError, match=r"csd .* is not usable in MODELS=.*: model\.safetensors is cut short"
    ) as caught:
        folder(str(tmp_path), "csd")
    assert "\n" not in str(caught.value) and CHECKPOINTS["csd"].obtain in str(caught.value)
    write_files(tmp_path, {"csd/model.safetensors": len(text).to_bytes(8, "little") + text + bytes(24)})
    assert folder(str(tmp_path), "csd") == str((tmp_path / "csd").resolve())


def test_tiny_is_in_the_clone_or_else_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone, installed = write_files(tmp_path / "clone", {"pyproject.toml": b""}), tmp_path / "site-packages"
    assert tiny_folder(clone, {"XDG_CACHE_HOME": "/cache"}) == clone / "models" / "tiny"
    assert tiny_folder(installed, {"XDG_CACHE_HOME": "/cache"}) == Path("/cache/xprompt/tiny")
    monkeypatch.setenv("HOME", "/home/someone")
    for environment in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
        assert tiny_folder(installed, environment) == Path("/home/someone/.cache/xprompt/tiny")


def test_a_local_checkpoint_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    files = {"unet/model.safetensors": b"weights", "model_index.json": b"{}"}
    same = write_files(tmp_path / "same", {**files, "README.md": b"card", ".cache/x": b"note"})
    one = write_files(tmp_path / "one", files)
    assert identity(str(one), "sd15") == identity(str(same), "sd15")
    name, revision = identity(str(one), "sd15")
    assert name == "sd15" and len(revision) == 12
    for number, changed in enumerate(({**files, "model_index.json": b"[]"}, {**files, "more.bin": b""})):
        assert identity(str(write_files(tmp_path / str(number), changed)), "sd15")[1] != revision


def test_a_snapshot_of_the_hub_is_known_by_its_commit(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--facebook--dino-vits16" / "snapshots" / "0123abcd"
    write_files(snapshot, {"model.safetensors": b"weights"})
    assert identity(str(snapshot), "dino") == ("facebook/dino-vits16", "0123abcd")
    assert identity(str(snapshot), "qwen2-vl")[0] == "qwen2-vl"


def test_the_hub_is_asked_for_the_pinned_revision_and_a_refusal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked = []

    def refuse(hub_id: str, **options: object) -> str:
        asked.append((hub_id, options))
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network\nand a second line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ValueError, match="not to be had from the hub") as caught:
        folder("hub", "sd15-inpaint")
    assert "\n" not in str(caught.value)
    wanted = CHECKPOINTS["sd15-inpaint"]
    options = {"revision": wanted.revision, "allow_patterns": [*wanted.files]}
    assert asked == [("stable-diffusion-v1-5/stable-diffusion-inpainting", options)]
    with pytest.raises(ValueError, match="not on the hub"):
        folder("hub", "blazepose")
