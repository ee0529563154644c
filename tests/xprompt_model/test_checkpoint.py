from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.xprompt_model.small import batch_of, document, transformers_model
from xprompt_model.arm import ARMS
from xprompt_model.checkpoint import read_arm, read_trained_tokenizer
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon
from xprompt_model.vqgan import VQGAN


@torch.no_grad()
def test_a_checkpoint_gives_transformers_logits_before_and_after_it_is_saved(checkpoint: Path, tmp_path: Path) -> None:
    model = XPromptChameleon.from_pretrained(checkpoint, xp_tokens=7)
    assert all(parameter.requires_grad for parameter in model.parameters())
    batch = batch_of(document(0, context=False))
    ours = model(batch, dense_mask(batch))
    theirs = transformers_model(checkpoint)
    assert (theirs.model(input_ids=batch.ids[None]).last_hidden_state[0] - ours).abs().max() < 1e-5

    for parameter in model.parameters():
        parameter.mul_(1.5)
    saved = tmp_path / "saved"
    model.save_pretrained(saved, source=checkpoint)
    output = transformers_model(saved)(input_ids=batch.ids[None])
    text = ~torch.from_numpy(model.vocabulary.in_image_block)
    changed = model(batch, dense_mask(batch))
    assert (changed - ours).abs().max() > 0.1
    assert (output.logits[0] - model.logits(changed))[:, text].abs().max() < 1e-5
    reloaded = XPromptChameleon.from_pretrained(saved)
    assert {name: value.tolist() for name, value in reloaded.state_dict().items()} == {
        name: value.tolist() for name, value in model.state_dict().items()
    }


def test_what_belongs_to_a_checkpoint_is_copied_along(checkpoint: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    XPromptChameleon.from_pretrained(checkpoint).save_pretrained(saved, source=checkpoint)
    names = {path.name for path in saved.iterdir()}
    assert names == {path.name for path in checkpoint.iterdir()} | {"xprompt.safetensors"}
    assert VQGAN.load(saved).fingerprint == VQGAN.load(checkpoint).fingerprint
    assert "xprompt" not in (saved / "config.json").read_text()
    words = "Remove the rain from this image."
    assert AutoTokenizer.from_pretrained(saved).encode(words) == AutoTokenizer.from_pretrained(checkpoint).encode(words)
    with pytest.raises(ValueError, match="exists: remove it"):
        XPromptChameleon.from_pretrained(saved).save_pretrained(saved)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_the_arm_is_kept_with_the_weights(checkpoint: Path, tmp_path: Path) -> None:
    assert read_arm(checkpoint) == "xprompt"  # it says nothing
    model = XPromptChameleon.from_pretrained(checkpoint, xp_tokens=3)
    for arm in ARMS:
        model.save_pretrained(tmp_path / arm, source=checkpoint, arm=arm)
        assert read_arm(tmp_path / arm) == arm
    save_file({"xp": torch.ones(1)}, tmp_path / "none/xprompt.safetensors", {"training": '{"arm": "sideways"}'})
    with pytest.raises(ValueError, match="of an arm 'sideways'; there are xprompt, causal, none"):
        read_arm(tmp_path / "none")


def test_the_file_of_x_prompt_embeddings_has_one_entry_of_metadata(checkpoint: Path, tmp_path: Path) -> None:
    """safetensors writes several in an order that differs from process to process: equal runs write equal files."""
    model, tokenizer = XPromptChameleon.from_pretrained(checkpoint, xp_tokens=3), {"codes": 256, "a": 1}
    model.save_pretrained(tmp_path / "saved", source=checkpoint, arm="causal", tokenizer=tokenizer)
    for name in ("xprompt.safetensors", "model.safetensors"):
        with safe_open(tmp_path / "saved" / name, framework="pt") as file:
            assert len(file.metadata()) == 1
    assert read_arm(tmp_path / "saved") == "causal" and read_trained_tokenizer(tmp_path / "saved") == tokenizer


@pytest.mark.parametrize("metadata", ["[]", "{", "[" * 5_000])
def test_a_record_of_training_that_cannot_be_read_is_named(checkpoint: Path, tmp_path: Path, metadata: str) -> None:
    folder = _copy(checkpoint, tmp_path)
    save_file({"xp": torch.ones(1)}, folder / "xprompt.safetensors", {"training": metadata})
    with pytest.raises(ValueError, match=r"xprompt\.safetensors cannot be read: "):
        read_arm(folder)


def test_xp_is_drawn_by_seed_until_it_is_saved(checkpoint: Path, tmp_path: Path) -> None:
    first, same, other = (XPromptChameleon.from_pretrained(checkpoint, xp_tokens=3, seed=seed).xp for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    XPromptChameleon.from_pretrained(checkpoint, xp_tokens=3).save_pretrained(tmp_path / "saved")
    assert torch.equal(XPromptChameleon.from_pretrained(tmp_path / "saved", seed=5).xp, first)
    with pytest.raises(ValueError, match="has 3 X-Prompt embeddings, not 4"):
        XPromptChameleon.from_pretrained(tmp_path / "saved", xp_tokens=4)
    assert len(XPromptChameleon.from_pretrained(checkpoint).xp) == 64


def test_weights_in_several_files_are_found_by_their_index(checkpoint: Path, tmp_path: Path) -> None:
    folder = _copy(checkpoint, tmp_path)
    state = load_file(folder / "model.safetensors")
    names = sorted(state)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: state[name] for name in part}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    whole, split = (XPromptChameleon.from_pretrained(path) for path in (checkpoint, folder))
    assert all(torch.equal(value, split.state_dict()[name]) for name, value in whole.state_dict().items())


_NO_INDICES = ("{}", '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}')


def _index(folder: Path, text: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json: No such file"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "does not hold an object"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "llama"}'), "of a model 'llama'"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "chameleon", "hidden_size": "many"}'),
            "config.json is not that of a Chameleon",
        ),
        *(
            (
                lambda folder, text=text: (folder / "config.json").write_text(f'{{"model_type": "chameleon", {text}}}'),
                f"config.json is not that of a Chameleon: {said}",
            )
            for text, said in (
                ('"num_attention_heads": 0', "num_attention_heads is 0"),
                ('"num_key_value_heads": -1', "num_key_value_heads is -1"),
                ('"hidden_size": 100', "hidden_size, 100, is no multiple of num_attention_heads, 32"),
            )
        ),
        *((lambda folder, text=text: _index(folder, text), "is no index of weights") for text in _NO_INDICES),
        *(
            (lambda folder, name=name: _index(folder, json.dumps({"weight_map": {"a": name}})), "is no file beside it")
            for name in ("../../etc/passwd", "/etc/passwd", "..", "", "sub/model.safetensors")
        ),
        (
            lambda folder: os.truncate(folder / "config.json", 10**9),
            "config.json is not JSON: it has 1,000,000,000 byt",
        ),
        (lambda folder: (folder / "config.json").write_text("[" * 200_000), "config.json is not JSON"),
        (lambda folder: (folder / "model.safetensors").write_bytes((10**12).to_bytes(8, "little") + b"{}"), "be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "model.safetensors cannot be read"),
        (lambda folder: (folder / "xprompt.safetensors").write_bytes(b""), "xprompt.safetensors cannot be read"),
        (lambda folder: save_file({"y": torch.ones(1)}, folder / "xprompt.safetensors"), "has no xp"),
        (
            lambda folder: save_file({"lm_head.weight": torch.ones(2, 2)}, folder / "model.safetensors"),
            "is not a checkpoint of the model its config.json describes",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused(damage: object, message: str, checkpoint: Path, tmp_path: Path) -> None:
    folder = _copy(checkpoint, tmp_path)
    assert callable(damage)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        XPromptChameleon.from_pretrained(folder)


def _copy(checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint, tmp_path / "copy")
