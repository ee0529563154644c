"""What is wrong in a file of values is said in one line: which key, and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.kuberay.__main__ import main
from infra.kuberay.values import read_values
from tests.commands import ROOT

GIVEN = ROOT / "infra" / "kuberay" / "values.yaml"


def written(folder: Path, at: str, value: Any) -> Path:
    """The values that are shipped, with another value at a key; `at` has a number for a place in a list."""
    values = yaml.safe_load(GIVEN.read_text())
    inside = values
    *way, last = [int(part) if part.isdigit() else part for part in at.split(".")]
    for part in way:
        inside = inside[part]
    inside[last] = value
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


WRONG = [
    ("nmae", "x", "nmae is not known: did you mean name?"),
    ("engine.grops", [], "engine.grops is not known: did you mean groups?"),
    ("engine.groups.1.gpu", 1, "engine.groups[1].gpu is not known: did you mean gpus?"),
    ("zzz", 1, "zzz is not known: allowed are name, image, namespace, secrets"),
    ("name", "X-Prompt", "name: X-Prompt is wrong: it takes lower-case letters, digits and -"),
    ("name", "x" * 31, "at most 30 characters"),
    ("name", None, "name: None is wrong: it takes a text"),
    ("image", "xprompt:cpu", "image has to be keys and values"),
    ("image.cuda", "two words", "image.cuda: two words is wrong: it takes the name of an image"),
    ("env", {"HF_TOKEN": "x"}, "env: it takes variables that are no secret: HF_TOKEN belongs below secrets"),
    ("env", {"a b": "x"}, "env: it takes names of environment variables, which a b is not"),
    ("volume.mount", "data", "volume.mount: data is wrong: it takes a folder such as /data"),
    (
        "volume.create.size",
        "2 TB",
        "volume.create.size: 2 TB is wrong: it takes an amount such as 4, 500m, 64Gi or 2Ti",
    ),
    ("engine.command", ["train"], "engine.command: it begins with one of shards, recipe, tokens, retry"),
    ("engine.command", ["shards", "derain; rm"], "words without spaces and signs that a shell reads"),
    ("engine.command", ["shards", "derain"], "engine.command: it takes --out with a path below /data or a URL such as"),
    (
        "engine.command",
        ["shards", "derain", "--out", "out"],
        "--out out is not on what pods share: it takes a path below",
    ),
    ("engine.command", ["shards", "derain", "--out=/database/x"], "--out /database/x is not on what pods share"),
    ("engine.recipe", "nosuch.toml", "engine.recipe: there is no file"),
    ("engine.auth", "none", "engine.auth: none is wrong: it takes token, disabled"),
    ("engine.grace_s", 5, "engine.grace_s: 5 is wrong: it takes a whole number, 10 or above"),
    ("engine.retries", True, "engine.retries: True is wrong: it takes a whole number"),
    ("engine.retries", "3", "engine.retries: '3' is wrong: it takes a whole number"),
    ("engine.groups", [], "engine.groups: it takes at least one group"),
    ("engine.groups.1.name", "cpu", "engine.groups: it takes at least one group, and each name once"),
    ("engine.groups.0.max", 1, "engine.groups[0].max: 1 is wrong: it takes at least min, 2"),
    ("engine.groups.0.min", 0, "one group at least has min above 0"),
    ("engine.groups.1.gpu_gib", None, "engine.groups[1].gpu_gib: it is there where gpus is above 0"),
    ("engine.groups.1.spot", "azure", "engine.groups[1].spot: azure is wrong: it takes gke, eks, karpenter, aks"),
    ("engine.groups.1.tolerations", [{"kye": "x"}], "tolerations[0].kye is not known: did you mean key?"),
    ("train.command", ["--out", "s3://bucket/run"], "--out s3://bucket/run is not on what pods share: it takes a path"),
    ("train.nodes", 0, "train.nodes: 0 is wrong: it takes a whole number, 1 or above"),
    ("volume", None, "train needs volume"),
]


@pytest.mark.parametrize(("at", "value", "said"), WRONG)
def test_a_wrong_value_is_refused_in_one_line(tmp_path: Path, at: str, value: Any, said: str) -> None:
    path = written(tmp_path, at, value)
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        read_values(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize("value", ["sk-0123", "sk-0123/x y", ["sk-0123"], {"a": "sk-0123"}])
def test_a_key_in_the_place_of_a_secret_is_refused_and_not_repeated(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as refused:
        read_values(written(tmp_path, "secrets.OPENAI_API_KEY", value))
    assert "sk-0123" not in str(refused.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("name: x\n")
    with pytest.raises(ValueError, match=f"^{path}: image is missing$"):
        read_values(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nname: y\n", "line 2: no YAML: name is there twice"),
        ("name: [x\n", "line 2: no YAML: "),
        ("a: \x07", "no YAML: "),
        ("", "the file has to be keys and values"),
        ("name: x\nimage: {cpu: a, cuda: b}\n", "there is neither engine nor train: nothing to render"),
    ],
)
def test_what_is_no_file_of_values_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        read_values(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch.yaml"], "No such file or directory: 'nosuch.yaml'"),
        ([str(GIVEN), "--only", "rayjbo"], "there is no --only rayjbo: did you mean rayjob?"),
        ([str(GIVEN), "--only", "recipe"], "the values say nothing of which recipe could be rendered"),
        ([str(GIVEN), "--uot", "x"], "there is no option --uot: did you mean --out?"),
        ([], "missing: values"),
    ],
)
def test_a_wrong_command_line_has_status_2_and_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    printed = capsys.readouterr()
    assert status == 2
    assert said in printed.err and printed.err.count("\n") == 1 and not printed.out
