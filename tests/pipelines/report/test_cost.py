"""The sums of plans: beside what a real run has written, and those of a recipe beside those of its tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from operators.read.bundled import BundledPhotos
from operators.vlm.client import Vlm
from pipelines.api import plan
from pipelines.full_8m import main
from pipelines.report.cost import VLM, VLM_S_PER_CALL, Sums, costs, sum_lines, sums, total
from pipelines.report.estimate import estimate
from pipelines.report.price_table import OURS, read_prices
from pipelines.report.prices import Prices
from pipelines.report.requests import Requests, run_requests
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.personalisation import STYLE
from tests.datasets import make_dataset
from tests.sources import write_photos, write_rain13k


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_what_is_planned_is_about_what_a_run_writes(tmp_path: Path) -> None:
    """64 crops of one photo, so that the 16 that are sampled look like the others."""
    reader = BundledPhotos(photos=("skimage/data/grass.png",), crops_per_photo=64)
    planned = sums(estimate(DERAIN, reader, seed=0), str(tmp_path))
    made = make_dataset(tmp_path, None, reader=reader)
    there = Path(made.url)
    assert (planned.pairs, planned.units) == (64, len(made.committed()))
    assert planned.shard_bytes == pytest.approx(_bytes(there / "shards"), rel=0.03)
    assert planned.table_bytes == pytest.approx(_bytes(there / "manifest") + _bytes(there / "rejects"), rel=0.03)


def test_a_recipes_plan_is_the_sum_of_the_plans_of_its_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rain, photos = write_rain13k(tmp_path / "root/Rain13K", 40), write_photos(tmp_path / "root/outdoor", 20)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        '[[datasets]]\ntask = "derain"\n\n[[datasets]]\ntask = "lowlight"\ndata = "outdoor"\n\n'
        '[[datasets]]\ntask = "denoise"\ndata = "nowhere"\n'
    )
    out = "s3://bucket/out"
    assert main(["--recipe", str(recipe), "--data-root", str(tmp_path / "root"), "--out", out, "--plan"]) == 0
    printed = capsys.readouterr().out
    tasks = {"derain": rain, "lowlight": photos}
    parts = [sums(plan(task, data=str(data), out=out)[1], out) for task, data in tasks.items()]
    of_all = total(parts)
    assert of_all.pairs == 60 and of_all.bytes == pytest.approx(sum(part.bytes for part in parts))
    assert of_all.requests == run_requests(2, 0.0) + run_requests(1, 0.0)
    lines = dict(sum_lines(of_all, read_prices(OURS)))
    for head in ("bytes", "S3 requests"):
        assert lines[head] in printed
    assert "denoise: left out" in printed
    # The table's line of sums: pairs, examples, calls; the bytes of the datasets add up too.
    (line,) = [line.split() for line in printed.splitlines() if line.split()[:1] == ["sum"]]
    assert line[2:4] == ["60", f"{of_all.examples:,}"] and line[5] == "0"


def test_sums_add_up_by_model() -> None:
    one = Sums(units=1, pairs=2, gpu_s={"flux": 3.0, VLM: 1.0}, requests=Requests(writes=1, reads=2))
    other = Sums(units=10, pairs=20, gpu_s={"flux": 4.0, "rb": 5.0}, requests=Requests(writes=3, reads=4))
    assert one + other == Sums(
        units=11, pairs=22, gpu_s={"flux": 7.0, VLM: 1.0, "rb": 5.0}, requests=Requests(writes=4, reads=6)
    )
    assert total([]) == Sums() and total([one]) == one


def test_gpu_hours_are_those_of_the_operators_and_of_the_answers() -> None:
    vlm = Vlm(model="m", url_or_folder="http://127.0.0.1:9/v1")
    task = STYLE.asking(vlm)
    assert task.bundled
    estimated = estimate(task, task.bundled.reader, seed=0)
    found = sums(estimated, "data")
    assert found.gpu_s[VLM] == VLM_S_PER_CALL * 2 * 192  # the filter asks twice of a pair
    stated = [getattr(link, "gpu_s", 0.0) for link in task.chain]
    assert found.gpu_hours == pytest.approx((192 * sum(stated) + found.gpu_s[VLM]) / 3600)
    assert found.requests == Requests()  # OUT is no bucket


def test_dollars_are_quantities_times_prices() -> None:
    table = read_prices(OURS)
    run = Sums(
        gpu_s={"flux": 7_200.0, VLM: 3_600.0},
        cpu_s=36_000.0,
        tokens_in=2_000_000,
        tokens_out=1_000_000,
        shard_bytes=3e9,
        table_bytes=0.5e9,
        token_bytes=0.5e9,
        requests=Requests(writes=10_000, reads=100_000),
    )
    assert costs(run, table) == pytest.approx(
        {"GPUs": 3 * 2.49, "CPUs": 0.425, "a month in a bucket": 4 * 0.023, "requests": 0.05 + 0.04}
    )
    paid = costs(run, table, Prices(per_million_in=2.5, per_million_out=10.0))
    assert (paid["GPUs"], paid["tokens of the model"]) == pytest.approx((2 * 2.49, 15.0))
    lines = dict(sum_lines(run, table))
    assert lines["cost"].startswith(f"about {3 * 2.49 + 0.425 + 0.092 + 0.09:,.2f} USD: 7.47 GPUs, ")
    assert lines[""] == f"by {OURS}, prices of {table.dates}"


def test_a_large_shard_is_uploaded_in_parts() -> None:
    """As s3fs does: 50 MiB a part, from two of them on."""
    small, large = run_requests(10, 99 * 2**20), run_requests(10, 120 * 2**20)
    assert large.writes - small.writes == 10 * (2 + 3 - 1) and large.reads == small.reads


def test_a_price_table_of_ones_own_is_reckoned_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from infra.command import main as command

    own = tmp_path / "own.toml"
    own.write_text(Path(OURS).read_text().replace('"USD"', '"EUR"').replace("price = 0.023", "price = 1e6"))
    table = read_prices(str(own))
    assert (table.currency, table.gb_month.price) == ("EUR", 1e6)
    assert replace(table, file=OURS, currency="USD", gb_month=read_prices(OURS).gb_month) == read_prices(OURS)
    assert command(["plan", "derain", "--scale", "0.05", "--price-table", str(own), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "EUR: " in printed and f"by {own}, prices of" in printed
    assert command(["plan", "derain", "--price-table", str(tmp_path / "none.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"xprompt plan: --price-table: {tmp_path}/none.toml cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[gpu_hour]", "[gpu_hours]", "it lacks gpu_hour. Copy"),
        ("currency", "money = 1\ncurrency", "it has money, which is no price of ours. Copy"),
        ('"USD"', "5", "currency is a name"),
        ("price = 2.49", 'price = "2.49"', "the price of gpu_hour is '2.49', not a number from 0 on"),
        ("price = 2.49", "price = -1", "the price of gpu_hour is -1, not"),
        ("price = 2.49", "price = inf", "the price of gpu_hour is inf, not"),
        ("date = 2022-07-07", "date = 2022", "date of gb_month is 2022, not a day such as 2026-11-30"),
        ("date = 2022-07-07", "", "gb_month has price, source, date, and nothing else"),
        ('source = "table', 'source = ""  # "table', "source of gb_month says where"),
        ("[gpu_hour]", "[gpu_hour", "is no TOML"),
    ],
)
def test_what_is_no_price_table_is_one_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = Path(OURS).read_text()
    assert text.count(old) == 1
    file = tmp_path / "own.toml"
    file.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match="is no") as caught:
        read_prices(str(file))
    assert said in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value)
