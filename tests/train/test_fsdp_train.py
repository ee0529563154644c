"""The entry point as a user starts it: a script, in a folder of its own, with one line for what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.commands import ROOT
from tests.train.make import make_tokens
from train.fsdp_train import main
from train.run.config import Config
from train.run.trainer import train
from xprompt_model.checkpoint import read_arm


def test_torchrun_trains_and_says_so(config: Config, tmp_path: Path) -> None:
    options = ["--data", *config.data, "--model", config.model, "--out", str(tmp_path / "out")]
    sizes = [
        "--xp-tokens",
        "4",
        "--steps",
        "2",
        "--warmup-steps",
        "1",
        "--window-tokens",
        "128",
        "--global-windows",
        "4",
        "--no-compress",
    ]
    script = [str(ROOT / "train/fsdp_train.py"), *options, *sizes]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run([*torchrun, *script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    first, second, third = ended.stdout.splitlines()
    assert first.startswith("step     1 of 2  loss ") and second.startswith("step     2 of 2  loss ")
    assert third == f"model: {tmp_path}/out/model"
    assert read_arm(tmp_path / "out/model") == "causal"


def test_without_a_model_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsdp_train.py"])
    assert main() == 2
    assert capsys.readouterr() == (
        "",
        "no model at models/tiny/chameleon: make tiny-models writes a small one, --model names another\n",
    )


def test_without_tokens_too(config: Config, tmp_path: Path) -> None:
    dataset = make_tokens(str(tmp_path / "derain"), units=1)
    for name in dataset.store.names("tokens"):
        dataset.store.remove(f"tokens/{name}")
    with pytest.raises(ValueError, match="1 of 1 shards have no tokens: run make tokens TASK=derain"):
        train(replace(config, data=(dataset.url,)))


def test_tokens_of_another_tokenizer_are_refused_in_one_line(config: Config, tmp_path: Path) -> None:
    """Of as many codes and words as the model's: nothing else would tell."""
    model = shutil.copytree(config.model, tmp_path / "model")
    (model / "tokenizer.json").write_text((model / "tokenizer.json").read_text() + "\n")
    refused = (
        rf"^{config.data[0]}/tokens is of the text tokenizer [0-9a-f]{{12}}, {model} has [0-9a-f]{{12}} "
        r"\(text_sha256\): "
        "name the model whose tokenizers made them with --model, or remove them and run make tokens again$"
    )
    with pytest.raises(ValueError, match=refused):
        train(replace(config, model=str(model)))
    shutil.copy(Path(config.model, "tokenizer.json"), model)
    state = torch.load(model / "vqgan.ckpt", weights_only=True)
    state["state_dict"]["quantize.embedding.weight"] += 1e-3
    torch.save(state, model / "vqgan.ckpt")
    with pytest.raises(ValueError, match="is of the VQ tokenizer"):
        train(replace(config, model=str(model)))
