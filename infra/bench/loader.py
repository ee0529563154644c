"""What the trainer's data cost a rank: to open a corpus, to name its examples in order, to make documents of them.

    python -m infra.bench.loader --rows 100000 1000000 7000000
    git worktree add /tmp/before COMMIT && python -m infra.bench.loader --against /tmp/before

The corpora are made here: four datasets whose sizes are as 4 to 1, 512 pairs a shard, four examples a pair, each with
an in-context example from anywhere in its dataset. Manifests and token commits are whole; token tars, of which a
million rows have 2 GB, are there for the smallest corpus alone, so documents are made of that one. Each measurement is
a process of its own. Memory is what it has of its own at the most, over what it had before: pages of mapped files,
which all ranks of a node share, are not in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

_PAIRS_A_SHARD, _EXAMPLES_A_PAIR = 512, 4
_SHARES = (4, 3, 2, 1)
_SIDE_TOKENS, _CODES = 32, 8_192
_FIRST = 160
"""The number of examples whose shards are counted."""
_NAMED, _DOCUMENTS = 20_000, 400
_LOOK_EVERY_S = 0.005
_OURS = Path(__file__).parents[2]


def main() -> int:
    options = _parser().parse_args()
    if options.measure:
        what, folder = options.measure
        print(json.dumps(MEASURES[what](Path(folder))))
        return 0
    scratch = options.scratch or Path(tempfile.mkdtemp())
    clones = {"ours": _OURS, **({"before": options.against.resolve()} if options.against else {})}
    try:
        for line in _HEADS:
            print(_line(*line))
        for number, rows in enumerate(sorted(options.rows)):
            folder = make_corpus(scratch / f"{rows}", rows, tars=number == 0)
            if options.against:
                from infra.bench.version_2 import make_version_2  # here: a clone of before has no such module

                make_version_2(folder)
            for name, clone in clones.items():
                shutil.rmtree(folder / "arrays", ignore_errors=True)
                wanted = [what for what in MEASURES if what != "documents" or number == 0]
                _print(f"{rows:,}", name, {what: _run(clone, what, folder) for what in wanted})
    finally:
        if not options.scratch:
            shutil.rmtree(scratch)
    return 0


_HEADS = (
    ("rows", "code", "first rank", "another rank", f"{_NAMED:,} examples", "shards of", "documents"),
    ("", "", "opens, CPU s, MB", "opens, CPU s, MB", "named, CPU s, MB", f"first {_FIRST}", "a CPU s"),
)


def _line(rows: str, code: str, *columns: str) -> str:
    return f"{rows:>10} {code:<7}" + "".join(f"{column:>20}" for column in columns)


def _print(rows: str, code: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    costs = [f"{found[what]['cpu_s']:.2f}, {found[what]['peak_mb']:,.0f}" for what in ("first", "another", "order")]
    made = f"{found['documents']['documents'] / found['documents']['cpu_s']:.1f}" if "documents" in found else ""
    print(_line(rows, code, *costs, str(found["order"]["shards"]), made), flush=True)


def _run(clone: Path, what: str, folder: Path) -> dict[str, Any]:
    """A measurement in a process of its own, by the packages of a clone."""
    environment = os.environ | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", what, str(folder)]
    ended = subprocess.run(command, cwd=clone, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


class Cost:
    """CPU time of this process in a block, and the most memory of its own that it has there, over what it had."""

    def __enter__(self) -> Self:
        self._before_mb = self._peak_mb = _own_mb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        self._cpu_s = -time.process_time()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._cpu_s += time.process_time()
        self._done.set()
        self._thread.join()
        self._cpu_s -= self._looking_s
        self._peak_mb = max(self._peak_mb, _own_mb())

    def figures(self) -> dict[str, float]:
        return {"cpu_s": self._cpu_s, "peak_mb": self._peak_mb - self._before_mb}

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_EVERY_S):
            self._peak_mb = max(self._peak_mb, _own_mb())
        self._looking_s = time.thread_time()


def _own_mb() -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:")) / 1_000


def _open(folder: Path) -> Any:
    """The corpus, as the first rank of a node opens it if there are no arrays, else as the others do."""
    from train.data.corpus import Corpus

    urls, given = [str(folder / f"task{number}") for number in range(len(_SHARES))], {}
    if "folder" in inspect.signature(Corpus.open).parameters:  # before, all ranks did the same
        built = [str(path.parent) for path in folder.glob("arrays/*/corpus.json")]
        given = {"built": built[0]} if built else {"folder": str(folder / "arrays")}
    return Corpus.open(urls, **given)


def _opened(folder: Path) -> dict[str, Any]:
    import train.data.stream  # noqa: F401  # what is imported is not measured

    with Cost() as cost:
        corpus = _open(folder)
    del corpus
    return cost.figures()


def _library(folder: Path) -> Any:
    from transformers import ChameleonConfig

    from train.data.stream import Library, StreamOptions
    from train.run.config import PAPER_7B
    from train.run.estimate import _NAMES
    from xprompt_model.vocabulary import Vocabulary

    names = {name: index for index, name in enumerate(_NAMES)}
    vocabulary = Vocabulary.from_config(ChameleonConfig(vocabulary_map=names, vq_config={"num_embeddings": _CODES}))
    fields = [each.name for each in dataclasses.fields(StreamOptions)]
    values = {name: getattr(PAPER_7B, name) for name in fields if hasattr(PAPER_7B, name)}
    return Library(_open(folder), vocabulary, StreamOptions(**values))


def _ordered(folder: Path) -> dict[str, Any]:
    from train.data.stream import Stream

    library = _library(folder)
    streams = library.options.streams
    with Cost() as cost:
        opened = [Stream(library, number) for number in range(streams)]
        drawn = [stream._next() for _ in range(_NAMED // streams) for stream in opened]
    largest = [example for dataset, example, _ in drawn if dataset == 0][:_FIRST]
    shards = {library.corpus.pairs[0].place(int(library.corpus.examples[0].pair[example]))[0] for example in largest}
    return {**cost.figures(), "shards": len(shards)}


def _documents(folder: Path) -> dict[str, Any]:
    from train.data.stream import Stream

    library = _library(folder)
    made, stream = 0, iter(Stream(library, 0))
    with Cost() as cost:
        while made < _DOCUMENTS:
            made += len(next(stream).documents)
    return {**cost.figures(), "documents": made}


MEASURES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "first": _opened,
    "another": _opened,
    "order": _ordered,
    "documents": _documents,
}


def make_corpus(folder: Path, rows: int, *, tars: bool) -> Path:
    """Four datasets of so many examples in all, with token commits and, if wanted, their tars."""
    units = -(-rows // (_PAIRS_A_SHARD * _EXAMPLES_A_PAIR))
    for number, share in enumerate(_SHARES):
        if not (folder / f"task{number}" / "whole").exists():
            _make_dataset(folder / f"task{number}", max(1, round(units * share / sum(_SHARES))), number, tars)
            (folder / f"task{number}" / "whole").touch()
    return folder


def _make_dataset(folder: Path, units: int, number: int, tars: bool) -> None:
    from manifests.dataset import Dataset, plan_table, write_table
    from manifests.schema import MANIFEST, Item

    dataset, random = Dataset(str(folder)), np.random.default_rng(number)
    items = ([Item(ref=f"{unit}-{n}", files=("x.png",)) for n in range(_PAIRS_A_SHARD)] for unit in range(units))
    plan = dataset.write_plan(folder.name, {"task": folder.name}, "f" * 64, plan_table(items))
    keys = np.char.add(
        *(
            np.vectorize(lambda word: f"{word:016x}")(random.integers(0, 2**64, (units, _PAIRS_A_SHARD), np.uint64))
            for _ in range(2)
        )
    )
    groups = np.vectorize(lambda word: f"train/{word:08d}.jpg")(random.integers(0, 10**8, keys.shape) // 2)
    template = _rows(folder.name)
    offsets = pa.array(np.arange(template.num_rows + 1), pa.int32())
    for unit in range(units):
        name = plan.name(unit)
        other = keys.ravel()[random.integers(0, keys.size, template.num_rows)]
        score = pa.array(random.random(template.num_rows))
        nulls = pa.nulls(template.num_rows, pa.string())
        of = MANIFEST.field("contexts").type.value_type
        entries = pa.StructArray.from_arrays([pa.array(other), nulls, score], fields=[*of])
        table = template
        for column, values in {
            "pair": pa.array(np.repeat(keys[unit], _EXAMPLES_A_PAIR)),
            "source_group": pa.array(np.repeat(groups[unit], _EXAMPLES_A_PAIR)),
            "contexts": pa.ListArray.from_arrays(offsets, entries),
        }.items():
            table = table.set_column(MANIFEST.get_field_index(column), MANIFEST.field(column), values)
        table = pa.Table.from_arrays(table.columns, schema=MANIFEST)
        commit = {
            "unit": unit,
            "fingerprint": plan.fingerprint,
            "shard_bytes": 0,
            "shard_sha256": "",
            "members": 0,
            "rejects_sha256": "",
            "pairs": _PAIRS_A_SHARD,
            "examples": {},
            "without_context": 0,
            "rejects": {},
            "missing": {},
        }
        write_table(dataset.store, f"manifest/{name}.parquet", table, commit)
        _write_tokens(dataset, plan, unit, keys[unit].tolist(), random, tars)


def _rows(task: str) -> pa.Table:
    """The manifest of a shard, with what all of a dataset's have in common."""
    from manifests.schema import MANIFEST

    def image(role: str, pair: int) -> dict[str, Any]:
        said = {"role": role, "member": f"{pair}.{role}.png", "offset": 600_000 * pair, "bytes": 250_000 + pair}
        return {
            **said,
            "sha256": f"{pair:064x}",
            "format": "png",
            "width_px": 512,
            "height_px": 512,
            "mode": "RGB",
            "phash": f"{pair:016x}",
        }

    rows = [
        {
            "pair": "", "task": task, "prototype_task": "low-level", "direction": direction, "kind": kind,
            "instruction": f"Take away the rain of picture {pair % 50}.", "inputs": ["input"],
            "output": None if kind == "describe" else "target",
            "text": f"The rain falls at {pair} degrees." if kind == "describe" else None,
            "contexts": [], "context_method": "raie", "shard": "",
            "images": [image("input", pair), image("target", pair)], "scores": {"mean_abs_diff": pair / 512},
            "source": "bench", "source_ref": f"train/input/{pair}.png", "source_group": "", "licence": "CC0",
            "parents": [],
            "steps": [
                {"operator": "rain", "version": 1, "params": f'{{"angle_deg":{pair / 7}}}', "seed": pair * 10**12}
            ],
        }
        for pair in range(_PAIRS_A_SHARD)
        for direction in ("forward", "reverse")
        for kind in ("generate", "describe")
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=MANIFEST)


def _write_tokens(dataset: Any, plan: Any, unit: int, keys: list[str], random: np.random.Generator, tar: bool) -> None:
    from manifests.dataset import write_table
    from manifests.tokens import FOLDER, TOKENS, PairTokens, TokenizerRecord, write_tokens

    tokenizer = TokenizerRecord(vq_sha256="v" * 64, text_sha256="t" * 64, resolution_px=512, codes=_CODES)
    if tar:
        write_tokens(dataset, plan, unit, tokenizer, (_tokens(key, PairTokens, random) for key in keys))
        return
    rows = [{"pair": key, "offset": 10_000 * place, "bytes": 10_000} for place, key in enumerate(keys)]
    commit = {
        "unit": unit, "fingerprint": "t" * 64, "tokenizer": vars(tokenizer), "shard_bytes": 5_000_000,
        "shard_sha256": "0" * 64, "members": 3 * len(keys), "pairs": len(keys), "rejects": {}, "rejects_sha256": "",
    }  # fmt: skip
    write_table(dataset.store, f"{FOLDER}/{plan.name(unit)}.parquet", pa.Table.from_pylist(rows, schema=TOKENS), commit)


def _tokens(key: str, kind: Any, random: np.random.Generator) -> Any:
    roles = ("input", "target")
    examples = []
    for roles in (("input", "target"), ("target", "input")):
        said = {
            "direction": "forward" if roles[0] == "input" else "reverse",
            "instruction": random.integers(9_000, 60_000, 20).tolist(),
        }
        examples.append({**said, "kind": "generate", "inputs": [roles[0]], "output": roles[1], "text": []})
        examples.append(
            {
                **said,
                "kind": "describe",
                "inputs": [*roles],
                "output": "",
                "text": random.integers(9_000, 60_000, 50).tolist(),
            }
        )
    images = {role: random.integers(0, _CODES, (_SIDE_TOKENS, _SIDE_TOKENS)).astype(np.uint16) for role in roles}
    return kind(pair=key, images=images, examples=examples, rejects=[])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.loader", description="The trainer's data, measured.")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000], help="examples of each corpus")
    parser.add_argument("--against", type=Path, help="another clone of this repository, measured beside this one")
    parser.add_argument("--scratch", type=Path, help="folder of the corpora, kept; by default one that is removed")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
