"""The commands that look at datasets: what they print and how they exit."""

from __future__ import annotations

import argparse
import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.command import main
from manifests.browse import server
from manifests.commands import add_commands
from manifests.dataset import Dataset
from manifests.read.query import connect, select
from tests.manifests.make import LICENCE, make_dataset, make_plan, write_unit

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished dataset, and one of which a third is done."""
    out = tmp_path_factory.mktemp("out")
    make_dataset(f"{out}/derain", units=2, pairs=3)
    unfinished = Dataset(f"{out}/lowlight")
    write_unit(unfinished, make_plan(unfinished, task="lowlight", units=3, pairs=2), 1)
    return out


def test_ls(out: Path, capsys: Capture) -> None:
    assert main(["ls", str(out)]) == 0
    _, derain, lowlight = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (derain[:4], derain[5:]) == (["derain", "6", "24", "2"], ["2", "of", "2", "finished"])
    assert (lowlight[:4], lowlight[5:]) == (["lowlight", "2", "8", "1"], ["1", "of", "3", "unfinished"])


def test_show(out: Path, capsys: Capture) -> None:
    (row,) = select(connect(str(out)), "SELECT pair, images FROM pairs WHERE source_ref = 'photo.png#0'")
    assert main(["show", row["pair"], str(out)]) == 0
    text = capsys.readouterr().out
    for known in (row["pair"], LICENCE, "Let it rain.", "The rain is gone.", "angle_deg", row["images"][0]["sha256"]):
        assert known in text


def test_show_takes_a_beginning_that_one_pair_has(out: Path, capsys: Capture) -> None:
    keys = [row["pair"] for row in select(connect(str(out)), "SELECT pair FROM pairs")]
    unique = next(
        (key[:length], key)
        for length in range(1, 33)
        for key in keys
        if sum(other.startswith(key[:length]) for other in keys) == 1
    )
    assert main(["show", unique[0].upper(), str(out)]) == 0
    assert unique[1] in capsys.readouterr().out
    assert main(["show", "", str(out)]) == 2
    said = capsys.readouterr().err
    assert "Several pairs" in said and sum(key in said for key in keys) == 4


def test_a_port_in_use_is_named_with_the_way_out(out: Path, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["browse", str(out), "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"Port {port} " in line and "--port N" in line and "0 takes a free one" in line


def test_without_a_port_the_next_free_one_is_taken(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(server, "FIRST_PORT", taken.getsockname()[1])
        with server.make_server(str(out), None) as made:
            assert server.FIRST_PORT < made.server_port < server.FIRST_PORT + 100
        monkeypatch.setattr(server, "_PORTS", 1)
        with pytest.raises(OSError, match="is in use by another program"):
            server.make_server(str(out), None)


def test_a_page_to_share(out: Path, tmp_path: Path, capsys: Capture) -> None:
    page = tmp_path / "page"
    assert main(["browse", f"OUT={out}", f"SHARE={page}", "PAIRS=3", "SEED=1"]) == 0
    assert capsys.readouterr().out.startswith(f"{page}/index.html: ")
    assert (page / "index.html").exists() and len([*page.glob("images/*")]) >= 6
    for options in (["--share", str(page), "--port", "1"], ["--pairs", "3"], ["--seed", "3"], ["--port", "70000"]):
        assert main(["browse", str(out), *options]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_another_command_line_can_have_the_commands(out: Path, capsys: Capture) -> None:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    options = parser.parse_args(["ls", str(out)])
    assert options.run(options) == 0
    assert "lowlight" in capsys.readouterr().out


def test_sql_as_table_csv_and_json(out: Path, capsys: Capture) -> None:
    query = "SELECT task, count(*) AS n, '[b]' AS brackets FROM pairs GROUP BY ALL ORDER BY ALL"
    assert main(["sql", query, str(out)]) == 0
    assert "[b]" in capsys.readouterr().out
    assert main(["sql", query, str(out), "--csv"]) == 0
    assert list(csv.reader(capsys.readouterr().out.splitlines())) == [
        ["task", "n", "brackets"],
        ["derain", "6", "[b]"],
        ["lowlight", "2", "[b]"],
    ]
    assert main(["sql", query, str(out), "--json", "--rows", "1"]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line) for line in printed.out.splitlines()] == [{"task": "derain", "n": 6, "brackets": "[b]"}]
    assert "first 1 rows" in printed.err
    assert main(["sql", str(out), query]) == 2
    assert "is taken for the query, which comes first: then the folder" in capsys.readouterr().err


def test_verify(tmp_path: Path, capsys: Capture) -> None:
    make_dataset(f"{tmp_path}/derain", units=2, pairs=2)
    assert main(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 dataset, 2 shards: nothing wrong\n"
    shard = tmp_path / "derain/shards/derain-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main(["verify", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"{shard}: ")


def test_contact_sheet(out: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["contact-sheet", str(out), "--out", str(sheet), "--pairs", "2"]) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "{out}/derain/shards"],
        ["ls", "nosuch://bucket"],
        ["show", "unknown", "{out}"],
        ["sql", "COPY (SELECT 1) TO '/tmp/x'", "{out}"],
        ["sql", "SELECT nothing", "{out}"],
        ["verify", "{out}/nothing"],
        ["contact-sheet", "{out}", "--out", "{out}/no/folder.png"],
        ["similarity", "{out}/derain", "--out", "{out}/no/folder.png"],
        ["browse", "{out}/nothing", "--port", "0"],
    ],
)
def test_errors_are_one_line(out: Path, capsys: Capture, arguments: list[str]) -> None:
    assert main([argument.format(out=out) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert (printed.out, len(printed.err.splitlines())) == ("", 1)
    assert printed.err.startswith(f"xprompt {arguments[0]}: ")


def test_data_is_read_by_default(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/data/derain", units=1, pairs=1)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "infra.command", "ls"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=60, check=True
    )
    assert "derain" in done.stdout


def test_datasets_that_are_not_looked_at_are_named(tmp_path: Path, capsys: Capture) -> None:
    """One level is looked at, as OUT has it; below it may be the OUT of another run."""
    for place in ("derain", "mine/lowlight", "demo/data/derain"):
        make_dataset(f"{tmp_path}/{place}", units=1, pairs=2)
    for command in ("ls", "verify"):
        assert main([command, str(tmp_path)]) == 0
        printed = capsys.readouterr()
        assert printed.err == f"not looked into: {tmp_path}/demo/data, {tmp_path}/mine\n"
        assert main([command, f"{tmp_path}/mine"]) == 0
        assert capsys.readouterr().err == ""
