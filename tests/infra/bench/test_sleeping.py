"""The tasks that stand for ours: they make whole datasets, and sleep as long as the models that they stand for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from infra.bench.paint_log import read_log
from infra.bench.sleeping import CHAINS, reader_of, sleeping_task
from manifests.verify.dataset import verify
from manifests.write.finish import finish
from pipelines.run.plan import make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit

_PAIRS, _QUICKER = 3, 2_000.0

# By task: pictures and measurements of a pair, and their seconds on a GPU.
_BY_HAND = {
    "style": (4, 2 * 14 + 60 + 0.3),
    "editing": (8, 8 * 14),
    "pose": (2, 2 * 14),
    "composition": (2, 14 + 0.3),
    "mimicbrush": (1, 14),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_unit_is_painted_and_is_sound(tmp_path: Path, name: str) -> None:
    count, gpu_s = _BY_HAND[name]
    log = str(tmp_path / "log")
    task = sleeping_task(name, pairs_per_shard=_PAIRS, quicker=_QUICKER, log=log, at_once=2)
    job = make_job(task, reader_of(name, _PAIRS), str(tmp_path / name), seed=0)
    commit = make_unit(job, 0, Spent())
    finish(job.dataset, job.plan, versions=versions(task), licences={})
    assert commit.pairs == _PAIRS and list(verify(job.out)) == []
    painted = read_log(log)
    assert len({one.what for one in painted}) == len(painted) == _PAIRS * count
    assert sum(one.seconds for one in painted) >= _PAIRS * gpu_s / _QUICKER
    assert sum(getattr(link, "gpu_s", 0.0) for link in task.chain) == pytest.approx(gpu_s)
    keys = Counter(one.what.partition("/")[0] for one in painted)
    assert len(keys) == _PAIRS and set(keys.values()) == {count}
