"""CPU time of reading a dataset back: ours, and webdataset's iterator over the same shards. `make bench` runs it.

bytes           of each pair its key and the bytes of its two images; webdataset gives those of its JSON with them
and texts       the instructions and answers of its examples too: our objects, webdataset's JSON parsed
and pixels      both images decoded to RGB arrays too
bytes by key    ours alone: the same bytes in random order, which an iterator cannot do; its ratio is to "bytes"

Existing JPEG pairs of 512 px as in a pass-through task, in shards of _PAIRS_A_SHARD; a pair has four examples. The arms
take turns in one process, round by round after one that is not measured, over files that the system has cached.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import webdataset

from infra.bench.fixtures import SIDE_PX, write_rain13k
from manifests import Dataset
from manifests.dataset import plan_table
from manifests.images.pixels import stored
from manifests.schema import Example, Item, Pair, Step, pair_key
from manifests.write.finish import finish
from manifests.write.writer import Context, UnitWriter

AIM = 2.5
"""How many times less than webdataset ours is to take for bytes."""

_PAIRS_A_SHARD = 250
_ROLES = ("input", "target")

Arm = Callable[[], int]
"""Reads the dataset once. Returns the number of pairs."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.reading", description="Reading, side by side.")
    parser.add_argument("--pairs", type=int, default=1_000, help="(default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="measured, after one that is not (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write_rain13k(folder / "photos", options.pairs)
        write_dataset(folder / "photos", str(folder / "derain"))
        ours, theirs = _ours(str(folder / "derain")), _webdataset(folder / "derain")
        arms = {f"ours, {name}": arm for name, arm in ours.items()}
        arms |= {f"webdataset, {name}": arm for name, arm in theirs.items()}
        costs_ms = _rounds(arms, options.pairs, options.rounds)
    print(f"{options.pairs:,} pairs of {SIDE_PX} px, {options.rounds} rounds; median (min - max)")
    print(f"{'':<14}{'ours, CPU ms a pair':>24}{'webdataset':>24}{'webdataset / ours':>24}")
    for name in ours:
        mine, other = costs_ms[f"ours, {name}"], costs_ms[f"webdataset, {name if name in theirs else 'bytes'}"]
        ratios = [their_ms / our_ms for our_ms, their_ms in zip(mine, other, strict=True)]
        shown = _spread(other, 3) if name in theirs else ""
        print(f"{name:<14}{_spread(mine, 3):>24}{shown:>24}{_spread(ratios, 1):>24}")
    print(f"aim: for bytes webdataset takes at least {AIM} times what ours takes", flush=True)
    return 0


def write_dataset(photos: Path, url: str) -> None:
    """A finished dataset of a folder in Rain13K's layout, files stored as they are, without Ray."""
    names = sorted(path.name for path in (photos / "target").iterdir())
    units = [names[start : start + _PAIRS_A_SHARD] for start in range(0, len(names), _PAIRS_A_SHARD)]
    dataset = Dataset(url)
    items = [[Item(ref=name, files=tuple(f"{role}/{name}" for role in _ROLES)) for name in unit] for unit in units]
    plan = dataset.write_plan("derain", {"seed": 0}, "0" * 64, plan_table(items))
    for number, unit in enumerate(units):
        suffixes = dict.fromkeys(_ROLES, "jpg")
        with UnitWriter.open(dataset, plan, number, prototype_task="low-level", suffixes=suffixes) as writer:
            for name in unit:
                writer.add(_pair(photos, name))
        keys = [kept.pair.key for kept in writer.stored]
        contexts = {
            (kept.pair.key, example.direction, example.kind): Context(pair=keys[place - 1], method="seeded")
            for place, kept in enumerate(writer.stored)
            for example in kept.pair.examples
        }
        writer.commit(contexts, len(contexts), {})
    finish(dataset, plan, versions={}, licences={"photos": "CC0-1.0"})


def _pair(photos: Path, name: str) -> Pair:
    images = tuple(stored(role, (photos / role / name).read_bytes()) for role in _ROLES)
    remove, add, ask = "Remove the rain from this photo.", "Add rain to this photo.", "What has changed?"
    forward, reverse = "The streaks of rain over the whole photo are gone.", "Streaks of rain cover the whole photo."
    return Pair(
        key=pair_key("derain", name, *(image.data for image in images)),
        source="photos",
        source_ref=name,
        licence="CC0-1.0",
        images=images,
        group=name,
        examples=(
            Example(direction="forward", kind="generate", inputs=("input",), output="target", instruction=remove),
            Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction=add),
            Example(direction="forward", kind="describe", inputs=_ROLES, output=None, instruction=ask, text=forward),
            Example(
                direction="reverse", kind="describe", inputs=_ROLES[::-1], output=None, instruction=ask, text=reverse
            ),
        ),
        scores={"mean_abs_diff": 12.5, "ssim": 0.5},
        steps=(Step(operator="gate", version=1, params={"low": 0.5, "high": 90.0}),),
    )


def _ours(url: str) -> Mapping[str, Arm]:
    """Each opens the dataset anew, so that nothing is remembered from one round to the next."""

    def read_bytes() -> int:
        return sum(len({role: pair.image_bytes(role) for role in pair.roles}) for pair in Dataset(url).pairs()) // 2

    def and_texts() -> int:
        count = 0
        for pair in Dataset(url).pairs():
            images = {role: pair.image_bytes(role) for role in pair.roles}
            texts = [(example.instruction, example.text) for example in pair.examples]
            count += len(images) == 2 and len(texts) == 4
        return count

    def and_pixels() -> int:
        count = 0
        for pair in Dataset(url).pairs():
            images = {role: pair.image(role) for role in pair.roles}
            texts = [(example.instruction, example.text) for example in pair.examples]
            count += len(images) == 2 and len(texts) == 4
        return count

    def by_key() -> int:
        dataset = Dataset(url)
        keys = [pair.key for pair in dataset.pairs()]
        random.Random(0).shuffle(keys)
        return sum(len([dataset.image_bytes(key, role) for role in _ROLES]) for key in keys) // 2

    return {"bytes": read_bytes, "and texts": and_texts, "and pixels": and_pixels, "bytes by key": by_key}


def _webdataset(folder: Path) -> Mapping[str, Arm]:
    shards = [str(path) for path in sorted((folder / "shards").iterdir())]

    def samples() -> webdataset.WebDataset:
        return webdataset.WebDataset(shards, shardshuffle=False)

    def read_bytes() -> int:
        return sum(len(sample["input.jpg"]) > 0 < len(sample["target.jpg"]) for sample in samples())

    def and_texts() -> int:
        count = 0
        for sample in samples():
            texts = [(example["instruction"], example["text"]) for example in json.loads(sample["json"])["examples"]]
            count += len(sample["input.jpg"]) > 0 < len(sample["target.jpg"]) and len(texts) == 4
        return count

    def and_pixels() -> int:
        count = 0
        for sample in samples().decode("rgb8"):
            images: list[np.ndarray] = [sample[f"{role}.jpg"] for role in _ROLES]
            texts = [(example["instruction"], example["text"]) for example in sample["json"]["examples"]]
            count += all(image.shape == (SIDE_PX, SIDE_PX, 3) for image in images) and len(texts) == 4
        return count

    return {"bytes": read_bytes, "and texts": and_texts, "and pixels": and_pixels}


def _rounds(arms: Mapping[str, Arm], pairs: int, rounds: int) -> Mapping[str, Sequence[float]]:
    """CPU milliseconds a pair of each arm in each round."""
    costs: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            started_s = time.process_time()
            assert arm() == pairs, name
            if number:
                costs[name].append(1_000 * (time.process_time() - started_s) / pairs)
    return costs


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
