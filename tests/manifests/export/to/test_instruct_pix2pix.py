"""Read back by Hugging Face datasets, in the ways of diffusers' script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from manifests.dataset import Dataset
from manifests.export.formats import format_named
from manifests.export.run import export
from tests.manifests.export.make import ODD, PLAIN, encoded, key, pixels


def test_the_script_of_diffusers_reads_it(mixed: Dataset, tmp_path: Path, load: Callable[..., Any]) -> None:
    """What train_instruct_pix2pix.py does with a data set.

    huggingface/diffusers@000280f5:examples/instruct_pix2pix/train_instruct_pix2pix.py: load_dataset(args.dataset_name)
    and its split "train"; the defaults of --original_image_column, --edited_image_column and --edit_prompt_column;
    convert_to_np, which takes image.convert("RGB") and resizes it; the prompts, which are tokenized as a list of texts.
    """
    out = tmp_path / "out"
    done = export([mixed], format_named("instruct-pix2pix"), str(out))
    rows = load(str(out))["train"]
    assert {"input_image", "edited_image", "edit_prompt"} <= set(rows.column_names)
    assert [*rows["edit_prompt"]] == [PLAIN, PLAIN, ODD]  # and not the pair with two inputs
    assert [*rows["pair"]] == [key(0), key(1), key(3)]
    for number, row in zip((0, 1, 3), rows, strict=True):
        np.testing.assert_array_equal(np.asarray(row["input_image"].convert("RGB")), pixels(number, "input"))
        np.testing.assert_array_equal(np.asarray(row["edited_image"].convert("RGB")), pixels(number, "target"))
    assert done.description["left_out"] == {
        "describe examples have no place in this format": 8,
        "of the other direction (--direction both takes them)": 4,
        "with 2 input images, and the format has place for 1": 1,
    }


def test_bytes_pass_through_but_for_turned_images(mixed: Dataset, tmp_path: Path) -> None:
    done = export([mixed], format_named("instruct-pix2pix"), str(tmp_path / "out"))
    (file,) = (tmp_path / "out/data").iterdir()
    assert file.name == "train-00000-of-00001.parquet"
    rows = pq.read_table(file).to_pylist()
    for number, row in zip((0, 1), rows, strict=False):
        assert row["input_image"]["bytes"] == encoded(number, "input")
        assert row["edited_image"]["bytes"] == encoded(number, "target")
    assert [row["input_image"]["path"].rpartition(".")[2] for row in rows] == ["png", "jpg", "png"]
    assert done.description["converted"] == {"turned, transparent, deep, or of other colours than sRGB": 1}
