"""The browse page in a real Chromium, beside that of an earlier commit: time to the first card, and bytes sent.

    python -m infra.bench.browse                      # beside the commit before cards were pairs
    python -m infra.bench.browse --against HEAD~1     # or any other of this repository

100,000 pairs   manifests of so many, whose images are those of one pair, 64 x 48 px
six 4K pairs    JPEG files of 3840 x 2160 px, of quality 95, with grain

Each arm is a server of its own, `xprompt browse` of that commit, with a cache of its own that is empty at first. A load
is the first page in a new browser context, which has nothing in its cache, until nothing more is sent: at first of a
server that has just been started, and then once more, when what it keeps is there. The arms take turns, round by round.
Seconds are the browser's own, from the begin of the navigation; another's work on this machine is in them, and not in
the server's CPU time. Bytes are what comes over the wire, with headers.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow as pa
import skimage.data
from playwright.sync_api import Browser, sync_playwright

from infra.bench.reading import write_dataset
from infra.bench.version_2 import make_version_2
from manifests.dataset import Dataset, plan_table, write_table
from manifests.images.pixels import Pixels
from manifests.schema import MANIFEST, REJECTS, Item

AIMS = {"100,000 pairs": ("first_card_s", 0.5), "six 4K pairs": ("sent_kib", 300.0)}
"""Seconds until the first card, and KiB that the first page sends, at most."""

BEFORE = "5f678ac"
"""The commit before the page had a card a pair, thumbnails and a comparison of pixels."""

WIDTH_PX, HEIGHT_PX = 3840, 2160
_PAIRS_A_UNIT = 10_000
_ROLES = ("input", "target")
_LOOK_EVERY_MS, _QUIET_LOOKS = 100, 8
"""How often the open requests are counted, and how often in a row there must be none."""

_CLOCK = """
    const note = () => {
        const card = document.querySelector(".card"), picture = card?.querySelector("img");
        if (card) window.firstCard ??= performance.now();
        if (picture?.complete && picture.naturalWidth) window.firstPicture ??= performance.now();
        if (!window.firstPicture) requestAnimationFrame(note);
    };
    requestAnimationFrame(note);
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one load of the page took."""

    first_card_s: float
    first_picture_s: float
    """Until the first card shows its first picture."""
    sent_kib: float
    server_cpu_s: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.browse", description="The browse page, side by side.")
    parser.add_argument("--against", default=BEFORE, help=f"a commit of this repository (default: {BEFORE})")
    parser.add_argument("--pairs", type=int, default=100_000, help="(default: 100000)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("browse: no `chromium` on PATH to open the page with; not measured")
        return 0
    with tempfile.TemporaryDirectory() as root, sync_playwright() as playwright:
        folder = Path(root)
        arms = {"before": _checked_out(options.against, folder / "before"), "now": Path(__file__).parents[2]}
        write_many(f"{folder}/many", options.pairs)
        write_4k(folder / "large", 6)
        for case in ("many", "large"):
            make_version_2(folder / case / "out/derain")
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        cases = {f"{options.pairs:,} pairs": folder / "many/out", "six 4K pairs": folder / "large/out"}
        for case, url in cases.items():
            loads = _rounds(arms, url, browser, options.rounds, folder)
            _print_table(case, loads, options)
        browser.close()
    return 0


# ---- what is shown ------------------------------------------------------------------------------------------------


def write_4k(folder: Path, pairs: int) -> None:
    """A dataset `out` of pairs of JPEG files of 3840 x 2160 px, and the files: of two photos, each with other bytes."""
    grain = np.tile(np.random.default_rng(0).integers(0, 24, (540, 640, 3), np.uint8), (4, 6, 1))
    for role in _ROLES:
        (folder / "photos" / role).mkdir(parents=True)
    for start, photo in enumerate((skimage.data.coffee(), skimage.data.chelsea())):
        large = cv2.add(cv2.resize(photo, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC), grain)
        for role, pixels in zip(_ROLES, (large // 2, large), strict=True):
            data = _jpeg(pixels)
            for number in range(start, pairs, 2):
                comment = b"\xff\xfe\x00\x06" + number.to_bytes(4, "big")  # the marker COM, its length, its content
                (folder / "photos" / role / f"{number}.jpg").write_bytes(data[:2] + comment + data[2:])
    write_dataset(folder / "photos", str(folder / "out" / "derain"))


def _jpeg(pixels: Pixels) -> bytes:
    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return data.tobytes()


def write_many(root: str, pairs: int) -> None:
    """A dataset below a folder whose manifests name so many pairs; the images of all are those of one."""
    one = Path(root) / "one"
    for role in _ROLES:
        (one / role).mkdir(parents=True)
        (one / role / "0.jpg").write_bytes(_jpeg(skimage.data.chelsea()[:48, :64]))
    url = f"{root}/out/derain"
    write_dataset(one, url)
    shutil.rmtree(one)
    dataset, units = Dataset(url), -(-pairs // _PAIRS_A_UNIT)
    rows = dataset.table_of("derain-000000", MANIFEST.names)
    for name in ("plan.parquet", "dataset.json"):
        dataset.store.remove(name)
    items = [[Item(ref=f"{unit}", files=("0.jpg",))] for unit in range(units)]
    plan = dataset.write_plan("derain", {"seed": 0}, "0" * 64, plan_table(items))
    commit = dataset.commit("derain-000000")
    for unit in range(units):
        count = min(_PAIRS_A_UNIT, pairs - unit * _PAIRS_A_UNIT)
        table = rows.take(np.tile(np.arange(rows.num_rows), count))
        numbers = np.repeat(np.arange(unit * _PAIRS_A_UNIT, unit * _PAIRS_A_UNIT + count), rows.num_rows)
        keys = pa.array([f"{number:032x}" for number in numbers])
        table = table.set_column(MANIFEST.get_field_index("pair"), MANIFEST.field("pair"), keys).cast(MANIFEST)
        committed = replace(commit, unit=unit, pairs=count, examples={"all": table.num_rows})
        name = plan.name(unit)
        write_table(dataset.store, f"rejects/{name}.parquet", REJECTS.empty_table(), {"unit": unit})
        groups = range(1_024, table.num_rows, 1_024)
        write_table(dataset.store, f"manifest/{name}.parquet", table, vars(committed), groups)


# ---- what is measured ---------------------------------------------------------------------------------------------


def _checked_out(commit: str, folder: Path) -> Path:
    """The files of a commit. Raises ValueError if this is no clone that has it."""
    here = Path(__file__).parents[2]
    archive = folder.with_suffix(".tar")
    with archive.open("wb") as file:
        command = ["git", "archive", commit, "infra", "manifests", "operators", "pipelines", "xprompt_model", "train"]
        done = subprocess.run(command, cwd=here, stdout=file, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"--against {commit}: git has no such commit here: {done.stderr.strip()}")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _rounds(
    arms: Mapping[str, Path], url: Path, browser: Browser, rounds: int, folder: Path
) -> dict[tuple[str, str], list[Load]]:
    """The loads by arm, and by whether the server was new."""
    loads: dict[tuple[str, str], list[Load]] = {(arm, when): [] for when in ("first", "again") for arm in arms}
    for number in range(rounds):
        for arm in sorted(arms, reverse=number % 2 == 1):
            with _serving(arms[arm], url, folder / f"cache-{number}-{arm}") as (process, port):
                for when in ("first", "again"):
                    loads[arm, when].append(_load(browser, process, port))
    return loads


@contextmanager
def _serving(clone: Path, url: Path, cache: Path) -> Iterator[tuple[psutil.Process, int]]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        [sys.executable, "-m", "infra.command", "browse", str(url), "--port", "0"],
        cwd=clone,
        env=environment | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)/", line)
        if found is None:
            raise RuntimeError(f"{clone}: the server said {line!r}")
        yield psutil.Process(server.pid), int(found[1])
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(cache, ignore_errors=True)


def _load(browser: Browser, server: psutil.Process, port: int) -> Load:
    sent, waiting = 0, set[str]()

    def add(event: Mapping[str, Any]) -> None:
        nonlocal sent
        sent += int(event["encodedDataLength"])
        waiting.discard(event["requestId"])

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.on("Network.requestWillBeSent", lambda event: waiting.add(event["requestId"]))
    wire.on("Network.loadingFinished", add)
    wire.on("Network.loadingFailed", lambda event: waiting.discard(event["requestId"]))
    page.add_init_script(_CLOCK)
    before_s = _cpu_s(server)
    page.goto(f"http://127.0.0.1:{port}/", timeout=120_000)
    # Not wait_for_function: the page's policy forbids the eval that it is made of.
    page.evaluate("async () => { while (!window.firstPicture) await new Promise(requestAnimationFrame); }")
    quiet = 0
    while quiet < _QUIET_LOOKS:
        page.wait_for_timeout(_LOOK_EVERY_MS)
        quiet = 0 if waiting else quiet + 1
    card_ms, picture_ms = page.evaluate("[window.firstCard, window.firstPicture]")
    cpu_s = _cpu_s(server) - before_s
    context.close()
    return Load(first_card_s=card_ms / 1e3, first_picture_s=picture_ms / 1e3, sent_kib=sent / 2**10, server_cpu_s=cpu_s)


def _cpu_s(server: psutil.Process) -> float:
    """Of the server and the processes that run its SQL."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))


# ---- what is printed ----------------------------------------------------------------------------------------------

_SHOWN = {
    "first_card_s": ("first card, s", 2),
    "first_picture_s": ("first picture, s", 2),
    "sent_kib": ("sent, KiB", 0),
    "server_cpu_s": ("server's CPU s", 2),
}


def _print_table(case: str, loads: Mapping[tuple[str, str], Sequence[Load]], options: argparse.Namespace) -> None:
    print(f"\n{case}, {options.rounds} rounds; median (min - max); before is {options.against}")
    print(f"{'':<28}{'before':>26}{'now':>24}{'before / now':>24}")
    for when, name in (("first", "new server"), ("again", "again")):
        for field in fields(Load):
            label, digits = _SHOWN[field.name]
            before, now = ([getattr(load, field.name) for load in loads[arm, when]] for arm in ("before", "now"))
            ratios = [a / max(b, 1e-3) for a, b in zip(before, now, strict=True)]
            shown = f"{_spread(before, digits):>26}{_spread(now, digits):>24}{_spread(ratios, 1):>24}"
            print(f"{f'{name}: {label}':<28}{shown}")
    if case in AIMS:
        field_name, aim = AIMS[case]
        print(f"aim: {_SHOWN[field_name][0]} at most {aim:g}", flush=True)


def _spread(values: Sequence[float], digits: int) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({least:,.{digits}f} - {most:,.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
