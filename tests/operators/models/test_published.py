from __future__ import annotations

import pytest

from operators.models.published import PUBLISHED
from operators.models.table import CHECKPOINTS
from tests.released import networks


def test_what_is_published_is_of_files_that_are_downloaded() -> None:
    filter_repo_objects = pytest.importorskip("huggingface_hub.utils").filter_repo_objects
    for role, files in PUBLISHED.items():
        patterns = CHECKPOINTS[role].files or None
        assert [*filter_repo_objects(files, allow_patterns=patterns)] == [*files], role
        for file, known in files.items():
            assert known.size_bytes or known.sha256, (role, file)
            assert known.sha256 is None or len(bytes.fromhex(known.sha256)) == 32, (role, file)


def test_sizes_are_those_that_the_released_tensors_come_to() -> None:
    """By tests/data/released/, whose sizes are in turn checked against names and shapes (test_released.py)."""
    compared = 0
    for name, network in networks().items():
        for role, file in network.files.items():
            published = PUBLISHED.get(role, {}).get(file)
            if published and network.file_bytes and file.endswith((".safetensors", ".pth")):
                assert published.size_bytes == network.file_bytes, (name, role)
                compared += 1
    assert compared > 15
