from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from xprompt_model.model import XPromptChameleon
from xprompt_model.same_tokenizers import refuse_other_tokenizers, refuse_untrained_tokenizers
from xprompt_model.text import TextTokenizer
from xprompt_model.vqgan import VQGAN


def test_another_vocabulary_and_another_codebook_are_refused_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    text, vqgan = TextTokenizer(checkpoint), VQGAN.load(checkpoint)
    recorded = {"text_sha256": text.fingerprint, "vq_sha256": vqgan.fingerprint, "codes": 256}
    refuse_other_tokenizers(recorded, "data/tokens", checkpoint, text, vqgan, "go away")
    other = shutil.copytree(checkpoint, tmp_path / "other")
    (other / "model.safetensors").unlink()
    state = torch.load(other / "vqgan.ckpt", weights_only=True)
    state["state_dict"]["quantize.embedding.weight"] += 1
    torch.save(state, other / "vqgan.ckpt")
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + "\n")
    for theirs, books, name in ((TextTokenizer(other), vqgan, "text"), (text, VQGAN.load(other), "VQ")):
        said = rf"^data/tokens is of the {name} tokenizer [0-9a-f]{{12}}, {other} has [0-9a-f]{{12}} \(\w+\): go away$"
        with pytest.raises(ValueError, match=said):
            refuse_other_tokenizers(recorded, "data/tokens", other, theirs, books, "go away")
    with pytest.raises(ValueError, match="is of the text tokenizer unknown, "):
        refuse_other_tokenizers({"codes": 256}, "data/tokens", checkpoint, text, vqgan, "go away")


def test_a_trained_model_beside_another_tokenizer_is_refused_and_one_without_a_record_is_taken(
    checkpoint: Path, tmp_path: Path
) -> None:
    text, vqgan = TextTokenizer(checkpoint), VQGAN.load(checkpoint)
    refuse_untrained_tokenizers(checkpoint, text, vqgan)
    model = XPromptChameleon.from_pretrained(checkpoint)
    own = {"text_sha256": text.fingerprint, "vq_sha256": vqgan.fingerprint}
    for folder, recorded in (("own", own), ("other", {**own, "vq_sha256": "0" * 64})):
        model.save_pretrained(tmp_path / folder, source=checkpoint, arm="xprompt", tokenizer=recorded)
    refuse_untrained_tokenizers(tmp_path / "own", text, vqgan)
    with pytest.raises(ValueError, match=r"other/xprompt.safetensors is of the VQ tokenizer 0{12}, .*: put the token"):
        refuse_untrained_tokenizers(tmp_path / "other", text, vqgan)
