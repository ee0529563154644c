"""The layouts of preferences: TRL's names of columns, and those of Pick-a-Pic, which diffusers' DPO scripts read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from manifests.export.features import IMAGE, image, with_features
from manifests.export.preferences import Preference
from manifests.read.candidates import StoredCandidate
from manifests.schema import canonical_json


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way to lay out preferences as columns of Parquet files."""

    name: str
    """What --to takes."""
    summary: str
    """What it is for, in a line of --help."""
    reader: str
    """The code that it was checked against: repository@commit:path."""
    schema: pa.Schema
    row: Callable[[Preference], dict[str, Any]]
    places: tuple[tuple[str, str], ...]
    """What it is here, and the column there."""
    how_to: str
    """How a trainer is pointed at the export, with FOLDER for its path."""


_ABOUT = [
    pa.field("margin", pa.float64()),
    pa.field("rank", pa.string()),
    pa.field("pair", pa.string()),
    pa.field("source", pa.string()),
    pa.field("source_ref", pa.string()),
    pa.field("licence", pa.string()),
]

_OF_ONE = [
    pa.field("scores", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("made_by", pa.string()),
]
"""What is said of each of the two pictures: all scores and how it was made, as JSON, and why a gate refused it."""


def _two(one: str, other: str) -> list[pa.Field]:
    return [pa.field(f"{field.name}_{which}", field.type) for which in (one, other) for field in _OF_ONE]


def _about(preference: Preference) -> dict[str, Any]:
    return {
        "margin": preference.margin,
        "rank": preference.rank,
        "pair": preference.win.pair,
        "source": preference.source,
        "source_ref": preference.win.source_ref,
        "licence": preference.licence,
    }


def _of_one(candidate: StoredCandidate, which: str) -> dict[str, Any]:
    made_by = {name: candidate.said.get(name) for name in ("operator", "params", "seed", "model", "model_revision")}
    return {
        f"scores_{which}": canonical_json(dict(candidate.scores)),
        f"reason_{which}": candidate.reason,
        f"made_by_{which}": canonical_json(made_by),
    }


def _inputs(preference: Preference) -> list[Any]:
    return [image(one, f"{preference.win.pair}-{number}") for number, one in enumerate(preference.inputs)]


def _trl(preference: Preference) -> dict[str, Any]:
    win, lose, stem = preference.win, preference.lose, preference.identity
    return {
        "prompt": preference.prompt,
        "images": _inputs(preference),
        "chosen": {"bytes": win.data(), "path": f"{stem}-chosen.{win.ending}"},
        "rejected": {"bytes": lose.data(), "path": f"{stem}-rejected.{lose.ending}"},
        "score_chosen": win.scores[preference.rank],
        "score_rejected": lose.scores[preference.rank],
        **_about(preference),
        **_of_one(win, "chosen"),
        **_of_one(lose, "rejected"),
    }


def _pick_a_pic(preference: Preference) -> dict[str, Any]:
    """The better one is jpg_0 or jpg_1 by turns of its identity, so that its place tells nothing."""
    win_first = int(preference.identity, 16) % 2 == 0
    two = (preference.win, preference.lose) if win_first else (preference.lose, preference.win)
    return {
        "caption": preference.prompt,
        "jpg_0": two[0].data(),
        "jpg_1": two[1].data(),
        "label_0": float(win_first),
        "label_1": float(not win_first),
        "images": _inputs(preference),
        "score_0": two[0].scores[preference.rank],
        "score_1": two[1].scores[preference.rank],
        **_about(preference),
        **_of_one(two[0], "0"),
        **_of_one(two[1], "1"),
    }


TRL = Layout(
    name="preference",
    summary="Parquet of better and worse edits of one image, with TRL's names: prompt, images, chosen, rejected.",
    reader="huggingface/trl@f2cd57710ae345ea6428ae95363267fcf38a3dc8:trl/trainer/dpo_trainer.py",
    schema=with_features(
        [
            pa.field("prompt", pa.string()),
            pa.field("images", pa.list_(IMAGE)),
            pa.field("chosen", IMAGE),
            pa.field("rejected", IMAGE),
            pa.field("score_chosen", pa.float64()),
            pa.field("score_rejected", pa.float64()),
            *_ABOUT,
            *_two("chosen", "rejected"),
        ]
    ),
    row=_trl,
    places=(
        ("instruction", "prompt"),
        ("inputs", "images"),
        ("better picture", "chosen"),
        ("worse picture", "rejected"),
        ("how much better", "margin"),
    ),
    how_to="""\
```
datasets.load_dataset("FOLDER", split="train")
```

The columns are called as TRL calls those of a preference dataset with images. TRL's own trainer writes texts: `chosen`
and `rejected` are pictures here, for trainers of models that make pictures.""",
)

PICK_A_PIC = Layout(
    name="preference-diffusers",
    summary="The same with the columns of Pick-a-Pic, for diffusers' DPO scripts: caption, jpg_0, jpg_1, label_0.",
    reader=(
        "huggingface/diffusers@58eb52c0803ea9af3abec60841c2a093bdf1f951:"
        "examples/research_projects/diffusion_dpo/train_diffusion_dpo.py"
    ),
    schema=with_features(
        [
            pa.field("caption", pa.string()),
            pa.field("jpg_0", pa.binary()),
            pa.field("jpg_1", pa.binary()),
            pa.field("label_0", pa.float64()),
            pa.field("label_1", pa.float64()),
            pa.field("images", pa.list_(IMAGE)),
            pa.field("score_0", pa.float64()),
            pa.field("score_1", pa.float64()),
            *_ABOUT,
            *_two("0", "1"),
        ]
    ),
    row=_pick_a_pic,
    places=(
        ("instruction", "caption"),
        ("inputs", "images"),
        ("better picture", "jpg_0 where label_0 is 1, else jpg_1"),
        ("worse picture", "jpg_1 where label_0 is 1, else jpg_0"),
        ("how much better", "margin"),
    ),
    how_to="""\
```
accelerate launch train_diffusion_dpo.py --dataset_name FOLDER --dataset_split_name train ...
```

The scripts are of models that make pictures of words: they read `caption` and leave `images`, the inputs of the edits,
alone.""",
)

LAYOUTS = (TRL, PICK_A_PIC)
