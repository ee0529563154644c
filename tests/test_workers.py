"""How tests are given to several workers."""

from __future__ import annotations

import pytest


def test_a_file_is_run_by_one_worker(request: pytest.FixtureRequest) -> None:
    """What a file's fixtures make would otherwise be made by each worker, and its tests could not build on another.

    pytest-xdist writes a test's group behind its id: with pytest 9.2 that had no effect, and nothing said so.
    """
    if not hasattr(request.config, "workerinput"):
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith(f"::{request.node.name}@{request.path}")
