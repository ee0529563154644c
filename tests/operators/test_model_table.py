from __future__ import annotations

import re

from operators.model_table import CHECKPOINTS
from pipelines.recipe import FULL_8M


def test_the_table_is_complete_and_says_what_a_user_must_know() -> None:
    tasks = {entry.task for entry in FULL_8M} | {"editing"}
    for role, checkpoint in CHECKPOINTS.items():
        assert checkpoint.role == role
        assert checkpoint.licence and checkpoint.classes and checkpoint.obtain
        assert not checkpoint.hub_id or re.fullmatch(r"main|[0-9a-f]{40}", checkpoint.revision), role
        assert set(checkpoint.tasks) <= tasks
    assert {role for role, checkpoint in CHECKPOINTS.items() if checkpoint.gated} == {
        "flux",
        "flux-fill",
        "flux-kontext",
    }
