"""The example of a task from outside: by the command, by Python, with an option that its file alone knows of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infra.command import main
from infra.examples.dehaze import DEHAZE, Haze
from manifests.images.pixels import decode_rgb, encode_lossless
from manifests.schema import Pair
from tests.commands import ROOT
from tests.datasets import examples, make_dataset
from tests.sources import write_photos

EXAMPLE = ROOT / "infra/examples/dehaze.py"


def test_haze_is_koschmieders_model() -> None:
    """A black and a white row at the top, where the depth is 1: I = J t + A (1 - t), computed by hand."""
    pixels = np.zeros((4, 2, 3), np.uint8)
    pixels[:, 1] = 255
    image = encode_lossless("target", pixels)
    pair = Pair(key="0" * 32, source="s", source_ref="r", licence="l", images=(image,), group="g")
    made = Haze(strength=2.0, airlight=0.8)(pair, 5)
    hazy, strength = decode_rgb(made.images[0].data), made.steps[-1].params["strength"]
    assert 1 <= strength <= 2
    through = np.exp(-strength)
    assert hazy[0, 0, 0] == pytest.approx(255 * 0.8 * (1 - through), abs=0.6)
    assert hazy[0, 1, 0] == pytest.approx(255 * (through + 0.8 * (1 - through)), abs=0.6)
    assert made == Haze(strength=2.0, airlight=0.8)(pair, 5)


def test_its_pairs_have_all_four_examples(tmp_path: Path) -> None:
    rows = examples(make_dataset(tmp_path, write_photos(tmp_path / "photos", 3), task=DEHAZE))
    assert len(rows) == 12
    assert {row["instruction"] for row in rows if row["kind"] == "generate" and row["direction"] == "forward"} <= {
        "Remove the haze.",
        "Clear the fog away.",
    }


def test_the_command_takes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_photos(tmp_path / "photos", 4))
    assert main(["plan", f"{EXAMPLE}:DEHAZE", "--data", data]) == 0
    assert "about 4 (4 of 4 sampled items were kept)" in capsys.readouterr().out
    assert main(["plan", f"{EXAMPLE}:DEHAZE", "--data", data, "--strenght", "3"]) == 2
    assert "there is no option --strenght: did you mean --strength?" in capsys.readouterr().err
    assert main(["shards", f"{EXAMPLE}:DEHAZE", "--help"]) == 0
    assert "how thick the haze is at the most, in optical depths" in capsys.readouterr().out


def test_another_option_is_a_change_of_the_operators_file_alone(tmp_path: Path) -> None:
    """A copy of the example gets a `tint`: command line, plan, help and fingerprint know it, with no other change."""
    text = EXAMPLE.read_text()
    new = text.replace(
        '    airlight: float = option(0.9, "brightness of the haze, from 0 to 1")\n',
        '    airlight: float = option(0.9, "brightness of the haze, from 0 to 1")\n'
        '    tint: str = option("grey", "colour of the haze", choices=("grey", "blue"))\n',
    )
    assert new != text
    file = tmp_path / "tinted.py"
    file.write_text(new)
    data = write_photos(tmp_path / "photos", 2)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.command", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    helped = run("shards", f"{file}:DEHAZE", "--help").stdout
    assert "--tint" in helped and "colour of the haze (grey, blue)" in helped
    assert run("plan", f"{file}:DEHAZE", "--data", str(data), "--tint", "blue").returncode == 0
    assert run("plan", f"TASK={file}:DEHAZE", f"DATA={data}", "TINT=blue").returncode == 0
    wrong = run("plan", f"{file}:DEHAZE", "--data", str(data), "--tint", "green")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "--tint: green is none of grey, blue" in wrong.stderr
    script = (
        "import sys; from pipelines.prepare import prepare; from pipelines.run.plan import make_job\n"
        "p = prepare(sys.argv[1], {'data': sys.argv[2], **({'tint': sys.argv[4]} if len(sys.argv) > 4 else {})})\n"
        "print(make_job(p.task, p.reader, sys.argv[3], 0).plan.fingerprint)"
    )
    prints = [
        subprocess.run(
            [sys.executable, "-c", script, f"{file}:DEHAZE", str(data), str(tmp_path / out), *tint],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for out, tint in (("a", []), ("b", ["grey"]), ("c", ["blue"]))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken_task.py"
    broken.write_text("import no_such_package\n")
    assert main(["plan", f"{broken}:TASK"]) == 2
    assert "cannot be loaded: ModuleNotFoundError: No module named 'no_such_package'" in capsys.readouterr().err
    shutil.copy(EXAMPLE, tmp_path / "json.py")
    assert main(["plan", f"{tmp_path}/json.py:DEHAZE"]) == 2
    assert "has the name of another Python module, json: rename the file" in capsys.readouterr().err
