"""What the GPU's run counts and compares: its pure parts. `--shapes tiny` rehearses the whole in some minutes."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.bench import gpu_paint
from infra.bench.gpu_paint import Card, Clock, hashes, need_as_written, read_sample
from operators.models.pose.dwpose import find_person
from operators.models.table import Part
from pipelines.run.stages import CUDA_GIB, Need
from tests.tiny import tiny_models


def test_a_line_of_nvidia_smi_is_shares_and_gib() -> None:
    sample = read_sample("87, 20480\n", 3.0)
    assert (sample.at_s, sample.busy, sample.used_gib) == (3.0, 0.87, 20.0)


def test_the_card_tells_of_a_time_and_not_of_what_was_there_before() -> None:
    lines = ["100, 90000", "0, 1024", "50, 11264", "100, 6144", "0, 99999"]
    card = Card(name="card", gib=139.0, samples=[read_sample(line, at_s) for at_s, line in enumerate(lines)])
    assert card.between(1, 3) == pytest.approx((0.5, 10.0))
    assert card.between(7, 9) == (0.0, 0.0)


def test_need_counts_the_parameters_that_were_written() -> None:
    published = Need(parts=(Part(name="T5", parameters_m=4_762.3), Part(name="DWPose", parameters_m=88)), working_gib=4)
    written = need_as_written(published, [Part(name="T5", parameters_m=2**30 / 1e6), Part(name="CLIP", parameters_m=1)])
    assert written.gib == pytest.approx(2 + 4 + CUDA_GIB)


def test_files_are_compared_but_for_the_answers(tmp_path: Path) -> None:
    for name in ("shards/a.tar", "responses/1", "plan.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert hashes(tmp_path) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("plan.parquet", "shards/a.tar")
    }


def test_calls_are_counted_and_methods_are_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    times_s = iter([0.0, 1.0, 3.0, 4.0, 6.5, 10.0])
    monkeypatch.setattr(gpu_paint, "time", SimpleNamespace(perf_counter=lambda: next(times_s)))

    class Network:
        def forward(self, value: int) -> int:
            return value + 1

    clock, network = Clock(), Network()
    with clock.at("all"), clock.on(network, "forward", "steps"):
        assert (network.forward(1), network.forward(5)) == (2, 6)
    assert "forward" not in vars(network)
    assert clock.told() == "10.000 s: steps 4.500 (2 x 2250.0 ms), the rest 5.500"


def test_the_server_says_what_each_question_asks_for() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    said = []
    with gpu_paint._server() as url:
        for content in ([image], [image, {"type": "text", "text": "?"}, image]):
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()
            with urllib.request.urlopen(f"{url}/chat/completions", body) as answered:
                said.append(json.loads(answered.read())["choices"][0]["message"]["content"])
    assert said[0].startswith("Instruction: ")
    assert {"differences", "reverse_differences", "subtask", "reverse_prompt"} == json.loads(said[1]).keys()


def test_a_step_of_rb_modulation_counts_each_networks_calls_in_both_modes(tiny: str) -> None:
    """What `--one-step` times, of the small networks on a CPU."""
    pictures = gpu_paint._one_step(Path(tiny), 128)
    assert list(pictures) == ["a step with a style", "a step with a style and a content"]
    for references, paint in enumerate(pictures.values(), 1):
        clock = Clock()
        paint(clock)
        # Each reference is encoded and described once; then three steps of Adam describe the latents.
        assert {name: calls for name, calls in clock.calls.items() if "CLIP" not in name} == {
            "all": 1,
            "loading": 1,
            "vision tower": references,
            "EfficientNet": references,
            "previewer forwards": references + 3,
            "CSD forwards": references + 3,
            "stage C": 1,
            "stage B": 1,
            "stage A": 1,
        }


def test_somebody_is_found_in_the_photos() -> None:
    folder = f"{tiny_models('dwpose')}/dwpose"
    for seed in range(max(gpu_paint.PAIRS.values())):
        assert find_person(folder, gpu_paint.photo(seed, 128)) is not None
