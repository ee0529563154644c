"""What the table of scale is made of: the recipe's counts, the operators' figures, and manifests that can be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.bench import scale
from infra.bench.simulate import RECIPE
from manifests.read.query import connect, run_sql
from operators.read.bundled import BundledPhotos
from pipelines.recipe import FULL_8M
from pipelines.report.cost import VLM, sums, total
from pipelines.report.estimate import estimate
from pipelines.report.requests import run_requests
from pipelines.tasks.low_level import DERAIN


def test_the_recipe_has_its_counts_and_its_operators_seconds() -> None:
    """GPU seconds beside those of the virtual clock, whose figures a test of its own holds to the operators'."""
    sample = estimate(DERAIN, BundledPhotos(crops_per_photo=1), seed=0)
    lines = {one.task: sums(scale._estimate(one, "flux", sample, 0.5, 2.0), "s3://b") for one in FULL_8M}
    of_all = total(lines.values())
    assert (of_all.pairs, of_all.examples) == (2_182_700, 7_010_800)
    painted = {task: sum(s for model, s in of.gpu_s.items() if model != VLM) for task, of in lines.items()}
    clocked = {line.task: line.pair_s * line.pairs for line in RECIPE}
    for task, seconds in painted.items():
        assert seconds == pytest.approx(clocked.get(task, 0.0)), task
    assert of_all.requests.reads == sum(run_requests(of.units, 0.0).reads for of in lines.values())
    # A pair of derain: two JPEG files; of denoise, whose source is photos, a JPEG file and a lossless one.
    pixels = scale.SIDE_PX**2
    assert lines["derain"].shard_bytes == pytest.approx(13_000 * 2 * 0.5 * pixels)
    assert lines["denoise"].shard_bytes == pytest.approx(72_000 * (0.5 + 2.0) * pixels)
    assert lines["text2img"].shard_bytes == pytest.approx(500_000 * 0.5 * pixels)


def test_manifests_of_the_bench_can_be_asked(tmp_path: Path) -> None:
    entry = next(one for one in FULL_8M if one.task == "derain")
    assert scale._write_manifests(f"{tmp_path}/derain", entry, 600) == 2
    pool = connect(str(tmp_path))
    answers = {name: run_sql(pool, sql).rows for name, sql in scale.QUERIES.items()}
    assert answers["count by task"] == [("derain", 2_400)]
    assert sorted(answers["by direction and kind"]) == sorted((*one, 600) for one in DERAIN.examples)
    assert sum(count for *_, count in answers["top reasons of rejects"]) == 2 * round(scale.REJECTED * 512)
    ((high,),) = answers["a filter on a score"]
    assert 0.05 * 2_400 < high < 0.2 * 2_400
    assert sum(count for _, count in answers["pairs by licence"]) == 600
