"""Finds and loads a CLIP in a local folder, in open_clip's layout: open_clip_config.json beside its weights.

OpenAI's weights, which the papers take, were trained with QuickGELU: the config must say so, as the hub's does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operators.shared.extras import need

CONFIG_FILE = "open_clip_config.json"


def clip_weights(folder: Path | str) -> Path:
    """The file of weights that open_clip takes of a folder. Raises ValueError if the folder holds no CLIP."""
    found = need("open_clip.factory")._find_checkpoint_in_dir(Path(folder))
    if found is None or not Path(folder, CONFIG_FILE).is_file():
        raise ValueError(f"{folder} is not a CLIP checkpoint: {CONFIG_FILE} and weights are needed")
    return Path(found)


def load_clip(folder: Path | str) -> tuple[Any, Any]:
    """The model, ready for inference on the CPU, and its tokenizer. Raises ValueError if the folder holds no CLIP."""
    open_clip = need("open_clip")
    clip_weights(folder)  # says what is missing better than open_clip does
    name = f"local-dir:{folder}"
    return open_clip.create_model(name, require_pretrained=True).eval(), open_clip.get_tokenizer(name)
