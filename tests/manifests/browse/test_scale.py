"""The browse server on 100,000 pairs."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from playwright.sync_api import Page, expect

from manifests.dataset import Commit, Dataset, write_table
from manifests.schema import MANIFEST, REJECTS
from tests.manifests.make import make_dataset, make_plan
from tests.manifests.web import ask, get

PARTS, PAIRS = 10, 10_000  # 100,000 pairs, 400,000 rows


def _make_large_dataset(url: str) -> None:
    """Manifests of 100,000 pairs whose images are those of one pair; the score `position` numbers the pairs."""
    make_dataset(url, units=1, pairs=1)
    dataset = Dataset(url)
    dataset.store.remove("plan.parquet")
    make_plan(dataset, units=PARTS)
    one_pair = pa.parquet.read_table(f"{url}/manifest/derain-000000.parquet")
    rows = one_pair.take(np.tile(np.arange(one_pair.num_rows), PAIRS))
    for part in range(PARTS):
        pairs = np.repeat(np.arange(part * PAIRS, (part + 1) * PAIRS), one_pair.num_rows)
        keys = pa.array([f"{number:032x}" for number in pairs])
        scores = pa.MapArray.from_arrays(
            np.arange(len(pairs) + 1, dtype=np.int32), ["position"] * len(pairs), pairs.astype(np.float64)
        )
        table = rows.set_column(MANIFEST.get_field_index("pair"), MANIFEST.field("pair"), keys)
        table = table.set_column(MANIFEST.get_field_index("scores"), "scores", scores).cast(MANIFEST)
        commit = replace(dataset.commit("derain-000000"), unit=part, pairs=PAIRS, examples={"all": table.num_rows})
        _write_part(dataset, f"derain-{part:06d}", table, commit)
    Path(f"{url}/dataset.json").unlink()


def _write_part(dataset: Dataset, name: str, table: pa.Table, commit: Commit) -> None:
    write_table(dataset.store, f"rejects/{name}.parquet", REJECTS.empty_table(), {"unit": commit.unit})
    write_table(dataset.store, f"manifest/{name}.parquet", table, vars(commit), range(1_024, table.num_rows, 1_024))


def test_100_000_pairs_are_paged_in_bounded_memory(tmp_path: Path, page: Page) -> None:
    _make_large_dataset(f"{tmp_path}/derain")
    command = [sys.executable, "-m", "infra.command", "browse", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as server:
        try:
            assert server.stdout is not None
            (port,) = map(int, re.findall(r"127\.0\.0\.1:(\d+)/", server.stdout.readline()))
            before_mib = _peak_mib(server.pid)
            _check_large_dataset(port)
            _check_the_page(page, port)
            assert _peak_mib(server.pid) - before_mib < 400, (before_mib, _peak_mib(server.pid))
            _check_statistics(port)
        finally:
            server.terminate()


def _check_large_dataset(port: int) -> None:
    assert ask(port, "overview")[0]["pairs"] == PARTS * PAIRS
    assert ask(port, "scores") == [{"task": "derain", "name": "position", "min": 0, "max": PARTS * PAIRS - 1}]
    first, last = ask(port, "pairs"), ask(port, "pairs", page=4_166)
    assert first["total"] == last["total"] == PARTS * PAIRS
    assert _numbers(first) == [*range(24)] and _numbers(last) == [*range(99_984, 100_000)]
    query = {"kind": "describe", "direction": "reverse", "score": "position", "min": 40_000, "max": 40_049}
    found = ask(port, "pairs", **query, page=2)
    assert (found["total"], _numbers(found)) == (50, [40_048, 40_049])
    assert found["rows"][0]["shown"] == ["reverse", "describe"]
    assert _numbers(ask(port, "pairs", score="position", order="high")) == [*range(99_999, 99_975, -1)]
    assert _numbers(ask(port, "pairs", text="the rain is GONE", page=4_166)) == [*range(99_984, 100_000)]
    _check_a_pair(port, f"{99_999:032x}")
    assert get(port, f"/image/{54_321:032x}/target")[0].status == 200
    query = {"task": "derain", "score": "position"}
    found = ask(port, "histogram", **query, low=40_000, high=40_049, bins=50)
    assert (sum(found["kept"]), found["having"]["kept"], found["within"]["kept"]) == (100_000, 100_000, 50)
    assert set(found["kept"]) <= {1_999, 2_000, 2_001}
    assert ask(port, "beside", **query, at=54_321)["kept"][0]["pair"] == f"{54_321:032x}"


def _check_the_page(page: Page, port: int) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    expect(page.locator("#count")).to_have_text("100,000 pairs", timeout=60_000)
    expect(page.locator(".card")).to_have_count(24)
    page.evaluate("location.hash = 'page=99999'")
    expect(page.locator("#cards")).to_contain_text("There is no page 100,000", timeout=60_000)
    page.get_by_role("button", name="Last page").last.click()
    expect(page.locator(".card")).to_have_count(16, timeout=60_000)
    page.locator(".card").last.get_by_role("link", name="Open the pair").click()
    expect(page.locator("#pair code")).to_have_text(f"{PARTS * PAIRS - 1:032x}", timeout=60_000)
    expect(page.locator("#pair")).to_contain_text("99,999 pairs have half of its words or more", timeout=60_000)


def _check_a_pair(port: int, key: str) -> None:
    """Whose images and instructions are those of all."""
    assert len(ask(port, f"pair/{key}")["examples"]) == 4
    assert ask(port, f"pair/{key}/serves")["total"] == 0
    for part in ("images", "instructions"):
        found = ask(port, f"pair/{key}/{part}")
        assert (found["total"], _numbers(found)) == (PARTS * PAIRS - 1, [*range(24)])


def _numbers(found: Any) -> list[int]:
    return [int(row["pair"], 16) for row in found["rows"]]


def _check_statistics(port: int) -> None:
    """Counted without a timeout; tests of each part are in test_statistics.py."""
    counts = ask(port, "statistics", task="derain", part="counts")["counts"]
    assert counts["pairs"] == [{"task": "derain", "pairs": PARTS * PAIRS, "examples": 4 * PARTS * PAIRS}]
    (score,) = ask(port, "statistics", part="scores")["scores"]
    assert (score["min"], score["median"], score["max"]) == (0, PARTS * PAIRS / 2 - 0.5, PARTS * PAIRS - 1)
    assert [one["count"] for one in score["bins"]] == [PARTS * PAIRS // 20] * 20
    images = ask(port, "statistics", part="images")["images"]
    assert images["same_hash"]["images"] == 2 * PARTS * PAIRS


def _peak_mib(pid: int) -> float:
    """Of a process and those that it has started."""
    (peak_kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    children = [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return int(peak_kib) / 2**10 + sum(_peak_mib(int(child)) for child in children)
