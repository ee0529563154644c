"""Texts that hold the names of tokens, read by every kind of tokenizer.json in which such a token can lie.

The oracle is byte-level BPE itself: without merges a text is as many tokens as UTF-8 has bytes for it, and what they
stand for, put together, is the text.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from infra.tiny.chameleon import write_chameleon
from xprompt_model.text import NoTokens, TextTokenizer
from xprompt_model.vocabulary import code_name

CODES = [code_name(code) for code in (0, 7, 10, 255)]
ROLES = ["<s>", "<pad>", "</s>", "<unk>", "<eoss>", "<racm3:break>", "<reserved08706>", "<image>"]
NAMES = [*ROLES, *CODES]
TEXTS = [
    *NAMES,
    "a</s>b<image> c",
    f"{CODES[0]}{CODES[1]} and {CODES[2]}",
    f"x{CODES[3]}y IMGIMG IMGIMGZ IMGIMGAAAAA",
    "<racm3:break>" + CODES[0] * 3 + "<eoss>",
    " <s> <reserved08706>\n</s>",
]


def write(folder: Path, *, added: bool = False, special: bool = False, merged: bool = False) -> Path:
    """A tokenizer of bytes, with NAMES in its vocabulary: reached by nothing, as added tokens, or by merges."""
    vocabulary = {name: index for index, name in enumerate(NAMES)}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    merges: list[tuple[str, str]] = []
    for name in CODES if merged else []:  # bytes of angle brackets are cut off before merges come to them
        digits = name.removeprefix("IMGIMG")
        ends = [("IMGIMG" + digits[:length], digits[length]) for length in range(len(digits))]
        for parts in (("I", "M"), ("IM", "G"), ("IMG", "IMG"), *ends):
            vocabulary.setdefault("".join(parts), len(vocabulary))
            if parts not in merges:
                merges.append(parts)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    for name in NAMES if added else []:
        token = AddedToken(name, special=special, normalized=False)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["vocabulary", "added", "special"])
def test_names_of_tokens_are_spelt_out(kind: str, text: str, tmp_path: Path) -> None:
    folder = write(tmp_path, added=kind != "vocabulary", special=kind == "special")
    found = TextTokenizer(folder).ids(text).tolist()
    assert len(found) == len(text.encode()) and min(found) >= len(NAMES)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert plain.decode(found, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", TEXTS)
def test_merges_do_not_lead_to_an_image(text: str, tmp_path: Path) -> None:
    folder = write(tmp_path, merged=True)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if any(name in text for name in CODES):
        assert set(plain.encode(text).ids) & set(range(len(NAMES))), "by the file's own rules it is one"
    found = TextTokenizer(folder).ids(text).tolist()
    assert min(found) >= len(NAMES)
    assert plain.decode(found, skip_special_tokens=False) == text


def test_older_files_write_a_merge_as_one_string(tmp_path: Path) -> None:
    path = write(tmp_path, merged=True) / "tokenizer.json"
    before = TextTokenizer(tmp_path).ids(CODES[1]).tolist()
    content = json.loads(path.read_text())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    path.write_text(json.dumps(content))
    assert TextTokenizer(tmp_path).ids(CODES[1]).tolist() == before


def test_what_has_no_tokens_is_refused_with_a_reason(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(write(tmp_path))
    for text, reason in (("", "empty"), (" \n", "empty"), ("a \ud83d b", "unencodable")):
        with pytest.raises(NoTokens) as error:
            tokenizer.ids(text)
        assert error.value.reason == reason and "\n" not in str(error.value)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    del content["model"]["vocab"]["z"]
    path.write_text(json.dumps(content))
    with pytest.raises(NoTokens, match="1 of its characters have no tokens"):
        TextTokenizer(tmp_path).ids("a zebra")
    content["model"] |= {"vocab": {**content["model"]["vocab"], CODES[0]: 8}, "ignore_merges": True}
    path.write_text(json.dumps(content))
    with pytest.raises(NoTokens, match=f"would hold the token {CODES[0]}"):
        TextTokenizer(tmp_path).ids(CODES[0])


def test_the_fingerprint_is_of_the_file_and_of_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path) / "tokenizer.json"
    found = [TextTokenizer(tmp_path).fingerprint, hashlib.sha256(path.read_bytes()).hexdigest()]
    monkeypatch.setattr("xprompt_model.text.RULES", "others")
    found.append(TextTokenizer(tmp_path).fingerprint)
    path.write_text(path.read_text() + "\n")
    found.append(TextTokenizer(tmp_path).fingerprint)
    assert len(set(found)) == 4


def test_a_folder_without_a_tokenizer_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no tokenizer\.json: it is to be in the format of facebook/chameleon-7b"):
        TextTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    with pytest.raises(ValueError, match=r"^\S+tokenizer\.json cannot be read: [^\n]+$"):
        TextTokenizer(tmp_path)


def test_a_text_of_the_tiny_checkpoint_comes_back(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(write_chameleon(tmp_path))
    for text in ("Remove the rain — vollständig.", *TEXTS):
        assert tokenizer.text(tokenizer.ids(text)) == text
