"""The editing task end to end: a served model proposes, tiny FLUX.1 Kontext and Fill edit, scores choose."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from manifests.verify.dataset import verify
from operators.models.checkpoints import identity
from operators.models.diffusion import Denoising
from operators.paint.best_edit import BestEdit
from operators.vlm.client import Vlm
from operators.word.difference import Difference
from pipelines.tasks.editing import EDITING
from tests.datasets import examples, make_dataset, rejects, sha256_by_file
from tests.sources import write_photos
from tests.vlm import KEY, running


def test_without_a_model_to_propose_edits_it_says_so(tiny: str) -> None:
    with pytest.raises(ValueError, match=r"^editing needs a vision-language model: set VLM and VLM_MODEL$"):
        EDITING.bound(tiny).asking(None)


def test_photos_become_edit_pairs_with_their_instruction(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    bound, once = EDITING.bound(tiny), Denoising(steps=1, guidance=3.5)
    quick = tuple(
        replace(link, candidates=2, kontext=once, fill=once, scores=replace(link.scores, bounds=()))
        if isinstance(link, BestEdit)
        else link
        for link in bound.chain
        if not isinstance(link, Difference)
    )
    with running() as server:
        said = "Instruction: Add a hat.\nBefore: A cat.\nAfter: A cat with a hat.\nWhere: 250, 0, 750, 500"
        server.answer = lambda text: said
        vlm = replace(Vlm.of(server.url, "m", None), responses=str(tmp_path / "responses"))
        task = replace(bound, chain=quick, context="seeded").asking(vlm)
        photos = write_photos(tmp_path / "photos", 3, 64, 64)
        dataset = make_dataset(tmp_path / "out", photos, task=task)
        keeping = make_dataset(tmp_path / "keeping", photos, task=task.with_options({"keep_candidates": True}))
    assert [finding.message for finding in verify(dataset.url)] == []
    assert rejects(dataset) == []
    rows = [row for row in examples(dataset) if (row["direction"], row["kind"]) == ("forward", "generate")]
    assert len(rows) == 3
    for row in rows:
        assert row["instruction"] == "Add a hat."
        assert dict(row["scores"]).keys() >= {"clip_direction", "clip_text", "clip_image", "dino", "ssim"}
        models = [(step["operator"], step["model"], step["model_revision"]) for step in row["steps"]]
        assert ("propose_edit", "m", "m-2026-01-01") in models
        for role in ("flux-kontext", "flux-fill"):
            assert ("best_edit", *identity(f"{tiny}/{role}", role)) in models
    candidates = {"editing/candidates/editing-000000.tar"}
    without, with_them = (  # answers lie in the order in which they came
        {name: sha256 for name, sha256 in sha256_by_file(tmp_path / out).items() if "/responses/" not in name}
        for out in ("out", "keeping")
    )
    assert with_them.keys() - without.keys() == candidates
    assert {name: with_them[name] for name in without} == without
    assert [finding.message for finding in verify(keeping.url)] == []
    with tarfile.open(tmp_path / "keeping" / candidates.pop()) as tar:
        names = tar.getnames()
    pairs = [*dict.fromkeys(row["pair"] for row in rows)]
    assert names == [f"{pair}.{n}.{ending}" for pair in pairs for n in range(4) for ending in ("png", "json")]
