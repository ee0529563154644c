"""--log json: each line is an object with the text and its fields; text stays as it was, byte for byte."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.command import main
from manifests import log
from manifests.log import chosen
from manifests.printing import say
from tests.vlm import KEY, running


def _objects(text: str) -> list[dict[str, Any]]:
    """The lines of a log, each of which is an object that any parser of JSON takes."""

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refused) for line in text.splitlines()]


def test_text_is_the_default_and_its_bytes_are_those_of_print(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with chosen(["--out", "x"]) as rest:
        assert rest == ["--out", "x"]
        say("a \u00e4 line", event="step", step=3)
        say("wrong\x1b[2J", error=True, step=3)
    assert capfdbinary.readouterr() == ("a \u00e4 line\n".encode(), b"wrong\\x1b[2J\n")


@pytest.mark.parametrize("given", [["--log", "json"], ["--log=json"], ["LOG=json"]])
def test_a_line_of_json_has_the_text_and_its_fields(given: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with chosen(["--out", *given, "x"]) as rest:
        assert rest == ["--out", "x"]
        say("step 3  loss nan", event="step", step=3, loss=float("nan"), by={"a/b": 1.5}, names=("x", "y"))
        say("wrong\u202e\x7f\n\u00e4", error=True)
    out, err = capfd.readouterr()
    (step,), (error,) = _objects(out), _objects(err)
    made = datetime.fromisoformat(step.pop("time"))
    assert abs(datetime.now(UTC) - made) < timedelta(minutes=1) and made.utcoffset() == timedelta(0)
    expected = {"message": "step 3  loss nan", "step": 3, "loss": None, "by": {"a/b": 1.5}, "names": ["x", "y"]}
    assert step == {"level": "info", "event": "step", **expected}
    assert (error["level"], error["event"], error["message"]) == ("error", "error", "wrong\u202e\x7f\n\u00e4")
    assert re.fullmatch(r"[ -~\n]*", out + err)  # nothing in it moves a cursor


def test_the_format_ends_with_its_block_and_holds_in_blocks_within(capfd: pytest.CaptureFixture[str]) -> None:
    with chosen(["--log", "json"]):
        with chosen([]):
            say("within")
        with chosen(["--log", "text"]):
            say("as text")
        say("again")
    say("after")
    within, text, again, after = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["message"] for line in (within, again)] == ["within", "again"]
    assert json.loads(text)["message"] == "as text"  # stdout makes events of whatever is printed
    assert after == "after"


def test_another_format_is_refused_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    for given in (["--log", "yaml"], ["--log"]):
        assert main(["ls", *given]) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.count("\n") == 1 and "text or json" in err


def test_the_environment_says_it_to_processes_whose_arguments_are_not_ours(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XPROMPT_LOG", "json")
    with chosen([]):
        say("an event")
    with chosen(["--log", "text"]), chosen([]):
        say("text")
    event, text = capfd.readouterr().out.splitlines()
    assert (json.loads(event)["message"], text) == ("an event", "text")
    monkeypatch.setenv("XPROMPT_LOG", "yaml")
    assert main(["ls"]) == 2
    assert capfd.readouterr().err == "XPROMPT_LOG 'yaml': text or json\n"


def test_what_torchrun_starts_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parser would take --log, before or behind the script, for one of its own options."""
    from train import launch

    asked: list[tuple[list[str], str | None]] = []
    monkeypatch.setattr(os, "environ", {**os.environ, "XPROMPT_LOG": ""})  # what is set in it ends with the test
    monkeypatch.setattr(
        "train.launch.run.run",
        lambda options: asked.append((options.training_script_args, os.environ.get("XPROMPT_LOG"))),
    )
    monkeypatch.setattr("train.launch.signal.signal", lambda number, handler: None)
    assert launch.main(["script.py", "--out", "x"]) == launch.main(["script.py", "--out", "x", "--log", "json"]) == 0
    assert asked == [(["--out", "x"], ""), (["--out", "x"], "json")]


def test_what_others_print_becomes_events(capfd: pytest.CaptureFixture[str]) -> None:
    """Libraries, argparse, progress bars that go back to the line's begin."""
    with chosen(["--log", "json"]):
        print("half", end=" ")
        print("a line")
        sys.stderr.write("usage: x\n  more\n")
        print("x y: error: there is no option --z", file=sys.stderr)
        sys.stderr.write("10%\r20%\r")
    out, err = map(_objects, capfd.readouterr())
    assert [(one["event"], one["level"], one["message"]) for one in out] == [("message", "info", "half a line")]
    assert [(one["event"], one["message"]) for one in err] == [
        ("stderr", "usage: x\n  more"),
        ("error", "x y: error: there is no option --z"),
        ("stderr", "10%\n20%"),
    ]


def test_data_that_was_asked_for_stays_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    with chosen(["--log", "json"], stdout=False):
        print("a,b")
        say("said")
    data, said = capfd.readouterr().out.splitlines()
    assert data == "a,b" and json.loads(said)["message"] == "said"


def test_a_failure_that_nobody_has_caught_is_one_event(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, chosen(["--log", "json"]):
        raise ZeroDivisionError("no\nrain")
    assert end.value.code == 1
    (error,) = _objects(capfd.readouterr().err)
    assert (error["event"], error["message"]) == ("error", "ZeroDivisionError: no rain")
    assert "test_log.py" in error["traceback"]
    with pytest.raises(ZeroDivisionError), chosen([]):
        raise ZeroDivisionError
    assert log.is_json() is False and not isinstance(sys.stderr, log._Lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shards", "derian"], "did you mean derain"),
        (["shards", "derain", "--sed", "1"], "did you mean --seed"),
        (["train", "--data", "data", "--model", "nowhere"], "nowhere"),
        (["train", "--loss", "1"], "--loss"),
        (["predict", "--dataset", "x"], "--model"),
        (["recipe", "--recipe", "nowhere.toml"], "nowhere.toml"),
        (["verify", "nowhere"], "nowhere"),
    ],
)
def test_errors_of_commands_are_events_with_the_same_status(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    text = capfd.readouterr().err
    assert words in text
    assert main([*arguments, "--log", "json"]) == 2
    out, err = capfd.readouterr()
    *_, error = _objects(err)
    assert (error["level"], error["event"]) == ("error", "error") and words in error["message"]
    assert out == "" and error["message"] == text.splitlines()[-1]


def test_a_key_is_in_no_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A server that refuses a key repeats it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-secret-0123456789")
    with running() as server:
        asked = ["--vlm", server.url, "--vlm-model", "m", "--out", str(tmp_path), "--log", "json"]
        assert main(["shards", "derain", "--scale", "0.01", *asked]) == 1
    out, err = capfd.readouterr()
    assert _objects(out)[0]["event"] == "plan" and "refuses the key" in _objects(err)[-1]["message"]
    assert "sk-" not in out + err and KEY not in out + err


def test_a_stream_that_is_wrapped_is_a_stream() -> None:
    under = io.StringIO()
    lines = log._Lines(under, "message", "info")
    assert lines.write("a\n\n") == 3 and lines.isatty() is False
    assert [one["message"] for one in _objects(under.getvalue())] == ["a"]
