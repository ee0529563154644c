"""The demo's models: the one that knows nothing, and the packaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from infra.demo.command import PACKAGED
from infra.demo.model import XP_TOKENS, write_halved, write_start
from infra.demo.pictures import crop
from infra.demo.tokenizer import SIDE_PX
from xprompt_model.checkpoint import read_arm, read_trained_tokenizer
from xprompt_model.layout import Turn, build_document
from xprompt_model.model import XPromptChameleon
from xprompt_model.same_tokenizers import refuse_other_tokenizers
from xprompt_model.text import TextTokenizer
from xprompt_model.vqgan import CHECKPOINT_FILE, VQGAN


def test_the_start_has_like_embeddings_for_like_codes_and_answers_with_the_input(tmp_path: Path) -> None:
    folder = write_start(tmp_path / "models" / "chameleon", PACKAGED / CHECKPOINT_FILE)
    model, vqgan = XPromptChameleon.from_pretrained(folder), VQGAN.load(folder)
    assert model.xp_tokens == XP_TOKENS
    ids = torch.from_numpy(model.vocabulary.image_ids)
    codebook = vqgan.state_dict()["quantize.embedding.weight"]
    nearest = torch.cdist(codebook, codebook).fill_diagonal_(torch.inf).argmin(1)
    for weight in (model.embed_tokens.weight.detach()[ids], model.lm_head.weight.detach()[ids]):
        apart = torch.cdist(weight, weight)
        assert apart[torch.arange(len(ids)), nearest].mean() < 0.7 * apart.mean()
    text = TextTokenizer(folder)
    assert text.text(text.ids("Remove the rain.")) == "Remove the rain."
    grid = vqgan.tokenize(crop("skimage/data/rocket.jpg", SIDE_PX, np.random.default_rng(0)))
    turn = Turn(instruction=text.ids("Remove the rain."), inputs=(grid,), output=grid)
    document = build_document(turn, (), model.vocabulary, window_tokens=1_024, xp_tokens=XP_TOKENS)
    read = (document.ids, document.segment, document.position)
    tokens, segment, position = (torch.from_numpy(array) for array in read)
    with torch.no_grad():
        logits = model.logits(model.advance(tokens, segment, position, None))
    answered = logits[-grid.size - 3 : -3, ids].argmax(1)  # behind them: the image's end and the text's
    assert float((answered == torch.from_numpy(grid.ravel())).float().mean()) > 0.7


def test_the_packaged_model_loads_with_the_tokenizers_that_it_was_trained_with() -> None:
    assert XPromptChameleon.from_pretrained(PACKAGED).xp_tokens == XP_TOKENS
    assert read_arm(PACKAGED) == "xprompt"
    recorded = read_trained_tokenizer(PACKAGED)
    assert recorded
    refuse_other_tokenizers(recorded, "", PACKAGED, TextTokenizer(PACKAGED), VQGAN.load(PACKAGED), "")
    bytes_in_all = sum(file.stat().st_size for file in PACKAGED.parent.rglob("*") if file.suffix not in (".py", ".pyc"))
    assert bytes_in_all < 10e6


def test_a_halved_model_has_the_same_weights_in_two_bytes(tmp_path: Path) -> None:
    whole = write_start(tmp_path / "whole", PACKAGED / CHECKPOINT_FILE)
    write_halved(whole, tmp_path / "halved")
    before, after = (XPromptChameleon.from_pretrained(folder).state_dict() for folder in (whole, tmp_path / "halved"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name].half().float(), after[name]) for name in before)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, tmp_path / "halved")]
    assert sizes[1] < 0.6 * sizes[0]
