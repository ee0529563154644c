"""What the paper's recipe comes to, on paper and as far as this machine can check it; `infra/docs/scale.md` has a run.

    python -m infra.bench.scale                                 # all of it, some twenty minutes on two cores
    python -m infra.bench.scale --parts recipe requests         # a part of it, in a minute

recipe     GPU hours by task and model, dollars, bytes, S3 requests of Tab. 6 and Tab. 7, by what `xprompt plan` uses
clock      hours on 128 GPUs, by the virtual clock of infra/bench/simulate.py
requests   S3 requests a unit, counted by a local S3 (moto)
driver     memory of the driver: planning 100,000 units; making some thousand of them on Ray, and the slope
queries    seconds of SQL over as many manifest rows as the recipe has examples, in as many files as it has units

What is not measured here is assumed: seconds of an A100 (each operator's own figure), and that sources have images of
512 x 512 px. How many bytes those have is measured, of crops of the bundled photos: as JPEG of quality 95 where a
source's bytes pass through, lossless where we make the picture, at 1,024 px where FLUX paints it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import cv2
import numpy as np
import psutil
import pyarrow as pa

from infra.bench.tiny import TINY, TinyPairs
from manifests.dataset import Dataset, plan_table, write_table
from manifests.images.pixels import encode_lossless
from manifests.printing import size
from manifests.read.query import connect, run_sql
from manifests.schema import MANIFEST, REJECTS, Item
from manifests.write.finish import finish
from operators.base import Link, ModelOperator, Reader
from operators.models.catvton import RELEASED
from operators.paint.try_on import TryOn
from operators.read.bundled import BundledPhotos
from operators.vlm.client import Asks, Vlm
from pipelines.entries import sources_of
from pipelines.recipe import FULL_8M, Entry
from pipelines.report.cost import Sums, costs, sums, total
from pipelines.report.estimate import PAINTING_GPU_S, Estimate, estimate, gpu_seconds
from pipelines.report.price_table import OURS, PriceTable, read_prices
from pipelines.report.requests import RUN, UNIT, Requests
from pipelines.report.written import Written, assumed
from pipelines.run.plan import Job, cut_units, make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.start import RayUnavailable
from pipelines.run.unit import make_unit
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.task import TWO, Task

SIDE_PX, PAINTED_PX = 512, 1_024
"""Sides of the images of sources (paper section 4: 512 px), and of what FLUX.1 paints (operators/paint/flux.py)."""

JPEG_QUALITY = 95
"""That of img2dataset, by which LAION's images are written."""

GPUS = 128
"""The paper's (section 4)."""

DRIVER_UNITS = 100_000
REJECTED = 0.1
"""Rejects a pair in the manifests that are asked. Assumed."""

_BUCKET = "s3://bucket"
_VLM = Vlm(model="Qwen2-VL-7B", url_or_folder="http://127.0.0.1:9/v1")
_ROUNDS = 3
_MOST_S = 600.0


def main() -> int:
    options = _parser().parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {_machine()}\n", flush=True)
    for name in options.parts:
        for line in PARTS[name](options):
            print(line, flush=True)
        print(flush=True)
    return 0


def _machine() -> str:
    gib = psutil.virtual_memory().total / 2**30
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    load = os.getloadavg()[0]
    processor = names[0] if names else platform.machine()
    return f"{os.cpu_count()} x {processor}, {gib:.0f} GiB, load {load:.1f}, Python {platform.python_version()}"


# ---- the recipe ---------------------------------------------------------------------------------------------------


def recipe(options: argparse.Namespace) -> Iterator[str]:
    table = read_prices(options.price_table)
    sample = estimate(DERAIN, BundledPhotos(crops_per_photo=4, side_px=256), seed=0)
    jpeg, lossless = _bytes_a_pixel()
    yield f"measured: {jpeg:.2f} bytes a pixel as JPEG {JPEG_QUALITY}, {lossless:.2f} lossless; of derain's pairs"
    yield (
        f"{sample.written.tables_a_unit:,.0f} bytes of tables a unit and {sample.written.tables_a_pair:,.0f} a pair, "
        f"{sample.written.tokens_a_pair:,.0f} of tokens a pair, {1_000 * sample.cpu_s_per_item:.0f} ms of CPU a pair"
    )
    yield ""
    lines = {
        entry.task: sums(_estimate(entry, options.generator, sample, jpeg, lossless), _BUCKET) for entry in FULL_8M
    }
    head = (
        "task",
        "pairs",
        "examples",
        "units",
        "GPU h",
        "CPU h",
        "shards",
        "tables",
        "tokens",
        "S3 requests",
        table.currency,
    )
    yield from _markdown(
        head, [*(_row(task, of, table) for task, of in lines.items()), _row("sum", total(lines.values()), table)]
    )
    yield ""
    yield from _markdown(
        ("task", "GPU hours by model"),
        [
            (task, "; ".join(f"{s / 3600:,.1f} {model}" for model, s in of.gpu_s.items()))
            for task, of in lines.items()
            if of.gpu_s
        ],
    )
    of_all = total(lines.values())
    yield ""
    for name, cost in costs(of_all, table).items():
        yield f"{name}: {cost:,.2f} {table.currency}"
    yield f"{size(of_all.bytes)} in all; {of_all.calls:,} questions to a vision-language model"
    yield f"prices of {table.dates}, by {Path(table.file).name}"


def _estimate(entry: Entry, generator: str, sample: Estimate, jpeg: float, lossless: float) -> Estimate:
    """A line of the recipe as `xprompt plan` would have it, had it the source."""
    task = OUR_TASKS[entry.task]
    task = (task.with_options({"generator": generator}) if "generator" in task.options else task).asking(_VLM)
    named = [source for folder in entry.data for source in task.sources if source.folder == folder]
    source = (named or sources_of(task, entry.source) or [*task.sources])[0]
    task = task.for_source(source.reader).changed(_with_weights)
    chain = task.operators(source.reader)
    item = Item(ref="", files=("a.jpg",) * 4)
    units = sum(1 for _ in cut_units([item] * entry.pairs, 0, task.pairs_per_shard))
    gpu_s, roles = gpu_seconds(chain), _pictures(task, source.reader, item)
    paints = any(link.gpu_s >= PAINTING_GPU_S for link in chain if isinstance(link, ModelOperator))
    pixels = SIDE_PX**2
    if paints:
        picture_bytes = lossless * PAINTED_PX**2
    elif source.reader.paired or roles == 1:
        picture_bytes = jpeg * pixels
    else:
        picture_bytes = (jpeg + (roles - 1) * lossless) * pixels / roles
    return Estimate(
        tried=False,
        there=entry.pairs,
        items=entry.pairs,
        shards=units,
        sampled=1,
        kept=1,
        written=_with_measured_tables(assumed(picture_bytes, roles), sample.written),
        cpu_s_per_item=sample.cpu_s_per_item,
        gpu_s=gpu_s,
        examples=dict.fromkeys(task.wanted, 1),
        missing={},
        left_out={},
        calls=sum(link.calls for link in chain if isinstance(link, Asks) and link.vlm),
    )


def _with_weights(link: Link) -> Link:
    """Try-on with CatVTON's released attention: without it nothing is painted, see operators/paint/try_on.py."""
    return replace(link, trained=RELEASED) if isinstance(link, TryOn) else link


def _pictures(task: Task, reader: Reader, item: Item) -> int:
    """How many pictures a pair has: those of its source, and an input that is made of it, but for text to image."""
    try:
        of_source = len(reader.suffixes([item]))
    except FileNotFoundError:  # a reader of tables looks into the first for their format: those of edits have two
        of_source = 2
    return max(of_source, 1 if task.examples == TWO else 2)


def _with_measured_tables(written: Written, measured: Written) -> Written:
    return replace(written, tables_a_unit=measured.tables_a_unit, tables_a_pair=measured.tables_a_pair)


def _bytes_a_pixel() -> tuple[float, float]:
    """Of crops of the bundled photos: as JPEG, and as we write a new image."""
    reader = BundledPhotos(crops_per_photo=4, side_px=256)
    jpeg, lossless, pixels = 0, 0, 0
    for item in reader.items(reader.listing()):
        picture = cv2.imdecode(np.frombuffer(reader.read(item, "").images[0].data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert done
        jpeg, pixels = jpeg + len(data), pixels + picture.shape[0] * picture.shape[1]
        lossless += len(encode_lossless("target", np.ascontiguousarray(picture[:, :, ::-1])).data)
    return jpeg / pixels, lossless / pixels


def _row(task: str, of: Sums, table: PriceTable) -> tuple[str, ...]:
    numbers = (f"{of.pairs:,}", f"{of.examples:,}", f"{of.units:,}", f"{of.gpu_hours:,.1f}", f"{of.cpu_s / 3600:,.1f}")
    bytes_ = (size(of.shard_bytes), size(of.table_bytes), size(of.token_bytes))
    return (task, *numbers, *bytes_, f"{of.requests.all:,}", f"{sum(costs(of, table).values()):,.2f}")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


# ---- 128 GPUs -----------------------------------------------------------------------------------------------------


def clock(options: argparse.Namespace) -> Iterator[str]:
    from infra.bench.simulate import RECIPE, Site, table

    ours = {entry.task for entry in FULL_8M}
    yield from table([line for line in RECIPE if line.task in ours], Site(gpus=GPUS), 0, ["overlapped", "in turn"])


# ---- requests -----------------------------------------------------------------------------------------------------


def requests(options: argparse.Namespace) -> Iterator[str]:
    """In this process, without Ray: what a unit costs does not depend on who makes it."""
    command = [sys.executable, "-m", "tests.buckets.server"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
            os.environ.update(keys, AWS_ENDPOINT_URL=url)
            urlopen(Request(f"{url}/bench", method="PUT")).close()
            counted = {units: _made_in_a_bucket(url, units) for units in (2, 4, 8)}
        finally:
            server.kill()
    for units, kinds in counted.items():
        yield f"{units} units: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
    (few, less), *_, (many, more) = counted.items()
    each = {kind: (more[kind] - less[kind]) / (many - few) for kind in sorted(more)}
    yield f"each further unit: {', '.join(f'{count:g} {kind}' for kind, count in each.items() if count)}"
    writes = sum(each.get(kind, 0.0) for kind in ("PUT", "POST", "LIST"))
    found = Requests(writes=round(writes), reads=round(sum(each.get(kind, 0.0) for kind in ("GET", "HEAD"))))
    said = "as counted" if found == UNIT else f"counted {found}"
    yield f"plans reckon with {UNIT.writes} writes and {UNIT.reads} reads a unit: {said}"
    yield f"and with {RUN.writes} writes and {RUN.reads} reads a run: tests/buckets/test_requests.py counts one on Ray"


def _made_in_a_bucket(url: str, units: int) -> Counter[str]:
    reader = BundledPhotos(photos=("skimage/data/grass.png",), crops_per_photo=32 * units, side_px=32)
    urlopen(Request(f"{url}/_test/requests", b"", method="POST")).close()
    job = make_job(DERAIN, reader, f"s3://bench/{units}/derain", 0)
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    finish(job.dataset, job.plan, versions=versions(job.task), licences={reader.source: reader.licence})
    with urlopen(Request(f"{url}/_test/requests", b"", method="POST")) as answer:
        asked = json.load(answer)
    return Counter("LIST" if "list-type=" in path else method for method, path, _ in asked)


# ---- the driver ---------------------------------------------------------------------------------------------------


def driver(options: argparse.Namespace) -> Iterator[str]:
    for what, units in (("plan", DRIVER_UNITS), ("run", options.driver_units)):
        # In a process of its own, so that its memory is that of this alone.
        command = [sys.executable, "-m", "infra.bench.scale", "--measure", what, str(units)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        yield from ended.stdout.splitlines()
        if ended.returncode:
            yield f"{what}: not measured, it ended with status {ended.returncode}"


def _planned(units: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before_mib, began_s = _own_mib(), time.perf_counter()
        job = make_job(TINY, TinyPairs(count=units), f"{folder}/tiny", seed=0)
        took_s = time.perf_counter() - began_s
        assert job.plan.units == units
        more_mib = _own_mib() - before_mib
        print(f"planning {units:,} units: {more_mib:,.0f} MiB more than the {before_mib:,.0f} before, {took_s:.1f} s")


class _EnoughError(Exception):
    """Raised in a run of which enough has been seen."""


def _ran(units: int) -> None:
    """Some units on Ray, ten times as many, and the first of very many."""
    from pipelines.run.session import ray_session

    few = units // 10
    with tempfile.TemporaryDirectory() as folder, ray_session(2):
        _peak_mib(f"{folder}/warm", 100, 100)
        less, more = (_peak_mib(f"{folder}/{count}", count, count) for count in (few, units))
        many = _peak_mib(f"{folder}/many", DRIVER_UNITS, units)
    print(
        f"a driver that makes {few:,} units on Ray: {less:,.1f} MiB of its own at the most; {units:,}: {more:,.1f} MiB"
    )
    print(f"one that has {DRIVER_UNITS:,} to make, when {units:,} of them are made: {many:,.1f} MiB")
    each_kib = 1_024 * (more - less) / (units - few)
    at_end = many + max(0.0, each_kib) * (DRIVER_UNITS - units) / 1_024
    print(
        f"each unit that is made: {each_kib:.2f} KiB more; by that slope {at_end:,.0f} MiB when all are made (computed)"
    )


def _peak_mib(url: str, units: int, made: int) -> float:
    """The most memory of its own that this process has while it makes the first of some units."""
    from infra.bench.meter import Meter
    from pipelines.run import engine
    from pipelines.run.watch import Watch

    left = made

    def count(job: Job, one: object) -> None:
        nonlocal left
        left -= 1
        if not left and made < units:
            raise _EnoughError

    job = make_job(TINY, TinyPairs(count=units), url, seed=0)
    with Meter() as meter, suppress(_EnoughError):
        engine.run([job], Watch(on_made=count))
    assert len(job.dataset.committed()) >= made
    return meter.peak_private_bytes("driver") / 2**20


def _own_mib() -> float:
    memory = psutil.Process().memory_info()
    return float(memory.rss - memory.shared) / 2**20


MEASURES: dict[str, Callable[[int], None]] = {"plan": _planned, "run": _ran}

# ---- queries ------------------------------------------------------------------------------------------------------

QUERIES = {
    "count by task": "SELECT task, count(*) FROM examples GROUP BY task ORDER BY task",
    "by direction and kind": "SELECT direction, kind, count(*) FROM examples GROUP BY ALL",
    "top reasons of rejects": "SELECT task, reason, count(*) AS n FROM rejects GROUP BY ALL ORDER BY n DESC LIMIT 20",
    "a filter on a score": "SELECT count(*) FROM examples WHERE scores['mean_abs_diff'] > 0.9",
    "a score's median by task": "SELECT task, median(scores['mean_abs_diff']) FROM examples GROUP BY task",
    "pairs by licence": "SELECT licence, count(DISTINCT pair) FROM examples GROUP BY licence",
    "words in an instruction": "SELECT count(*) FROM examples WHERE instruction ILIKE '%picture 7.%'",
    "a pair by its key": "SELECT task, instruction FROM examples WHERE pair = 'ffffffffffffffffffffffffffffffff'",
}


def queries(options: argparse.Namespace) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        began_s = time.perf_counter()
        rows = units = 0
        for entry in FULL_8M:
            pairs = max(1, round(entry.pairs * options.part))
            units += _write_manifests(f"{folder}/{entry.task}", entry, pairs)
            rows += pairs * entry.factor
        there = sum(file.stat().st_size for file in Path(folder).rglob("manifest/*"))
        wrote_s = time.perf_counter() - began_s
        yield f"{rows:,} rows in {units:,} manifests of {len(FULL_8M)} datasets, {size(there)}, made in {wrote_s:.0f} s"
        began_s = time.perf_counter()
        pool = connect(folder)
        yield f"opened in {time.perf_counter() - began_s:.1f} s"
        yield ""
        found = []
        for name, sql in QUERIES.items():
            took = []
            for _ in range(_ROUNDS):
                began_s = time.perf_counter()
                answer = run_sql(pool, sql, timeout_s=_MOST_S)
                took.append(time.perf_counter() - began_s)
            if name == "count by task":
                assert sum(count for _, count in answer.rows) == rows
            found.append((name, f"{took[0]:.1f}", f"{statistics.median(took[1:]):.1f}", f"`{sql}`"))
        yield from _markdown(("query", "first, s", "again, s", "statement"), found)


def _write_manifests(url: str, entry: Entry, pairs: int) -> int:
    """The manifests and rejects of a line of the recipe, with keys and scores of their own; how many units."""
    dataset, random = Dataset(url), np.random.default_rng(0)
    per_unit = OUR_TASKS[entry.task].pairs_per_shard
    units = -(-pairs // per_unit)
    plan = dataset.write_plan(
        entry.task, {}, "f" * 64, plan_table([[Item(ref=f"{n}", files=())] for n in range(units)])
    )
    template = _template(entry, per_unit)
    rejects = pa.Table.from_pylist(
        [_reject(entry, n) for n in range(max(1, round(REJECTED * per_unit)))], schema=REJECTS
    )
    for unit in range(units):
        name, count = plan.name(unit), min(per_unit, pairs - unit * per_unit)
        table = template.slice(0, count * entry.factor)
        words = random.integers(0, 2**63, (count, 2))
        keys = np.repeat([f"{high:016x}{low:016x}" for high, low in words], entry.factor)
        scores = np.repeat(np.round(random.random(count), 6), entry.factor)
        offsets = pa.array(np.arange(len(scores) + 1), pa.int32())
        names = pa.array(["mean_abs_diff"] * len(scores))
        for column, values in {
            "pair": pa.array(keys),
            "scores": pa.MapArray.from_arrays(offsets, names, pa.array(scores)),
        }.items():
            place = MANIFEST.get_field_index(column)
            table = table.set_column(place, MANIFEST.field(column), values.cast(MANIFEST.field(column).type))
        commit = {
            "unit": unit, "fingerprint": plan.fingerprint, "shard_bytes": 0, "shard_sha256": "", "members": 0,
            "rejects_sha256": "", "pairs": count, "examples": {}, "without_context": 0, "rejects": {}, "missing": {},
        }  # fmt: skip
        write_table(dataset.store, f"rejects/{name}.parquet", rejects, {"unit": unit})
        write_table(
            dataset.store, f"manifest/{name}.parquet", pa.Table.from_arrays(table.columns, schema=MANIFEST), commit
        )
    return units


def _template(entry: Entry, pairs: int) -> pa.Table:
    """Rows of a unit: what differs from unit to unit is put in their place later."""
    task = OUR_TASKS[entry.task]
    examples = task.examples[: entry.factor]

    def image(role: str, pair: int) -> dict[str, Any]:
        told = {
            "role": role,
            "member": f"{pair:032x}.{role}.png",
            "offset": 600_000 * pair,
            "bytes": 250_000 + 7 * pair,
        }
        shape = {"format": "png", "width_px": SIDE_PX, "height_px": SIDE_PX, "mode": "RGB"}
        return {**told, **shape, "sha256": f"{pair * 2_654_435_761:064x}", "phash": f"{pair * 40_503:016x}"}

    rows: list[dict[str, Any]] = [
        {
            "pair": "", "task": entry.task, "prototype_task": task.prototype_task, "direction": direction, "kind": kind,
            "instruction": f"Change picture {pair % 50}.", "inputs": ["input"],
            "output": None if kind == "describe" else "target",
            "text": f"What is changed is {pair}." if kind == "describe" else None,
            "contexts": [{"pair": f"{pair * 7_919:032x}", "dataset": None, "score": None}], "context_method": "seeded",
            "shard": f"{entry.task}-000000.tar", "images": [image("input", pair), image("target", pair)], "scores": {},
            "source": entry.source or entry.task, "source_ref": f"train/input/{pair:08d}.png",
            "source_group": f"{pair}", "licence": "CC0-1.0" if pair % 3 else "CC-BY-4.0", "parents": [],
            "steps": [{"operator": "rain", "version": 1, "params": f'{{"angle":{pair / 7}}}', "seed": pair * 10**12}],
        }
        for pair in range(pairs)
        for direction, kind in examples
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=MANIFEST)


def _reject(entry: Entry, number: int) -> dict[str, Any]:
    reason = ("too_similar", "undecodable", "no_change_seen", "vlm_no")[number % 4]
    told = {
        "task": entry.task,
        "source": entry.source or entry.task,
        "source_ref": f"{number}",
        "files": [f"{number}.png"],
    }
    return {**told, "operator": "gate", "reason": reason, "message": reason, "scores": [], "shard": "", "pictures": []}


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "recipe": recipe,
    "clock": clock,
    "requests": requests,
    "driver": driver,
    "queries": queries,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="(default: all)")
    parser.add_argument("--generator", choices=("flux", "sd15"), default="flux", help="what paints (default: flux)")
    parser.add_argument("--price-table", default=OURS, help="prices (default: pipelines/prices.toml)")
    parser.add_argument(
        "--part", type=float, default=1.0, help="share of the manifest rows that are asked (default: 1)"
    )
    parser.add_argument("--driver-units", type=int, default=5_000, help="units made on Ray (default: 5000)")
    parser.add_argument(
        "--scratch", type=Path, help="folder for the manifests, removed at the end (default: the system's)"
    )
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "UNITS"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    asked = _parser().parse_args()
    if asked.measure:
        try:
            MEASURES[asked.measure[0]](int(asked.measure[1]))
        except RayUnavailable as error:
            sys.exit(f"bench.scale: {error}")
        sys.exit(0)
    sys.exit(main())
