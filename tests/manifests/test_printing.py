"""Text that moves a terminal's cursor, or turns its reading direction, is printed as what it is."""

from __future__ import annotations

import csv
import io
import json
import sys
import unicodedata
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from infra.command import main
from manifests.printing import counted, printable, printable_json, printable_lines, size
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import edit

NASTY = "\x1b]0;pwned\x07\x1b[2K\r\x9b31m\u202egnp.exe\u2066\u2028\x7f"

UNSAFE = {
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")
    or unicodedata.bidirectional(chr(code)) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
} | set("\u061c\u200e\u200f")
"""After Unicode's own tables: controls, surrogates, separators, and what turns the direction (its Bidi_Control)."""


def test_what_is_unsafe_is_escaped_and_nothing_else() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        escaped = printable(character)
        if character in UNSAFE:
            assert escaped.isascii() and escaped.isprintable()
            assert escaped.encode().decode("unicode_escape") == character
        else:
            assert escaped == character
    assert printable_lines("a\tb\nc\x1b\r") == "a\tb\nc\\x1b\\x0d"


def test_json_means_what_it_did() -> None:
    text = printable_json(json.dumps({NASTY: [NASTY, "é"]}, ensure_ascii=False))
    assert json.loads(text) == {NASTY: [NASTY, "é"]}
    assert not UNSAFE & set(text)
    assert "é" in text


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of which every text is nasty that a stranger can choose."""
    root = tmp_path_factory.mktemp("nasty") / "derain"
    make_dataset(str(root), units=1, pairs=2)

    def change(rows: list[dict[str, object]]) -> None:
        for row in rows:
            row.update(dict.fromkeys(("instruction", "source", "source_ref", "licence", "prototype_task"), NASTY))
            row.update(scores=[(NASTY, 1.0)], parents=[NASTY], context_method=NASTY)
            for image in row["images"]:  # type: ignore[attr-defined]
                image.update(member=NASTY, mode=NASTY)
            for step in row["steps"]:  # type: ignore[attr-defined]
                step.update(operator=NASTY, prompt=NASTY)

    edit(root / "manifest/derain-000000.parquet", change)
    edit(root / "rejects/derain-000000.parquet", lambda rows: rows[0].update(message=NASTY, reason=NASTY))
    (root / "shards" / f"x{NASTY}").touch()
    (root / "shards" / "not-utf-8-\udcff").touch()
    return root


@pytest.mark.parametrize(
    ("status", "command"),
    [
        (1, ["verify", "DATASET"]),
        (0, ["ls", "DATASET"]),
        (0, ["show", "PAIR", "DATASET"]),
        (0, ["dups", "DATASET", "--distance", "3"]),
        (0, ["sql", "SELECT * FROM pairs", "DATASET"]),
        (0, ["sql", "SELECT * FROM rejects", "DATASET", "--csv"]),
        (0, ["sql", "SELECT * FROM examples", "DATASET", "--json"]),
        (0, ["sql", f'SELECT 1 AS "{NASTY}"', "DATASET"]),
        (0, ["sql", f'SELECT 1 AS "{NASTY}"', "DATASET", "--csv"]),
        (2, ["sql", f'SELECT "{NASTY}"', "DATASET"]),
        (2, ["sql", "SELECT error(source) FROM pairs", "DATASET"]),
        (2, [f"verify{NASTY}"]),
        (2, ["verify", f"--{NASTY}"]),
        (2, ["verify", f"nowhere{NASTY}"]),
    ],
    ids=lambda value: printable(" ".join(value))[:40] if isinstance(value, list) else str(value),
)
def test_nothing_nasty_is_printed(
    nasty: Path, capsys: pytest.CaptureFixture[str], status: int, command: list[str]
) -> None:
    pair = pq.read_table(nasty / "manifest/derain-000000.parquet")["pair"][0].as_py()
    assert main([{"DATASET": str(nasty), "PAIR": pair}.get(part, part) for part in command]) == status
    captured = capsys.readouterr()
    printed = (captured.out + captured.err).replace("\r\n", "\n")  # CSV's own ends of lines
    assert printed
    assert not (UNSAFE - {"\n", "\t"}) & set(printed)
    if "sql" in command and status == 0:
        assert "x1b" in captured.out or "u001b" in captured.out


def test_csv_keeps_lines_in_its_fields(nasty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sql", "SELECT 'a\nb' AS x, 'c\td' AS y", str(nasty), "--csv"])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [["x", "y"], ["a\nb", "c\td"]]


def test_bytes_are_told_as_people_say_them() -> None:
    assert [size(count) for count in (512, 3 * 2**20, 1.5 * 2**40)] == ["0.5 KiB", "3.0 MiB", "1.5 TiB"]


def test_numbers_of_things_are_told_as_people_say_them() -> None:
    assert [counted(number, "shard") for number in (0, 1, 2, 1_000)] == [
        "0 shards",
        "1 shard",
        "2 shards",
        "1,000 shards",
    ]
