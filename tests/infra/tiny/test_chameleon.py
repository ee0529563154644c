from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, ChameleonProcessor

from infra.tiny.chameleon import special_tokens, write_chameleon
from tests.datasets import sha256_by_file
from tests.sources import photo
from tests.xprompt_model.small import transformers_model


def test_the_same_bytes_each_time_whatever_the_threads_and_the_generator(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    first = sha256_by_file(write_chameleon(tmp_path / "first"))
    torch.rand(5)
    torch.set_num_threads(2)
    try:
        assert sha256_by_file(write_chameleon(tmp_path / "second")) == first
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_transformers_opens_it(tmp_path: Path) -> None:
    folder = write_chameleon(tmp_path)
    words = "Remove the rain from this image."
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(words, add_special_tokens=False).ids
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode(words, add_special_tokens=False) == ids
    assert tokenizer.decode(ids) == words
    assert min(ids) >= len(special_tokens(256)), "a text's tokens are text"
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "IMGIMGAZ", "<eoss>", "<racm3:break>"]) == [
        *(0, 1, 2, 4, 260, 261)
    ]
    model = transformers_model(folder)
    assert model.config.vocabulary_map == tokenizer.get_vocab()
    processor = ChameleonProcessor.from_pretrained(folder)
    inputs = processor(images=photo(0, 100, 80), text=f"<image>{words}", return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (64, 64)
    assert (inputs["input_ids"] == processor.image_token_id).sum() == 16
    with torch.no_grad():
        assert torch.isfinite(model(**inputs).logits).all()
