"""One Slurm for all tests that submit jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.slurm.daemons import Slurm, missing, slurm_running


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    if why := missing():
        pytest.skip(why)
    with slurm_running() as slurm:
        yield slurm
