from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from operators.shared.clip_folder import clip_weights, load_clip
from tests.train import tiny


def test_the_weights_are_those_that_open_clip_loads(tmp_path: Path) -> None:
    """Also where there are several: the file that is named, and whose sha256 is in fingerprints, is the one loaded."""
    folder = tiny.write_clip(tmp_path / "clip")
    weights = load_file(folder / "open_clip_model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "model.safetensors")
    model, tokenizer = load_clip(folder)
    named = load_file(clip_weights(folder))
    assert clip_weights(folder) == folder / "open_clip_model.safetensors"
    torch.testing.assert_close(dict(model.state_dict()), named)
    assert not model.training
    assert tokenizer(["a cat"]).shape == (1, 77)


def test_a_folder_without_config_or_weights_is_named(tmp_path: Path) -> None:
    folder = tiny.write_clip(tmp_path / "clip")
    for file in ("open_clip_config.json", "open_clip_model.safetensors"):
        kept = (folder / file).read_bytes()
        (folder / file).unlink()
        for read in (clip_weights, load_clip):
            with pytest.raises(
                ValueError, match=f"^{folder} is not a CLIP checkpoint: open_clip_config.json and weights"
            ):
                read(folder)
        (folder / file).write_bytes(kept)
    with pytest.raises(ValueError, match="is not a CLIP checkpoint"):
        clip_weights(tmp_path / "nowhere")
