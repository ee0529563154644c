"""Prediction from end to end with a tiny model: killed, resumed, on two ranks, scored; and what is refused."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manifests.dataset import Dataset
from manifests.printing import counted
from tests.manifests.make import make_dataset
from tests.train.make import make_model
from train.evaluate.command import main as evaluate
from train.evaluate.predictions import RECORD_FILE, examples
from train.predict import command
from xprompt_model.generator import Generator, Request
from xprompt_model.layout import Turn
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import IMAGE
from xprompt_model.text import TextTokenizer
from xprompt_model.vqgan import VQGAN

_DEADLINE_S = 300.0
_FORK = multiprocessing.get_context("fork")  # torch is there already; importing it takes seconds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training data, a test split of six pairs, and a model."""
    folder = tmp_path_factory.mktemp("predict")
    make_dataset(str(folder / "derain"), units=1, pairs=3)
    make_dataset(str(folder / "derain-test"), units=2, pairs=3, first=40, split="test")
    make_model(folder / "model")
    return folder


def _arguments(place: Path, out: Path, *more: str) -> list[str]:
    options = ["--dataset", str(place / "derain-test"), "--model", str(place / "model"), "--out", str(out)]
    return [*options, "--device", "cpu", *more]


def _seeded(place: Path) -> list[str]:
    return ["--contexts", "seeded", "--contexts-from", str(place / "derain")]


def _rank(arguments: Sequence[str], rank: int, world: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    raise SystemExit(command.main(arguments))


def _start(arguments: Sequence[str], world: int) -> list[BaseProcess]:
    processes: list[BaseProcess] = [_FORK.Process(target=_rank, args=(arguments, rank, world)) for rank in range(world)]
    for process in processes:
        process.start()
    return processes


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_killed_run_on_two_ranks_goes_on_to_the_bytes_of_one_process(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = _arguments(place, tmp_path / "killed", *_seeded(place), "--batch", "1")
    processes = _start(arguments, 2)
    deadline_s = time.monotonic() + _DEADLINE_S
    while len([*(tmp_path / "killed").glob("*.png")]) < 2:
        assert time.monotonic() < deadline_s and all(process.is_alive() for process in processes)
        time.sleep(0.002)
    for process in processes:
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*.png")}
    assert 2 <= len(finished) < 6
    # With another number of ranks, and another batch: of these few codes none is on the edge.
    assert command.main([*arguments[:-1], "4"]) == 0
    made = counted(6 - len(finished), "prediction")
    assert f"{made} made, {len(finished)} were there" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "not made again"
    assert command.main(_arguments(place, tmp_path / "whole", *_seeded(place))) == 0
    whole = _files(tmp_path / "whole")
    killed = _files(tmp_path / "killed")
    assert {name: data for name, data in killed.items() if not name.startswith(".")} == whole
    assert len(whole) == 7 and len(set(whole.values())) == 7
    for process in _start(_arguments(place, tmp_path / "two", *_seeded(place), "--batch", "3"), 2):
        process.join(_DEADLINE_S)
        assert process.exitcode == 0
    assert _files(tmp_path / "two") == whole

    capsys.readouterr()
    assert evaluate(["--dataset", str(place / "derain-test"), "--predictions", str(tmp_path / "killed")]) == 0
    said = capsys.readouterr()
    (row,) = [line for line in said.out.splitlines() if line.startswith("| derain, xprompt, contexts seeded | ")]
    assert row.endswith(" | 6 | 0 | 0 |") and " to " in row and said.err == ""

    # What is damaged since, or is no answer of this model's size, is made again.
    cut, empty, small = sorted((tmp_path / "killed").glob("*.png"))[:3]
    cut.write_bytes(cut.read_bytes()[:-40])
    empty.write_bytes(b"")
    Image.new("RGB", (10, 10)).save(small)
    assert command.main([*arguments[:-1], "4"]) == 0
    said = capsys.readouterr()
    assert "3 predictions made, 3 of them in the place of damaged files, 3 were there" in said.err
    assert _files(tmp_path / "killed") == whole


@pytest.mark.parametrize(("arm", "count"), [("xprompt", 1), ("xprompt", 3), ("causal", 1)])
def test_a_prediction_is_what_the_generator_answers(place: Path, tmp_path: Path, arm: str, count: int) -> None:
    """For one example whose contexts are named, made here by the steps of `xprompt generate`."""
    shown = [*itertools.islice(Dataset(str(place / "derain")).pairs(), count)]
    fixed = ["--contexts", "fixed", "--contexts-from", str(place / "derain"), "--context", *(one.key for one in shown)]
    assert command.main(_arguments(place, tmp_path / "out", *fixed, "--arm", arm, "--seed", "7")) == 0
    example = next(examples(Dataset(str(place / "derain-test")), "forward"))
    picture = Image.open(tmp_path / "out" / example.file)
    told = json.loads(picture.info["xprompt"])
    assert told["contexts"] == [{"pair": one.key, "score": None} for one in shown]

    torch.set_num_threads(1)
    vqgan, text = VQGAN.load(place / "model"), TextTokenizer(place / "model")
    generator = Generator(XPromptChameleon.from_pretrained(place / "model"))
    turns = [
        Turn(
            instruction=text.ids(one.example("forward", "generate").instruction),
            inputs=(vqgan.tokenize(one.image("input")),),
            output=vqgan.tokenize(one.image("target")),
        )
        for one in shown
    ]
    request = Request(
        instruction=text.ids(example.instruction),
        inputs=[vqgan.tokenize(example.image("input"))],
        contexts=[generator.compress(turn, keep_example=arm == "causal") for turn in turns],
        seed=told["seed"],
    )
    assert np.array_equal(np.asarray(picture), vqgan.picture(generator.images([request], IMAGE)[0]))


def test_what_is_made_otherwise_is_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = _arguments(place, tmp_path / "out", *_seeded(place))
    assert command.main(arguments) == 0
    before = _files(tmp_path / "out")
    other = make_model(tmp_path / "other", seed=1)
    for more, said in (
        (["--seed", "1"], "(seed: 0 there, 1 now)"),
        (["--temperature", "0"], "(sampling.temperature: 0.7 there, 0.0 now)"),
        (["--arm", "causal"], "(arm: 'xprompt' there, 'causal' now)"),
        (["--model", str(other)], "(model: what was hashed has changed)"),
        (["--direction", "reverse"], "(direction: 'forward' there, 'reverse' now)"),
    ):
        capsys.readouterr()
        assert command.main([*arguments, *more]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert (
            error.startswith(f"xprompt predict: {tmp_path / 'out'} holds predictions made otherwise ") and said in error
        )
    assert _files(tmp_path / "out") == before
    (tmp_path / "out" / RECORD_FILE).unlink()
    assert command.main(arguments) == 2
    assert "holds predictions that nothing says the origin of" in capsys.readouterr().err


def test_geneval_has_its_layout_and_other_samples_of_each_prompt(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [
        {"tag": "single_object", "prompt": f"a photo of a {name}", "include": [{"class": name, "count": 1}]}
        for name in ("dog", "bench")
    ]
    metadata = tmp_path / "evaluation_metadata.jsonl"
    metadata.write_text("".join(f"{json.dumps(prompt)}\n" for prompt in prompts))
    options = ["--geneval", str(metadata), "--model", str(place / "model"), "--device", "cpu"]
    assert command.main([*options, "--out", str(tmp_path / "out"), "--samples", "2"]) == 0
    made = _files(tmp_path / "out")
    samples = [f"{number:05d}/samples/{sample:05d}.png" for number in (0, 1) for sample in (0, 1)]
    assert {*made} == {*samples, "00000/metadata.jsonl", "00001/metadata.jsonl", RECORD_FILE}
    assert [json.loads(made[f"{number:05d}/metadata.jsonl"]) for number in (0, 1)] == prompts
    assert len({made[name] for name in samples}) == 4
    # One that is gone is made again as it was.
    (tmp_path / "out" / samples[2]).unlink()
    assert command.main([*options, "--out", str(tmp_path / "out"), "--samples", "2", "--batch", "1"]) == 0
    assert _files(tmp_path / "out") == made
    assert command.main([*options, "--out", str(tmp_path / "out")]) == 2
    assert "(geneval.samples: 2 there, 4 now)" in capsys.readouterr().err


def test_contexts_are_chosen_before_the_folder_is_claimed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    test = str(place / "derain-test")
    for more, said in (
        ([], "--contexts none, fixed, seeded or raie: the arm xprompt has in-context examples"),
        (
            ["--contexts", "seeded", "--contexts-from", test],
            "is what is predicted: contexts come from data to train on",
        ),
        (["--contexts", "raie"], "its ranked contexts are pairs of its own: run `xprompt contexts"),
        (["--contexts", "seeded", "--arm", "none"], "the arm none has no in-context examples"),
        (["--contexts", "fixed", "--contexts-from", test, "--context", "f" * 32], "no pair ffff"),
    ):
        assert command.main(_arguments(place, out, *more)) == 2
        assert said in capsys.readouterr().err
    shutil.copytree(place / "derain-test", tmp_path / "another")
    assert command.main(_arguments(place, out, "--contexts", "raie", "--contexts-from", str(tmp_path / "another"))) == 2
    assert "is of the split test: contexts come from data to train on" in capsys.readouterr().err
    assert not out.exists()
