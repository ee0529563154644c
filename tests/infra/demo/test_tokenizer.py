"""The demo's tokenizer: what the documents say of the packaged one, and that its training repeats and resumes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from infra.demo.command import PACKAGED
from infra.demo.tokenizer import held_out_psnr_db, load, train
from tests.commands import ROOT
from xprompt_model.vqgan import CHECKPOINT_FILE, VQGAN


def test_the_packaged_tokenizer_has_the_psnr_that_the_documents_state() -> None:
    """On photos that it was not trained from; half a decimal for other kernels."""
    stated = re.findall(r"`(\w+\.jpg)` (\d+\.\d) dB", (ROOT / "infra/docs/demo.md").read_text())
    found = {Path(name).name: value for name, value in held_out_psnr_db(VQGAN.load(PACKAGED)).items()}
    assert {name for name, _ in stated} == set(found)
    for name, value in stated:
        assert found[name] == pytest.approx(float(value), abs=0.1)


@pytest.mark.chaos
def test_a_run_that_was_stopped_goes_on_to_the_same_file_and_the_decoder_alone_changes_no_code(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole, halves = tmp_path / "whole" / CHECKPOINT_FILE, tmp_path / "halves" / CHECKPOINT_FILE
    whole.parent.mkdir()
    halves.parent.mkdir()
    try:
        train(whole, steps=2, decoder_steps=1, say=lambda text: None)
        train(halves, steps=2, decoder_steps=0, say=lambda text: None)
        first = load(halves)
        train(halves, steps=2, decoder_steps=1, say=lambda text: None)
    finally:
        torch.set_num_threads(threads)
    second = load(halves)
    assert second.fingerprint == first.fingerprint
    assert not torch.equal(
        second.state_dict()["decoder.conv_out.weight"], first.state_dict()["decoder.conv_out.weight"]
    )
    for name, value in load(whole).state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
